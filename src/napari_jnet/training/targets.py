"""Targets of the network from label images: segmentation, truncated boundary distance, known pixels.

Everything works on batches of label tensors on any device, so that targets are computed after the warp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from napari_jnet.labels import UNKNOWN, LabelKind

_SPARSE = 16  # numbers of objects a pixel, above which sorting costs less than a place for each
_DEEPEST = 4  # depths in units of dt_bound that count apart, where they are relative to each object


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of a batch, each (N, H, W)."""

    segmentation: Tensor  # int64; 0 = background, 1 = cell, or the class; 0 where unknown
    known: Tensor  # bool; where the segmentation is known
    distance: (
        Tensor  # float32, pixels to the nearest boundary, truncated at dt_bound; or relative depth
    )
    distance_known: Tensor  # bool; where unknown pixels cannot hide a nearer boundary
    weight: Tensor | None = None  # float32, of each pixel in the loss of the segmentation
    # Of a part of a batch, sums of the whole: known pixels of the segmentation and of the distance, and the
    # `dice_sums` of each output.  The losses of the parts, and their gradients, add up to those of the batch.
    totals: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None)

    def crop(self, margin: int) -> Targets:
        """Return the targets without ``margin`` pixels on each side."""
        inner = slice(margin, -margin or None)
        return self.cut((..., inner, inner))

    def part(self, images: slice, dice: Tensor | None = None) -> Targets:
        """Return these images as a part of the batch."""
        totals = (self.known.sum(), self.distance_known.sum(), dice)
        return replace(self.cut(images), totals=totals)

    def cut(self, index: Any) -> Targets:
        """Return the targets at an index of (N, H, W)."""
        maps: dict[str, Any] = {k: v[index] for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **maps)


def boundary_pixels(labels: Tensor, *, between_known: bool = False) -> Tensor:
    """Mark pixels of (N, H, W) integers that differ from at least one of their four neighbours.

    The edge of the image is not a boundary.  Both sides of a contact are boundary: touching cells have
    one, two pixels wide.  With ``between_known``, contacts with unknown pixels do not count.
    """
    boundary = torch.zeros_like(labels, dtype=torch.bool)
    for dim in (1, 2):
        size = labels.shape[dim]
        first, second = labels.narrow(dim, 0, size - 1), labels.narrow(dim, 1, size - 1)
        contact = first != second
        if between_known:
            contact &= (first != UNKNOWN) & (second != UNKNOWN)
        boundary.narrow(dim, 0, size - 1).logical_or_(contact)
        boundary.narrow(dim, 1, size - 1).logical_or_(contact)
    return boundary


def truncated_distance(seeds: Tensor, dt_bound: float, metric: str = "cityblock") -> Tensor:
    """Return the distance of every pixel to the nearest seed, float32, from 0 to ``dt_bound``.

    ``seeds`` are (N, H, W) bool, the truncation distance ``dt_bound`` is at least 1 pixel, and ``metric`` is
    "cityblock" or "euclidean"; both are exact up to ``dt_bound``.
    """
    distance = torch.where(seeds, 0.0, float(dt_bound))
    distance = _cone_minimum(distance, dt_bound, dim=-1)
    if metric == "cityblock":
        return _cone_minimum(distance, dt_bound, dim=-2)
    return _parabola_minimum(distance, dt_bound)


def _cone_minimum(values: Tensor, dt_bound: float, dim: int) -> Tensor:
    """``min over d of values[x + d] + |d|`` along one axis, in place, exact for ``|d| < dt_bound``.

    The minimum over a window of radius ``2**k - 1`` comes from the one of radius ``2**(k-1) - 1`` and
    two shifts, so that a ``dt_bound`` of 24 takes five steps an axis instead of 24 rounds of dilation.
    """
    size = values.shape[dim]
    raised = torch.empty_like(values)
    step = 1
    while step < min(dt_bound + 1, size):
        torch.add(values, step, out=raised)
        kept = size - step
        ahead, behind = values.narrow(dim, 0, kept), values.narrow(dim, step, kept)
        torch.minimum(ahead, raised.narrow(dim, step, kept), out=ahead)
        torch.minimum(behind, raised.narrow(dim, 0, kept), out=behind)
        step *= 2
    return values


