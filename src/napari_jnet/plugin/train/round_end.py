"""The end of a round of training: compare the model with the one before, and keep the better."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_jnet.events import RoundEnd
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.session import Lifetime, Session
from napari_jnet.plugin.train.feed import FrameFeed
from napari_jnet.plugin.train.histories import read_split
from napari_jnet.plugin.train.jobs import comparison
from napari_jnet.plugin.train.round_panel import RoundPanel
from napari_jnet.plugin.worker import Relay

__all__ = ["Rounds"]


class Rounds:
    """Compares through the relay of the training; the choice is the session's and the project's.

    Parameters
    ----------
    session
        Its model is the one before the round.
    relay
        Free when a round ends.
    """

    def __init__(self, session: Session, lifetime: Lifetime, relay: Relay) -> None:
        self._session, self._relay = session, relay
        self._old: Path | None = None
        self._new = Path()
        self.panel = RoundPanel()
        self.panel.chosen.connect(self.use)
        self._writer = Background("napari-jnet model")
        lifetime.at_end(self._writer.close)

    def begin(self, new: Path) -> None:
        """Remember which model a round begins with."""
        old = self._session.model
        self._new = new
        self._old = old if old is not None and old not in (new, new / "model.pt") else None
        self.panel.clear()

    def use(self, model: Path) -> None:
        """Make a model the one that predicts, and that the project remembers."""
        self._session.model = model
        project = self._session.project
        if project is not None:
            self._writer.submit(lambda: project.set_model(model))

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
        if old is None or not old.exists():
            self.use(new)
            self.panel.tell("The first model: there is none before it to compare it with.")
            then()
            return
        if not compare:
            then()
            return
        if not read_split(new)[1]:
            self._cannot("there is no validation frame. Give one annotated frame that role.", then)
            return

        def compared(end: RoundEnd) -> None:
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

    def _cannot(self, why: Any, then: Callable[[], None]) -> None:
        """Use the new model; the old one is still one click away."""
        self.use(self._new)
        words = f"The new model and the one before cannot be compared: {why}"
        if self._old is not None:
            self.panel.offer(RoundEnd(self._new, None, words, ()), self._old, self._new)
        then()
