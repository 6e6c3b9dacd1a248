"""The convolutional layers of VGG16 (Simonyan and Zisserman, 2015), made fully convolutional."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from napari_jnet.config import NetworkConfig

__all__ = ["VGG16"]

_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""3x3 convolutions between two poolings."""
_CHANNELS = (64, 128, 256, 512, 512)
_HIDDEN = 4096


class VGG16(nn.Module):
    """Five groups of convolutions, each pooled, then the two dense layers as convolutions.

    Attributes
    ----------
    groups
        Convolutions with ReLU (and batch normalisation where the configuration has it).
    fc6, fc7
        The dense layers with ReLU and dropout; fc6 is a 7x7 convolution that keeps the size.
    channels
        After each pooling, then of fc7.
    radius
        Pixels around one that matter to fc7 at the place that it is pooled to.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = [max(1, round(config.width * channels)) for channels in (*_CHANNELS, _HIDDEN)]
        *convolved, hidden = widths
        self.channels = tuple(widths)
        self.groups = nn.ModuleList(
            _group(count, inputs, outputs, config)
            for count, (inputs, outputs) in zip(
                _CONVOLUTIONS, pairwise([config.in_channels, *convolved]), strict=True
            )
        )
        self.fc6 = _dense(convolved[-1], hidden, 7, config.dropout)
        self.fc7 = _dense(hidden, hidden, 1, config.dropout)
        # Each convolution reaches one pixel of its level further, each pooling too, fc6 three of the last.
        reach = [(count + 1) * 2**level for level, count in enumerate(_CONVOLUTIONS)]
        self.radius = sum(reach) + 3 * 2 ** len(_CONVOLUTIONS)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return what each of the five poolings gives, and fc7, for (N, C, H, W).

        The sides must be multiples of 32; the poolings halve them one after the other, fc7 has the
        size of the last.
        """
        pooled = []
        for group in self.groups:
            image = F.max_pool2d(group(image), 2)
            pooled.append(image)
        return pooled, self.fc7(self.fc6(image))

    def learned(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
        """List the thirteen convolutions, fc6 and fc7 in order, each with its normalisation."""
        found: list[tuple[nn.Conv2d, nn.BatchNorm2d | None]] = []
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                found.append((module, None))
            elif isinstance(module, nn.BatchNorm2d):
                found[-1] = (found[-1][0], module)
        return found


def _group(count: int, inputs: int, outputs: int, config: NetworkConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in [inputs] + [outputs] * (count - 1):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1))
        if config.batch_norm:
            layers.append(nn.BatchNorm2d(outputs, momentum=config.batchnorm_momentum))
        layers.append(nn.ReLU(inplace=True))
    return _for_relu(nn.Sequential(*layers))


def _dense(inputs: int, outputs: int, kernel: int, dropout: float) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
    )
    return _for_relu(layers)


def _for_relu(layers: nn.Sequential) -> nn.Sequential:
    """Draw weights that keep the size of the signal: fifteen layers deep, others let it die out."""
    for module in layers.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return layers
