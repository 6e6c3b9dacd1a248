"""Follows a session and says how the work stands, a moment after anything has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_jnet.plugin.session import Lifetime, Session, same
from napari_jnet.plugin.workbench.hints import Facts, facts_of

__all__ = ["Situation"]

_LATER_MS = 100
_CHANGES = (
    "image",
    "annotation",
    "project",
    "model",
    "results",
    "training",
    "saving",
    "offer",
    "measured",
)


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
        # positions edited since the network last learned, and of these, within the last epoch
        self._edited: set[int] = set()
        self._recent: set[int] = set()
        self._epoch: tuple[Any, int] = (None, -1)
        self._unfinished = 0
        self._over = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LATER_MS)
        self._timer.timeout.connect(self.look)
        lifetime.at_end(self._end)
        for name in _CHANGES:
            lifetime.connect(getattr(session, f"{name}_changed"), self._soon)
        lifetime.connect(session.training_changed, self._training_changed)
        lifetime.connect(session.fine_tuning.changed, self._soon)
        lifetime.connect(session.book.changed, self._soon)
        lifetime.connect(session.book.kind_changed, self._soon)
        lifetime.connect(session.book.edited, self._note)
        lifetime.connect(session.annotation_changed, self._start_anew)
        lifetime.connect(session.project_changed, self._read_runs)
        self._read_runs()

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

    def _note(self, positions: Iterable[int]) -> None:
        self._recent.update(positions)

    def _start_anew(self, _layer: Any = None) -> None:
        self._edited, self._recent = set(), set()

    def _training_changed(self, status: Any) -> None:
        if status.labels() is not None and not same(status.labels(), self._session.annotation):
            return  # nothing is learned from these labels
        now = (status.run, status.epoch)
        if status.state != "idle" and now != self._epoch:
            # what was painted in an epoch is picked up after it, unless it was the last
            begins = status.run != self._epoch[0] or status.epoch == 0
            self._edited, self._recent = set() if begins else self._recent, set()
            self._epoch = now
        if status.state == "idle" and status.outcome == "done":
            self._unfinished = 0
        elif status.state == "idle":
            self._read_runs()

    def _read_runs(self, _project: Any = None) -> None:
        run = None if self._session.project is None else self._session.project.last_run
        self._unfinished = run.epochs if run is not None and run.resumable else 0

    def _new_frames(self) -> int:
        return len((self._edited | self._recent).intersection(self._session.book.annotated))
