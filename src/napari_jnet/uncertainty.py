"""How unsure the network is of a frame: which frame to annotate next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["frame_uncertainty"]

_ENOUGH = 1 << 17  # pixels; the mean over a regular grid of these is as good as that over all


def frame_uncertainty(probability: NDArray[np.floating], *, pixels: int = _ENOUGH) -> float:
    """Return the mean entropy of a frame's pixels, in bits.

    Parameters
    ----------
    probability
        Floating point (H, W) or (Z, H, W), 0 to 1: probability of cell.  NaN, where nothing is
        predicted, is left out.
    pixels
        About how many pixels to look at, on a regular grid.

    Returns
    -------
    float
        0 (sure of every pixel) to 1 (every pixel is 0.5); NaN where nothing is predicted.

    Raises
    ------
    ValueError
        If the values are no floating point numbers, or below 0 or above 1.

    Notes
    -----
    The entropy of one pixel is what its label would tell on average, so that the frame with the
    largest mean teaches most for the same number of pixels.  Unlike the distance from 0.5 it counts
    a pixel of 0.1 for half a bit: a network that hesitates everywhere is worse than one that does
    so on the borders only.  The mean runs over all pixels and not over objects, so that frames of
    one stack compare also where no object was found.  Neighbouring pixels say much the same, which
    is why a grid of them is enough: 1 ms for any size of frame.
    """
    if not np.issubdtype(probability.dtype, np.floating):
        raise ValueError(
            f"The probability is of type {probability.dtype}; it is floating point from 0 to 1. "
            "Give the network's map, not the cells that were cut from it."
        )
    grid = probability[
        tuple(slice(None, None, _step(probability, pixels)) for _ in probability.shape)
    ]
    known = grid[~np.isnan(grid)].astype(np.float32)
    if not known.size:
        return float("nan")
    if known.min() < 0 or known.max() > 1:
        raise ValueError(
            f"The probability runs from {known.min():g} to {known.max():g}; it lies between 0 and 1. "
            "Give the network's map after its last step."
        )
    # 0 log 0 is 0
    inside, outside = np.maximum(known, 1e-30), np.maximum(1 - known, 1e-30)
    entropy = -(known * np.log2(inside) + (1 - known) * np.log2(outside))
    return float(np.clip(entropy.mean(dtype=np.float64), 0.0, 1.0))


def _step(probability: NDArray[np.floating], pixels: int) -> int:
    """Every how many pixels of each axis, so that not much more than `pixels` are left."""
    return max(1, int((probability.size / max(1, pixels)) ** (1 / probability.ndim)))
