"""The three result layers of a prediction, and the maps that the sliders work on."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_jnet.data.stack import Stack
from napari_jnet.events import FramePrediction
from napari_jnet.plugin.layers import current_index, pixels
from napari_jnet.plugin.legend import legend_options
from napari_jnet.plugin.session import METADATA_KEY, result_of, same

if TYPE_CHECKING:
    import napari

__all__ = ["Results", "add_results", "placement"]

Part = tuple[slice, slice]

_SEGMENTATION = "#35c6f4"
_MEMORY_LIMIT = 2 * 2**30  # bytes of one map kept in memory; larger ones lie in a temporary file


def placement(layer: Any) -> dict[str, Any]:
    """Return how a layer lies in the world, for layers that lie on it."""
    return {
        "scale": tuple(layer.scale),
        "translate": tuple(layer.translate),
        "rotate": np.asarray(layer.rotate),
        "shear": np.asarray(layer.shear),
        "units": tuple(str(unit) for unit in layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


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
    edited
        Positions whose cells somebody painted on; the sliders leave them alone.
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        image: Any,
        stack: Stack,
        bound: float,
        source: Any = None,
    ) -> None:
        self.image, self.stack, self.bound, self.source = image, stack, bound, source
        self._viewer = viewer
        self._single = image.ndim == 2
        shape = tuple(pixels(image).shape[: image.ndim])
        self.probability = _zeros(shape, np.float32)
        self.distance_map = _zeros(shape, np.float32)
        self.done: dict[int, int] = {}
        self.parts: dict[int, list[Part]] = {}
        self.edited: set[int] = set()
        active = viewer.layers.selection.active
        lies = placement(image)
        self.segmentation = viewer.add_labels(
            _zeros(shape, np.uint8),
            name="segmentation",
            opacity=0.4,
            metadata=_mark("segmentation"),
            colormap=DirectLabelColormap(color_dict={None: _SEGMENTATION, 0: "transparent"}),
            **lies,
        )
        self.distance = viewer.add_image(
            self.distance_map,
            name="distance",
            colormap="magma",
            blending="additive",
            opacity=0.5,
            visible=False,  # it would lie over all the others
            contrast_limits=(0.0, max(bound, 1e-3)),
            metadata=_mark("distance"),
            **lies,
        )
        self.cells = viewer.add_labels(
            _zeros(shape, np.int32), name="cells", opacity=0.6, metadata=_mark("cells"), **lies
        )
        self.cells.events.paint.connect(self._painted)
        self.legend: tuple[tuple[str, str], ...] = ()
        self.classes: Any = None  # a layer, where there are more than cell and background
        if hasattr(active, "brush_size") and not result_of(active):
            # somebody is painting on it, and must not find the brush on the cells all at once
            viewer.layers.selection.active = active

    @property
    def layers(self) -> tuple[Any, Any, Any]:
        """The layers segmentation, distance and cells."""
        return self.segmentation, self.distance, self.cells

    @property
    def all_layers(self) -> tuple[Any, ...]:
        """The three layers, and that of the classes where there is one."""
        return self.layers if self.classes is None else (*self.layers, self.classes)

    def fits(self, image: Any, source: Any, positions: Collection[int] | None = None) -> bool:
        """Whether these layers are all still there and can take a prediction by the same model.

        Not where cells at these positions (None = all) were painted on: they would be lost.
        """
        there = all(
            any(same(layer, mine) for layer in self._viewer.layers) for mine in self.all_layers
        )
        shape = tuple(pixels(image).shape[: image.ndim])
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
        into the region from outside keeps what is outside.
        """
        position, region = prediction.position, prediction.region
        box: Any = ... if region is None else (..., *region)
        self._frame(self.probability, position)[box] = prediction.segmentation
        self._frame(self.distance_map, position)[box] = prediction.distance
        self._note(position, prediction.number, region)
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
            self.classes = self._viewer.add_labels(
                _zeros(self.probability.shape, np.uint8),
                name="classes",
                opacity=0.5,
                metadata=_mark("classes"),
                **placement(self.image),
                **legend_options(prediction.legend),
            )
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
        for indices, *_ in event.value:
            positions = [0] if self._single else np.unique(indices[0])
            self.edited.update(int(position) for position in positions)

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


def _mark(result: str) -> dict[str, Any]:
    return {METADATA_KEY: {"result": result}}


def add_results(
    viewer: napari.viewer.Viewer,
    before: Results | None,
    image: Any,
    stack: Stack,
    bound: float,
    source: Any,
    positions: Collection[int] | None = None,
) -> Results:
    """Return result layers for a prediction: the ones of before where they fit, else new ones.

    Parameters
    ----------
    viewer
        Gets the layers.
    before
        The results of the last prediction.
    image, stack, bound, source
        Of the prediction, see `Results`.
    positions
        That are predicted now; None = all.
    """
    if before is not None and before.fits(image, source, positions):
        return before
    if before is not None:
        before.set_aside() if before.edited else _remove(viewer, before)
    return Results(viewer, image, stack, bound, source)


def _remove(viewer: napari.viewer.Viewer, results: Results) -> None:
    for layer in results.all_layers:
        for other in list(viewer.layers):
            if same(layer, other):
                viewer.layers.remove(other)
