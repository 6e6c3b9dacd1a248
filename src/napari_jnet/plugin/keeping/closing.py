"""Being told before the window closes, and when it has closed; and waiting in it meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QEventLoop, QObject, Qt, QThread
from qtpy.QtWidgets import QApplication, QProgressDialog, QWidget

__all__ = ["Closing", "wait_in_window"]

_SILENT_S = 0.5
_INPUT = QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents


class Closing(QObject):
    """Calls when the window of a viewer is about to close, or napari to quit.

    Parameters
    ----------
    viewer
        Whose window it is; one without a window never closes.
    before
        Called in the window's thread with the window, or with None when napari quits; must not raise.
        napari may still ask and keep the window open.
    closed
        Called when the window has closed.
    """

    def __init__(
        self,
        viewer: Any,
        before: Callable[[QWidget | None], Any],
        closed: Callable[[], Any],
    ) -> None:
        super().__init__()
        self._before, self._closed = before, closed
        self._under_way = self._asked = False
        window = getattr(viewer, "window", None)
        if window is not None:
            window.main_menu.window().installEventFilter(self)
            QApplication.instance().aboutToQuit.connect(self._quit)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Call before the window handles its closing; let everything through but a second one."""
        if event is None or not isinstance(watched, QWidget):
            return False
        if event.type() == QEvent.Type.Close:
            if self._under_way:
                event.ignore()
                return True
            self._tell(watched)
            self._asked = True
            if watched.isHidden():  # so that it cannot be told that it was hidden
                watched.event(event)
                if event.isAccepted():
                    self._closed()
                return True
        elif event.type() == QEvent.Type.Hide and self._asked and not event.spontaneous():
            self._asked = False
            self._closed()
        return False

    def _quit(self) -> None:
        self._tell(None)
        self._closed()

    def _tell(self, window: QWidget | None) -> None:
        self._under_way = True
        try:
            self._before(window)
        finally:
            self._under_way = False


def wait_in_window(
    busy: Callable[[], bool],
    window: QWidget | None,
    text: str,
    *,
    give_up: str,
    limit_s: float,
    progress: Callable[[], tuple[int, int]] | None = None,
) -> bool:
    """Wait while something is busy; after half a second a dialog says so, and can be left.

    Parameters
    ----------
    busy
        Asked again and again.
    window
        That the dialog belongs to; without one there is none.
    text, give_up
        What is waited for, and the words on the button that waits no longer.
    limit_s
        At most so many seconds.
    progress
        How far it is, and of how much.

    Returns
    -------
    bool
        False if it is busy still.
    """
    begun, dialog = time.monotonic(), None
    while busy():
        passed = time.monotonic() - begun
        if passed > limit_s or (dialog is not None and dialog.wasCanceled()):
            break
        if dialog is None and window is not None and passed > _SILENT_S:
            dialog = _dialog(window, text, give_up)
        if dialog is not None and progress is not None:
            done, count = progress()
            dialog.setMaximum(count)
            dialog.setValue(min(done, count - 1))
        flag = _INPUT if dialog is None else QEventLoop.ProcessEventsFlag.AllEvents
        QApplication.processEvents(flag, 20)
        QThread.msleep(5)
    if dialog is not None:
        dialog.hide()
        dialog.setParent(None)
        dialog.deleteLater()
    return not busy()


def _dialog(window: QWidget, text: str, give_up: str) -> QProgressDialog:
    dialog = QProgressDialog(text, give_up, 0, 0, window)
    dialog.setWindowTitle("napari-jnet")
    dialog.setWindowModality(Qt.WindowModality.ApplicationModal)
    dialog.setMinimumDuration(0)
    dialog.setAutoClose(False)
    dialog.setAutoReset(False)
    dialog.show()
    return dialog
