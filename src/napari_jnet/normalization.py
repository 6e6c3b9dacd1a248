"""What the network sees of a frame: each level standardised by the statistics of the whole frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.pyramid import pool, pyramid

__all__ = ["frame_tensor", "is_constant", "level_statistics", "standardized_pyramid"]

_SMALLEST_DEVIATION = 1e-6


def frame_tensor(image: NDArray[Any], name: str, channels: int | None = None) -> Tensor:
    """Turn a stored image into a float tensor.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), any real type.
    name
        For the error messages.
    channels
        What the network takes; None accepts any number.

    Returns
    -------
    Tensor of float32
        (C, H, W).

    Raises
    ------
    ValueError
        If the image has another number of axes or channels, no pixels, or values that are not finite.
    """
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(
            f"{name} has shape {image.shape}; an image is (height, width) or (height, width, channels) "
            "and not empty."
        )
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    if channels is not None and len(planes) != channels:
        raise ValueError(
            f"{name} has {len(planes)} channel(s), the network takes {channels}. "
            "Choose a model trained on such images, or convert the image."
        )
    values = np.ascontiguousarray(planes, dtype=np.float32)
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ValueError(
            f"{name} has {bad} pixel(s) that are NaN or infinite; every pixel needs a value. "
            "Replace them (for example by the median of the frame)."
        )
    return torch.from_numpy(values)


def is_constant(frame: Tensor) -> bool:
    """Tell whether all pixels of a frame have one value, so that there is nothing to see."""
    return bool((frame == frame.flatten()[0]).all())


def level_statistics(frame: Tensor, levels: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of ``(C, H, W)`` at each level, both (levels, C)."""
    pooled = [pool(frame[None], level)[0].flatten(1) for level in levels]
    means = torch.stack([values.mean(dim=1) for values in pooled])
    deviations = torch.stack([values.std(dim=1) for values in pooled])
    return means, deviations.clamp(min=_SMALLEST_DEVIATION)


def standardized_pyramid(frames: Tensor, levels: Sequence[int]) -> list[Tensor]:
    """Pool whole frames to each level and standardise each level on its own.

    Parameters
    ----------
    frames
        (N, C, H, W), whole frames: the statistics are those of what is given.
    levels
        Resolution levels, lowest first.

    Returns
    -------
    list of Tensor
        ``(x - mean) / (3 * std)`` at each level, as the original J-Net does, with the unbiased
        standard deviation taken after pooling.
    """
    result = []
    for pooled in pyramid(frames, levels):
        mean = pooled.mean(dim=(2, 3), keepdim=True)
        deviation = pooled.std(dim=(2, 3), keepdim=True).clamp(min=_SMALLEST_DEVIATION)
        result.append((pooled - mean) / (3 * deviation))
    return result
