"""What an annotated frame is for: to learn from, to check on, or neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["ROLES", "check_role", "next_role"]

ROLES = ("training", "validation", "unused")

_TRAINING_FOR_ONE = 5
_FIRST_VALIDATION = 3


def next_role(roles: Iterable[str] | Mapping[str, int], *, whole: bool = True) -> str:
    """Return the role of a newly annotated frame.

    Parameters
    ----------
    roles
        Those of the frames that are annotated already, "" where one has none; or how many have each.
    whole
        Whether every pixel of the new frame is known; the score of a few strokes says little.

    Returns
    -------
    str
        "validation" if there are at least 5 frames for training to each for validation, and at
        least 3 annotated frames with the new one; else "training".  A frame with unknown pixels is for
        validation only where 5 for training go with it, too.
    """
    given = Counter(roles)
    validation = given["validation"] + (0 if whole else 1)
    enough = given["training"] >= _TRAINING_FOR_ONE * validation
    return "validation" if enough and given.total() + 1 >= _FIRST_VALIDATION else "training"


def check_role(role: str) -> str:
    """Return the role; one that does not exist raises `ValueError`."""
    if role not in ("", *ROLES):
        raise ValueError(f"{role!r} is no role; a frame is for {', '.join(ROLES)}, or '' for none.")
    return role
