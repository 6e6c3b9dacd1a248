"""The settings of a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QPushButton

from napari_jnet.config import Config
from napari_jnet.plugin.jobs.predict import SCOPES, facts_wanted
from napari_jnet.plugin.jobs.runner import TaskQueue
from napari_jnet.plugin.ui.form import EITHER, FOLDER, Form, PathEdit
from napari_jnet.plugin.ui.widgets import small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace
from napari_jnet.project.runs import RunSummary, read_run


def model_words(path: Path | None) -> str:
    """Say which model a path means, for the line below it; reads small files only.

    Parameters
    ----------
    path
        A run folder or a model file; None where none is chosen.
    """
    if path is None:
        return "No model yet: train one, or choose a run folder or a model file."
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and not (path / "model.pt").is_file():
        return f"{path.name} holds no model.pt yet; it is written after the first epoch."
    if not path.exists():
        return f"{path} is not there; choose another one."
    run = read_run(folder)
    if (
        not run.epochs
        and (folder / "config.json").is_file()
        and path.name in ("model.pt", run.name)
    ):
        return (
            f"Run {run.name}{_when(run)}, stopped before its first epoch was over: not scored yet."
        )
    if not run.epochs:
        return f"{path.name}: a single model file, without the history of its training."
    return f"Run {run.name}{_when(run)}{_learned(run)}{_scores(run)}"


def _when(run: RunSummary) -> str:
    if run.when is None:
        return ""
    return f", trained {run.when.day} {run.when:%b %H:%M}"  # %-d is unknown on Windows


def _learned(run: RunSummary) -> str:
    time = f"{run.elapsed_s / 60:.0f} min" if run.elapsed_s >= 60 else f"{run.elapsed_s:.0f} s"
    frames = _count(len(run.training_frames), "frame")
    return f", {time} on {frames}." if run.training_frames else f", {time}."


def _scores(run: RunSummary) -> str:
    known = {"SEG": run.seg, "IoU": run.iou}
    words = ", ".join(f"{name} {score:.2f}" for name, score in known.items() if score is not None)
    if not words:
        return " Never scored: no frame was kept for validation."
    return f" {words} on {_count(len(run.validation_frames), 'validation frame')}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


_LARGEST_MIN_SIZE = 5000


_LEVELS, _BOUND = "network.resolution_levels", "targets.dt_bound"


_FACTS = {"resolution_levels": "Resolution levels", "dt_bound": "Distance bound"}


class PredictForm(Form):
    """The model of the session and what it predicts; what a file of the original J-Net does not hold.

    Parameters
    ----------
    rows
        Gets the rows.
    workspace
        Of the viewer.  What is typed or browsed for is chosen there, and what is chosen there is shown.
    lifetime
        Ends the listening.
    """

    def __init__(self, rows: QFormLayout, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__(rows)
        self._workspace = workspace
        self._missing: tuple[str, ...] = ()
        self._examined: tuple[Path, int] | None = None
        self._suggested: Path | None = None
        self._background = TaskQueue("napari-jnet model")
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
        for emitter in (
            workspace.model_changed,
            workspace.annotation_changed,
            workspace.project_changed,
        ):
            lifetime.connect(emitter, self._show_model)
        self.ask(())
        self._show_model()
        self._show_scope()

    def _follow(self, name: str) -> None:
        if name == "model":
            self.ask(())  # what an original file does not hold is asked for anew
            self._workspace.choose_model(self.value("model"))
        elif name == "scope":
            self._show_scope()
        elif name == "folder":
            self._suggest_output()

    # the model

    def _take_own(self) -> None:
        workspace = self._workspace
        if workspace.own_model is not None:
            workspace.set_model(workspace.own_model, workspace.annotation, workspace.project)

    def _show_model(self, _what: Any = None) -> None:
        """Show which model predicts, and offer that of the labels where it is another one."""
        model, own = self._workspace.model, self._workspace.own_model
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
        self.words.setText(text or model_words(self._workspace.model))

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
