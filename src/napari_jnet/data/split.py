"""Training and validation: a seeded split by frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["split_frames"]


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
    count = min(max(1, round(fraction * len(names))), len(names) - 1)
    order = np.random.default_rng(seed).permutation(len(names))
    ordered = sorted(names)
    validation = {ordered[i] for i in order[:count]}
    training = tuple(name for name in names if name not in validation)
    return training, tuple(name for name in names if name in validation)
