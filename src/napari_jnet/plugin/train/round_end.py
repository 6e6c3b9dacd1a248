"""The end of a round of training: compare the model with the one before, and keep the better."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_jnet.events import RoundEnd
from napari_jnet.plugin.session import Session, same, unwrap
from napari_jnet.plugin.train.feed import FrameFeed
from napari_jnet.plugin.train.histories import read_split
from napari_jnet.plugin.train.jobs import comparison
from napari_jnet.plugin.train.round_panel import RoundPanel
from napari_jnet.plugin.worker import Relay

__all__ = ["Rounds"]


class Rounds:
    """Compares through the relay of the training; the choice is the session's and the project's.

    The model belongs to the labels, and to their project, that the training began with, whichever are
    current when it ends.

    Parameters
    ----------
    session
        Its model is the one before the round.
    relay
        Free when a round ends.
    """

    def __init__(self, session: Session, relay: Relay) -> None:
        self._session, self._relay = session, relay
        self._old: Path | None = None
        self._new = Path()
        self._shown: Path | None = None
        self._of_labels: Path | None = None
        self._annotation: Callable[[], Any] = lambda: None
        self._project: Any = None
        self.panel = RoundPanel()
        self.panel.chosen.connect(self.use)

    def begin(self, new: Path) -> None:
        """Remember which model a round begins with."""
        session = self._session
        old = self._shown = session.model
        self._of_labels = session.own_model
        self._annotation = weakref.ref(unwrap(session.annotation))
        self._project = session.project
        self._new = new
        self._old = old if old is not None and old not in (new, new / "model.pt") else None
        self.panel.clear()

    @property
    def labels(self) -> Callable[[], Any]:
        """A weak reference to the labels that the training began with."""
        return self._annotation

    def use(self, model: Path) -> None:
        """Make a model that of the labels it has learned from, and have their project remember it."""
        session, annotation = self._session, self._annotation()
        project = self._project
        if project is None and same(annotation, session.annotation):
            project = session.project  # made while it trained
        session.set_model(model, annotation, project)

    def end(self, feed: FrameFeed, device: str, *, compare: bool, then: Callable[[], None]) -> None:
        """End the round: ``then`` is called when the better model is chosen.

        Parameters
        ----------
        feed
            What was learned from; its validation frames decide.
        device
            Where to compute.
        compare
            False keeps the old model, where there is one: nobody waits, and the new one can go on.
        """
        new, old = self._new, self._old
        if not (new / "model.pt").is_file():
            then()
            return
        if self._keep_chosen():
            then()
            return
        if old is None or not old.exists():
            self.use(new)
            self.panel.tell("The first model: there is none before it to compare it with.")
            then()
            return
        if not compare:
            if self._of_labels is None:  # the one before is of other labels
                self.use(new)
            then()
            return
        if not read_split(new)[1]:
            self._cannot("there is no validation frame. Give one annotated frame that role.", then)
            return

        def compared(end: RoundEnd) -> None:
            if not self._keep_chosen():
                self.use(end.kept)
                self.panel.offer(end, old, new)
            then()

        self._relay.start(
            comparison(feed, old, new, device),
            on_done=compared,
            on_error=lambda error: self._cannot(f"{error}", then),
            on_stopped=lambda: self._cannot("the comparison was stopped.", then),
            title="comparing two models",
        )

    def _keep_chosen(self) -> bool:
        """Keep a model that somebody chose by hand for these labels meanwhile; offer the new one."""
        session, chosen = self._session, self._session.model
        present = same(self._annotation(), session.annotation)
        if not present or not session.model_by_hand or chosen is None or chosen == self._shown:
            return False
        words = f"You chose {chosen.name} for these labels while this was trained."
        self.panel.offer(RoundEnd(chosen, None, words, ()), chosen, self._new)
        return True

    def _cannot(self, why: Any, then: Callable[[], None]) -> None:
        """Use the new model; the old one is still one click away."""
        if not self._keep_chosen():
            self.use(self._new)
            words = f"The new model and the one before cannot be compared: {why}"
            if self._old is not None:
                self.panel.offer(RoundEnd(self._new, None, words, ()), self._old, self._new)
        then()
