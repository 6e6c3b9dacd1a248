"""How much a pixel counts in the loss of the segmentation: by its class, and by the border it is in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_jnet.borders import border_weights
from napari_jnet.config import TrainingConfig
from napari_jnet.data.stack import UNKNOWN, AnnotatedFrame
from napari_jnet.targets import class_indices

__all__ = ["class_weights", "frame_borders", "pixel_weights"]


def class_weights(frames: Sequence[AnnotatedFrame], classes: int) -> Tensor:
    """Weigh each class by how rare it is, so that all classes count the same in the sum.

    Parameters
    ----------
    frames
        Training frames; unknown pixels are not counted.
    classes
        Of the network.

    Returns
    -------
    Tensor of float32
        (K,), at least two: known pixels / (classes that occur * pixels of the class), so that the mean
        over all known pixels is 1; 1 for a class that does not occur.
    """
    counts = torch.zeros(max(classes, 2), dtype=torch.int64)
    for frame in frames:
        labels = torch.from_numpy(np.ascontiguousarray(frame.labels))
        known = labels[labels != UNKNOWN]
        counts += torch.bincount(class_indices(known, frame.kind, classes), minlength=len(counts))
    occurs = counts > 0
    weights = counts.sum() / (occurs.sum() * counts.clamp(min=1))
    return torch.where(occurs, weights, 1.0).float()


def frame_borders(
    frame: AnnotatedFrame, config: TrainingConfig, device: torch.device
) -> Tensor | None:
    """Return the border weights of a frame, (H, W) on the device; None where borders weigh nothing."""
    if config.border_weight == 0:
        return None
    labels = torch.from_numpy(np.ascontiguousarray(frame.labels)).to(device)
    return border_weights(labels, config.border_weight, config.border_sigma, kind=frame.kind)


def pixel_weights(
    segmentation: Tensor, of_class: Tensor | None, border: Tensor | None
) -> Tensor | None:
    """Add the weight of each pixel's class and of its border.

    Parameters
    ----------
    segmentation
        (N, H, W) int64, the class of each pixel.
    of_class
        (K,) as of `class_weights`; None weighs every class 1.
    border
        (N, H, W) as of `border_weights`; None is 0 everywhere.

    Returns
    -------
    Tensor of float32 or None
        (N, H, W); None where every weight is 1.
    """
    if of_class is None:
        return None if border is None else 1 + border
    weights = of_class[segmentation]
    return weights if border is None else weights + border
