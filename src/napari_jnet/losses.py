"""Losses of segmentation and distance, by name; unknown pixels count in none."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_jnet.targets import Targets

__all__ = ["LOSSES", "Loss", "loss_function", "segmentation_loss"]

Loss = Callable[[Tensor, Targets, int, float], Tensor]
"""(network output (N, C, H, W), targets, classes, dt_bound in pixels) -> scalar."""


def _mean_known(values: Tensor, known: Tensor) -> Tensor:
    """Mean over the known pixels; 0 where there are none."""
    return (values * known).sum() / known.sum().clamp(min=1)


def segmentation_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Cross-entropy of the segmentation: binary for one channel, over classes for more.

    Parameters
    ----------
    logits
        (N, K, H, W).
    targets
        With segmentation and known pixels.

    Returns
    -------
    Tensor
        Mean over the known pixels.
    """
    if logits.shape[1] == 1:
        values = F.binary_cross_entropy_with_logits(
            logits[:, 0], targets.segmentation.to(logits.dtype), reduction="none"
        )
    else:
        values = F.cross_entropy(logits, targets.segmentation, reduction="none")
    return _mean_known(values, targets.known)


def _distance_mse(distance: Tensor, targets: Targets, bound: float) -> Tensor:
    """Square error in pixels, after ReLU, as the original J-Net has it."""
    return _mean_known((distance.relu() - targets.distance).square(), targets.distance_known)


def _distance_smooth_l1(distance: Tensor, targets: Targets, bound: float) -> Tensor:
    """Smooth L1 in units of the bound, so that it weighs the same for every size of cell."""
    error = F.smooth_l1_loss(distance / bound, targets.distance / bound, reduction="none", beta=0.1)
    return _mean_known(error, targets.distance_known)


def _both(distance_loss: Callable[[Tensor, Targets, float], Tensor]) -> Loss:
    def loss(output: Tensor, targets: Targets, classes: int, bound: float) -> Tensor:
        total = segmentation_loss(output[:, :classes], targets)
        if output.shape[1] > classes:
            total = total + distance_loss(output[:, classes], targets, bound)
        return total

    return loss


LOSSES: dict[str, Loss] = {
    "bce+mse": _both(_distance_mse),
    "bce+smooth_l1": _both(_distance_smooth_l1),
}


def loss_function(name: str) -> Loss:
    """Return the loss of this name; an unknown name raises `ValueError`."""
    if name not in LOSSES:
        raise ValueError(f"There is no loss {name!r}; there are {', '.join(LOSSES)}.")
    return LOSSES[name]


def is_finite(loss: Tensor) -> bool:
    """Tell whether a loss can still be learnt from."""
    return bool(torch.isfinite(loss))
