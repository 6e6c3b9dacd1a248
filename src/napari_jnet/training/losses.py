"""Losses on known pixels, and the weights of classes and of borders between cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from napari_jnet.config import Config, TrainingConfig
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.training.distributed import summed
from napari_jnet.training.targets import Targets, class_indices

# (network output (N, C, H, W), or more of lower levels, targets, classes, dt_bound in pixels) -> scalar
Loss = Callable[[Tensor, Targets, int, float], Tensor]


_LOWER_LEVELS = 0.4  # weight of the output of a lower level, in the gradient
_PIXELS_AT_ONCE = 1 << 20  # whose classes are counted
_RAREST = 0.01  # fraction of the pixels that a class has at least, in the initial logits


def mean_known(values: Tensor, known: Tensor, total: Tensor | None = None) -> Tensor:
    """Return the mean over the known pixels, 0 where there are none; of a part, its share in that.

    ``total`` are the known pixels of the whole, see `Targets.totals`.
    """
    count = summed(known.sum()) if total is None else total
    return summed((values * known).sum()) / count.clamp(min=1)


def _weighted(values: Tensor, targets: Targets) -> Tensor:
    return values if targets.weight is None else values * targets.weight


def segmentation_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Return the cross-entropy: binary for logits (N, 1, H, W), over classes for (N, K, H, W).

    The sum of the known pixels, each times its weight, is divided by their number, not by the sum of their
    weights: a patch of a common class is to count for less, as in the sum of U-Net's paper.
    """
    if logits.shape[1] == 1:
        values = F.binary_cross_entropy_with_logits(
            logits[:, 0], targets.segmentation.to(logits.dtype), reduction="none"
        )
    else:
        values = F.cross_entropy(logits, targets.segmentation, reduction="none")
    return mean_known(_weighted(values, targets), targets.known, targets.totals[0])


def dice_sums(logits: Tensor, targets: Targets) -> Tensor:
    """Return what Dice's coefficient is made of, sums over known pixels: (2, K) of K classes but background.

    They are of probability times ground truth, and of probability plus ground truth.
    """
    if logits.shape[1] == 1:
        probability, expected = logits.sigmoid(), targets.segmentation[:, None] == 1
    else:
        classes = torch.arange(1, logits.shape[1], device=logits.device)[:, None, None]
        probability = logits.softmax(dim=1)[:, 1:]
        expected = targets.segmentation[:, None] == classes
    counted = _weighted(targets.known.to(logits.dtype), targets)[:, None]
    maps = (probability * expected, probability + expected)
    return summed(torch.stack([(values * counted).sum(dim=(0, 2, 3)) for values in maps]))