def _parabola_minimum(rows: Tensor, dt_bound: float) -> Tensor:
    squared = rows.square()
    result = squared.clone()
    height = rows.shape[-2]
    for step in range(1, min(math.ceil(dt_bound), height)):
        raised = squared + step**2
        kept = height - step
        ahead, behind = result.narrow(-2, 0, kept), result.narrow(-2, step, kept)
        torch.minimum(ahead, raised.narrow(-2, step, kept), out=ahead)
        torch.minimum(behind, raised.narrow(-2, 0, kept), out=behind)
    return result.sqrt().clamp_(max=dt_bound)


def make_targets(
    labels: Tensor,
    dt_bound: float,
    *,
    kind: LabelKind,
    classes: int = 1,
    metric: str = "cityblock",
    complete: bool | None = None,
    relative: bool = False,
) -> Targets:
    """Turn label images into targets, with distances in pixels of these labels.

    ``labels`` are (N, H, W) integers: 0 = background, objects or classes from 1, `UNKNOWN` where unknown.
    An object of INSTANCES is complete, so its contact with an unknown pixel is a boundary; otherwise, and
    for background, such a contact is not a certain boundary.  ``classes`` as in `class_indices`.
    ``complete`` says whether all pixels are known; None looks, for which a GPU has to be waited for.

    A boundary that is not annotated may lie in the unknown pixels and in the known pixels beside
    them.  The distance of a pixel is certain when it (truncated at ``dt_bound``) is not larger than the
    distance to the nearest place where such a boundary could be.

    With ``relative`` the distance is `relative_depth` times ``dt_bound``, certain as the one up to there,
    and nowhere if the labels are not INSTANCES.
    """
    known = labels != UNKNOWN
    distance_known = known
    if complete is None:
        complete = bool(known.all())
    boundary = boundary_pixels(labels)
    if not complete:
        certain = boundary_pixels(labels, between_known=True)
        if kind is LabelKind.INSTANCES:
            certain |= boundary & (labels > 0)
        boundary = certain
    distance = truncated_distance(boundary, dt_bound, metric)
    if not complete:
        to_unknown = truncated_distance(~known, dt_bound + 1, metric) - 1
        distance_known = known & (distance <= to_unknown)
    if relative:
        depth = truncated_distance(boundary, _DEEPEST * dt_bound, metric)
        distance = relative_depth(depth, labels) * dt_bound
        if kind is not LabelKind.INSTANCES:  # which object a pixel is of is not annotated
            distance_known = torch.zeros_like(known)
    return Targets(class_indices(labels, kind, classes), known, distance, distance_known)


def relative_depth(distance: Tensor, labels: Tensor) -> Tensor:
    """Divide the distances (N, H, W) in each object by the largest one there: 0 to 1, 0 outside of objects.

    ``labels`` are (N, H, W) with the numbers of objects from 1.
    """
    count = int(labels.max().clamp(min=0)) + 1
    first = torch.arange(len(labels), device=labels.device)[:, None, None] * count
    objects = (labels.clamp(min=0).long() + first).flatten()
    size = len(labels) * count
    if size > _SPARSE * labels.numel():  # numbers as some programs give them: what there is counts
        numbers, objects = torch.unique(objects, return_inverse=True)
        size = len(numbers)
    deepest = torch.zeros(size, device=labels.device)
    deepest.scatter_reduce_(0, objects, distance.flatten(), "amax")
    depth = distance / deepest[objects].view_as(distance).clamp(min=1)
    return torch.where(labels > 0, depth, 0.0)


def class_indices(labels: Tensor, kind: LabelKind, classes: int) -> Tensor:
    """Return the class of each pixel: int64, 0 = background, and where unknown.

    Objects are all of class 1, whatever their ids.  With 1 class and with 2 (cell and background, by one
    channel or by two), all that is not background is class 1; with K, labels are classes below K.
    """
    if classes <= 2 or kind is LabelKind.INSTANCES:
        return (labels > 0).long()
    return labels.clamp(min=0).long()
