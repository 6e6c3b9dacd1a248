"""Building blocks that the networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["double_convolution", "mirrored"]


def double_convolution(
    inputs: int, outputs: int, momentum: float, *, batch_norm: bool = True, padding: int = 1
) -> nn.Sequential:
    """Two 3x3 convolutions, each with ReLU and, if wanted, batch normalisation before it.

    With a padding of 1 the size stays; without, two pixels go on each side.
    """
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=padding, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs, momentum=momentum))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def mirrored(image: Tensor, before: int, after: tuple[int, int]) -> Tensor:
    """Continue an image beyond its borders by its mirror image.

    Parameters
    ----------
    image
        (N, C, H, W).
    before
        Pixels added above and on the left.
    after
        Pixels added below and on the right.

    Returns
    -------
    Tensor
        (N, C, before + H + after[0], before + W + after[1]).

    Notes
    -----
    The pixel at the border is not repeated.  Other than torch's reflection, this goes on beyond the
    far side of an image that is smaller than the border: back and forth, as often as needed.
    """
    for dim, more in zip((-2, -1), after, strict=True):
        size = image.shape[dim]
        period = max(2 * (size - 1), 1)
        place = torch.arange(-before, size + more, device=image.device) % period
        image = image.index_select(dim, torch.minimum(place, period - place) % size)
    return image
