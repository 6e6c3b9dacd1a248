"""Layers added by the program: annotations and results, where they lie and how they look."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap, label_colormap
from numpy.typing import NDArray
from psygnal import Signal

from napari_jnet.events import FramePrediction
from napari_jnet.io.stack import Stack
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
    channels_first,
    class_options,
    image_stack,
    metadata,
    pixels,
    placement,
    remember,
    result_of,
    set_features,
    shown_position,
    spatial_ndim,
    spatial_shape,
    stack_metadata,
    stroke_positions,
)

Classes = Sequence[tuple[str, str]]  # (name, "#rrggbb") of each class from 0
RESULTS = ("segmentation", "distance", "classes", "cells")  # names of the layers of a prediction
_SEGMENTATION = "#35c6f4"


@dataclass(frozen=True)
class ModelOutputs:
    """What a network predicts, as far as layers and texts depend on it."""

    channels: int = 1  # of segmentation; the classes where there are more than two
    distance: bool = True
    classes: tuple[tuple[str, str], ...] = ()  # (name, "#rrggbb") from background; empty for cells
    relative: bool = (
        False  # whether the distance is in each cell's own unit, see `targets.relative`
    )

    @property
    def semantic(self) -> bool:
        """Whether the areas of classes are meant, not single cells."""
        return self.channels > 2 or bool(self.classes)


_hidden_for: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def set_hidden(layer: Any, reason: str, hidden: bool) -> None:
    """Hide a layer for a reason of the program, or end that reason.

    A layer that was visible is shown again when its last reason ends; what the user hides stays hidden,
    and what the user shows is free of all reasons.
    """
    reasons = _hidden_for.setdefault(layer, set())
    if layer.visible:
        reasons.clear()
    if hidden and (layer.visible or reasons):
        reasons.add(reason)
        layer.visible = False
    elif not hidden and reason in reasons:
        reasons.remove(reason)
        if not reasons:
            layer.visible = True


def is_hidden(layer: Any, reason: str) -> bool:
    """Whether the program hides a layer for a reason."""
    return reason in _hidden_for.get(layer, ())


def set_visible(layer: Any, visible: bool) -> None:
    """Show or hide a layer whatever reasons there are."""
    _hidden_for.pop(layer, None)
    layer.visible = visible


def add_marks(
    viewer: Any, name: str, marks: NDArray[np.uint8], classes: Classes, lies: Mapping[str, Any]
) -> Any:
    """Add labels that show each class of pixels by its colour; who paints keeps the layer under the brush."""
    selection = viewer.layers.selection
    active = selection.active
    stored = {METADATA_KEY: {"result": name}}
    layer = viewer.add_labels(
        marks, name=name, opacity=0.6, metadata=stored, **lies, **class_options(classes)
    )
    layer.editable = False
    selection.active = active
    return layer


Region = tuple[slice, slice]
_MEMORY_LIMIT = 2 * 2**30  # bytes of one map kept in memory; larger ones lie in a temporary file


def _zeros(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    if math.prod(shape) * np.dtype(dtype).itemsize <= _MEMORY_LIMIT:
        return np.zeros(shape, dtype)
    # sparse on disk, gone with the last reference to it
    with tempfile.TemporaryFile(prefix="napari-jnet-") as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


class Prediction:
    """Segmentation, distance and cells of one image, as layers; frames are written as they come.

    `probability` and `distance_map` are what the network predicts, float32, as large as the image: the
    sliders threshold them again.  The layer of a relative distance shows it as a fraction of each cell's
    depth, 0 to 1.  `source` identifies the model.
    """

    renewed = Signal(int)  # the position of a frame with other cells

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        image: Any,
        stack: Stack,
        dt_bound: float,
        source: Any = None,
        outputs: ModelOutputs | None = None,
    ) -> None:
        self.outputs = outputs or ModelOutputs()
        self.image, self.stack, self.dt_bound, self.source = image, stack, dt_bound, source
        self._viewer = viewer
        channels_first(image)  # or the results would lie on its channels
        self._single = spatial_ndim(image) == 2
        shape = spatial_shape(image)
        self.probability = _zeros(shape, np.float32)
        self.distance_map = _zeros(shape, np.float32)
        self.done: dict[int, int] = {}  # positions along the stack, with their frame numbers
        self.regions: dict[int, list[Region]] = {}  # of positions that are predicted only in part
        self.edited: set[int] = set()  # positions that were painted on: sliders leave them alone
        self.confidence: dict[int, NDArray[np.float32]] = {}  # position -> of its cells 1, 2 ...
        self.segmentation = self._add("segmentation", np.uint8)
        self.distance = self._add("distance", np.float32) if self.outputs.distance else None
        self.cells = self._add("cells", np.int32)
        self._own_colors = self.cells.colormap
        self.classes = self._add("classes", np.uint8) if self.outputs.channels > 2 else None

    def _add(self, name: str, dtype: type) -> Any:
        """Add a layer on the image; who is painting keeps the layer under the brush."""
        options = self._options(name)
        layers = self._viewer.layers
        active = layers.selection.active
        add = self._viewer.add_image if name == "distance" else self._viewer.add_labels
        same = name == "distance" and not self.outputs.relative  # else it shows fractions
        data = self.distance_map if same else _zeros(self.probability.shape, dtype)
        stored = {METADATA_KEY: {"result": name}}
        layer = add(data, name=name, metadata=stored, **options, **placement(self.image))
        if name != "distance":
            layer.events.paint.connect(self._on_paint)
        if isinstance(active, Labels) and not result_of(active):
            layers.selection.active = active
        return layer

    def _options(self, name: str) -> dict[str, Any]:
        outputs = self.outputs
        areas = {None: _SEGMENTATION, 0: "transparent"}
        looks: dict[str, dict[str, Any]] = {
            "segmentation": {"opacity": 0.4, "colormap": DirectLabelColormap(color_dict=areas)},
            "distance": {
                "opacity": 0.5,
                "colormap": "magma",
                "blending": "additive",
                "contrast_limits": (0.0, 1.0 if outputs.relative else max(self.dt_bound, 1e-3)),
            },
            "classes": {"opacity": 0.5, **class_options(outputs.classes)},
            "cells": {"opacity": 0.6},
        }
        # one of them is visible at first: they would lie over each other, and their colours mix
        several = "classes" if outputs.channels > 2 else "segmentation"
        return {**looks[name], "visible": name == (several if outputs.semantic else "cells")}

    @property
    def layers(self) -> tuple[Any, ...]:
        """The layers that there are, the cells last."""
        made = (getattr(self, name) for name in RESULTS)
        return tuple(layer for layer in made if layer is not None)

    def fits(self, image: Any, source: Any, positions: Collection[int] | None = None) -> bool:
        """Whether the viewer has all these layers and they can take a prediction by this model.

        Not where cells at these positions (None = all) were painted on: they would be lost.
        """
        return (
            all(layer in self._viewer.layers for layer in self.layers)
            and image is self.image
            and spatial_shape(image) == self.probability.shape
            and source == self.source
            and not (self.edited if positions is None else self.edited & set(positions))
        )

    def _frame(self, array: NDArray[Any], position: int) -> NDArray[Any]:
        """Return one frame of an array as large as the image, to read or to write."""
        frame: NDArray[Any] = array[...] if self._single else array[position]
        return frame

    def whole(self, position: int) -> bool:
        """Whether all pixels of a frame are predicted."""
        return position in self.done and position not in self.regions

    def box(self, position: int) -> Any:
        """Return the index, within its frame, of the box around the pixels that are predicted."""
        if position not in self.regions:
            return ...
        sides = zip(*self.regions[position], strict=True)
        return (..., *(slice(min(s.start for s in r), max(s.stop for s in r)) for r in sides))

    def write(self, prediction: FramePrediction, threshold: float) -> None:
        """Write one predicted frame, or region of one, into the layers.

        Cells of a region get numbers that the rest of its frame does not have; one that reached
        into the region from outside keeps what is outside.  Of a frame that somebody painted on while
        the prediction ran only the maps are new; the layers stay as they were painted.
        """
        position, region = prediction.position, prediction.region
        box: Any = ... if region is None else (..., *region)
        self._frame(self.probability, position)[box] = prediction.segmentation
        self._frame(self.distance_map, position)[box] = prediction.distance
        if self.distance is not None and self.outputs.relative:
            depth = prediction.distance / self.dt_bound
            self._frame(pixels(self.distance), position)[box] = depth
        whole = self.whole(position)
        self.done[position] = prediction.number
        height, width = self.probability.shape[-2:]
        if whole or region is None or region == (slice(0, height), slice(0, width)):
            self.regions.pop(position, None)
        else:
            self.regions.setdefault(position, []).append(region)
        if position in self.edited:
            return
        self._frame(pixels(self.segmentation), position)[box] = prediction.segmentation > threshold
        cells = self._frame(pixels(self.cells), position)
        cells[box] = 0
        first = 0 if region is None else int(cells.max(initial=0))
        cells[box] = np.where(prediction.instances > 0, prediction.instances + first, 0)
        before, new = self.confidence.get(position, _NO_CELLS)[:first], prediction.confidence
        unknown = np.full(first - len(before), np.nan, np.float32)
        self.confidence[position] = np.concatenate(
            [before, unknown, _NO_CELLS if new is None else new]
        )
        if self.classes is not None and prediction.classes is not None:
            self._frame(pixels(self.classes), position)[box] = prediction.classes
        if self.visible(position):
            for layer in self.layers:
                layer.refresh()
        self.renewed.emit(position)

    def write_cells(
        self,
        position: int,
        cells: NDArray[np.int32],
        threshold: float,
        confidence: NDArray[np.float32] | None = None,
    ) -> None:
        """Write the cells that other thresholds give for the `box` of a predicted frame."""
        box = self.box(position)
        probability = self._frame(self.probability, position)[box]
        self._frame(pixels(self.segmentation), position)[box] = probability > threshold
        self._frame(pixels(self.cells), position)[box] = cells
        self.confidence[position] = _NO_CELLS if confidence is None else confidence
        if self.visible(position):
            for layer in (self.cells, self.segmentation):  # while a slider is dragged
                layer.refresh(thumbnail=False, highlight=False, extent=False)
        self.renewed.emit(position)

    def maps(self, position: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probability and distance of one frame, the `box` of it that is predicted."""
        box = self.box(position)
        probability = self._frame(self.probability, position)[box]
        return probability, self._frame(self.distance_map, position)[box]

    def prediction(self, position: int) -> FramePrediction:
        """Return one frame as it is now, with its cells as thresholds and brush left them.

        Pixels of it that are not predicted are zero.
        """
        classes = None if self.classes is None else self._frame(pixels(self.classes), position)
        return FramePrediction(
            position,
            self.done[position],
            len(self.done),
            self._frame(self.probability, position),
            self._frame(self.distance_map, position),
            np.asarray(self._frame(pixels(self.cells), position), np.int32),
            classes,
            confidence=self.confidence.get(position),
        )

    def cells_at(self, position: int) -> NDArray[Any]:
        """Return the cells of a frame, (H, W) or (Z, H, W), as they are in the layer."""
        return self._frame(pixels(self.cells), position)

    def color_by_confidence(self, colored: bool) -> None:
        """Colour the cells of the shown frame by their confidence, or each in its own colour again.

        Not in 3-D, where cells of several frames with one number are seen at once.
        """
        flat = self._single or self._viewer.dims.ndisplay == 2
        if colored and flat:
            sure = self.confidence.get(self.shown(), _NO_CELLS)
            self.cells.colormap = confidence_colors(sure)
        elif self.cells.colormap.name == _CONFIDENCE:
            self.cells.colormap = self._own_colors

    def shown(self) -> int:
        """Return the position along the stack that the viewer shows."""
        return shown_position(self._viewer, self.image)

    def visible(self, position: int) -> bool:
        """Whether the viewer shows this frame (all of them in 3-D)."""
        return self._single or self._viewer.dims.ndisplay == 3 or position == self.shown()

    def _on_paint(self, event: Any) -> None:
        frames = 1 if self._single else len(self.probability)
        self.edited |= stroke_positions(event.value, frames)


