"""The forms of the Predict widget: the model, and the sliders that separate cells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFormLayout, QLineEdit, QPushButton

from napari_jnet.config import TargetConfig, options
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.forms import OptionEditor, PathEdit, small_label
from napari_jnet.plugin.predict.jobs import facts_wanted
from napari_jnet.plugin.predict.words import model_words
from napari_jnet.plugin.session import Lifetime, Session
from napari_jnet.plugin.ui.form import Form

__all__ = ["ModelForm", "separation_form"]

_LARGEST_MIN_SIZE = 5000
_FACTS = {"resolution_levels": "Resolution levels", "dt_bound": "Distance bound"}


class ModelForm:
    """The model of the session; for files of the original J-Net also what such files do not hold.

    Parameters
    ----------
    form
        Gets the rows.
    session
        Of the viewer.  What is typed or browsed for is chosen there, and what is chosen there is shown.
    lifetime
        Ends the listening.
    """

    def __init__(self, form: QFormLayout, session: Session, lifetime: Lifetime) -> None:
        self._form, self._session = form, session
        self._path = PathEdit(
            "either", caption="A model, or a run", placeholder="run folder or model file"
        )
        self._levels = QLineEdit()
        self._levels.setPlaceholderText("such as -5, -4, -3, -2, -1, 0")
        self._levels.setToolTip("The resolution levels it was trained with, lowest first.")
        self._bound = OptionEditor(options(TargetConfig)["dt_bound"], kind=float, unset="not given")
        self._bound.setToolTip(
            "The bound of the distance in pixels it was trained with, such as 6."
        )
        self._missing: tuple[str, ...] = ()
        self._looked_at: tuple[Path, int] | None = None
        self._background = Background("napari-jnet model")
        lifetime.at_end(self._background.close)
        form.addRow("Model", self._path)
        self.words = small_label()
        form.addRow(self.words)
        self.own_button = QPushButton()
        self.own_button.setToolTip("The labels that are painted on have a model of their own.")
        self.own_button.clicked.connect(self._take_own)
        form.addRow(self.own_button)
        form.addRow(_FACTS["resolution_levels"], self._levels)
        form.addRow(_FACTS["dt_bound"], self._bound)
        self._path.changed.connect(self._typed)
        for emitter in (session.model_changed, session.annotation_changed, session.project_changed):
            lifetime.connect(emitter, self._show)
        self.ask(())
        self._show()

    @property
    def path(self) -> Path | None:
        """The run folder or model file that is shown, which is that of the session."""
        return self._path.path

    def _typed(self, _text: str) -> None:
        if self._path.path != self._session.model:
            self.ask(())  # what an original file does not hold is asked for anew
            self._session.choose_model(self._path.path)

    def _take_own(self) -> None:
        session = self._session
        if session.own_model is not None:
            session.set_model(session.own_model, session.annotation, session.project)

    def _show(self, _what: Any = None) -> None:
        """Say which model predicts, and offer that of the labels where it is another one."""
        model, own = self._session.model, self._session.own_model
        if self._path.path != model:
            self.ask(())
            self._path.path = model  # known already: nobody has chosen anything
        self._show_words()
        self._look(model)
        self.own_button.setText("" if own is None else f"Use the model of these labels: {own.name}")
        self.own_button.setVisible(own is not None and own != model)

    def _look(self, model: Path | None) -> None:
        """Ask at once for what a file of the original J-Net does not hold."""
        file = (model, model.stat().st_mtime_ns) if model is not None and model.is_file() else None
        if file == self._looked_at:
            return
        self._looked_at = file
        if model is not None and file is not None:
            self._background.submit(
                lambda: facts_wanted(model),
                lambda wanted: self.ask(*wanted) if self._looked_at == file else None,
            )

    def _show_words(self) -> None:
        said = f"A network of the original J-Net. {self._wanted()}" if self._missing else ""
        self.words.setText(said or model_words(self._session.model))

    def _wanted(self) -> str:
        titles = " and ".join(_FACTS[name] for name in self._missing)
        return f"Its file does not hold all that it was trained with: fill in {titles}."

    def ask(self, missing: tuple[str, ...], levels: int = 0) -> None:
        """Show the fields for what a model file does not hold."""
        self._missing = missing
        self._show_words()
        rows = {"resolution_levels": self._levels, "dt_bound": self._bound}
        for name, editor in rows.items():
            editor.setVisible(name in missing)
            self._form.labelForField(editor).setVisible(name in missing)
        if levels:
            such = ", ".join(str(level) for level in range(1 - levels, 1))
            self._levels.setPlaceholderText(f"{levels} levels, such as {such}")

    def set_facts(self, levels: tuple[int, ...] | None, bound: float | None) -> None:
        """Fill in what an original file does not hold."""
        self._levels.setText("" if levels is None else ", ".join(str(level) for level in levels))
        self._bound.value = bound

    @property
    def facts(self) -> dict[str, Any]:
        """Arguments of `load_model` beside the path.

        Raises
        ------
        ValueError
            If the levels are none, or something is not filled in that the file does not hold.
        """
        text = self._levels.text().strip(" []()")
        if text and not re.fullmatch(r"-?\d+([,;\s]+-?\d+)*", text):
            raise ValueError(
                f"The resolution levels are {text!r}; they are whole numbers, lowest first, such "
                "as -3, -2, -1, 0."
            )
        levels = tuple(int(part) for part in re.split(r"[,;\s]+", text)) if text else None
        facts = {"resolution_levels": levels, "dt_bound": self._bound.value}
        if any(not facts[name] for name in self._missing):
            raise ValueError(f"This is a network of the original J-Net. {self._wanted()}")
        return facts


def separation_form(rows: QFormLayout) -> Form:
    """Return sliders for the thresholds; its `throttled` comes while they move."""
    form = Form(rows)
    slider: dict[str, Any] = {"widget_type": "FloatSlider", "step": 0.01}
    form.add("instances.segmentation_threshold", "Segmentation", **slider)
    form.add("instances.seed_threshold", "Seed threshold", **slider)
    form.add("instances.min_size", "Minimum size", widget_type="Slider", max=_LARGEST_MIN_SIZE)
    form.add("instances.fill_holes", "Fill holes")
    return form
