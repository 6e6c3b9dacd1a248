"""Training and validation: a seeded split by frame, or of the sections of one volume."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

__all__ = ["split_frames", "split_sections"]


def split_frames(
    names: Sequence[str], fraction: float, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split frame names into training and validation.

    Parameters
    ----------
    names
        Unique names of the annotated frames.
    fraction
        Part kept for validation, 0 to below 1.
    seed
        Same names and seed, same split, whatever the order of `names`.

    Returns
    -------
    training, validation : tuple of str
        In the order of `names`.  With two names or more and a fraction above 0 there is at least
        one of each; a single frame is always training.

    Raises
    ------
    ValueError
        If there are no names, two are equal, or the fraction is out of range.
    """
    if not names:
        raise ValueError("There is no annotated frame to train on; annotate at least one frame.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ValueError(f"Frame {twice!r} is there twice; each frame must have its own name.")
    if not 0 <= fraction < 1:
        raise ValueError(f"The validation fraction is {fraction}; it is 0 or more, and below 1.")
    if fraction == 0 or len(names) == 1:
        return tuple(names), ()
    count = _kept(len(names), fraction)
    order = np.random.default_rng(seed).permutation(len(names))
    ordered = sorted(names)
    validation = {ordered[i] for i in order[:count]}
    training = tuple(name for name in names if name not in validation)
    return training, tuple(name for name in names if name in validation)


def split_sections(
    sections: Sequence[int], fraction: float, seed: int, avoid: Collection[int] = ()
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split the sections of one volume: one end of it is kept for validation.

    Parameters
    ----------
    sections
        Numbers of the annotated sections.
    fraction
        Part kept for validation, 0 to below 1.
    seed
        Decides which end.
    avoid
        Sections that should not be for validation: where one end holds some of them and the other end
        does not, it is the other one.

    Returns
    -------
    training, validation : tuple of int
        Ascending.

    Notes
    -----
    Sections beside each other look alike.  Drawn one by one, those for validation would lie between
    sections that are learned from, and a score on them would say little of another volume.
    """
    ordered = sorted(sections)
    if fraction == 0 or len(ordered) < 2:
        return tuple(ordered), ()
    count = _kept(len(ordered), fraction)
    ends = [ordered[:count], ordered[-count:]]
    if np.random.default_rng(seed).integers(2):
        ends.reverse()
    chosen = min(ends, key=lambda end: any(section in avoid for section in end))
    return tuple(section for section in ordered if section not in chosen), tuple(chosen)


def _kept(count: int, fraction: float) -> int:
    """How many of two or more are for validation: one at least, and one is left."""
    return min(max(1, round(fraction * count)), count - 1)