def add_results(
    viewer: napari.viewer.Viewer,
    before: Prediction | None,
    image: Any,
    stack: Stack,
    dt_bound: float,
    source: Any,
    positions: Collection[int] | None = None,
    outputs: ModelOutputs | None = None,
) -> Prediction:
    """Return results for a prediction of positions (None = all): those before where they fit, else new ones.

    Layers that do not fit are removed, or renamed where somebody painted on them.
    """
    if before is not None:
        if before.fits(image, source, positions):
            return before
        for layer in (one for one in before.layers if one in viewer.layers):
            if before.edited:
                layer.name = f"{layer.name} (earlier)"
                remember(layer, earlier=True)
            else:
                viewer.layers.remove(layer)
    return Prediction(viewer, image, stack, dt_bound, source, outputs)


_NO_CELLS = np.zeros(0, np.float32)
_CONFIDENCE = "confidence"  # the name of the colours
CONFIDENCE_COLOURS = (  # between them mixed
    (0.3, "#e8383a"), (0.6, "#ffd34d"), (0.75, "#3fbf8f"), (0.9, "#3a86ff"),
)  # fmt: skip
_SHADES = (1.0, 0.87, 0.75)  # of neighbours: a cell that touches one as sure is seen apart
_PAINTED = 256  # cells painted beside the predicted ones that have a colour of their own


