"""The copy of an image that is in no file; a project cannot be opened without it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QWidget

from napari_jnet.plugin.background import Background
from napari_jnet.plugin.keeping.closing import wait_in_window
from napari_jnet.plugin.keeping.layer import KeptLayer

__all__ = ["StackCopy"]


class StackCopy:
    """Copies images into their projects, in the background.

    Parameters
    ----------
    failed
        Called in the window's thread with what went wrong.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._background = Background("napari-jnet copying")
        self._failed = failed
        self._stopped = False
        self._done, self._count = 0, 1

    def begin(self, kept: KeptLayer) -> None:
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
