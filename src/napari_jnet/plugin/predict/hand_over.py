"""What comes after looking: use as annotation, correct, copy as a command or a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
)

from napari_jnet.config import InstanceConfig
from napari_jnet.data.stack import Stack
from napari_jnet.plugin.correct.bar import CorrectionBar
from napari_jnet.plugin.forms import MessageLine
from napari_jnet.plugin.keys import with_key
from napari_jnet.plugin.predict.recipes import PredictRecipe, predict_command, predict_script
from napari_jnet.plugin.predict.scopes import Work
from napari_jnet.plugin.session import Lifetime, Session

__all__ = ["HandOver"]

_NARROW = 300


class HandOver:
    """The buttons below the sliders of Predict.

    Parameters
    ----------
    session, lifetime
        Of the widget.
    form
        Gets the rows.
    """

    def __init__(self, session: Session, lifetime: Lifetime, form: QFormLayout) -> None:
        self._session = session
        self.use_button = QPushButton("Use as annotation")
        self.use_button.setToolTip(
            with_key(
                "use_as_annotation",
                "Copy the predicted cells of this frame into the annotation, to correct them there and "
                "train with them. Ctrl+Z takes it back.",
            )
        )
        self.overwrite = QCheckBox("Replace what is painted")
        self.overwrite.setToolTip(
            "Off by default: what you painted stays, and predicted cells in its place are left out."
        )
        row = QHBoxLayout()
        row.addWidget(self.use_button)
        row.addWidget(self.overwrite)
        form.addRow(row)
        self.corrections = CorrectionBar(session)
        self.corrections.setMinimumWidth(_NARROW)  # its buttons may be narrower than they wish
        form.addRow(self.corrections)

    def copy_row(self, recipe: Callable[[], PredictRecipe], message: MessageLine) -> QHBoxLayout:
        """Return the buttons that copy a recipe; problems are said in the message line."""
        row = QHBoxLayout()
        for title, write in (
            ("Copy as command", predict_command),
            ("Copy as Python", predict_script),
        ):
            button = QPushButton(title)
            button.setToolTip("Copy what Predict would do now, to run it without the window.")

            def copy(_checked: bool = False, write: Any = write, what: str = title) -> None:
                try:
                    text = write(recipe())
                except ValueError as error:
                    message.fail(str(error))
                    return
                QApplication.clipboard().setText(text)
                message.say(f"{what.removeprefix('Copy as ').capitalize()} copied.")

            button.clicked.connect(copy)
            row.addWidget(button)
        return row

    def recipe(
        self,
        model: Path,
        facts: dict[str, Any],
        stack: Stack,
        work: Work,
        instances: InstanceConfig | None,
    ) -> PredictRecipe:
        """Return what a prediction is, from files to files.

        Raises
        ------
        ValueError
            If the image is in no file.
        """
        project = self._session.project
        choices: dict[str, Any] = {}
        if project is not None:
            source, output = project.path, project.path / "predictions"
        elif stack.path is not None:
            source, choices = stack.path, stack.choices
            output = stack.path.with_name(f"{stack.path.stem} cells")
        else:
            raise ValueError(
                f"The image {stack.name!r} is in no file that a command could open; paint a cell, "
                "and a project keeps it, or save the image first."
            )
        return PredictRecipe(
            model, source, output, choices, work.numbers, work.region, instances, facts
        )
