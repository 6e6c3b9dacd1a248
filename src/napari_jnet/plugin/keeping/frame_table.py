"""The facts of all frames of a layer: read again only where something has changed."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from napari_jnet.plugin.keeping.frame_facts import FrameFacts

__all__ = ["FrameTable", "FrameTotals"]


@dataclass(frozen=True)
class FrameTotals:
    """What all annotated frames hold together.

    Attributes
    ----------
    frames
        Annotated ones.
    objects
        Painted cells; 0 for classes and scribbles.
    pixels
        Known pixels of each class from 0, as in `FrameFacts`.
    whole
        Frames in which every pixel is known.
    sparse
        Frames in which few cells are painted; see `FrameFacts.sparse`.
    score, score_name
        The mean of the last scores, and what it is; None where there is none.
    """

    frames: int = 0
    objects: int = 0
    pixels: tuple[int, ...] = ()
    whole: int = 0
    sparse: int = 0
    score: float | None = None
    score_name: str = ""


class FrameTable:
    """Keeps facts and totals along: a stroke costs as much in 4,000 frames as in 40.

    Parameters
    ----------
    look
        Reads the facts of the frame at a position.
    """

    def __init__(self, look: Callable[[int], FrameFacts]) -> None:
        self._look = look
        self.clear(())

    def clear(self, positions: Iterable[int]) -> None:
        """Forget everything; these frames are to be looked at."""
        self._facts: dict[int, FrameFacts] = {}
        self._changed: set[int] = set(positions)
        self._annotated: list[int] = []
        self._told: tuple[int, ...] | None = None
        self._objects = self._whole = self._sparse = 0
        self._pixels: Counter[int] = Counter()
        self._scores: dict[int, float] = {}

    def forget(self, positions: Iterable[int]) -> None:
        """Look at these frames again when they are asked for."""
        for position in positions:
            self._changed.add(position)
            facts = self._facts.pop(position, None)
            if facts is not None and facts.annotated:
                self._count(facts, -1)

    def facts(self, position: int) -> FrameFacts:
        """Return the facts of a frame."""
        facts = self._facts.get(position)
        if facts is None:
            self._changed.discard(position)
            facts = self._facts[position] = self._look(position)
            if facts.annotated:
                self._count(facts, 1)
        return facts

    def annotated(self, hopeful: Callable[[int], bool]) -> tuple[int, ...]:
        """Return the annotated positions, ascending.

        Parameters
        ----------
        hopeful
            Says of a changed frame whether it may hold something; others are not looked at.
        """
        changed, self._changed = self._changed, set()
        for position in changed:
            if hopeful(position):
                self.facts(position)
        if self._told is None:
            self._told = tuple(self._annotated)
        return self._told

    def totals(self, hopeful: Callable[[int], bool]) -> FrameTotals:
        """Return what the annotated frames hold together; see `annotated`."""
        frames = len(self.annotated(hopeful))
        last = max((n for n, count in self._pixels.items() if count), default=-1)
        some = next(iter(self._scores), None)
        return FrameTotals(
            frames=frames,
            objects=self._objects,
            pixels=tuple(self._pixels[n] for n in range(last + 1)),
            whole=self._whole,
            sparse=self._sparse,
            score=math.fsum(self._scores.values()) / len(self._scores) if self._scores else None,
            score_name="" if some is None else self._facts[some].score_name,
        )

    def _count(self, facts: FrameFacts, sign: int) -> None:
        self._told = None
        self._objects += sign * facts.objects
        self._whole += sign * (facts.unknown == 0)
        self._sparse += sign * (facts.sparse and facts.role != "unused")
        for number, count in enumerate(facts.pixels):
            self._pixels[number] += sign * count
        position = facts.position
        if sign > 0:
            insort(self._annotated, position)
            if facts.score is not None:
                self._scores[position] = facts.score
        else:
            del self._annotated[bisect_left(self._annotated, position)]
            self._scores.pop(position, None)
