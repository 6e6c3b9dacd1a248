"""Gold truth that annotates only some cells of a frame: which frames, decided on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.stack import Annotation, LabelKind, known_labels

__all__ = ["GoldAnnotation", "PartialRule", "Reference", "covered_fraction"]

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
    A frame is partial if less than ``least`` of the reference's objects lie under a gold object.
    Where no reference has the frame, it is partial if it has fewer than half of the median count of
    objects of the gold frames.  The challenge itself does not mark such frames.
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
        for reference in self.references:
            if number in reference.frame_numbers:
                part = covered_fraction(reference.read(number), labels)
                if part is not None:
                    return part < reference.least
        if number not in self.whole or len(self.whole) < 3:
            return False
        return 2 * self._counts[number] < float(np.median(list(self._counts.values())))

    @cached_property
    def _counts(self) -> dict[int, int]:
        return {n: int(np.unique(self.gold(n)[self.gold(n) > 0]).size) for n in self.whole}


class GoldAnnotation(Annotation):
    """Gold truth of a sequence; `partial` and `read` decide on first use, not at opening."""

    def __init__(self, name: str, rule: PartialRule, path: Path) -> None:
        values = {
            "name": name,
            "kind": LabelKind.INSTANCES,
            "frame_numbers": rule.frame_numbers,
            "read": self._read,
            "path": path,
            "_rule": rule,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    _rule: PartialRule

    @cached_property
    def partial(self) -> frozenset[int]:
        """Partial frames; reads the truth of all annotated frames once."""
        return frozenset(n for n in self.frame_numbers if self._rule(n))

    def _read(self, number: int) -> NDArray[np.int32]:
        labels = self._rule.gold(number)
        return known_labels(labels, self.kind, partial=self._rule(number, labels))
