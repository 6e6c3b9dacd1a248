"""Building blocks that the networks share."""

from __future__ import annotations

from torch import nn

__all__ = ["double_convolution"]


def double_convolution(inputs: int, outputs: int, momentum: float) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch normalisation and ReLU; the size stays."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs, momentum=momentum),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
