"""U-Net (Ronneberger, Fischer, Brox, 2015) with a segmentation and a distance head.

Same-size convolutions with batch normalisation; the channels double with each level down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_jnet.config import NetworkConfig
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.networks.blocks import double_convolution

__all__ = ["UNet"]


class UNet(SegmentationNetwork):
    """U-Net over the resolution levels of the configuration.

    It sees the image at the last (highest) level only; the lower ones are reached by max pooling.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        depth = len(config.resolution_levels)
        momentum = config.batchnorm_momentum
        widths = [config.channels * 2**level for level in range(depth)]
        self.levels = (config.resolution_levels[-1],)
        self.multiple = 2 ** (depth - 1)
        unit = 2**-self.top_level
        self.stride = self.multiple * unit
        # Two convolutions down and two up a level, and what upsampling reaches: below 6 pixels a level.
        radius = 6 * (2**depth - 1) * unit
        self.halo = -(-radius // self.stride) * self.stride
        self.down = nn.ModuleList(
            double_convolution(inputs, outputs, momentum)
            for inputs, outputs in zip([config.in_channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(low, high, 2, stride=2) for high, low in pairwise(widths)
        )
        self.merge = nn.ModuleList(
            double_convolution(2 * width, width, momentum) for width in widths[:-1]
        )
        self.head = nn.Conv2d(widths[0], self.outputs, 1)

    def features(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Go down, come back up, and answer at the size that came in."""
        image = pyramid[-1]
        height, width = image.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        output = F.pad(image, (0, right, 0, below), mode="replicate") if below or right else image
        skips: list[Tensor] = []
        for level, convolutions in enumerate(self.down):
            if level:
                output = F.max_pool2d(output, 2)
            output = convolutions(output)
            skips.append(output)
        for level in reversed(range(len(self.up))):
            output = torch.cat([skips[level], self.up[level](output)], dim=1)
            output = self.merge[level](output)
        answer: Tensor = self.head(output)
        return answer[..., :height, :width]
