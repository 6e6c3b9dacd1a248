"""The border weights of U-Net's paper: more weight where the background between two objects is thin."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from napari_jnet.data.stack import LabelKind

__all__ = ["border_weights", "two_nearest_distances"]

REACH_OF_SIGMA = 6.0
"""Where the Gaussian ends: what lies beyond is below 2e-8 of the weight, less than float32 resolves."""


def border_weights(
    labels: Tensor, weight: float, sigma: float, *, kind: LabelKind = LabelKind.INSTANCES
) -> Tensor:
    """Weigh the background between near objects.

    Parameters
    ----------
    labels
        (H, W) integers: 0 = background, objects or classes from 1, `UNKNOWN` where nobody knows.
    weight
        w0: the weight in the limit of two objects that touch.
    sigma
        How fast the weight falls with the width of the gap, in pixels.
    kind
        INSTANCES: an object is all pixels of one id.  Otherwise it is a 4-connected part of the pixels
        above background.

    Returns
    -------
    Tensor of float32
        (H, W), ``weight * exp(-(d1 + d2)**2 / (2 * sigma**2))`` on the background, with the Euclidean
        distances to the nearest pixels of the two nearest objects; 0 on objects and unknown pixels.

    Notes
    -----
    Ronneberger, Fischer, Brox (2015), equation 2, without the class balance.  Objects that touch have no
    background between them, so their contact has no weight: only the distance map tells them apart.
    An object that nobody annotated weighs nothing.
    """
    objects = _objects(labels, kind)
    reach = math.ceil(REACH_OF_SIGMA * sigma)
    nearest, second = two_nearest_distances(objects, reach)
    weights = weight * torch.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return torch.where(labels == 0, weights, 0.0)


def two_nearest_distances(objects: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Distances of every pixel to the nearest and to the second nearest object.

    Parameters
    ----------
    objects
        (H, W) ids; what is not above 0 is no object.
    reach
        Largest offset along rows and along columns that is looked at, in pixels.

    Returns
    -------
    nearest, second
        (H, W) float32, Euclidean, in pixels; exact up to ``reach``, from there on larger or infinite.

    Notes
    -----
    The two nearest objects of a pixel are among the two nearest along the row, of every row: an object
    that is third in a row has two before it there.  So they are found along one axis after the other, and
    the time depends on the reach, not on the number of objects.
    """
    ids, compact = torch.unique(objects.clamp(min=0), return_inverse=True)
    background = int(ids[0] == 0)
    count = max(len(ids), 1)
    far = 4 * (reach**2 + 1) * count
    whole = torch.int32 if 2 * far < torch.iinfo(torch.int32).max else torch.int64
    # A key is (squared distance) * count + id: the smallest key is the nearest object.
    first = torch.where(compact >= background, compact, far).to(whole)
    second = torch.full_like(first, far)
    for dim in (-1, -2):
        first, second = _two_smallest(first, second, count, reach, dim)
    distances = [
        torch.where(keys < far, keys // count, math.inf).sqrt() for keys in (first, second)
    ]
    return distances[0], distances[1]


def _two_smallest(
    first: Tensor, second: Tensor, count: int, reach: int, dim: int
) -> tuple[Tensor, Tensor]:
    """Let every pixel see the two keys of its neighbours along one axis; keep the best of two objects."""
    size = first.shape[dim]
    nearest, runner_up = first.clone(), second.clone()
    reached = range(-min(reach, size - 1), min(reach, size - 1) + 1)
    windows = [(max(0, -step), max(0, step), size - abs(step), step**2 * count) for step in reached]
    for here, there, kept, cost in windows:
        seen = nearest.narrow(dim, here, kept)
        torch.minimum(seen, first.narrow(dim, there, kept) + cost, out=seen)
    ids, nearest_id, gap = first % count, nearest % count, second - first
    for here, there, kept, cost in windows:
        # 1 where the nearest there is also the nearest here: integers are quicker than a mask and `where`.
        same = ids.narrow(dim, there, kept).clone().eq_(nearest_id.narrow(dim, here, kept))
        other = same.mul_(gap.narrow(dim, there, kept)).add_(first.narrow(dim, there, kept))
        seen = runner_up.narrow(dim, here, kept)
        torch.minimum(seen, other.add_(cost), out=seen)
    return nearest, runner_up


def _objects(labels: Tensor, kind: LabelKind) -> Tensor:
    if kind is LabelKind.INSTANCES:
        return labels
    parts, _ = ndimage.label((labels > 0).cpu().numpy())
    return torch.from_numpy(np.ascontiguousarray(parts)).to(labels.device)
