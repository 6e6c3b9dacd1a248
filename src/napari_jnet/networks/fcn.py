"""FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer, Darrell, 2015): VGG16 that answers for each pixel.

The scores of fc7 are upsampled by 32; FCN-16 adds those of the fourth pooling on the way, FCN-8 also
those of the third.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_jnet.config import NetworkConfig
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.networks.vgg import VGG16
from napari_jnet.networks.vgg_weights import load_vgg16

__all__ = ["FCN8", "FCN16", "FCN32", "bilinear_upsampling"]

_STRIDE = 32


class FCN32(SegmentationNetwork):
    """FCN-32s: one upsampling by 32, no skips.

    Notes
    -----
    The authors' network takes images of any size by a border of 100 zeros.  Here the image is continued
    to a multiple of 32 and fc6 keeps the size, which needs no border and no cropping to an offset; and
    the last upsampling is learned like the others.
    """

    takes = frozenset({"batch_norm", "dropout", "width"})
    skips: ClassVar[tuple[int, ...]] = ()
    """Poolings whose scores are added, deepest first."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.levels = (config.resolution_levels[-1],)
        unit = 2**-self.top_level
        self.stride = _STRIDE * unit
        self.vgg = VGG16(config)
        self.score = nn.Conv2d(self.vgg.channels[-1], self.outputs, 1)
        self.skip_scores = nn.ModuleList(
            nn.Conv2d(self.vgg.channels[pooling - 1], self.outputs, 1) for pooling in self.skips
        )
        strides = [2**pooling for pooling in self.skips]
        steps = [low // high for low, high in zip([_STRIDE, *strides], [*strides, 1], strict=True)]
        self.up = nn.ModuleList(bilinear_upsampling(self.outputs, step) for step in steps)
        # An upsampling looks at one more pixel of what it upsamples.
        radius = (self.vgg.radius + sum([_STRIDE, *strides])) * unit
        self.halo = -(-radius // self.stride) * self.stride

    def features(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Score fc7, upsample, and add the scores of each skip where its resolution is reached."""
        image = pyramid[-1]
        height, width = image.shape[-2:]
        below, right = -height % _STRIDE, -width % _STRIDE
        if below or right:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        pooled, deepest = self.vgg(image)
        answer: Tensor = self.score(deepest)
        for pooling, score, up in zip(self.skips, self.skip_scores, self.up, strict=False):
            answer = up(answer) + score(pooled[pooling - 1])
        answer = self.up[-1](answer)
        return answer[..., :height, :width]

    def load_pretrained(self, path: Path) -> None:
        """Begin with the weights of a VGG16 trained on ImageNet, of a local file.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file holds no VGG16, or this network is not of its shape.
        """
        if self.config.width != 1 or self.config.in_channels not in (1, 3):
            raise ValueError(
                f"pretrained is {path}, but this {self.config.name} has width {self.config.width:g} and "
                f"{self.config.in_channels} channels; the weights of VGG16 fit width 1 and frames of 3 "
                "channels (red, green, blue) or 1. Change the width, or leave pretrained empty."
            )
        load_vgg16(self.vgg, path)


class FCN16(FCN32):
    """FCN-16s: also the scores of the fourth pooling."""

    skips = (4,)


class FCN8(FCN32):
    """FCN-8s: also the scores of the fourth and the third pooling."""

    skips = (4, 3)


def bilinear_upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Transposed convolution that begins as the bilinear interpolation of each channel by itself.

    Its kernel has twice the factor as its side; an image comes out ``factor`` times as large.
    """
    layer = nn.ConvTranspose2d(
        channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False
    )
    offsets = torch.arange(2 * factor) - (factor - 0.5)
    profile = 1 - offsets.abs() / factor
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, channel] = torch.outer(profile, profile)
    return layer
