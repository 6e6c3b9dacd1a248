"""The layer that marks what is wrong: missed, false, split and merged cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.metrics.errors import ErrorKind
from napari_jnet.plugin.legend import legend_options
from napari_jnet.plugin.results import placement
from napari_jnet.plugin.session import METADATA_KEY, same

__all__ = ["COLOURS", "NAMES", "ErrorLayer", "legend_words"]

# told apart by people who see red and green alike (Okabe and Ito)
COLOURS = {
    ErrorKind.MISSED: "#e8602c",
    ErrorKind.FALSE: "#56b4e9",
    ErrorKind.SPLIT: "#f0e442",
    ErrorKind.MERGED: "#cc79a7",
    ErrorKind.WRONG_CLASS: "#e69f00",
}
NAMES = {
    ErrorKind.MISSED: "missed",
    ErrorKind.FALSE: "false",
    ErrorKind.SPLIT: "split",
    ErrorKind.MERGED: "merged",
    ErrorKind.WRONG_CLASS: "wrong class",
}


def legend_words(kinds: Any = tuple(ErrorKind)[:4]) -> str:
    """Return the legend as rich text."""
    return " &nbsp; ".join(f'<span style="color:{COLOURS[k]}">■</span> {NAMES[k]}' for k in kinds)


class ErrorLayer:
    """One labels layer "errors" of a viewer, made when the first errors come.

    Parameters
    ----------
    viewer
        That it is added to.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.layer: Any | None = None
        self.visible = True

    @property
    def there(self) -> bool:
        """Whether the viewer has the layer."""
        return any(same(layer, self.layer) for layer in self._viewer.layers)

    def clear(self, like: Any) -> None:
        """Forget all errors; the next ones lie on this layer."""
        data = like.data[0] if getattr(like, "multiscale", False) else like.data
        # zeros take no memory before they are written
        plane = np.zeros(tuple(data.shape), np.uint8)
        if self.layer is not None and self.there:
            if tuple(self.layer.data.shape) == plane.shape:
                self.layer.data = plane
                return
            self._viewer.layers.remove(self.layer.name)
        active = self._viewer.layers.selection.active
        legend = [("right", "#000000"), *((NAMES[k], COLOURS[k]) for k in ErrorKind)]
        self.layer = self._viewer.add_labels(
            plane,
            name="errors",
            opacity=0.6,
            visible=self.visible,
            metadata={METADATA_KEY: {"result": "errors"}},
            **placement(like),
            **legend_options(legend),
        )
        self.layer.editable = False
        # whoever was painting goes on painting where they did
        self._viewer.layers.selection.active = active

    def write(self, position: int, plane: NDArray[np.uint8], shown: bool) -> None:
        """Write the errors of a frame, in the window's thread."""
        if self.layer is None or not self.there:
            return
        data = self.layer.data
        data[... if data.ndim == 2 else position] = plane
        if shown:
            self.layer.refresh()

    def show(self, visible: bool) -> None:
        """Show or hide the errors."""
        self.visible = visible
        if self.layer is not None and self.there:
            self.layer.visible = visible