def confidence_colors(confidence: NDArray[np.float32]) -> CyclicLabelColormap:
    """Return the colours of the labels 1, 2 ... by their confidence; a label beyond, or NaN, is sure."""
    sure = np.concatenate([confidence, np.ones(_PAINTED)])
    places = [place for place, _ in CONFIDENCE_COLOURS]
    stops = np.array([_rgb(color) for _, color in CONFIDENCE_COLOURS])
    colors = np.ones((len(sure) + 1, 4), np.float32)
    for channel, values in enumerate(stops.T):
        colors[1:, channel] = np.interp(np.nan_to_num(sure, nan=1.0), places, values)
    colors[1:, :3] *= np.resize(_SHADES, len(sure))[:, np.newaxis]
    colors[0] = 0
    controls = np.linspace(0, 1, len(colors) + 1)
    return CyclicLabelColormap(
        name=_CONFIDENCE, colors=colors, controls=controls, background_value=0
    )


def _rgb(color: str) -> list[float]:
    return [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]


UNKNOWN_COLOUR = "#dcdcdc"  # a light veil: seen on grey and on black images
CLASS_COLOURS = ("#ff9f1c", "#2ec4b6", "#e84393", "#4d8bff", "#b8e986", "#b18cff", "#ffd84d")
_BACKGROUND_COLOUR = "#5b6abf"  # of scribbles, where background is painted
_CYCLE, _ROUNDS = 49, 20  # napari's colours, repeated: one number in a thousand looks unknown


