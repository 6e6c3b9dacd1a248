"""The dock widget that predicts cells, shows them, separates them with sliders and hands them on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPixmap, QShowEvent
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_jnet.cli.recipe import PredictRecipe, predict_command, predict_script
from napari_jnet.config import Config, InstanceConfig
from napari_jnet.editing import adopt_classes, adopted
from napari_jnet.events import FramePrediction, FrameSkipped, Notice, summarize_skipped
from napari_jnet.io.stack import Stack, frame_label, plane_name
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.predict import (
    BatchEnd,
    BatchFrame,
    ClassPixels,
    Exported,
    LayerWanted,
    ModelCache,
    ModelReady,
    Resegmentation,
    Unsure,
    Work,
    draw_region,
    exporting,
    predicting,
    predicting_folder,
    work,
)
from napari_jnet.plugin.jobs.torch_loading import load_torch_soon
from napari_jnet.plugin.layers.add import Prediction, add_results, new_annotation
from napari_jnet.plugin.layers.edit import read_plane, replace_plane
from napari_jnet.plugin.layers.read import current_index, image_stack, kind_of, layer_legend, pixels
from napari_jnet.plugin.pages.correct import CorrectionBar
from napari_jnet.plugin.pages.frames import percent
from napari_jnet.plugin.pages.predict_form import PredictForm, separation_form
from napari_jnet.plugin.ui.form import Form
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.widgets import LayerCombo, MessageLine, small_label
from napari_jnet.plugin.workspace import (
    METADATA_KEY,
    Lifetime,
    Workspace,
    result_of,
    switch,
    switching,
)

if TYPE_CHECKING:
    import napari


_MOST = 4  # lines


@dataclass
class PredictionSummary:
    """Counts and notices of one job; the first notice is what scripts and users look for."""

    first: str = ""
    notices: list[str] = field(default_factory=list)
    device: str = ""
    frames: int = 0
    cells: int = 0
    left_out: list[FrameSkipped] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)  # pixels of each, background first

    def add(self, text: str) -> None:
        """Add a notice."""
        self.notices.append(text)

    def count(self, cells: int) -> None:
        """Count a frame and its cells."""
        self.frames += 1
        self.cells += cells

    def count_classes(self, pixels: Mapping[str, int]) -> None:
        """Count the pixels of each class of a frame; then their shares are said, not cells."""
        for name, count in pixels.items():
            self.classes[name] = self.classes.get(name, 0) + count

    def _found(self) -> str:
        if not self.classes:
            return _count(self.cells, "cell")
        whole = sum(self.classes.values())
        background, *others = self.classes
        shares = [f"{name} {percent(self.classes[name], whole)}" for name in (*others, background)]
        return ", ".join(shares)

    def end_batch(self, stacks: int, skipped: int, output: Path | None) -> None:
        """Say how a folder of stacks went."""
        good = stacks - skipped
        left = f"; {_count(skipped, 'stack')} left out" if skipped else ""
        self.first = (
            f"{_count(good, 'stack')} predicted, {_count(self.frames, 'frame')}, "
            f"{self._found()}{left}. The results are in {output}."
        )

    def text(self, in_region: bool, stopped: bool) -> str:
        """Return the first lines of what there is to say, and how many more there are."""
        lines = [self.first] if self.first else []
        if not self.first and self.frames:
            where = " in a region" if in_region else ""
            on = f", on the {_short(self.device)}" if self.device else ""
            of = "of" if self.classes else "in"
            lines.append(f"{self._found()} {of} {_count(self.frames, 'frame')}{where}{on}.")
        lines += summarize_skipped(self.left_out)
        lines += self.notices
        if stopped:
            lines.insert(min(len(lines), 1), "Stopped; what is done so far is kept.")
        lines = list(dict.fromkeys(lines))
        more = [f"… and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
        return "\n".join([*lines[:_MOST], *more])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _short(device: str) -> str:
    """Return the first words of a device: "CPU, 1 thread(s): torch is ..." -> "CPU"."""
    return re.split(r"[,:(]", device)[0].strip()


OVERLAYS: dict[str, str] = {
    "classes": "most probable class",
    "cells": "each cell its own colour",
    "segmentation": "where the network sees cell",
    "distance": "to the nearest boundary",
    "preview": "what training sees now",
    "errors": "missed, false, split, merged",
}


"""Kind of result -> what it shows, in the order of the legend."""


_COVERING = {"cells", "segmentation", "distance", "classes", "preview"}


"""What would lie over an annotation made of it."""


_PATCH_WIDTH, _PATCH_HEIGHT = 36, 12


class Visibility:
    """Which overlays are shown; remembered for the layers of the next prediction.

    Parameters
    ----------
    workspace
        Of the viewer.
    lifetime
        Of the widget that asks.
    """

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        self._workspace = workspace
        self._wanted: dict[str, bool] = {}
        self._put_away: set[str] = set()  # by `toggle`
        # position that has become annotation -> kinds that the user wants to see there all the same
        self._away: dict[int, set[str]] = {}
        self._hidden: set[str] = set()  # kinds, in the frame that is shown
        self._preview_away = False
        viewer = workspace.viewer
        self._watched = Lifetime()
        lifetime.at_end(self._watched.end)
        lifetime.connect(viewer.layers.events.inserted, self._inserted)
        lifetime.connect(viewer.dims.events.current_step, self._moved)
        lifetime.connect(workspace.frames.changed, self._annotation_changed)
        lifetime.connect(workspace.training_changed, self._training_changed)

    def layers(self) -> dict[str, Any]:
        """Return the overlays that are there, the newest of each kind, in the order to show."""
        found = {}
        for layer in self._workspace.viewer.layers:
            told = layer.metadata.get(METADATA_KEY, {})
            if told.get("result") in OVERLAYS and not told.get("earlier"):
                found[told["result"]] = layer
        return {kind: found[kind] for kind in OVERLAYS if kind in found}

    def set_visible(self, kind: str, visible: bool) -> None:
        """Show or hide the overlays of a kind, also the next ones; unknown kinds do nothing."""
        self._put_away.discard(kind)
        self._wish(kind, visible)
        if kind in (there := self.layers()):
            self._show(there[kind], visible)

    def toggle(self) -> bool:
        """Hide all overlays, or show again what was hidden; return whether they are shown."""
        there = self.layers()
        shown = {kind for kind, layer in there.items() if layer.visible}
        if shown:
            self._put_away = shown
        wanted = set() if shown else (self._put_away or self._hidden or set(there)) & set(there)
        for kind in wanted & self._hidden:
            self._ask_for(kind)
        for kind in shown or wanted:
            self._show(there[kind], kind in wanted)
        if not shown:
            self._put_away = set()
        return bool(wanted)

    def hide_in(self, position: int) -> None:
        """Hide what was predicted in a frame that has become annotation; a switch brings it back."""
        self._away[position] = set()
        self._moved()

    def show_in(self, positions: Sequence[int]) -> None:
        """Show again what is predicted in these frames."""
        for position in positions:
            self._away.pop(position, None)
        self._moved()

    def put_preview_away(self) -> None:
        """Hide what the last training saw, until the next one begins."""
        preview = self.layers().get("preview")
        if self._workspace.training.state == "idle" and preview is not None and preview.visible:
            self._preview_away = True
            self._show(preview, False)

    def _training_changed(self, status: Any) -> None:
        self._moved()
        if self._preview_away and status.state != "idle":
            self._preview_away = False
            if "preview" in (there := self.layers()):
                self._show(there["preview"], True)

    def _annotation_changed(self, positions: Sequence[int]) -> None:
        """Show the cells again where their copy was taken back, so that the frame is not bare."""
        frames = self._workspace.frames
        bare = [p for p in self._away.keys() & set(positions) if not frames.info(p).annotated]
        if bare:
            self.show_in(bare)

    def _wish(self, kind: str, visible: bool) -> None:
        """Remember what the user wants to see."""
        self._wanted[kind] = visible
        if kind == "preview":
            self._preview_away = False
        if visible and kind in self._hidden:
            self._ask_for(kind)

    def _ask_for(self, kind: str) -> None:
        self._away.get(self._position(), set()).add(kind)
        self._hidden.discard(kind)

    def _position(self) -> int:
        results = self._workspace.prediction
        return -1 if results is None else results.shown()

    def _moved(self, _event: Any = None) -> None:
        if not self._away and not self._hidden:
            return
        there, asked_for = self.layers(), self._away.get(self._position())
        if "errors" in there and there["errors"].visible:
            return  # alone: what is hidden now comes back with the end of the errors
        hide = set()
        if asked_for is not None:
            seen = {k for k, layer in there.items() if layer.visible or k in self._hidden}
            hide = (seen & _COVERING) - asked_for
            if self._workspace.training.state != "idle":
                hide.discard("preview")  # it is watched
        back, self._hidden = self._hidden - hide, hide
        for kind in (back | hide) & there.keys():
            self._show(there[kind], kind in back)

    def _show(self, layer: Any, visible: bool) -> None:
        if layer.visible != visible:
            switch(layer, visible)

    def _inserted(self, event: Any) -> None:
        layer = event.value
        kind = result_of(layer)
        if kind not in OVERLAYS:
            return
        if kind == "cells":
            self._away, self._hidden = {}, set()
        if kind in self._wanted:
            layer.visible = self._wanted[kind]
        self._watched.connect(layer.events.visible, self._switched)

    def _switched(self, event: Any) -> None:
        """Remember what the user switched, here or in the list of layers."""
        layer = event.source
        if switching(layer) or layer.metadata.get(METADATA_KEY, {}).get("earlier"):
            return
        self._wish(result_of(layer), layer.visible)


class OverlayPanel(QWidget):
    """A legend of the overlays with one switch for each.

    Parameters
    ----------
    workspace
        Of the viewer.
    lifetime
        Of the widget that holds it.
    """

    changed = Signal()  # other overlays are there

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__()
        self.visibility = Visibility(workspace, lifetime)
        self.switches: dict[str, QCheckBox] = {}
        self._connected = Lifetime()
        lifetime.at_end(self._connected.end)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(2, 1)
        self._empty = small_label("Segmentation, distance and cells appear here when predicted.")
        self._grid.addWidget(self._empty, 0, 0, 1, 3)
        events = workspace.viewer.layers.events
        for emitter in (events.inserted, events.removed):
            lifetime.connect(emitter, self._rebuild)
        self._rebuild()

    def _rebuild(self, _event: Any = None) -> None:
        there = self.visibility.layers()
        self._connected.end()
        for row in range(self._grid.rowCount()):
            for column in range(3):
                item = self._grid.itemAtPosition(row, column)
                widget = None if item is None else item.widget()
                if widget is not None and widget is not self._empty:
                    self._grid.removeWidget(widget)
                    widget.deleteLater()
        self.switches = {}
        self._empty.setVisible(not there)
        for row, (kind, layer) in enumerate(there.items(), start=1):
            self._add_row(row, kind, layer)
        self.changed.emit()

    def _add_row(self, row: int, kind: str, layer: Any) -> None:
        switch = QCheckBox(kind)
        switch.setChecked(layer.visible)
        switch.setToolTip(f"Show or hide the layer {layer.name!r}. Its opacity is set above.")
        switch.toggled.connect(lambda on, kind=kind: self.visibility.set_visible(kind, on))
        self.switches[kind] = switch
        patch = QLabel()
        patch.setPixmap(_patch(kind, layer))
        words = small_label(_meaning(kind, layer))
        words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._grid.addWidget(switch, row, 0)
        self._grid.addWidget(patch, row, 1, Qt.AlignmentFlag.AlignVCenter)
        self._grid.addWidget(words, row, 2)

        def follow(_event: Any = None) -> None:
            with QSignalBlocker(switch):
                switch.setChecked(layer.visible)

        def repaint(_event: Any = None) -> None:
            patch.setPixmap(_patch(kind, layer))
            words.setText(_meaning(kind, layer))

        self._connected.connect(layer.events.visible, follow)
        for name in ("colormap", "contrast_limits", "features"):
            if hasattr(layer.events, name):
                self._connected.connect(getattr(layer.events, name), repaint)


def _meaning(kind: str, layer: Any) -> str:
    if kind == "distance":
        low, high = (float(limit) for limit in layer.contrast_limits)
        return f"{OVERLAYS[kind]}, {low:g} to {high:g} px"
    names = [name for name, _ in layer_legend(layer)[1:]] if hasattr(layer, "brush_size") else []
    return ", ".join(names) or layer.metadata[METADATA_KEY].get("shows") or OVERLAYS[kind]


def _patch(kind: str, layer: Any) -> QPixmap:
    """Draw the colours of a layer side by side, or the scale of an image."""
    if hasattr(layer, "brush_size"):
        count = {"cells": 6, "segmentation": 1}.get(kind) or max(len(layer_legend(layer)) - 1, 1)
        colours = [layer.get_color(number) for number in range(1, count + 1)]
    else:
        colours = list(layer.colormap.map(np.linspace(0, 1, _PATCH_WIDTH)))
    image = QImage(_PATCH_WIDTH, _PATCH_HEIGHT, QImage.Format.Format_RGB32)
    image.fill(QColor("black"))
    painter = QPainter(image)
    edges = np.linspace(0, _PATCH_WIDTH, len(colours) + 1).round().astype(int)
    for left, right, colour in zip(edges, edges[1:], colours, strict=False):
        # transparent as it is on the image, on black
        red, green, blue, alpha = (float(part) for part in np.asarray(colour).ravel()[:4])
        painter.fillRect(
            int(left), 0, int(right - left), _PATCH_HEIGHT,
            QColor.fromRgbF(red * alpha, green * alpha, blue * alpha),
        )  # fmt: skip
    painter.end()
    return QPixmap.fromImage(image)


NOTHING = "Nothing is copied"


"""What is said begins so where the annotation is as it was."""


def use_as_annotation(workspace: Workspace, results: Prediction, *, overwrite: bool = False) -> str:
    """Copy what is predicted in the frame that is shown into the annotation, as one undo step.

    An annotation layer is made where there is none.  Nothing painted is changed unless asked.  A
    frame without a role is learned from then.

    Parameters
    ----------
    workspace
        Of the viewer; has the annotation.
    results
        The prediction, with its cells as sliders and corrections left them.
    overwrite
        Also where something is painted.

    Returns
    -------
    str
        What happened, in words.

    Raises
    ------
    ValueError
        If this frame is not predicted, or the annotation is of another image.
    """
    index = current_index(workspace.viewer, results.image)
    position = index[0] if index else 0
    name = _frame_name(results, index)
    if position not in results.done:
        raise ValueError(f"{name} is not predicted yet; predict this frame first.")
    annotation = _annotation(workspace, results)
    kind = kind_of(annotation) or LabelKind.INSTANCES
    before = read_plane(annotation, index)
    cells = _plane(results.cells, index)
    if kind is LabelKind.INSTANCES:
        copied = adopted(before, cells, overwrite=overwrite)
        after, words = copied.plane, _cells_words(copied.copied, copied.left_out, copied.unknown)
    else:
        classes = cells > 0 if results.classes is None else _plane(results.classes, index)
        after = adopt_classes(before, classes.astype(np.int32), kind, overwrite=overwrite)
        # where nothing is predicted there is no background either
        known = _predicted(results, position, before.shape)
        after = np.where(known, after, before)
        words = (f"{int((after != before).sum())} pixels copied", "")
    changed = replace_plane(annotation, index, after)
    annotation.visible = True
    workspace.viewer.layers.selection.active = annotation
    what, left_out = words
    if changed and not workspace.frames.role(position):
        # on validation it would flatter the model that it is copied from
        workspace.frames.set_role(position, "training")
    if not changed:
        return f"{NOTHING} ({name}). {left_out or 'All of it is painted already.'}"
    if kind is not LabelKind.INSTANCES and results.classes is None:
        left_out = "These labels are of classes, so all cells became one class."
    return f"{what} into {annotation.name!r} ({name}); Ctrl+Z takes it back. {left_out}".strip()


def _cells_words(copied: int, left_out: int, unknown: int) -> tuple[str, str]:
    cells = "1 cell" if copied == 1 else f"{copied} cells"
    if not left_out:
        return f"{cells} copied", ""
    why = "their place is painted already"
    if unknown:
        why += " (as unknown)" if unknown == left_out else f", {unknown} of them as unknown"
    remedy = (
        " To copy those too, press Mark unpainted as background in Annotate first."
        if unknown
        else ""
    )
    return f"{cells} copied", f"{left_out} left out: {why}.{remedy}"


def _annotation(workspace: Workspace, results: Prediction) -> Any:
    """Return the layer to copy into; the predicted cells themselves are none."""
    annotation = workspace.annotation
    if annotation is None or result_of(annotation):
        plain = [layer for layer in workspace.labels() if not result_of(layer)]
        fitting = [layer for layer in plain if _fits(layer, results)]
        if fitting:
            workspace.choose("annotation", fitting[-1])
            return fitting[-1]
        if workspace.image is not results.image:
            workspace.choose("image", results.image)
        kind = LabelKind.INSTANCES if results.classes is None else LabelKind.CLASSES
        layer = new_annotation(workspace, kind, results.legend)
        layer.mode = "pan_zoom"
        return layer
    if not _fits(annotation, results):
        raise ValueError(
            f"The annotation {annotation.name!r} has shape {pixels(annotation).shape}, the predicted "
            f"image {results.image.name!r} {results.probability.shape}; both must cover the same "
            "pixels. Choose the annotation of this image."
        )
    return annotation


def _fits(layer: Any, results: Prediction) -> bool:
    return tuple(pixels(layer).shape) == results.probability.shape


def _plane(layer: Any, index: tuple[int, ...]) -> np.ndarray:
    data = pixels(layer)
    return np.asarray(data[index] if index else data)


def _predicted(results: Prediction, position: int, shape: tuple[int, ...]) -> np.ndarray:
    known = np.zeros(shape, bool)
    for rows, columns in results.parts.get(position, [(slice(None), slice(None))]):
        known[rows, columns] = True
    return known


def _frame_name(results: Prediction, index: tuple[int, ...]) -> str:
    if not index:
        return results.image.name
    number = results.stack.frame_numbers[index[0]]
    name = frame_label(results.stack.axes, number, results.stack.digits)
    return name if len(index) < 2 else plane_name(name, index[1], results.stack.shape[0])


Target = tuple[Any, Stack, Work]


Progress = Callable[[int, int, str], None]


class PredictionHandler:
    """Takes the events of one job after the other; used in the window's thread.

    Parameters
    ----------
    workspace
        Of the viewer; learns the results.
    visibility
        Of the overlays.
    separation
        The sliders; they take the thresholds of the model until somebody moves them.
    progress
        Is told frames done, frames in all, and words.

    Attributes
    ----------
    results
        Of the last prediction into layers, or None.
    told
        What there is to say at the end.
    """

    def __init__(
        self,
        workspace: Workspace,
        visibility: Visibility,
        separation: Form,
        progress: Progress,
    ) -> None:
        self.results: Prediction | None = None
        self.told = PredictionSummary()
        self._workspace, self._visibility = workspace, visibility
        self._separation, self._progress = separation, progress
        self._target: Target | None = None
        self._sent: InstanceConfig | None = None
        self._used = InstanceConfig()

    def expect(
        self, target: Target | None, sent: InstanceConfig | None = None, first: str = ""
    ) -> None:
        """Say what the next job is of.

        Parameters
        ----------
        target
            Image layer, stack and what of it; None where no layer changes.
        sent
            The thresholds that the job uses; None for those of the model.
        first
            What is said first at the end.
        """
        self._target, self._sent, self.told = target, sent, PredictionSummary(first)

    def take(self, event: Any) -> None:
        """Take one event."""
        handlers: dict[type, Callable[[Any], None]] = {
            FramePrediction: self._frame,
            FrameSkipped: self._left_out,
            Unsure: self._unsure,
            ClassPixels: lambda counted: self.told.count_classes(counted.pixels),
            Notice: lambda notice: self.told.add(notice.text),
            ModelReady: self._model_ready,
            LayerWanted: self._layer_wanted,
            BatchFrame: self._batch_frame,
            Exported: lambda e: self._progress(e.done, e.count, f"written {e.done} of {e.count}"),
        }
        handlers[type(event)](event)

    def text(self, stopped: bool) -> str:
        """Return what there is to say at the end."""
        part = self._target is not None and self._target[2].region is not None
        return self.told.text(part, stopped)

    def to_renew(self) -> list[int] | None:
        """Return positions to separate anew at the end: regions that met, or moved sliders.

        None for all positions.
        """
        if self._target is None or self.results is None:
            return []
        if self._separation.touched and self._sent != self._separation.config.instances:
            return None
        return [p for p, regions in self.results.parts.items() if len(regions) > 1]

    def _model_ready(self, event: ModelReady) -> None:
        if not self._separation.touched:
            self._separation.config = Config(instances=event.instances)
        self._used = self._sent or event.instances
        self.told.device = event.device
        if self._target is None:
            return
        image, stack, work = self._target
        before, positions = self.results, work.positions(stack)
        if before is not None:  # who shows what was found in them hears that they become others
            self._workspace.prediction_changed.emit(before)
        self.results = add_results(
            self._workspace.viewer,
            before,
            image,
            stack,
            event.bound,
            event.key,
            positions,
            event.answer,
        )
        event.missing.extend(self.results.missing)
        event.taken.set()
        self._visibility.show_in(positions)
        self._visibility.put_preview_away()
        if before is not None and before is not self.results and before.edited:
            self.told.add("The cells that you painted on are kept in the earlier layers.")

    def _layer_wanted(self, event: LayerWanted) -> None:
        assert self.results is not None
        self.results.make(event.name)
        event.made.set()

    def _frame(self, event: FramePrediction) -> None:
        assert self.results is not None
        self.results.write(event, self._used.segmentation_threshold)
        self._workspace.prediction = self.results
        if event.position in self.results.edited:
            self.told.add("What you painted on while this ran is kept as it is, without new cells.")
        self.told.count(int(event.instances.max(initial=0)))
        self._further(event.count)

    def _left_out(self, event: FrameSkipped) -> None:
        self.told.left_out.append(event)
        self._further(event.count)

    def _further(self, count: int) -> None:
        done = self.told.frames + len(self.told.left_out)
        self._progress(done, count, f"frame {done} of {count}")

    def _unsure(self, event: Unsure) -> None:
        assert self._target is not None
        frames = self._workspace.frames  # of the image that is worked on
        if self._target[0] is self._workspace.image and event.position < len(frames):
            frames.set_uncertainty({event.position: event.bits})

    def _batch_frame(self, event: BatchFrame) -> None:
        self.told.count(event.cells)
        self.told.count_classes(event.classes)
        words = f"{event.stack}: frame {event.done} of {event.count}"
        self._progress(event.done, event.count, words)


_NARROW = 300


class PredictionActions:
    """The buttons below the sliders of Predict.

    Parameters
    ----------
    session, lifetime
        Of the widget.
    form
        Gets the rows.
    """

    def __init__(self, workspace: Workspace, lifetime: Lifetime, form: QFormLayout) -> None:
        self._workspace = workspace
        self.use_button = QPushButton("Use as annotation")
        self.use_button.setToolTip(workspace.commands.tooltip("use_as_annotation"))
        self.overwrite = QCheckBox("Replace what is painted")
        self.overwrite.setToolTip(
            "Off by default: what you painted stays, and predicted cells in its place are left out."
        )
        row = QHBoxLayout()
        row.addWidget(self.use_button)
        row.addWidget(self.overwrite)
        form.addRow(row)
        self.corrections = CorrectionBar(workspace)
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
        project = self._workspace.project
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


_SHOWN_MS = 500  # first the widget itself appears


class PredictWidget(JobWidget):
    """Predicts part of a frame, frames or folders; sliders separate the cells anew at once.

    Parameters
    ----------
    napari_viewer
        The viewer whose image is predicted; the result layers are added to it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._model_cache = ModelCache()
        self._brought = False
        self._renewal = Resegmentation(self.show_error)
        self._lifetime.at_end(self._renewal.close)
        self._input_part()
        self._look_part()
        self._arrival = PredictionHandler(
            self._workspace, self.overlays.visibility, self.separation, self._progress
        )
        self.hand_over = PredictionActions(
            self._workspace, self._lifetime, self._group("Use and correct")
        )
        self.hand_over.use_button.clicked.connect(self.use_as_annotation)
        self._export_part()
        self.column.addStretch(1)
        actions: dict[str, Callable[[], Any]] = {
            "predict": self.predict_this_frame,
            "use_as_annotation": self.use_as_annotation,
            "toggle_overlays": self.toggle_overlays,
        }
        self._lifetime.at_end(self._workspace.commands.attach(actions))

    def _input_part(self) -> None:
        rows = self._group("Predict")
        self.image_combo = LayerCombo(self._workspace, "image", self._lifetime)
        self.image_combo.setToolTip("The image to segment; the active image is chosen at first.")
        rows.addRow("Image", self.image_combo)
        self.form = PredictForm(rows, self._workspace, self._lifetime)
        self.form.draw_button.clicked.connect(self.draw_region)
        self.predict_button = QPushButton("Predict")
        self.predict_button.setToolTip(
            "Run the network in the background; Stop keeps what is done."
        )
        self.predict_button.clicked.connect(lambda: self.run())
        self.export_button = QPushButton("Save results…")
        self.column.addLayout(self._buttons(self.predict_button))
        self._starters.append(self.export_button)
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)

    def _look_part(self) -> None:
        self.overlays = OverlayPanel(self._workspace, self._lifetime)
        self.overlays.setToolTip(self._workspace.commands.tooltip("toggle_overlays"))
        self._group("Overlays").addRow(self.overlays)
        self.separation = separation_form(self._group("Separate cells"))
        self.separation.throttled.connect(self._renew)

    def _export_part(self) -> None:
        self.export_button.setToolTip(
            "Write the predicted frames to a folder: probability, distance and cells as TIFF, and "
            "for a Cell Tracking Challenge sequence its result folder."
        )
        self.export_button.clicked.connect(self._choose_export)
        self.column.addWidget(self.export_button)
        self.column.addLayout(self.hand_over.copy_row(self.recipe, self.message))

    def showEvent(self, event: QShowEvent) -> None:
        """Load torch once the widget is on the screen, so that the first frame comes sooner."""
        super().showEvent(event)
        QTimer.singleShot(_SHOWN_MS, load_torch_soon)

    # what scripts use

    @property
    def results(self) -> Prediction | None:
        """The results of the last prediction into layers, or None."""
        return self._arrival.results

    @property
    def layers(self) -> tuple[Any, ...] | None:
        """The layers segmentation, distance and cells, or None before a prediction.

        Distance is left out where the network predicts none, as one that learned from scribbles;
        cells are always last.
        """
        return None if self.results is None else self.results.layers

    def set_image(self, layer: Any) -> None:
        """Choose the image layer."""
        self.image_combo.set_layer(layer)

    def set_model(
        self,
        path: Path | str,
        *,
        resolution_levels: tuple[int, ...] | None = None,
        dt_bound: float | None = None,
    ) -> None:
        """Choose a run folder or a model file; the rest is for files of the original J-Net only."""
        self._workspace.choose_model(Path(path) if str(path) else None)
        self.form.set_facts(resolution_levels, dt_bound)

    def set_scope(self, scope: str) -> None:
        """Choose what to predict: a key of `SCOPES`."""
        self.form.set({"scope": scope})

    def set_folders(self, folder: Path | str, output: Path | str) -> None:
        """Choose the folder of stacks to predict, and where the results go."""
        self.form.set({"scope": "folder", "folder": folder, "output": output})

    def draw_region(self, *_: Any) -> Any:
        """Make ready to drag a rectangle over the part to predict; return its layer, or None."""
        if (image := self.image_combo.layer) is None:
            self.show_error(ValueError("There is no image in the viewer; open one first."))
            return None
        self.form.set({"scope": "region"})
        return draw_region(self._viewer, image)

    def run(self, scope: str | None = None, *, all_frames: bool | None = None) -> None:
        """Predict, as the button does; problems are said in the widget.

        Parameters
        ----------
        scope
            What: a key of `SCOPES`; None takes what is chosen.
        all_frames
            True for scope "all", False for "frame".
        """
        if self.running:
            return
        if all_frames is not None:
            scope = "all" if all_frames else "frame"
        scope = scope or self.form.value("scope")
        try:
            path, facts = self._model()
            sent = self.separation.config.instances if self.separation.touched else None
            job, title, target = self._job(scope, path, facts, sent)
        except ValueError as error:
            self.show_error(error)
            self.finished.emit("failed")
            return
        self._arrival.expect(target, sent)
        self._start(job, title)

    def predict_this_frame(self) -> None:
        """Predict the frame that is shown, as the key does."""
        self.run("frame")

    def toggle_overlays(self) -> bool:
        """Hide all overlays or show them again, as the key does; return whether they are shown."""
        return self.overlays.visibility.toggle()

    def use_as_annotation(self, *_: Any) -> str:
        """Copy the predicted cells of this frame into the annotation; return what is said."""
        try:
            results = self._predicted()
            said = use_as_annotation(
                self._workspace, results, overwrite=self.hand_over.overwrite.isChecked()
            )
        except ValueError as error:
            self.show_error(error)
            return str(error)
        if not said.startswith(NOTHING):
            self.overlays.visibility.hide_in(results.shown())
        self.message.say(said)
        return said

    def export(self, folder: Path | str) -> None:
        """Write the predicted frames to a folder, and return when they are written.

        Raises
        ------
        ValueError
            If nothing is predicted yet.
        OutputError
            If the folder cannot be written.
        """
        for _ in exporting(self._predicted(), Path(folder)):
            pass

    def recipe(self) -> Any:
        """Return what would be predicted now, from files to files; raises `ValueError`."""
        path, facts = self._model()
        sent = self.separation.config.instances if self.separation.touched else None
        if self.form.value("scope") == "folder":
            raise ValueError(
                "A folder of stacks is predicted by one command a stack; choose another scope and "
                "repeat the command for each of them."
            )
        image, stack = self._image()
        asked = work(self.form.value("scope"), self._workspace, image, stack)
        return self.hand_over.recipe(path, facts, stack, asked, sent)

    # what the buttons and sliders do

    def _job(
        self, scope: str, path: Path, facts: dict[str, Any], sent: InstanceConfig | None
    ) -> tuple[Any, str, Target | None]:
        if scope == "folder":
            folders = self.form.folders()
            job = predicting_folder(self._model_cache, path, facts, *folders, sent)
            return job, f"predicting the stacks in {folders[0]}", None
        image, stack = self._image()
        asked = work(scope, self._workspace, image, stack)
        job = predicting(self._model_cache, path, facts, stack, asked, sent)
        return job, f"predicting {image.name}", (image, stack, asked)

    def _image(self) -> tuple[Any, Stack]:
        layer = self.image_combo.layer
        if layer is None:
            raise ValueError("There is no image in the viewer; open one first.")
        return layer, image_stack(layer)

    def _model(self) -> tuple[Path, dict[str, Any]]:
        path, facts = self._workspace.model, self.form.facts
        if path is None:
            if self.image_combo.layer is None:
                raise ValueError("There is no image in the viewer; open one first.")
            raise ValueError("There is no model; train one, or choose a run folder or a file.")
        return path, facts

    def _choose_export(self) -> None:
        try:
            results = self._predicted()
        except ValueError as error:
            self.show_error(error)
            return
        project, images = self._workspace.project, results.stack.path
        start = project.path if project is not None else images.parent if images is not None else ""
        name = QFileDialog.getExistingDirectory(self, "Folder for the results", str(start))
        if name:
            self._arrival.expect(None, first=f"The results are in {name}.")
            self._start(lambda: exporting(results, Path(name)), f"writing results to {name}")

    def _predicted(self) -> Prediction:
        if self.results is None or not self.results.done:
            raise ValueError("Nothing is predicted yet; press Predict first.")
        return self.results

    def _renew(self) -> None:
        if self.results is not None and self.results.done:
            self._renewal.request(self.results, self.separation.config.instances)

    # what the jobs tell

    def _on_event(self, event: Any) -> None:
        self._arrival.take(event)

    def _progress(self, done: int, count: int, words: str) -> None:
        self.progress.setValue(round(1000 * done / count))
        self.progress.setFormat(words)

    def _on_error(self, error: Exception) -> None:
        missing = getattr(error, "missing", None)
        if missing:
            self.form.ask(tuple(missing), len(getattr(error, "structure", ())))
            error = ValueError(self.form.words.text())
        super()._on_error(error)

    def _on_done(self, value: Any) -> None:
        if isinstance(value, BatchEnd):
            self._arrival.told.end_batch(value.stacks, value.skipped, self.form.value("output"))
        super()._on_done(value)

    def _end(self, outcome: str) -> None:
        if outcome != "failed":
            self.message.say(self._arrival.text(outcome == "stopped"))
            if self.results is not None and not self._brought:  # once: one knows then where it is
                self._brought = True
                self.bring_into_sight(self.hand_over.use_button)
        positions, results = self._arrival.to_renew(), self.results
        if results is not None and positions != []:
            self._renewal.request(results, self.separation.config.instances, positions)
        super()._end(outcome)
