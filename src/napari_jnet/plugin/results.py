"""The three result layers of a prediction, and the maps that the sliders work on."""

from __future__ import annotations

import math
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.stack import Stack
from napari_jnet.events import FramePrediction
from napari_jnet.plugin.layers import current_index, pixels
from napari_jnet.plugin.legend import legend_options
from napari_jnet.plugin.session import METADATA_KEY, same

if TYPE_CHECKING:
    import napari

__all__ = ["Results", "add_results", "placement"]

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
        self.edited: set[int] = set()
        lies = placement(image)
        self.segmentation = viewer.add_labels(
            _zeros(shape, np.uint8),
            name="segmentation",
            opacity=0.25,
            metadata=_mark("segmentation"),
            **lies,
        )
        self.distance = viewer.add_image(
            self.distance_map,
            name="distance",
            colormap="magma",
            blending="additive",
            opacity=0.3,
            contrast_limits=(0.0, max(bound, 1e-3)),
            metadata=_mark("distance"),
            **lies,
        )
        self.cells = viewer.add_labels(
            _zeros(shape, np.int32), name="cells", opacity=0.6, metadata=_mark("cells"), **lies
        )
        self.cells.events.paint.connect(self._painted)
        self.classes: Any = None  # a layer, where there are more than cell and background

    @property
    def layers(self) -> tuple[Any, Any, Any]:
        """The layers segmentation, distance and cells."""
        return self.segmentation, self.distance, self.cells

    @property
    def all_layers(self) -> tuple[Any, ...]:
        """The three layers, and that of the classes where there is one."""
        return self.layers if self.classes is None else (*self.layers, self.classes)

    def fits(self, image: Any, source: Any) -> bool:
        """Whether these layers are all still there and can take a prediction by the same model."""
        there = all(
            any(same(layer, mine) for layer in self._viewer.layers) for mine in self.all_layers
        )
        shape = tuple(pixels(image).shape[: image.ndim])
        return (
            there
            and same(image, self.image)
            and shape == self.probability.shape
            and source == self.source
            and not self.edited
        )

    def _at(self, position: int) -> Any:
        return ... if self._single else position

    def write(self, prediction: FramePrediction, threshold: float) -> None:
        """Write one predicted frame into the three layers."""
        position, at = prediction.position, self._at(prediction.position)
        self.probability[at] = prediction.segmentation
        self.distance_map[at] = prediction.distance
        self.done[position] = prediction.number
        pixels(self.segmentation)[at] = prediction.segmentation > threshold
        pixels(self.cells)[at] = prediction.instances
        if prediction.classes is not None:
            self._write_classes(prediction)
        if self.visible(position):
            for layer in self.all_layers:
                layer.refresh()

    def _write_classes(self, prediction: FramePrediction) -> None:
        """Write the classes of a frame; their layer is made when the first ones come."""
        if self.classes is None:
            self.classes = self._viewer.add_labels(
                _zeros(self.probability.shape, np.uint8),
                name="classes",
                opacity=0.5,
                metadata=_mark("classes"),
                **placement(self.image),
                **legend_options(prediction.legend),
            )
        pixels(self.classes)[self._at(prediction.position)] = prediction.classes

    def write_cells(self, position: int, cells: NDArray[np.int32], threshold: float) -> None:
        """Write the cells that other thresholds give for a predicted frame."""
        at = self._at(position)
        pixels(self.segmentation)[at] = self.probability[at] > threshold
        pixels(self.cells)[at] = cells
        if self.visible(position):
            self.segmentation.refresh()
            self.cells.refresh()

    def maps(self, position: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probability and distance of one frame."""
        at = self._at(position)
        return self.probability[at], self.distance_map[at]

    def prediction(self, position: int) -> FramePrediction:
        """Return one frame as it is now, with its cells as thresholds and brush left them."""
        segmentation, distance = self.maps(position)
        cells = np.asarray(pixels(self.cells)[self._at(position)], np.int32)
        number = self.done[position]
        classes = None if self.classes is None else pixels(self.classes)[self._at(position)]
        return FramePrediction(
            position, number, len(self.done), segmentation, distance, cells, classes
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


def _mark(result: str) -> dict[str, Any]:
    return {METADATA_KEY: {"result": result}}


def add_results(
    viewer: napari.viewer.Viewer,
    before: Results | None,
    image: Any,
    stack: Stack,
    bound: float,
    source: Any,
) -> Results:
    """Return result layers for a prediction: the ones of before where they fit, else new ones."""
    if before is not None and before.fits(image, source):
        return before
    if before is not None:
        before.set_aside() if before.edited else _remove(viewer, before)
    return Results(viewer, image, stack, bound, source)


def _remove(viewer: napari.viewer.Viewer, results: Results) -> None:
    for layer in results.all_layers:
        for other in list(viewer.layers):
            if same(layer, other):
                viewer.layers.remove(other)
