"""The result layers of a prediction, and the maps that the sliders work on."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.stack import Stack
from napari_jnet.events import FramePrediction
from napari_jnet.plugin.layers import (
    channels_first,
    current_index,
    pixels,
    spatial_ndim,
    spatial_shape,
    stroke_positions,
)
from napari_jnet.plugin.legend import legend_options
from napari_jnet.plugin.predict.result_layers import Answer, add_result_layer, placement
from napari_jnet.plugin.session import METADATA_KEY, same

if TYPE_CHECKING:
    import napari

__all__ = ["Results", "add_results", "placement"]

Part = tuple[slice, slice]

_MEMORY_LIMIT = 2 * 2**30  # bytes of one map kept in memory; larger ones lie in a temporary file


def _zeros(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    if math.prod(shape) * np.dtype(dtype).itemsize <= _MEMORY_LIMIT:
        return np.zeros(shape, dtype)
    # sparse on disk, gone with the last reference to it
    with tempfile.TemporaryFile(prefix="napari-jnet-") as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


class Results:
    """Segmentation, distance and cells of one image; frames are written as they come.

    Attributes
    ----------
    probability, distance_map
        The network's answer, float32, as large as the image; the sliders cut it anew.
    source
        What says which model this is of.
    done
        Positions along the stack that are predicted, with their frame numbers.
    parts
        Of positions that are predicted only in part: the regions (rows, columns) that are.
    legend
        (name, "#rrggbb") of each class, where there are more than cell and background.
    answer
        What the network says of a pixel.
    edited
        Positions where somebody painted on a result; the sliders leave them alone.
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        image: Any,
        stack: Stack,
        bound: float,
        source: Any = None,
        answer: Answer | None = None,
    ) -> None:
        self.answer = answer or Answer()
        self.image, self.stack, self.bound, self.source = image, stack, bound, source
        self._viewer = viewer
        channels_first(image)  # or the results would lie on its channels
        self._single = spatial_ndim(image) == 2
        shape = spatial_shape(image)
        self.probability = _zeros(shape, np.float32)
        self.distance_map = _zeros(shape, np.float32)
        self.done: dict[int, int] = {}
        self.parts: dict[int, list[Part]] = {}
        self.edited: set[int] = set()
        self.legend: tuple[tuple[str, str], ...] = ()
        self.classes: Any = None  # a layer, where there are more than cell and background
        self._made: dict[str, Any] = {}

    @property
    def missing(self) -> list[str]:
        """The result layers that are not made yet."""
        return [name for name in self.answer.layers if name not in self._made]

    def make(self, name: str) -> Any:
        """Return the layer of this name; made when it is first asked for.

        Each costs the window a tenth of a second, so that one at a time is better than all.
        """
        if name in self._made:
            return self._made[name]
        shape, options = self.probability.shape, self.answer.look(name)
        if name == "distance":
            data = self.distance_map
            options["contrast_limits"] = (0.0, max(self.bound, 1e-3))
        else:
            data = _zeros(shape, np.int32 if name == "cells" else np.uint8)
        layer = add_result_layer(self._viewer, name, data, self.image, **options)
        if name != "distance":
            layer.events.paint.connect(self._painted)
        self._made[name] = layer
        return layer

    @property
    def segmentation(self) -> Any:
        """The layer of pixels above the threshold."""
        return self.make("segmentation")

    @property
    def distance(self) -> Any:
        """The layer of distances; None where the network predicts none."""
        return self.make("distance") if self.answer.distance else None

    @property
    def cells(self) -> Any:
        """The layer of separate cells."""
        return self.make("cells")

    @property
    def layers(self) -> tuple[Any, ...]:
        """The layers segmentation, distance (where the network predicts it) and cells."""
        return tuple(self.make(name) for name in self.answer.layers)

    @property
    def all_layers(self) -> tuple[Any, ...]:
        """The layers that are made, and that of the classes where there is one."""
        made = tuple(self._made.values())
        return made if self.classes is None else (*made, self.classes)

    def fits(self, image: Any, source: Any, positions: Collection[int] | None = None) -> bool:
        """Whether these layers are all still there and can take a prediction by the same model.

        Not where cells at these positions (None = all) were painted on: they would be lost.
        """
        there = all(
            any(same(layer, mine) for layer in self._viewer.layers) for mine in self.all_layers
        )
        shape = spatial_shape(image)
        return (
            there
            and same(image, self.image)
            and shape == self.probability.shape
            and source == self.source
            and not (self.edited if positions is None else self.edited & set(positions))
        )

    def _frame(self, array: NDArray[Any], position: int) -> NDArray[Any]:
        """Return one frame of an array as large as the image, to read or to write."""
        frame: NDArray[Any] = array[...] if self._single else array[position]
        return frame

    def whole(self, position: int) -> bool:
        """Whether all pixels of a frame are predicted."""
        return position in self.done and position not in self.parts

    def box(self, position: int) -> Any:
        """Return the index, within its frame, of the pixels that are predicted (the box of them)."""
        if position not in self.parts:
            return ...
        return (..., *_union(self.parts[position]))

    def write(self, prediction: FramePrediction, threshold: float) -> None:
        """Write one predicted frame, or region of one, into the layers.

        Cells of a region get numbers that the rest of its frame does not have; one that reached
        into the region from outside keeps what is outside.  Of a frame that somebody painted on while
        the prediction ran only the maps are new; the layers stay as they were painted.
        """
        for name in self.missing:
            self.make(name)
        position, region = prediction.position, prediction.region
        box: Any = ... if region is None else (..., *region)
        self._frame(self.probability, position)[box] = prediction.segmentation
        self._frame(self.distance_map, position)[box] = prediction.distance
        self._note(position, prediction.number, region)
        if position in self.edited:
            return
        self._frame(pixels(self.segmentation), position)[box] = prediction.segmentation > threshold
        cells = self._frame(pixels(self.cells), position)
        cells[box] = 0
        first = 0 if region is None else int(cells.max(initial=0))
        cells[box] = np.where(prediction.instances > 0, prediction.instances + first, 0)
        if prediction.classes is not None:
            self._write_classes(prediction, box)
        if self.visible(position):
            for layer in self.all_layers:
                layer.refresh()

    def _note(self, position: int, number: int, region: Part | None) -> None:
        whole = self.whole(position)
        self.done[position] = number
        height, width = self.probability.shape[-2:]
        if whole or region is None or region == (slice(0, height), slice(0, width)):
            self.parts.pop(position, None)
        else:
            self.parts.setdefault(position, []).append(region)

    def _write_classes(self, prediction: FramePrediction, box: Any) -> None:
        """Write the classes of a frame; their layer is made when the first ones come."""
        if self.classes is None:
            self.legend = prediction.legend
            self.classes = add_result_layer(
                self._viewer,
                "classes",
                _zeros(self.probability.shape, np.uint8),
                self.image,
                **legend_options(prediction.legend),
            )
            self.classes.events.paint.connect(self._painted)
        self._frame(pixels(self.classes), prediction.position)[box] = prediction.classes

    def write_cells(self, position: int, cells: NDArray[np.int32], threshold: float) -> None:
        """Write the cells that other thresholds give for the `box` of a predicted frame."""
        box = self.box(position)
        probability = self._frame(self.probability, position)[box]
        self._frame(pixels(self.segmentation), position)[box] = probability > threshold
        self._frame(pixels(self.cells), position)[box] = cells
        if self.visible(position):
            for layer in (self.cells, self.segmentation):  # while a slider is dragged
                layer.refresh(thumbnail=False, highlight=False, extent=False)

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
        )

    def shown(self) -> int:
        """Return the position along the stack that the viewer shows."""
        index = current_index(self._viewer, self.image)
        return index[0] if index else 0

    def visible(self, position: int) -> bool:
        """Whether the viewer shows this frame (all of them in 3-D)."""
        return self._single or self._viewer.dims.ndisplay == 3 or position == self.shown()

    def _painted(self, event: Any) -> None:
        frames = 1 if self._single else len(self.probability)
        self.edited |= stroke_positions(event.value, frames)

    def set_aside(self) -> None:
        """Rename the layers, so that what somebody painted on is kept beside a new prediction."""
        for layer in self.all_layers:
            if any(same(layer, other) for other in self._viewer.layers):
                layer.name = f"{layer.name} (earlier)"
                layer.metadata[METADATA_KEY]["earlier"] = True


def _union(parts: list[Part]) -> Part:
    rows, columns = (
        slice(min(side.start for side in sides), max(side.stop for side in sides))
        for sides in zip(*parts, strict=True)
    )
    return rows, columns


def add_results(
    viewer: napari.viewer.Viewer,
    before: Results | None,
    image: Any,
    stack: Stack,
    bound: float,
    source: Any,
    positions: Collection[int] | None = None,
    answer: Answer | None = None,
) -> Results:
    """Return results for a prediction: the ones of before where they fit, else new ones.

    New ones have no layers yet, see `Results.make`.

    Parameters
    ----------
    viewer
        Gets the layers.
    before
        The results of the last prediction.
    image, stack, bound, source, answer
        Of the prediction, see `Results`.
    positions
        That are predicted now; None = all.
    """
    if before is not None and before.fits(image, source, positions):
        return before
    if before is not None:
        before.set_aside() if before.edited else _remove(viewer, before)
    return Results(viewer, image, stack, bound, source, answer)


def _remove(viewer: napari.viewer.Viewer, results: Results) -> None:
    for layer in results.all_layers:
        for other in list(viewer.layers):
            if same(layer, other):
                viewer.layers.remove(other)