def dice_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Return 1 - Dice's coefficient of probabilities and ground truth, over known pixels of the batch.

    It is 0 to 1: the mean over the classes above background; the loss of one that is neither annotated
    nor predicted is 0.  A part of a batch has the part of its gradient, by the sums of the whole batch, and
    of its value what its known pixels are of all.
    Milletari, Navab, Ahmadi (2016), with probabilities and ground truth not squared.
    """
    sums, (total, _, whole) = dice_sums(logits, targets), targets.totals
    if whole is not None:
        sums = whole + sums - sums.detach()
    both, either = sums.unbind()
    loss = (1 - (2 * both + 1) / (either + 1)).mean()
    if total is None:
        return loss
    return loss - loss.detach() * (1 - targets.known.sum() / total.clamp(min=1))


def _distance_mse(distance: Tensor, targets: Targets, dt_bound: float) -> Tensor:
    """Square error in pixels, after ReLU, as the original J-Net has it."""
    error = (distance.relu() - targets.distance).square()
    return mean_known(error, targets.distance_known, targets.totals[1])


def _distance_smooth_l1(distance: Tensor, targets: Targets, dt_bound: float) -> Tensor:
    """Smooth L1 in units of dt_bound, so that it weighs the same for every size of cell."""
    error = F.smooth_l1_loss(
        distance / dt_bound, targets.distance / dt_bound, reduction="none", beta=0.1
    )
    return mean_known(error, targets.distance_known, targets.totals[1])


def _sum(
    segmentation: Callable[[Tensor, Targets], Tensor],
    distance: Callable[[Tensor, Targets, float], Tensor] | None = None,
) -> Loss:
    """Add the losses of the two heads; a network without a distance head has the first only.

    Outputs of lower levels that follow the output have gradients, but do not count in the value.
    """

    def of_level(output: Tensor, targets: Targets, classes: int, dt_bound: float) -> Tensor:
        total = segmentation(output[:, :classes], targets)
        if distance is not None and output.shape[1] > classes:
            total = total + distance(output[:, classes], targets, dt_bound)
        return total

    def loss(output: Tensor, targets: Targets, classes: int, dt_bound: float) -> Tensor:
        known, distances, whole = targets.totals
        total = torch.zeros((), device=output.device)
        for level, part in enumerate(torch.split(output, len(targets.known))):
            if whole is not None:
                targets = replace(targets, totals=(known, distances, whole[level]))
            value = of_level(part, targets, classes, dt_bound)
            total = total + (_LOWER_LEVELS * (value - value.detach()) if level else value)
        return total

    return loss


LOSSES: dict[str, Loss] = {
    "bce+mse": _sum(segmentation_loss, _distance_mse),
    "bce+smooth_l1": _sum(segmentation_loss, _distance_smooth_l1),
    "dice+smooth_l1": _sum(dice_loss, _distance_smooth_l1),
    "bce": _sum(segmentation_loss),
    "dice": _sum(dice_loss),
}


def loss_function(name: str) -> Loss:
    """Return the loss of this name; an unknown name raises `ValueError`."""
    if name not in LOSSES:
        raise ValueError(f"There is no loss {name!r}; there are {', '.join(LOSSES)}.")
    return LOSSES[name]


def check_loss(config: Config) -> None:
    """Raise `ValueError` if the loss is unknown, or has no distance term for a distance head."""
    name = config.training.loss
    loss_function(name)
    if name in ("bce", "dice") and config.network.distance:
        raise ValueError(
            f"The loss {name!r} has no term for the distance, but network.distance is on. Use "
            f"'{name}+smooth_l1', or switch network.distance off."
        )


# Where the Gaussian is truncated: beyond it is below 2e-8 of the weight, less than float32 resolves.
REACH_OF_SIGMA = 6.0


def border_weights(
    labels: Tensor, weight: float, sigma: float, *, kind: LabelKind = LabelKind.INSTANCES
) -> Tensor:
    """Return weights of the background between near objects, (H, W) float32.

    They are ``weight * exp(-(d1 + d2)**2 / (2 * sigma**2))`` on the background, with the Euclidean
    distances in pixels to the nearest pixels of the two nearest objects; 0 on objects and unknown pixels of
    the ``labels`` (H, W).  An object of INSTANCES is all pixels of one id, otherwise a 4-connected part of
    the pixels above background.

    Ronneberger, Fischer, Brox (2015), equation 2, without the class balance.  Objects that touch have no
    background between them, so their contact has no weight: only the distance map separates them.
    An object that is not annotated adds no weight.
    """
    objects = labels
    if kind is not LabelKind.INSTANCES:
        parts, _ = ndimage.label((labels > 0).cpu().numpy())
        objects = torch.from_numpy(np.ascontiguousarray(parts)).to(labels.device)
    reach = math.ceil(REACH_OF_SIGMA * sigma)
    nearest, second = two_nearest_distances(objects, reach)
    weights = weight * torch.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return torch.where(labels == 0, weights, 0.0)


def two_nearest_distances(objects: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Return the distances of every pixel to the nearest and to the second nearest object.

    ``objects`` are (H, W) ids above 0.  Both distances are (H, W) float32, Euclidean, in pixels; exact
    where they add up to at most ``reach``, elsewhere they add up to more, or are infinite.

    The two nearest objects of a pixel are among the two nearest along the row, of every row: an object
    that is third in a row has two before it there.  So they are found along one axis after the other, and
    the time depends on the reach, not on the number of objects.
    """
    bits = max(int(objects.max()), 1).bit_length()
    far = 2 * reach**2 + 1
    whole = torch.int32 if (far + reach**2) << bits < torch.iinfo(torch.int32).max else torch.int64
    # A key is a distance, or its square, with the id in the lowest bits: the smallest is the nearest.
    first, second = _two_nearest_in_row(objects.clamp(min=0).to(whole), bits, reach)
    ids = first & ((1 << bits) - 1)
    first, second = ((keys >> bits).square_().clamp_(max=far) for keys in (first, second))
    height = len(objects)
    nearest = first << bits | ids
    keys = nearest.clone()
    for here, there, cost in _windows(height, reach // 2):
        torch.minimum(nearest[here], keys[there] + (cost << bits), out=nearest[here])
    nearest_ids, nearest = nearest & ((1 << bits) - 1), nearest >> bits
    # Of each row, the nearest if that is another object than the nearest of all, else the second.
    small = torch.int16 if max(far + reach**2, 1 << bits) < torch.iinfo(torch.int16).max else whole
    first, ids, nearest_ids = (part.to(small) for part in (first, ids, nearest_ids))
    more = second.to(small) - first
    runner_up = torch.full_like(first, far)
    for here, there, cost in _windows(height, reach):
        same = ids[there].clone().eq_(nearest_ids[here])  # as in a row
        other = same.mul_(more[there]).add_(first[there]).add_(cost)
        torch.minimum(runner_up[here], other, out=runner_up[here])
    nearest, runner_up = (
        torch.where(squared < far, squared, math.inf).sqrt() for squared in (nearest, runner_up)
    )
    return nearest, runner_up


def _two_nearest_in_row(ids: Tensor, bits: int, reach: int) -> tuple[Tensor, Tensor]:
    """Return keys of the two nearest objects along the row, exact up to the reach; see `_cone_minimum`."""
    width, mask, far = ids.shape[1], (1 << bits) - 1, (2 * reach + 1) << bits
    first = torch.where(ids > 0, ids, far)
    second = torch.full_like(first, far)
    step = 1
    while step < min(reach + 1, width):
        near, next_near = first.clone(), second.clone()
        for here, there in ((slice(step, None), slice(-step)), (slice(-step), slice(step, None))):
            a, b = near[:, here], first[:, there] + (step << bits)
            same = (a ^ b).bitwise_and_(mask).eq_(0)  # 0 or 1: quicker than a mask and `where`
            other = same.mul_(far).add_(torch.maximum(a, b))
            torch.minimum(other, second[:, there] + (step << bits), out=other)
            torch.minimum(next_near[:, here], other, out=next_near[:, here])
            torch.minimum(a, b, out=a)
        first, second = near, next_near
        step *= 2
    return first, second


def _windows(size: int, reach: int) -> list[tuple[slice, slice, int]]:
    """Return where rows see others within reach, where those are, and the squared distance."""
    steps = range(-min(reach, size - 1), min(reach, size - 1) + 1)
    return [
        (slice(max(0, -n), size - max(0, n)), slice(max(0, n), size - max(0, -n)), n**2)
        for n in steps
    ]


def class_pixels(frames: Sequence[AnnotatedFrame], classes: int) -> Tensor:
    """Return the known pixels of each class in all frames: int64 (K,), of at least two classes."""
    counts = torch.zeros(max(classes, 2), dtype=torch.int64)
    for frame in frames:
        labels = torch.from_numpy(np.ascontiguousarray(frame.labels))
        for part in torch.split(labels.flatten(), _PIXELS_AT_ONCE):
            indices = class_indices(part[part != UNKNOWN], frame.kind, classes)
            counts += torch.bincount(indices, minlength=len(counts))
    return counts


def initial_logits(frames: Sequence[AnnotatedFrame], config: Config) -> Tensor:
    """Return the logits of a network that has learned nothing but how often each class is annotated.

    They are float32, (K,) for K classes and (1,) for one; the weights of the classes in the loss count, and
    no class is rarer than `_RAREST`.

    Notes
    -----
    As Lin, Goyal, Girshick, He, Dollár (2017), section 3.3.  From logits near 0, a training first learns
    that nearly all is background, and its outputs then hardly change for rare classes, such as thin lines.
    """
    classes = config.network.classes
    pixels = class_pixels(frames, classes).float()
    if config.training.class_balance:
        pixels *= class_weights(frames, classes)
    logits = (pixels / pixels.sum().clamp(min=1)).clamp(min=_RAREST).log()
    return logits if classes > 1 else logits[1:] - logits[:1]


def class_weights(frames: Sequence[AnnotatedFrame], classes: int) -> Tensor:
    """Return weights that balance the classes: all count the same in the sum.

    They are float32 (K,), at least two: known pixels / (classes that occur * pixels of the class), so
    that the mean over all known pixels is 1; 1 for a class that does not occur.
    """
    counts = class_pixels(frames, classes)
    occurs = counts > 0
    weights = counts.sum() / (occurs.sum() * counts.clamp(min=1))
    return torch.where(occurs, weights, 1.0).float()


def frame_borders(
    frame: AnnotatedFrame, config: TrainingConfig, device: torch.device
) -> Tensor | None:
    """Return the border weights of a frame, (H, W) on the device; None without border weights."""
    if config.border_weight == 0:
        return None
    labels = torch.from_numpy(np.ascontiguousarray(frame.labels)).to(device)
    return border_weights(labels, config.border_weight, config.border_sigma, kind=frame.kind)


def pixel_weights(
    segmentation: Tensor, of_class: Tensor | None, border: Tensor | None
) -> Tensor | None:
    """Add the weight of each pixel's class and of its border; None where every weight is 1.

    ``segmentation`` and ``border`` (see `border_weights`) are (N, H, W), ``of_class`` (see
    `class_weights`) is (K,).
    """
    if of_class is None:
        return None if border is None else 1 + border
    weights = of_class[segmentation]
    return weights if border is None else weights + border
