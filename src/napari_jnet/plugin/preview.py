"""The preview of a training: asked for in the worker, shown in the window."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.events import Preview
from napari_jnet.plugin.layers import METADATA_KEY, current_index, plane
from napari_jnet.plugin.results import placement
from napari_jnet.plugin.session import same

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
    """The layer "preview": where the network sees cells now; it lies on the plane it is of."""

    def __init__(self, viewer: napari.viewer.Viewer, image: Any) -> None:
        self._viewer = viewer
        self.image = image
        self._layer: Any = None

    def show(self, preview: PlacedPreview) -> None:
        """Show a preview; the layer is made anew where the user has deleted it."""
        data = preview.segmentation[(None,) * len(preview.index)]
        lies = placement(self.image)
        offset = [*preview.index, *(0,) * preview.segmentation.ndim]
        lies["translate"] = np.asarray(lies["translate"]) + np.multiply(offset, lies["scale"])
        if self._layer is None or not any(same(self._layer, x) for x in self._viewer.layers):
            active = self._viewer.layers.selection.active
            self._layer = self._viewer.add_image(
                data,
                name="preview",
                colormap="green",
                blending="additive",
                opacity=0.45,
                contrast_limits=(0.0, 1.0),
                metadata={METADATA_KEY: {"result": True}},
                **lies,
            )
            if active is not None:
                self._viewer.layers.selection.active = active
            return
        self._layer.data = data
        self._layer.translate = lies["translate"]

    def follow(self, source: PreviewSource) -> None:
        """Tell the source which plane the viewer shows."""
        source.index = current_index(self._viewer, self.image)
