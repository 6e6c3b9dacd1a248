"""The dock widget that predicts cells, separates them with sliders and copies them to the annotation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QTextBrowser,
    QVBoxLayout,
)

from napari_jnet.cli.recipe import predict_command
from napari_jnet.config import SMALLEST_DIAMETER, Config, InstanceConfig
from napari_jnet.editing import copy_cells, copy_classes
from napari_jnet.events import FramePrediction, FrameSkipped, Message, summarize_skipped
from napari_jnet.io.run_folder import PACKAGED, packaged_name
from napari_jnet.io.stack import Stack, plane_name
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.predict import (
    SCOPES,
    ModelCache,
    ModelReady,
    PredictionRequest,
    Resegmentation,
    circle_diameter,
    circle_layer,
    draw_circle,
    draw_region,
    exporting,
    make_request,
    predicting,
    predicting_folder,
)
from napari_jnet.plugin.jobs.runner import JobMaker, Progress
from napari_jnet.plugin.jobs.torch_loading import load_torch_soon
from napari_jnet.plugin.layers.add import (
    CONFIDENCE_COLOURS,
    RESULTS,
    ModelOutputs,
    Prediction,
    add_results,
    is_hidden,
    set_hidden,
    set_visible,
)
from napari_jnet.plugin.layers.edit import read_plane, replace_plane
from napari_jnet.plugin.layers.read import (
    current_index,
    image_stack,
    kind_of,
    layer_classes,
    metadata,
    pixels,
    position_of,
    result_of,
)
from napari_jnet.plugin.pages.correct import CorrectionBar
from napari_jnet.plugin.pages.review import ReviewBar
from napari_jnet.plugin.ui.form import EITHER, FOLDER, Form, PathEdit
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.widgets import LayerCombo, lay_out, plural, push_button, small_label
from napari_jnet.plugin.workspace import Lifetime, Workspace
from napari_jnet.project.runs import read_run


def describe_model(path: Path | None) -> str:
    """Describe the model of a path, for the line below it; reads small files only."""
    if path is None or packaged_name(path):
        card = f'<a href="card" style="color: {_LINK}">what it is for</a>'
        if path is not None:
            return f"Starter: finds cells and nuclei of any size ({card})."
        return f"No model yet: Predict takes the starter, for cells of any size ({card})."
    if not path.exists():
        return f"{path} does not exist; choose another one."
    if path.is_dir() and not (path / "model.pt").is_file():
        return f"{path.name} holds no model.pt yet; it is written after the first epochs."
    run = read_run(path if path.is_dir() else path.parent)
    if not run.epochs:
        return f"{path.name}: a model without the history of its training."
    from napari_jnet.cli.info import describe_run  # with all that a command line needs

    return f"{run.name}: {describe_run(run)}."


_LEVELS, _BOUND = "network.resolution_levels", "targets.dt_bound"
_NOT_GIVEN: dict[str, Any] = {_LEVELS: (), _BOUND: None}
_DIAMETER = "prediction.diameter"
_LARGEST_MIN_SIZE = 5000
_CARD_SIZE = (640, 520)
_LINK = "#6a9ae6"  # seen on dark and on bright


class PredictForm(Form):
    """The model of the workspace and what it predicts; what a file of the original J-Net does not hold.

    A model that is typed or browsed for is chosen in the workspace; `lifetime` ends the listening.
    """

    def __init__(self, rows: QFormLayout, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__(rows)
        self._workspace = workspace
        hint = "run folder or model file"
        self.add("model", "Model", widget_type=PathEdit, mode=EITHER, placeholder=hint)
        self.description = small_label()
        self.description.linkActivated.connect(self.show_card)
        rows.addRow(self.description)
        tip = "Diameter of the cells in pixels; where it is empty, the network estimates it."
        self.add(_DIAMETER, "Diameter", hint="estimated", tooltip=tip)
        self.circle_button = QPushButton("Show a circle of this size")
        self.circle_button.setCheckable(True)
        self.circle_button.setToolTip("Drag a corner of the circle until it is as large as a cell.")
        rows.addRow(self.circle_button)
        tip = "The resolution levels it was trained with, lowest first."
        hint = "such as -5, -4, -3, -2, -1, 0"
        self.add(_LEVELS, "Resolution levels", tooltip=tip, hint=hint)
        tip = (
            "The distance in pixels at which its distance map was truncated in training, such as 6."
        )
        self.add(_BOUND, "Truncation distance", tooltip=tip, hint="not given")
        titles = [(title, scope) for scope, (title, _) in SCOPES.items()]
        scopes = self.add("scope", "Region", value="frame", choices=titles).native
        for index, (_, tip) in enumerate(SCOPES.values()):
            scopes.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self.draw_button = QPushButton("Draw a region")
        self.draw_button.setToolTip(
            "Drag a rectangle over the part of this frame to predict; several count as one box."
        )
        rows.addRow(self.draw_button)
        for name, title, hint in (
            ("folder", "Input folder", "folder of stacks"),
            ("output", "Output folder", 'beside it: "NAME cells"'),
        ):
            self.add(name, title, widget_type=PathEdit, mode=FOLDER, placeholder=hint)
        self.changed.connect(self._on_field)
        lifetime.connect(workspace.model_changed, self._show_model)
        lifetime.connect(workspace.image_changed, self._forget_estimate)
        self._show_model()
        self._show_scope()

    def _on_field(self, name: str) -> None:
        if name == "model":
            self.show(_NOT_GIVEN)
            self._workspace.choose_model(self._typed)
        elif name == "scope":
            self._show_scope()

    @property
    def _typed(self) -> Path | None:
        """The path in the line of the model, also of one that comes with the package."""
        path: Path | None = self.value("model")
        return PACKAGED.get(str(path), path)

    def _show_model(self, _what: Any = None) -> None:
        model = self._workspace.model
        if self._typed != model:
            self.show({"model": packaged_name(model) or model, **_NOT_GIVEN})
        self.description.setText(describe_model(model))
        for name in _NOT_GIVEN:
            self.set_visible(name, False)
        any_size = model is None or bool(packaged_name(model))
        self.set_visible(_DIAMETER, any_size)
        self.circle_button.setVisible(any_size)

    @property
    def diameter(self) -> float | None:
        """The diameter of the cells in pixels; None: as the model has it, or estimated."""
        if self._workspace.model is not None and not packaged_name(self._workspace.model):
            return None
        return Config().replace({_DIAMETER: self.value(_DIAMETER)}).prediction.diameter or None

    def show_estimate(self, diameter: float) -> None:
        """Show a diameter that was estimated; it stays until another image is chosen."""
        self.show({_DIAMETER: diameter})

    def restore_diameter(self, diameter: float) -> None:
        """Show the diameter that a project remembers, as one that was typed."""
        self.show({_DIAMETER: diameter})
        self.touched.add(_DIAMETER)

    def forget_diameter(self) -> None:
        """Have the diameter estimated, as where nobody has given one."""
        self.show({_DIAMETER: None})
        self.touched.discard(_DIAMETER)

    def _forget_estimate(self, _image: Any = None) -> None:
        if _DIAMETER not in self.touched:
            self.show({_DIAMETER: None})

    def show_card(self, _link: str = "") -> QDialog:
        """Show what the starter is, and what it is not for."""
        text = QTextBrowser()
        text.setOpenExternalLinks(True)
        text.setMarkdown(PACKAGED["starter"].with_suffix(".md").read_text(encoding="utf-8"))
        dialog = QDialog(self.description.window())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Starter")
        dialog.resize(*_CARD_SIZE)
        lay_out(QVBoxLayout(dialog), text)
        dialog.show()
        return dialog

    def ask(self, levels: int) -> None:
        """Show the fields for what a file of the original J-Net with so many levels does not hold."""
        self.description.setText(
            "A network of the original J-Net. Its file does not hold all that it was trained with: fill in "
            "Resolution levels and Truncation distance."
        )
        for name in _NOT_GIVEN:
            self.set_visible(name, True)
        such = ", ".join(str(level) for level in range(1 - levels, 1))
        self[_LEVELS].native.setPlaceholderText(f"{levels} levels, such as {such}")

    @property
    def model_options(self) -> dict[str, Any]:
        """Arguments of `load_model` beside the path; raises `ValueError` where one does not fit."""
        given = Config().replace({_LEVELS: self.value(_LEVELS), _BOUND: self.value(_BOUND)})
        return {
            "resolution_levels": given.network.resolution_levels or None,
            "dt_bound": given.targets.dt_bound,
        }

    def _show_scope(self) -> None:
        scope = self.value("scope")
        self["scope"].native.setToolTip(SCOPES[scope][1])
        self.draw_button.setVisible(scope == "region")
        for name in ("folder", "output"):
            self.set_visible(name, scope == "folder")

    def folders(self) -> tuple[Path, Path]:
        """Return the folder of the stacks and that of the results; raises `ValueError`."""
        folder = self.value("folder")
        if folder is None:
            raise ValueError("There is no folder of the stacks; choose one.")
        return folder, self.value("output") or folder.with_name(f"{folder.name} cells")


_MOST_LINES = 4


@dataclass
class PredictionSummary:
    """Counts and messages of one job, and the text about them."""

    first: str = ""
    messages: list[str] = field(default_factory=list)
    device: str = ""
    objects: str = "cell"  # or, where classes are meant, "separate piece"
    frames: int = 0
    cells: int = 0
    skipped: list[FrameSkipped] = field(default_factory=list)

    @property
    def found(self) -> str:
        """What was found, and in how many frames."""
        return f"{plural(self.cells, self.objects)} in {plural(self.frames, 'frame')}"

    def text(self, stopped: bool = False) -> str:
        """Return the first lines about the job, and how many more there are."""
        lines = [self.first] if self.first else []
        if not self.first and self.frames:
            lines.append(f"{self.found}, on the {self.device}.")
        lines += summarize_skipped(self.skipped)
        lines += self.messages
        if stopped:
            lines.insert(min(len(lines), 1), "Stopped; what is done so far is kept.")
        lines = list(dict.fromkeys(lines))
        more = [f"… and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
        return "\n".join([*lines[:_MOST_LINES], *more])


class Overlays:
    """Which result layers are visible: never over a copy of them in the annotation."""

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        self._workspace = workspace
        self._copied: set[int] = set()  # positions that were copied to the annotation
        lifetime.connect(workspace.viewer.dims.events.current_step, self._update)
        lifetime.connect(workspace.frames.changed, self._on_annotation)

    def layers(self) -> dict[str, Any]:
        """Return the result layers by their kind, the newest of each."""
        layers = self._workspace.viewer.layers
        return {
            result_of(layer): layer
            for layer in layers
            if result_of(layer) and not metadata(layer).get("earlier")
        }

    def toggle(self) -> bool:
        """Hide all, or show again what was hidden; return whether they are visible."""
        layers = list(self.layers().values())
        visible = [layer for layer in layers if layer.visible]
        for layer in visible:
            set_hidden(layer, "toggled", True)
        if visible:
            return False
        self._copied.discard(self._position())
        toggled, copied = (
            [layer for layer in layers if is_hidden(layer, reason)]
            for reason in ("toggled", "copied")
        )
        for layer in toggled or copied or layers:
            set_visible(layer, True)
        return bool(layers)

    def hide_in(self, position: int) -> None:
        """Hide what is predicted in a frame that was copied to the annotation."""
        self._copied.add(position)
        self._update()

    def show_in(self, positions: Iterable[int]) -> None:
        """Show again what is predicted in these frames."""
        self._copied.difference_update(positions)
        self._update()

    def remove_preview(self) -> None:
        """Remove the preview of the last training, which would lie over a prediction."""
        preview = self.layers().get("preview")
        if preview is not None and self._workspace.training.state == "idle":
            self._workspace.viewer.layers.remove(preview)

    def _position(self) -> int:
        results = self._workspace.prediction
        return -1 if results is None else results.shown()

    def _update(self, _event: Any = None) -> None:
        copied = self._position() in self._copied
        for kind, layer in self.layers().items():
            if kind in RESULTS:
                set_hidden(layer, "copied", copied)

    def _on_annotation(self, positions: Sequence[int]) -> None:
        """Show the cells again where their copy was undone, so that the frame is not bare."""
        info = self._workspace.frames.info
        if bare := [p for p in self._copied & set(positions) if not info(p).annotated]:
            self.show_in(bare)


def legend_text(results: Prediction | None, by_confidence: bool = False) -> str:
    """Explain the colours of the result layers, as rich text."""
    if results is None:
        return "The layers segmentation, distance and cells appear when predicted."
    outputs = results.outputs
    lines = []
    if results.classes is not None:
        classes = layer_classes(results.classes)[1:]
        marks = (f'<span style="color:{color}">■</span> {name}' for name, color in classes)
        lines.append(f"classes: {' &nbsp; '.join(marks) or 'most probable class'}")
    each = "each separate piece" if outputs.semantic else "each cell"
    if by_confidence:
        marks = (f'<span style="color:{c}">■</span> {sure:g}' for sure, c in CONFIDENCE_COLOURS)
        lines.append(f"cells: their confidence &nbsp; {' &nbsp; '.join(marks)}")
    else:
        lines.append(f"cells: {each} its own colour")
    lines.append(f"segmentation: {'all but background' if outputs.semantic else 'pixels of cells'}")
    if results.distance is not None:
        pixels = f"to the nearest boundary, 0 to {results.dt_bound:g} px"
        depth = "depth in each cell, 0 at its boundary to 1 at its deepest"
        lines.append(f"distance: {depth if outputs.relative else pixels}")
    return "<br>".join(lines)


def copy_to_annotation(
    workspace: Workspace, results: Prediction, *, overwrite: bool = False
) -> tuple[bool, str]:
    """Copy what is predicted in the frame that is shown to the annotation, as one undo step.

    Nothing painted is changed but where `overwrite` says so; a frame without a role becomes a training frame.
    Returns whether anything was copied, and a message; raises `ValueError` if this frame is not predicted,
    or the annotation is of another image.
    """
    index = current_index(workspace.viewer, results.image)
    position = position_of(index)
    name = workspace.frames.frame_name(results.stack.frame_numbers[position])
    if len(index) > 1:
        name = plane_name(name, index[1], results.stack.shape[0])
    if position not in results.done:
        raise ValueError(f"{name} is not predicted yet; predict this frame first.")
    annotation = _target_annotation(workspace, results)
    kind = kind_of(annotation) or LabelKind.INSTANCES
    before = read_plane(annotation, index)
    cells = read_plane(results.cells, index)
    note = ""
    if kind is LabelKind.INSTANCES:
        copied = copy_cells(before, cells, overwrite=overwrite)
        after, what = copied.plane, plural(copied.copied, "cell")
        if copied.skipped:
            note = f"{copied.skipped} skipped: their place is painted already."
        if copied.unknown:
            note += (
                f" {copied.unknown} of them as unknown: press Mark unpainted as background in Annotate "
                "first, to copy those too."
            )
    else:
        classes = cells > 0 if results.classes is None else read_plane(results.classes, index)
        after = copy_classes(before, classes.astype(np.int32), kind, overwrite=overwrite)
        # where nothing is predicted there is no background either
        known = np.zeros(before.shape, bool)
        for region in results.regions.get(position, [(slice(None), slice(None))]):
            known[region] = True
        after = np.where(known, after, before)
        what = f"{int((after != before).sum())} pixels"
        if results.classes is None:
            note = "These labels are of classes, so all cells became one class."
    changed = bool(replace_plane(annotation, index, after))
    annotation.visible = True
    workspace.viewer.layers.selection.active = annotation
    if not changed:
        return False, f"Nothing is copied ({name}). {note or 'All of it is painted already.'}"
    if not workspace.frames.info(position).role:
        # on validation the score would be optimistic: it is copied from the model
        workspace.frames.set_roles({position: "training"})
    text = f"{what} copied into {annotation.name!r} ({name}); undo with Ctrl+Z. {note}"
    return True, text.strip()


def _target_annotation(workspace: Workspace, results: Prediction) -> Any:
    """Return the layer to copy into, which is never the predicted cells themselves; make one if needed."""

    def fits(layer: Any) -> bool:
        return tuple(pixels(layer).shape) == results.probability.shape

    annotation = workspace.annotation
    if annotation is None or result_of(annotation):
        fitting = [layer for layer in workspace.labels() if not result_of(layer) and fits(layer)]
        if fitting:
            workspace.choose("annotation", fitting[-1])
            return fitting[-1]
        if workspace.image is not results.image:
            workspace.choose("image", results.image)
        if results.classes is None:
            layer = workspace.new_annotation()
        else:
            layer = workspace.new_annotation(LabelKind.CLASSES, results.outputs.classes)
        layer.mode = "pan_zoom"
        return layer
    if not fits(annotation):
        raise ValueError(
            f"The annotation {annotation.name!r} has shape {pixels(annotation).shape}, the predicted "
            f"image {results.image.name!r} {results.probability.shape}; both must cover the same "
            "pixels. Choose the annotation of this image."
        )
    return annotation


_NARROW = 300
_FIRST_CIRCLE = 30.0  # px, where nothing is given or estimated yet
_SAME_DIAMETER = 0.1  # px
_TORCH_DELAY_MS = 500  # first the widget itself appears


class PredictWidget(JobWidget):
    """Predicts part of a frame, frames or folders; sliders separate the cells again at once."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._model_cache = ModelCache()
        self._brought = False
        self._summary = PredictionSummary()
        self._target: tuple[Any, Stack, PredictionRequest] | None = None  # None: no layer changes
        self._writing: Prediction | None = None  # of the job under way
        self._output = Path()  # of a folder of stacks
        self._chosen = InstanceConfig()  # given in it: what somebody moved; the rest is the model's
        self._instances = self._chosen  # of the job
        self._own_instances = InstanceConfig()  # of the last model
        self._of_project = False  # whether sliders and diameter are those of a project
        self._threshold = InstanceConfig().segmentation_threshold
        self.resegmentation = Resegmentation(self.show_error)
        self._lifetime.at_end(self.resegmentation.close)
        self.overlays = Overlays(self._workspace, self._lifetime)
        self._add_input()
        self._add_sliders()
        self._add_corrections()
        self._add_outputs()
        self.column.addStretch(1)
        actions: dict[str, Callable[[], Any]] = {
            "predict": self.predict_this_frame,
            "use_as_annotation": self.copy_to_annotation,
            "toggle_overlays": self.overlays.toggle,
        }
        self._lifetime.at_end(self._workspace.commands.attach(actions))

    def _add_input(self) -> None:
        rows = self._group("Predict")
        self.image_combo = LayerCombo(self._workspace, "image", self._lifetime)
        self.image_combo.setToolTip("The image to segment; the active image is chosen at first.")
        rows.addRow("Image", self.image_combo)
        self.form = PredictForm(rows, self._workspace, self._lifetime)
        self.form.draw_button.clicked.connect(self.draw_region)
        self.form.circle_button.toggled.connect(self._show_circle)
        self._lifetime.connect(self._viewer.layers.events.removed, self._on_removed)
        self.form.changed.connect(self._on_form)
        tip = "Run the network in the background; Stop keeps what is done."
        self.predict_button = push_button("Predict", tip, self.run)
        self._add_starters(self.predict_button)

    def _add_sliders(self) -> None:
        self.legend = small_label(legend_text(None))
        self.legend.setToolTip(self._workspace.commands.tooltip("toggle_overlays"))
        self._lifetime.connect(self._workspace.prediction_changed, self._show_legend)
        rows = self._group("Separate cells")
        self.separation = Form(rows)
        slider: dict[str, Any] = {"widget_type": "FloatSlider", "step": 0.01}
        self.separation.add("instances.segmentation_threshold", "Segmentation", **slider)
        self.separation.add("instances.seed_threshold", "Seed threshold", **slider)
        slider = {"widget_type": "Slider", "max": _LARGEST_MIN_SIZE}
        self.separation.add("instances.min_size", "Minimum size", **slider)
        slider = {"widget_type": "FloatSlider", "step": 0.01}
        self.separation.add("instances.min_confidence", "Lowest confidence", **slider)
        self.separation.add("instances.fill_holes", "Fill holes")
        self.separation.changed.connect(self._on_moved)
        self.separation.throttled.connect(self._on_sliders)
        self._lifetime.connect(self._workspace.project_changed, self._on_project)
        self._on_project(self._workspace.project)
        rows.addRow(self.legend)

    def _add_corrections(self) -> None:
        rows = self._group("Look through, use and correct")
        self.review_bar = ReviewBar(self._workspace, self.attempt, self.message.say)
        self.review_bar.color_check.toggled.connect(self._show_legend)
        rows.addRow(self.review_bar)
        tip = self._workspace.commands.tooltip("use_as_annotation")
        self.use_button = push_button("Use as annotation", tip, self.copy_to_annotation)
        self.overwrite = QCheckBox("Overwrite existing labels")
        self.overwrite.setToolTip(
            "Off by default: what you painted stays, and predicted cells in its place are skipped."
        )
        rows.addRow(lay_out(QHBoxLayout(), self.use_button, self.overwrite))
        corrections = CorrectionBar(self._workspace)
        corrections.setMinimumWidth(_NARROW)  # its buttons may be narrower than they ask for
        rows.addRow(corrections)

    def _show_legend(self, _change: Any = None) -> None:
        by_confidence = self.review_bar.color_check.isChecked()
        self.legend.setText(legend_text(self.results, by_confidence))

    def _add_outputs(self) -> None:
        tip = (
            "Write the predicted frames to a folder: probability, distance and cells as TIFF, and "
            "for a Cell Tracking Challenge sequence its result folder."
        )
        export = partial(self.attempt, self._choose_export)
        self.export_button = push_button("Save results…", tip, export)
        self._starters.append(self.export_button)
        self.column.addWidget(self.export_button)
        self.column.addWidget(self._copy_button(self.command))

    def showEvent(self, event: QShowEvent) -> None:
        """Load torch once the widget is on the screen, so that the first frame comes sooner."""
        super().showEvent(event)
        QTimer.singleShot(_TORCH_DELAY_MS, load_torch_soon)

    # what scripts use

    @property
    def results(self) -> Prediction | None:
        """The results of the last prediction into layers, or None."""
        return self._workspace.prediction

    def set_model(
        self,
        path: Path | str,
        *,
        resolution_levels: tuple[int, ...] | None = None,
        dt_bound: float | None = None,
    ) -> None:
        """Choose a run folder or a model file; the rest is for files of the original J-Net only."""
        self._workspace.choose_model(Path(path) if str(path) else None)
        self.form.set({_LEVELS: resolution_levels or (), _BOUND: dt_bound})

    def draw_region(self, *_: Any) -> None:
        """Prepare to drag a rectangle over the part to predict, as the button does."""
        self.form.set({"scope": "region"})
        self.attempt(lambda: draw_region(self._viewer, self._image()[0]))

    def _show_circle(self, shown: bool) -> None:
        """Show the circle of the diameter, or take it away."""
        viewer = self._viewer
        before = circle_layer(viewer)
        if not shown:
            if before is not None:
                viewer.layers.remove(before)
            return

        def show() -> None:
            layer = draw_circle(viewer, self._image()[0], self.form.diameter or _FIRST_CIRCLE)
            viewer.layers.selection.active = layer
            layer.events.data.connect(self._on_circle)

        self.attempt(show)
        self._on_removed()

    def _on_removed(self, _event: Any = None) -> None:
        """Release the button of the circle where there is none, as where its layer was deleted."""
        if circle_layer(self._viewer) is None:
            self.form.circle_button.setChecked(False)

    def _on_circle(self, _event: Any = None) -> None:
        """Take the diameter of the circle that was dragged."""
        layer = circle_layer(self._viewer)
        found = None if layer is None else circle_diameter(layer)
        if found is not None and abs(found - (self.form.diameter or 0)) >= _SAME_DIAMETER:
            self.form.set({_DIAMETER: round(found, 1)})

    def _on_form(self, name: str) -> None:
        if name == _DIAMETER:
            self.attempt(self._follow_diameter)
            self.attempt(self._save_diameter)

    def _follow_diameter(self) -> None:
        """Draw the circle, where it is shown, as large as the number says."""
        layer, diameter = circle_layer(self._viewer), self.form.diameter
        if layer is None or diameter is None:
            return
        drawn = circle_diameter(layer)
        if drawn is None or abs(drawn - diameter) >= _SAME_DIAMETER:
            with layer.events.data.blocker():
                draw_circle(self._viewer, self._image()[0], diameter)

    def run(self, scope: str | None = None) -> None:
        """Predict a scope of `SCOPES`, or the one that is chosen; problems are shown in the widget."""
        if self.running:
            return
        scope = scope or self.form.value("scope")
        self._expect()
        try:
            job, title = self._job(scope)
        except ValueError as error:
            self.show_error(error)
            self.finished.emit("failed")
            return
        self._start(job, title)

    def predict_this_frame(self) -> None:
        """Predict the frame that is shown, as the key does."""
        self.run("frame")

    def copy_to_annotation(self) -> None:
        """Copy the predicted cells of this frame to the annotation, as the button does."""
        self.attempt(self._copy_to_annotation)

    def export(self, folder: Path | str) -> None:
        """Write the predicted frames to a folder, and return when they are written; raises `ValueError`."""
        for _ in exporting(self._predicted(), Path(folder)):
            pass

    def command(self) -> str:
        """Return the line for a terminal that predicts the same frames, whole, from files to files.

        Raises `ValueError` without a model or image, for an image in no file, and for a folder of stacks.
        """
        path, options = self.model()
        scope, project = self.form.value("scope"), self._workspace.project
        if scope == "folder":
            raise ValueError(
                "A folder of stacks is predicted by one command a stack; choose another Region "
                "and repeat the command for each of them."
            )
        image, stack = self._image()
        request = make_request(scope, self._workspace, image, stack)
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
        return predict_command(
            path,
            source,
            output,
            choices=choices,
            numbers=request.numbers,
            instances=self._chosen,
            diameter=self.form.diameter,
            options=options,
        )

    def model(self) -> tuple[Path, dict[str, Any]]:
        """Return the model that predicts, the starter where none is chosen, and arguments of `load_model`."""
        return self._workspace.model or PACKAGED["starter"], self.form.model_options

    # what the buttons and sliders do

    def _expect(self, first: str = "") -> None:
        """Forget the last job; ``first`` is the first line of the message at the end of the next."""
        self._summary = PredictionSummary(first)
        self._target = self._writing = None
        self._instances = self._chosen

    def _job(self, scope: str) -> tuple[JobMaker, str]:
        open_model = partial(self._model_cache.open, *self.model())
        diameter = self.form.diameter
        if scope == "folder":
            folder, self._output = self.form.folders()
            job = predicting_folder(open_model, folder, self._output, self._instances, diameter)
            return job, f"predicting the stacks in {folder}"
        image, stack = self._image()
        request = make_request(scope, self._workspace, image, stack)
        self._target = image, stack, request
        job = predicting(open_model, stack, request, self._instances, diameter)
        if self._workspace.model is None:  # what is corrected of its cells is learned by it
            self._workspace.choose_model(PACKAGED["starter"])
        return job, f"predicting {image.name}"

    def _image(self) -> tuple[Any, Stack]:
        layer = self.image_combo.layer
        if layer is None:
            raise ValueError("There is no image in the viewer; open one first.")
        return layer, image_stack(layer)

    def _copy_to_annotation(self) -> None:
        results = self._predicted()
        overwrite = self.overwrite.isChecked()
        changed, text = copy_to_annotation(self._workspace, results, overwrite=overwrite)
        if changed:
            self.overlays.hide_in(results.shown())
        self.message.say(text)

    def _choose_export(self) -> None:
        results = self._predicted()
        project, images = self._workspace.project, results.stack.path
        start = project.path if project is not None else images.parent if images is not None else ""
        name = QFileDialog.getExistingDirectory(self, "Folder for the results", str(start))
        if name:
            self._expect(f"The results are in {name}.")
            self._start(lambda: exporting(results, Path(name)), f"writing results to {name}")

    def _predicted(self) -> Prediction:
        if self.results is None or not self.results.done:
            raise ValueError("Nothing is predicted yet; press Predict first.")
        return self.results

    def _on_moved(self, name: str) -> None:
        field = name.removeprefix("instances.")
        self._chosen = self._chosen.changed(**{field: self.separation.value(name)})

    def _show_sliders(self) -> None:
        """Show what was moved, and the rest as the last model has it."""
        instances = self._own_instances.changed(**self._chosen.given())
        self.separation.config = Config(instances=instances)

    def _on_sliders(self) -> None:
        self._save_sliders()
        self._separate_again()

    def _save_sliders(self) -> None:
        project, chosen = self._workspace.project, self._chosen
        if project is not None:
            self._workspace.autosave.queue.submit(lambda: project.set_instances(chosen))

    def _save_diameter(self) -> None:
        project, chosen = self._workspace.project, self.form.diameter
        if chosen is not None and chosen < SMALLEST_DIAMETER:  # half typed
            return
        if project is not None and project.diameter != chosen:
            self._workspace.autosave.queue.submit(lambda: project.set_diameter(chosen))

    def _on_project(self, project: Any) -> None:
        """Set sliders and diameter as the project remembers them; one that does not remembers these.

        Those of a project that was open before are not for other images.
        """
        if self._of_project:
            self.form.forget_diameter()
            self._chosen = InstanceConfig()
            self._show_sliders()
        self._of_project = project is not None
        if project is None:
            return
        if project.diameter is not None:
            self.form.restore_diameter(project.diameter)
            self.attempt(self._follow_diameter)
        elif _DIAMETER in self.form.touched:
            self.attempt(self._save_diameter)
        if project.instances is not None:
            self._chosen = project.instances
            self._show_sliders()
            self._separate_again()
        elif self._chosen.given():
            self._save_sliders()

    def _separate_again(self) -> None:
        if self.results is not None and self.results.done:
            self.resegmentation.request(self.results, self.separation.config.instances)

    # what the jobs yield

    def _on_event(self, event: Any) -> None:
        handlers: Mapping[type, Callable[[Any], None]] = {
            ModelReady: self._on_model,
            FramePrediction: self._on_frame,
            FrameSkipped: self._summary.skipped.append,
            Message: lambda notice: self._summary.messages.append(notice.text),
            Progress: self._show_progress,
        }
        handlers[type(event)](event)

    def _on_model(self, event: ModelReady) -> None:
        model = event.model
        network, instances = model.config.network, model.config.instances
        targets, self._own_instances = model.config.targets, instances
        outputs = ModelOutputs(
            network.classes, network.distance, targets.classes, bool(targets.relative)
        )
        self._show_sliders()
        if model.config.prediction.diameter == 0 and network.diameter is not None:
            self.form.show_estimate(network.diameter)
            self._follow_diameter()
        self._threshold = instances.changed(**self._instances.given()).segmentation_threshold
        self._summary.device = model.device.type.upper()
        self._summary.objects = "separate piece" if outputs.semantic else "cell"
        if self._target is None:
            return
        image, stack, request = self._target
        before, positions = self.results, request.positions(stack)
        if before is not None:  # who shows what was found in them learns that they change
            self._workspace.prediction_changed.emit(before)
        viewer, bound = self._workspace.viewer, model.dt_bound
        self._writing = add_results(
            viewer, before, image, stack, bound, event.key, positions, outputs
        )
        self.overlays.show_in(positions)
        self.overlays.remove_preview()
        if before is not None and before is not self._writing and before.edited:
            self._summary.messages.append(
                "The cells that you painted on are kept in the earlier layers."
            )

    def _on_frame(self, event: FramePrediction) -> None:
        self._summary.frames += 1
        self._summary.cells += int(event.instances.max(initial=0))
        results = self._writing
        if results is None or self._target is None:
            return
        results.write(event, self._threshold)
        self._workspace.prediction = results
        if event.position in results.edited:
            self._summary.messages.append(
                "What you painted on while this ran is kept as it is, without new cells."
            )
        frames = self._workspace.frames
        of_the_table = results.image is self._workspace.image and event.position < len(frames)
        if event.region is None and of_the_table:
            from napari_jnet.inference.confidence import frame_uncertainty

            frames.set_uncertainty({event.position: frame_uncertainty(event.segmentation)})

    def _on_error(self, error: Exception) -> None:
        if levels := getattr(error, "levels", 0):  # of a file of the original J-Net
            self.form.ask(levels)
            error = ValueError(self.form.description.text())
        super()._on_error(error)

    def _on_done(self, value: tuple[int, int] | None) -> None:
        if value is not None:
            stacks, skipped = value
            left = f"; {plural(skipped, 'stack')} skipped" if skipped else ""
            self._summary.first = (
                f"{plural(stacks - skipped, 'stack')} predicted, {self._summary.found}{left}. "
                f"The results are in {self._output}."
            )
        super()._on_done(value)

    def _end(self, outcome: str) -> None:
        results = self._writing
        if outcome != "failed":
            self.message.say(self._summary.text(outcome == "stopped"))
            if self.results is not None and not self._brought:  # once: one knows then where it is
                self._brought = True
                self.bring_into_sight(self.use_button)
        if results is not None:
            chosen = self.separation.config.instances
            if self._instances.given() != self._chosen.given():  # moved meanwhile
                self.resegmentation.request(results, chosen)
            elif met := [p for p, regions in results.regions.items() if len(regions) > 1]:
                self.resegmentation.request(results, chosen, met)
        super()._end(outcome)
