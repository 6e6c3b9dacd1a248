"""The saves of a viewer, one after another; what the disk refuses waits again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from napari_jnet.plugin.background import Background
from napari_jnet.plugin.keeping.layer import KeptLayer, Stored

__all__ = ["SaveQueue"]

Failed = Callable[[Exception], Any]


class SaveQueue:
    """Saves layers in a thread of its own, in turn with other work on their projects.

    Parameters
    ----------
    stored
        Called in the window's thread with the layer and what its save did.
    refused
        Called there with the layer and why nothing was saved; that waits again.
    """

    def __init__(
        self,
        stored: Callable[[KeptLayer, Stored], None],
        refused: Callable[[KeptLayer, Exception], None],
    ) -> None:
        self._background = Background("napari-jnet saving")
        self._stored, self._refused = stored, refused

    def save(
        self,
        kept: KeptLayer,
        roles: Mapping[int, str],
        then: Callable[[Stored], Any] | None = None,
        failed: Failed | None = None,
    ) -> None:
        """Save what waits in a layer; what is painted from now on is for the next save."""
        parcel = kept.take(roles)
        kept.under_way += 1

        def stored(what: Stored) -> None:
            kept.under_way -= 1
            self._stored(kept, what)
            if then is not None:
                then(what)

        def refused(error: Exception) -> None:
            kept.under_way -= 1
            kept.put_back(parcel)
            self._refused(kept, error)
            if failed is not None:
                failed(error)

        self._background.submit(lambda: kept.save(parcel), stored, refused)

    def submit(
        self,
        task: Callable[[], Any],
        then: Callable[[Any], Any] | None = None,
        failed: Failed | None = None,
    ) -> None:
        """Run a task in turn with the saves; see `Background.submit`."""
        self._background.submit(task, then, failed)

    @property
    def busy(self) -> bool:
        """Whether a save or another task is under way."""
        return self._background.busy

    def wait(self, timeout_s: float = 30.0) -> None:
        """Wait for all of them; raises `TimeoutError`."""
        self._background.wait(timeout_s)
