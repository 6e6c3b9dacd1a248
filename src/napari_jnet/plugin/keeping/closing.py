"""Being told before the window closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject

__all__ = ["Closing"]


class Closing(QObject):
    """Calls when the window of a viewer is about to close; napari may still ask and keep it open.

    Parameters
    ----------
    viewer
        Whose window it is; one without a window never closes.
    call
        Called in the window's thread.
    """

    def __init__(self, viewer: Any, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call
        window = getattr(viewer, "window", None)
        if window is not None:
            window.main_menu.window().installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Call before the window handles its closing; let everything through."""
        if event is not None and event.type() == QEvent.Type.Close:
            self._call()
        return False
