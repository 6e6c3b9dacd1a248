"""The quantities that the original reports."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_jnet.losses import loss_function
from napari_jnet.original.events import OriginalScores
from napari_jnet.targets import Targets

__all__ = ["ScoreSum", "compare"]

_LOSS = loss_function("bce+mse")


def compare(output: Tensor, targets: Targets, bound: float) -> tuple[Tensor, Tensor]:
    """Compare the network's answer with what it should be.

    Parameters
    ----------
    output
        (N, 2, H, W), logits and distance in pixels.
    targets
        At the same resolution.
    bound
        dt_bound in pixels.

    Returns
    -------
    loss
        Scalar with a gradient.
    values
        (3,) without: loss, L1 of the segmentation, L1 of the distance cut at the bound; means over
        the known pixels.
    """
    loss = _LOSS(output, targets, 1, bound)
    with torch.no_grad():
        segmentation = (output[:, 0].sigmoid() - targets.segmentation).abs()
        distance = (output[:, 1].clamp(min=0, max=bound) - targets.distance).abs()
        parts = (
            loss.detach(),
            _mean(segmentation, targets.known),
            _mean(distance, targets.distance_known),
        )
        return loss, torch.stack(parts)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return (values * known).sum() / known.sum().clamp(min=1)


class ScoreSum:
    """Adds up scores where they are computed; they are read once, at the end."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def add(self, values: Tensor, count: int = 1) -> None:
        """Add the mean values of ``count`` images."""
        self.total = values * count if self.total is None else self.total + values * count
        self.count += count

    def mean(self) -> OriginalScores:
        """Return the mean over all images."""
        assert self.total is not None
        loss, l1_seg, l1_dist = (self.total / self.count).tolist()
        return OriginalScores(loss, l1_seg, l1_dist)
