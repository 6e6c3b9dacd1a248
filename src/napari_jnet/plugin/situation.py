"""Follows a session and says how the work stands, a moment after anything has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_jnet.plugin.hints import Facts, facts_of
from napari_jnet.plugin.session import Lifetime, Session

__all__ = ["Situation"]

_LATER_MS = 100
_CHANGES = ("image", "annotation", "project", "model", "results", "training", "saving", "offer")


class Situation(QObject):
    """Calls back with the facts, at most ten times a second.

    Parameters
    ----------
    session
        Of the viewer.
    lifetime
        When it ends, nothing is called any more.
    changed
        Called with the `Facts` in the window's thread.
    """

    def __init__(
        self, session: Session, lifetime: Lifetime, changed: Callable[[Facts], None]
    ) -> None:
        super().__init__()
        self._session, self._changed = session, changed
        # what each frame held when the network last learned from it, by position
        self._learned: dict[int, Any] = {}
        self._epoch: tuple[Any, int] = (None, -1)
        self._unfinished = 0
        self._over = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LATER_MS)
        self._timer.timeout.connect(self.look)
        lifetime.at_end(self._end)
        for name in _CHANGES:
            emitter = getattr(session, f"{name}_changed", None)
            if emitter is not None:
                lifetime.connect(emitter, self._soon)
        lifetime.connect(session.training_changed, self._training_changed)
        lifetime.connect(session.book.changed, self._soon)
        lifetime.connect(session.project_changed, self._read_runs)
        self._read_runs()
        if session.model is not None:
            self._learn()

    def _end(self) -> None:
        self._over = True  # the timer may be gone before: Qt ends children in its own order

    def look(self) -> None:
        """Read the facts now, and tell them."""
        if self._over:
            return
        self._changed(facts_of(self._session, self._new_frames(), self._unfinished))

    def _soon(self, *_: Any) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _training_changed(self, status: Any) -> None:
        # new annotations are picked up between two epochs
        if status.state != "idle" and (status.run, status.epoch) != self._epoch:
            self._epoch = (status.run, status.epoch)
            self._learn()
        if status.state == "idle":
            self._read_runs()

    def _read_runs(self, _project: Any = None) -> None:
        run = None if self._session.project is None else self._session.project.last_run
        self._unfinished = run.epochs if run is not None and run.resumable else 0

    def _learn(self) -> None:
        self._learned = self._painted()

    def _painted(self) -> dict[int, Any]:
        book = self._session.book
        return {p: _content(book.facts(p)) for p in book.annotated}

    def _new_frames(self) -> int:
        painted = self._painted()
        return sum(content != self._learned.get(p) for p, content in painted.items())


def _content(facts: Any) -> tuple[Any, ...]:
    """Return what changes when a frame is painted on, and not when it is scored."""
    return facts.objects, facts.pixels, facts.unknown
