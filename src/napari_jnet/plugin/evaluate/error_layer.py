"""The layer that marks what is wrong: missed, false, split and merged cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.metrics.errors import ErrorKind
from napari_jnet.plugin.legend import legend_options
from napari_jnet.plugin.predict.results import placement
from napari_jnet.plugin.session import METADATA_KEY, Lifetime, Session, result_of, same, switch

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

    While it is shown, no other labels are, nor the maps of a prediction: their colours would be taken for
    errors.  They are shown again when they are selected, when another step or prediction begins, and at
    the end; an annotation that somebody works on stays.

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
        self._current = False  # of the labels as they were evaluated last
        self._hidden: list[Any] = []
        self._setting = False
        lifetime.connect(self._viewer.layers.selection.events.active, self._selected)
        lifetime.connect(self._viewer.layers.events.removed, self._removed)
        lifetime.connect(session.step_changed, self._step)
        lifetime.connect(session.results_changed, self._predicted)
        lifetime.at_end(self._restore)

    @property
    def there(self) -> bool:
        """Whether the viewer has the layer."""
        return any(same(layer, self.layer) for layer in self._viewer.layers)

    def clear(self, like: Any) -> None:
        """Forget all errors; the next ones lie on this layer."""
        self._restore()
        self._current = True
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
        self.layer.events.visible.connect(self._eye)
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
        self._setting = True
        switch(self.layer, visible and self._current)
        self._setting = False
        if not self.layer.visible:
            self._restore()
            return
        active = self._viewer.layers.selection.active
        # in the workbench, the next step brings back what is hidden
        alone = self._session.step != "evaluate"
        for layer in self._viewer.layers:
            worked_on = alone and same(layer, active) and same(layer, self._session.annotation)
            covers = hasattr(layer, "brush_size") or result_of(layer)
            if layer.visible and covers and not worked_on and not same(layer, self.layer):
                switch(layer, False)
                self._hidden.append(layer)

    def _eye(self, _event: Any = None) -> None:
        """Do as in the list of layers, where somebody has switched the errors."""
        if not self._setting and self.layer is not None:
            self._current = self._current or self.layer.visible  # who wants old errors gets them
            self.show(self.layer.visible)

    def _removed(self, event: Any) -> None:
        if same(event.value, self.layer):
            self._restore()

    def _predicted(self, _results: Any) -> None:
        """Let the cells of a new prediction be seen: the errors are those of the cells before."""
        self._current = False
        self._show(False)

    def _step(self, step: str) -> None:
        self._show(self.visible and step == "evaluate")

    def _selected(self, _event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        for layer in [layer for layer in self._hidden if same(layer, active)]:
            self._hidden.remove(layer)
            switch(layer, True)

    def _restore(self) -> None:
        while self._hidden:
            switch(self._hidden.pop(), True)
