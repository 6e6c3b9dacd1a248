"""The layer that marks what is wrong: missed, false, split and merged cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.metrics.errors import ErrorKind
from napari_jnet.plugin.legend import legend_options
from napari_jnet.plugin.predict.results import placement
from napari_jnet.plugin.session import METADATA_KEY, Lifetime, Session, same

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

    While it is shown, the compared labels are not: their colours would be taken for errors.  They are
    shown again when they are selected, when another step begins, and at the end; an annotation that
    somebody works on stays.

    Parameters
    ----------
    session
        Of the viewer that it is added to.
    lifetime
        Of the widget that shows errors.
    """

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        self._session, self._viewer = session, session.viewer
        self.layer: Any | None = None
        self.visible = True
        self._compared: list[Any] = []
        self._hidden: list[Any] = []
        lifetime.connect(self._viewer.layers.selection.events.active, self._selected)
        lifetime.connect(session.step_changed, self._step)
        lifetime.at_end(self._restore)

    @property
    def there(self) -> bool:
        """Whether the viewer has the layer."""
        return any(same(layer, self.layer) for layer in self._viewer.layers)

    def clear(self, like: Any, *others: Any) -> None:
        """Forget all errors; the next ones lie on this layer, which is compared with the others."""
        self._restore()
        self._compared = [like, *others]
        self._make(like)
        self.show(self.visible)

    def _make(self, like: Any) -> None:
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
        self._show(visible)

    def _show(self, visible: bool) -> None:
        if self.layer is None or not self.there:
            return
        self.layer.visible = visible
        if not visible:
            self._restore()
            return
        active = self._viewer.layers.selection.active
        # in the workbench, the next step brings back what is hidden
        alone = self._session.step != "evaluate"
        for layer in self._compared:
            worked_on = alone and same(layer, active) and same(layer, self._session.annotation)
            if layer.visible and not worked_on:
                layer.visible = False
                self._hidden.append(layer)

    def _step(self, step: str) -> None:
        self._show(self.visible and step == "evaluate")

    def _selected(self, _event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        for layer in [layer for layer in self._hidden if same(layer, active)]:
            self._hidden.remove(layer)
            layer.visible = True

    def _restore(self) -> None:
        while self._hidden:
            self._hidden.pop().visible = True