def add_annotation(
    viewer: napari.viewer.Viewer, image: Any, kind: LabelKind, classes: Classes = ()
) -> Any:
    """Add an empty labels layer for an image, whose channels go to the first slider, and choose its brush."""
    stack = image_stack(image)  # what it is must be known before anything is painted
    channels_first(image)
    stored = metadata(image)
    ours = {name: stored[name] for name in stack_metadata(stack) if name in stored}
    layer = viewer.add_labels(
        np.zeros(spatial_shape(image), np.int32),  # takes memory where it is painted on
        name="annotation",
        opacity=0.5,
        metadata={METADATA_KEY: {**ours, "kind": kind.value}},
        **placement(image),
        **annotation_options(kind, classes),
    )
    viewer.layers.selection.active = layer
    layer.mode = "paint"
    return layer


def annotation_options(kind: LabelKind | str, classes: Classes = ()) -> dict[str, Any]:
    """Return the options that colour a labels layer of this kind, by default in its `default_classes`."""
    kind = LabelKind(kind)
    if kind is LabelKind.INSTANCES:
        return {"colormap": _cell_colours()}
    return class_options(tuple(classes) or default_classes(kind), unknown=UNKNOWN_COLOUR)


def color_labels(layer: Any, kind: LabelKind, classes: Classes = ()) -> None:
    """Show labels in the colours of their kind, with the names of their classes."""
    options = annotation_options(kind, classes)
    if "features" in options:
        set_features(layer, options["features"])
    else:
        layer.features = {}
    layer.colormap = options["colormap"]


def default_classes(kind: LabelKind | str) -> tuple[tuple[str, str], ...]:
    """Return (name, "#rrggbb") of each number from 0 for a kind; nothing for cells."""
    return {
        LabelKind.INSTANCES: (),
        LabelKind.CLASSES: (("background", "#000000"), ("cell", CLASS_COLOURS[0])),
        LabelKind.SCRIBBLES: (
            ("not painted", "#000000"),
            ("background", _BACKGROUND_COLOUR),
            ("cell", CLASS_COLOURS[0]),
        ),
    }[LabelKind(kind)]


def _cell_colours() -> CyclicLabelColormap:
    """Return napari's colours of cells, with the place that `UNKNOWN` falls on in grey.

    A cyclic map shows label v as colour 1 + (v - 1) mod n, so -1 is the last but one.
    """
    colours = label_colormap(_CYCLE).colors
    repeated = np.concatenate([colours[:1], *[colours[1:]] * _ROUNDS]).astype(np.float32)
    repeated[len(repeated) - 1 + UNKNOWN] = (*_rgb(UNKNOWN_COLOUR), 1.0)
    return CyclicLabelColormap(
        name="cells and unknown",
        colors=repeated,
        controls=np.linspace(0, 1, len(repeated) + 1),
        background_value=0,
    )
