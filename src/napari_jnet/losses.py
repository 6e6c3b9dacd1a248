"""Losses of segmentation and distance, by name; unknown pixels count in none."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_jnet.config import Config
from napari_jnet.targets import Targets

__all__ = ["LOSSES", "Loss", "check_loss", "dice_loss", "loss_function", "segmentation_loss"]

Loss = Callable[[Tensor, Targets, int, float], Tensor]
"""(network output (N, C, H, W), targets, classes, dt_bound in pixels) -> scalar."""

SegmentationLoss = Callable[[Tensor, Targets], Tensor]
DistanceLoss = Callable[[Tensor, Targets, float], Tensor]


def _mean_known(values: Tensor, known: Tensor) -> Tensor:
    """Mean over the known pixels; 0 where there are none."""
    return (values * known).sum() / known.sum().clamp(min=1)


def _weighted(values: Tensor, targets: Targets) -> Tensor:
    return values if targets.weight is None else values * targets.weight


def segmentation_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy of the segmentation: binary for one channel, over classes for more.

    Parameters
    ----------
    logits
        (N, K, H, W).
    targets
        With segmentation, known pixels and, where wanted, weights.

    Returns
    -------
    Tensor
        Mean over the known pixels, each times its weight.

    Notes
    -----
    The sum is divided by the number of pixels, not by the sum of their weights: a patch of a common
    class is to count for less, as in the sum of U-Net's paper.
    """
    if logits.shape[1] == 1:
        values = F.binary_cross_entropy_with_logits(
            logits[:, 0], targets.segmentation.to(logits.dtype), reduction="none"
        )
    else:
        values = F.cross_entropy(logits, targets.segmentation, reduction="none")
    return _mean_known(_weighted(values, targets), targets.known)


def dice_loss(logits: Tensor, targets: Targets) -> Tensor:
    """1 - Dice's coefficient of probabilities and truth, over the known pixels of the batch.

    Parameters
    ----------
    logits
        (N, K, H, W).
    targets
        As for `segmentation_loss`.

    Returns
    -------
    Tensor
        0 to 1: the mean over the classes above background; one that is neither there nor seen is right.

    Notes
    -----
    Milletari, Navab, Ahmadi (2016), with probabilities and truth not squared.
    """
    if logits.shape[1] == 1:
        probability, truth = logits.sigmoid(), targets.segmentation[:, None] == 1
    else:
        classes = torch.arange(1, logits.shape[1], device=logits.device)[:, None, None]
        probability = logits.softmax(dim=1)[:, 1:]
        truth = targets.segmentation[:, None] == classes
    counted = _weighted(targets.known.to(logits.dtype), targets)[:, None]
    both = (probability * truth * counted).sum(dim=(0, 2, 3))
    either = ((probability + truth) * counted).sum(dim=(0, 2, 3))
    return (1 - (2 * both + 1) / (either + 1)).mean()


def _distance_mse(distance: Tensor, targets: Targets, bound: float) -> Tensor:
    """Square error in pixels, after ReLU, as the original J-Net has it."""
    return _mean_known((distance.relu() - targets.distance).square(), targets.distance_known)


def _distance_smooth_l1(distance: Tensor, targets: Targets, bound: float) -> Tensor:
    """Smooth L1 in units of the bound, so that it weighs the same for every size of cell."""
    error = F.smooth_l1_loss(distance / bound, targets.distance / bound, reduction="none", beta=0.1)
    return _mean_known(error, targets.distance_known)


def _sum(segmentation: SegmentationLoss, distance: DistanceLoss | None = None) -> Loss:
    """Add the losses of the two heads; a network without a distance head has the first only."""

    def loss(output: Tensor, targets: Targets, classes: int, bound: float) -> Tensor:
        total = segmentation(output[:, :classes], targets)
        if distance is not None and output.shape[1] > classes:
            total = total + distance(output[:, classes], targets, bound)
        return total

    return loss


LOSSES: dict[str, Loss] = {
    "bce+mse": _sum(segmentation_loss, _distance_mse),
    "bce+smooth_l1": _sum(segmentation_loss, _distance_smooth_l1),
    "dice+smooth_l1": _sum(dice_loss, _distance_smooth_l1),
    "bce": _sum(segmentation_loss),
    "dice": _sum(dice_loss),
}
_ONLY_SEGMENTATION = {"bce", "dice"}


def loss_function(name: str) -> Loss:
    """Return the loss of this name; an unknown name raises `ValueError`."""
    if name not in LOSSES:
        raise ValueError(f"There is no loss {name!r}; there are {', '.join(LOSSES)}.")
    return LOSSES[name]


def check_loss(config: Config) -> None:
    """Refuse a loss that cannot teach the network all that it answers.

    Raises
    ------
    ValueError
        If the loss is unknown, or knows no distance while the network has a head for it.
    """
    name = config.training.loss
    loss_function(name)
    if name in _ONLY_SEGMENTATION and config.network.distance:
        raise ValueError(
            f"The loss {name!r} teaches no distance, but network.distance is on; take "
            f"'{name}+smooth_l1', or switch network.distance off."
        )
