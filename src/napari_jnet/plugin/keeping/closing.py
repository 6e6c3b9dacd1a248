"""Being told before the window closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QWidget

__all__ = ["Closing"]


class Closing(QObject):
    """Calls when the window of a viewer is about to close, or napari to quit.

    napari may still ask and keep the window open.

    Parameters
    ----------
    viewer
        Whose window it is; one without a window never closes.
    call
        Called in the window's thread with the window, or with None when napari quits; must not raise.
    """

    def __init__(self, viewer: Any, call: Callable[[QWidget | None], Any]) -> None:
        super().__init__()
        self._call = call
        self._under_way = False
        window = getattr(viewer, "window", None)
        if window is not None:
            window.main_menu.window().installEventFilter(self)
            QApplication.instance().aboutToQuit.connect(self._quit)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Call before the window handles its closing; let everything through but a second one."""
        if event is None or event.type() != QEvent.Type.Close:
            return False
        if self._under_way:
            return True
        self._tell(watched if isinstance(watched, QWidget) else None)
        return False

    def _quit(self) -> None:
        self._tell(None)

    def _tell(self, window: QWidget | None) -> None:
        self._under_way = True
        try:
            self._call(window)
        finally:
            self._under_way = False
