"""From the network's answer to maps of an image: probability of cell, distance, classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.checkpoint import Model

__all__ = ["Maps", "average_maps", "output_maps", "probabilities"]


class Maps(NamedTuple):
    """What the network says of one image or volume, at its full size."""

    segmentation: NDArray[np.float32]  # probability of cell
    distance: NDArray[np.float32]  # pixels; zeros without a distance head
    classes: NDArray[np.uint8] | None  # most probable class; None for cell and background


def output_maps(output: Tensor, model: Model) -> Maps:
    """Turn the network's answer (1, outputs, H, W) into maps of (H, W)."""
    return average_maps([probabilities(output, model)], model)


def probabilities(output: Tensor, model: Model) -> Tensor:
    """Turn logits into probabilities, and cut the distance at its bound; (N, outputs, H, W)."""
    classes = model.config.network.classes
    logits = output[:, :classes]
    parts = [logits.sigmoid() if classes == 1 else logits.softmax(dim=1)]
    if output.shape[1] > classes:
        bound = None if model.original else model.dt_bound
        parts.append(output[:, classes:].clamp(min=0, max=bound))
    return torch.cat(parts, dim=1)


def average_maps(answers: Sequence[Tensor], model: Model) -> Maps:
    """Average `probabilities`, each (1, outputs, H, W); then take the most probable class."""
    mean = answers[0][0] if len(answers) == 1 else torch.cat(list(answers)).mean(dim=0)
    classes = model.config.network.classes
    cell = mean[0] if classes == 1 else 1 - mean[0]
    most_probable = mean[:classes].argmax(dim=0).to(torch.uint8).numpy() if classes > 2 else None
    distance = mean[classes] if len(mean) > classes else torch.zeros_like(cell)
    return Maps(cell.numpy(), distance.numpy(), most_probable)
