"""Gold truth that annotates only some cells of a frame: which frames, decided on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["PartialRule", "Reference", "covered_fraction"]

_Labels = Callable[[int], NDArray[np.int32]]


def covered_fraction(reference: NDArray[np.int32], gold: NDArray[np.int32]) -> float | None:
    """Return which part of the reference objects lies under gold objects.

    Parameters
    ----------
    reference
        Markers or silver truth of the frame; 0 = background.
    gold
        Gold truth, same shape; pixels below 0 are not annotated and left out.

    Returns
    -------
    float or None
        0 to 1; an object counts if gold covers more than half of it.  None without any object.
    """
    known = gold >= 0
    total = np.bincount(reference[known & (reference > 0)])
    under = np.bincount(reference[(gold > 0) & (reference > 0)], minlength=total.size)
    objects = total > 0
    if not objects.any():
        return None
    return float(np.mean(2 * under[objects] > total[objects]))


@dataclass(frozen=True, eq=False)
class Reference:
    """What tells the cells of some frames; complete gold truth covers `least` of them or more."""

    frame_numbers: frozenset[int]
    read: _Labels
    least: float


@dataclass(frozen=True, eq=False)
class PartialRule:
    """Decides whether a gold frame is partial.

    Attributes
    ----------
    gold
        Frame number -> gold truth as stored.
    whole
        Frames whose truth covers the whole frame or volume (not single planes).
    references
        The most trusted first: the TRA markers, set by hand, then the silver truth, computed.

    Notes
    -----
    A frame is partial if less than ``least`` of the reference's objects lie under a gold object; where
    the reference has none, it is complete.  Where no reference has the frame, it is partial if it is
    empty, or has fewer than half of the median count of objects of the gold frames with any: its other pixels
    are then unknown, which is safe, and not background, which may be wrong.  The challenge itself does
    not mark such frames.
    """

    gold: _Labels
    whole: frozenset[int]
    references: tuple[Reference, ...]
    frame_numbers: tuple[int, ...]
    _decided: dict[int, bool] = field(default_factory=dict)

    def __call__(self, number: int, labels: NDArray[np.int32] | None = None) -> bool:
        """Say whether the frame is partial; `labels` spares reading the gold truth once more."""
        if number not in self._decided:
            self._decided[number] = self._decide(number, labels)
        return self._decided[number]

    def _decide(self, number: int, labels: NDArray[np.int32] | None) -> bool:
        if labels is None:
            labels = self.gold(number)
        referred = [r for r in self.references if number in r.frame_numbers]
        for reference in referred:
            part = covered_fraction(reference.read(number), labels)
            if part is not None:
                return part < reference.least
        if referred or number not in self.whole:
            return False
        if not (labels > 0).any():
            return True
        if len(self.whole) < 3:
            return False
        return 2 * self._counts[number] < float(np.median(list(self._counts.values())))

    @cached_property
    def _counts(self) -> dict[int, int]:
        counts = {n: _count(self.gold(n)) for n in self.whole}
        return {n: count for n, count in counts.items() if count}


def _count(labels: NDArray[np.int32]) -> int:
    return int(np.unique(labels[labels > 0]).size)
