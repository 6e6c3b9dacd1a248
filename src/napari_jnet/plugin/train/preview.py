"""The preview of a training: asked for in the worker, shown in the window."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.events import Preview
from napari_jnet.plugin.layers import current_index, pixels, plane
from napari_jnet.plugin.predict.results import placement
from napari_jnet.plugin.session import METADATA_KEY, same

if TYPE_CHECKING:
    import napari

__all__ = ["PlacedPreview", "PreviewLayer", "PreviewSource"]


@dataclass(frozen=True, eq=False)
class PlacedPreview(Preview):
    """A preview, and the leading indices of the plane it is of."""

    index: tuple[int, ...] = ()


class PreviewSource:
    """Gives the trainer the plane that the viewer shows.

    `index` is written in the window's thread; `read` and `place` run in the worker's.
    """

    def __init__(self, layer: Any, index: tuple[int, ...]) -> None:
        self.index = index
        self._read = plane(layer)
        self._sent = index

    def read(self) -> NDArray[Any]:
        """Read the plane that is shown now."""
        self._sent = self.index
        return self._read(self._sent)

    def place(self, events: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """Pass events on; a preview learns which plane it is of.  Closing it closes them."""
        with closing(events):
            for event in events:
                if isinstance(event, Preview):
                    yield PlacedPreview(event.segmentation, event.distance, event.epoch, self._sent)
                else:
                    yield event


class PreviewLayer:
    """The layer "preview": where the network sees cells now; it lies on the plane it is of.

    Made, empty, before the training begins: a new layer costs the window some tenths of a second.
    """

    def __init__(
        self, viewer: napari.viewer.Viewer, image: Any, before: PreviewLayer | None
    ) -> None:
        self._viewer = viewer
        self.image = image
        self._layer: Any = None if before is None else before.layer
        index = current_index(viewer, image)
        rows_columns = tuple(pixels(image).shape[len(index) : len(index) + 2])
        empty = np.zeros((1,) * len(index) + rows_columns, np.float32)
        lies = placement(image, index)
        earlier = self.layer
        if earlier is not None and earlier.ndim == empty.ndim:
            earlier.data = empty
            for name, value in lies.items():
                setattr(earlier, name, value)
            return
        if earlier is not None:
            viewer.layers.remove(earlier)
        active = viewer.layers.selection.active
        self._layer = viewer.add_image(
            empty,
            name="preview",
            colormap="green",
            blending="additive",
            opacity=0.45,
            contrast_limits=(0.3, 1.0),  # an untrained network says one half everywhere
            metadata={METADATA_KEY: {"result": "preview"}},
            **lies,
        )
        if active is not None:
            viewer.layers.selection.active = active

    @property
    def layer(self) -> Any:
        """The layer, or None where the user has deleted it."""
        there = any(same(self._layer, other) for other in self._viewer.layers)
        return self._layer if there else None

    def show(self, preview: PlacedPreview) -> None:
        """Show a preview, unless the user has deleted the layer."""
        layer = self.layer
        if layer is not None:
            layer.data = preview.segmentation[(None,) * len(preview.index)]
            layer.translate = placement(self.image, preview.index)["translate"]

    def follow(self, source: PreviewSource) -> None:
        """Tell the source which plane the viewer shows."""
        source.index = current_index(self._viewer, self.image)
