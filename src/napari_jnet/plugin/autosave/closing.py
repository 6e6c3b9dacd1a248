"""What is saved before a window closes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QEventLoop, QObject, Qt, QThread
from qtpy.QtWidgets import QApplication, QProgressDialog, QWidget

from napari_jnet.plugin.autosave.store import LayerStore
from napari_jnet.plugin.jobs.runner import TaskQueue

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


class StackCopy:
    """Copies images into their projects, in the background.

    Parameters
    ----------
    failed
        Called in the window's thread with what went wrong.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._background = TaskQueue("napari-jnet copying")
        self._failed = failed
        self._stopped = False
        self._done, self._count = 0, 1

    def begin(self, kept: LayerStore) -> None:
        """Copy the image of a layer into its project, where it is in no file."""
        project, stack = kept.project, kept.stack
        if project is None or project.stack.placed or kept.copying:
            return
        kept.copying = True
        self._stopped, self._done, self._count = False, 0, len(stack)

        def copy() -> None:
            for done in project.store_stack(stack):
                self._done = done
                if self._stopped:
                    return

        def failed(error: Exception) -> None:
            kept.copying = False
            self._failed(error)

        self._background.submit(copy, None, failed)

    def wait(self) -> None:
        """Wait until all is copied; for scripts."""
        self._background.wait()

    def finish(self, window: QWidget | None, limit_s: float) -> bool:
        """Wait in the window, which shows how far it is and lets the user go on without.

        Returns
        -------
        bool
            False if the copy was given up; nothing half is left then.
        """
        done = wait_in_window(
            lambda: self._background.busy,
            window,
            "The image is in no file: it is copied into the project, which could not be opened "
            "without it…",
            give_up="Close without it",
            limit_s=limit_s,
            progress=lambda: (self._done, self._count),
        )
        self._stopped = not done
        return done
