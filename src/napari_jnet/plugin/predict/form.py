"""The forms of the Predict widget: the model, what is predicted, and the sliders that separate cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QPushButton

from napari_jnet.config import Config
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.predict.jobs import facts_wanted
from napari_jnet.plugin.predict.scopes import SCOPES
from napari_jnet.plugin.predict.words import model_words
from napari_jnet.plugin.session import Lifetime, Session
from napari_jnet.plugin.ui.form import EITHER, FOLDER, Form, PathEdit

__all__ = ["PredictForm", "separation_form"]

_LARGEST_MIN_SIZE = 5000
_LEVELS, _BOUND = "network.resolution_levels", "targets.dt_bound"
_FACTS = {"resolution_levels": "Resolution levels", "dt_bound": "Distance bound"}


class PredictForm(Form):
    """The model of the session and what it predicts; what a file of the original J-Net does not hold.

    Parameters
    ----------
    rows
        Gets the rows.
    session
        Of the viewer.  What is typed or browsed for is chosen there, and what is chosen there is shown.
    lifetime
        Ends the listening.
    """

    def __init__(self, rows: QFormLayout, session: Session, lifetime: Lifetime) -> None:
        super().__init__(rows)
        self._session = session
        self._missing: tuple[str, ...] = ()
        self._examined: tuple[Path, int] | None = None
        self._suggested: Path | None = None
        self._background = Background("napari-jnet model")
        lifetime.at_end(self._background.close)
        hint = "run folder or model file"
        self.add("model", "Model", widget_type=PathEdit, mode=EITHER, placeholder=hint)
        self.words = small_label()
        rows.addRow(self.words)
        self.own_button = QPushButton()
        self.own_button.setToolTip("The labels that are painted on have a model of their own.")
        self.own_button.clicked.connect(self._take_own)
        rows.addRow(self.own_button)
        tip = "The resolution levels it was trained with, lowest first."
        self.add(
            _LEVELS, _FACTS["resolution_levels"], tooltip=tip, hint="such as -5, -4, -3, -2, -1, 0"
        )
        tip = "The bound of the distance in pixels it was trained with, such as 6."
        self.add(_BOUND, _FACTS["dt_bound"], tooltip=tip, hint="not given")
        titles = [(title, scope) for scope, (title, _) in SCOPES.items()]
        scopes = self.add("scope", "Region", value="frame", choices=titles).native
        for index, (_, tip) in enumerate(SCOPES.values()):
            scopes.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self.draw_button = QPushButton("Draw a region")
        self.draw_button.setToolTip(
            "Drag a rectangle over the part of this frame to predict; several count as one box."
        )
        rows.addRow(self.draw_button)
        hint = "folder of stacks"
        self.add("folder", "Input folder", widget_type=PathEdit, mode=FOLDER, placeholder=hint)
        hint = "folder for the results"
        self.add("output", "Output folder", widget_type=PathEdit, mode=FOLDER, placeholder=hint)
        self.changed.connect(self._follow)
        for emitter in (session.model_changed, session.annotation_changed, session.project_changed):
            lifetime.connect(emitter, self._show_model)
        self.ask(())
        self._show_model()
        self._show_scope()

    def _follow(self, name: str) -> None:
        if name == "model":
            self.ask(())  # what an original file does not hold is asked for anew
            self._session.choose_model(self.value("model"))
        elif name == "scope":
            self._show_scope()
        elif name == "folder":
            self._suggest_output()

    # the model

    def _take_own(self) -> None:
        session = self._session
        if session.own_model is not None:
            session.set_model(session.own_model, session.annotation, session.project)

    def _show_model(self, _what: Any = None) -> None:
        """Show which model predicts, and offer that of the labels where it is another one."""
        model, own = self._session.model, self._session.own_model
        if self.value("model") != model:
            self.ask(())
            self.show({"model": model})
        self._show_words()
        self._examine(model)
        self.own_button.setText("" if own is None else f"Use the model of these labels: {own.name}")
        self.own_button.setVisible(own is not None and own != model)

    def _examine(self, model: Path | None) -> None:
        """Ask at once for what a file of the original J-Net does not hold."""
        file = (model, model.stat().st_mtime_ns) if model is not None and model.is_file() else None
        if file == self._examined:
            return
        self._examined = file
        if model is not None and file is not None:
            self._background.submit(
                lambda: facts_wanted(model),
                lambda wanted: self.ask(*wanted) if self._examined == file else None,
            )

    def _show_words(self) -> None:
        text = f"A network of the original J-Net. {self._wanted()}" if self._missing else ""
        self.words.setText(text or model_words(self._session.model))

    def _wanted(self) -> str:
        titles = " and ".join(_FACTS[name] for name in self._missing)
        return f"Its file does not hold all that it was trained with: fill in {titles}."

    def ask(self, missing: tuple[str, ...], levels: int = 0) -> None:
        """Show the fields for what a model file does not hold."""
        self._missing = missing
        self._show_words()
        self.set_visible(_LEVELS, "resolution_levels" in missing)
        self.set_visible(_BOUND, "dt_bound" in missing)
        if levels:
            such = ", ".join(str(level) for level in range(1 - levels, 1))
            self[_LEVELS].native.setPlaceholderText(f"{levels} levels, such as {such}")

    def set_facts(self, levels: tuple[int, ...] | None, bound: float | None) -> None:
        """Fill in what an original file does not hold."""
        self.set({_LEVELS: levels or (), _BOUND: bound})

    @property
    def facts(self) -> dict[str, Any]:
        """Arguments of `load_model` beside the path.

        Raises
        ------
        ValueError
            If a value does not fit, or something is not filled in that the file does not hold.
        """
        given = Config().replace({_LEVELS: self.value(_LEVELS), _BOUND: self.value(_BOUND)})
        facts = {
            "resolution_levels": given.network.resolution_levels or None,
            "dt_bound": given.targets.dt_bound,
        }
        if any(not facts[name] for name in self._missing):
            raise ValueError(f"This is a network of the original J-Net. {self._wanted()}")
        return facts

    # what is predicted

    def _show_scope(self) -> None:
        scope = self.value("scope")
        self["scope"].native.setToolTip(SCOPES[scope][1])
        self.draw_button.setVisible(scope == "region")
        for name in ("folder", "output"):
            self.set_visible(name, scope == "folder")

    def _suggest_output(self) -> None:
        """Suggest a folder for the results beside that of the stacks, unless one was chosen."""
        folder = self.value("folder")
        if folder is not None and self.value("output") in (None, self._suggested):
            self._suggested = folder.with_name(f"{folder.name} cells")
            self.show({"output": self._suggested})

    def folders(self) -> tuple[Path, Path]:
        """Return the folder of the stacks and that of the results; raises `ValueError`."""
        folder, output = self.value("folder"), self.value("output")
        if folder is None or output is None:
            what = "of the stacks" if folder is None else "for the results"
            raise ValueError(f"There is no folder {what}; choose one.")
        return folder, output


def separation_form(rows: QFormLayout) -> Form:
    """Return sliders for the thresholds; its `throttled` comes while they move."""
    form = Form(rows)
    slider: dict[str, Any] = {"widget_type": "FloatSlider", "step": 0.01}
    form.add("instances.segmentation_threshold", "Segmentation", **slider)
    form.add("instances.seed_threshold", "Seed threshold", **slider)
    form.add("instances.min_size", "Minimum size", widget_type="Slider", max=_LARGEST_MIN_SIZE)
    form.add("instances.fill_holes", "Fill holes")
    return form
