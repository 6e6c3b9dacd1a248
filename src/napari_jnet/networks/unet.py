"""U-Net (Ronneberger, Fischer, Brox, 2015) with a segmentation and a distance head.

By default the convolutions keep the size and have batch normalisation; those of the paper are `valid`
and have none.  The channels double with each level down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_jnet.config import NetworkConfig
from napari_jnet.networks.base import SegmentationNetwork


def mirrored(image: Tensor, before: int, after: tuple[int, int]) -> Tensor:
    """Pad (N, C, H, W) by reflection: ``before`` above and on the left, ``after`` below and on the right.

    The pixel at the border is not repeated.  Unlike torch's reflection, the border may be larger than
    the image, which is then mirrored repeatedly.
    """
    for dim, more in zip((-2, -1), after, strict=True):
        size = image.shape[dim]
        period = max(2 * (size - 1), 1)
        place = torch.arange(-before, size + more, device=image.device) % period
        image = image.index_select(dim, torch.minimum(place, period - place) % size)
    return image


def _central(image: Tensor, other: Tensor) -> Tensor:
    """Return the middle of an image, of the height and width of another."""
    height, width = other.shape[-2:]
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]


class UNet(SegmentationNetwork):
    """U-Net over the resolution levels of the configuration.

    It sees the image at the last (highest) level only; the lower ones are reached by max pooling.

    Notes
    -----
    Valid convolutions trim an image of ``m * (n + 4) + 4 * (m - 1)`` pixels to one of
    ``m * n - 4 * (m - 1)``, where ``m`` is 2 to the number of poolings: 572 to 388 in the paper.  The
    frame is mirrored at its borders first, so that the output has its size; in training the patch
    is mirrored.
    """

    takes = frozenset({"padding", "batch_norm", "upsampling", "dropout"})

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        depth = len(config.resolution_levels)
        widths = [config.channels * 2**level for level in range(depth)]
        self.levels = (config.resolution_levels[-1],)
        self.multiple = 2 ** (depth - 1)
        self.margin = 6 * self.multiple - 4 if config.padding == "valid" else 0
        unit = 2**-self.top_level
        self.stride = self.multiple * unit
        # From a level to the one above, the radius doubles; four convolutions and the upsampling add 6.
        radius = (4 * 2**depth - 6) * unit
        self.halo = -(-radius // self.stride) * self.stride
        self.down = nn.ModuleList(
            self._convolutions(inputs, outputs)
            for inputs, outputs in zip([config.in_channels, *widths], widths, strict=False)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.up = nn.ModuleList(self._upsampling(low, high) for high, low in pairwise(widths))
        self.merge = nn.ModuleList(self._convolutions(2 * width, width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], self.outputs, 1)
        self.add_level_heads(reversed(widths[1:-1]))

    @classmethod
    def depth(cls, config: NetworkConfig, most: int) -> int:
        """Return the five levels of the paper, or ``most`` if that is fewer."""
        return min(5, most)

    def _convolutions(self, inputs: int, outputs: int) -> nn.Sequential:
        """Return two 3x3 convolutions, each with ReLU and, if configured, batch normalisation before it."""
        config = self.config
        layers: list[nn.Module] = []
        padding = int(config.padding == "same")
        for channels in (inputs, outputs):
            layers.append(
                nn.Conv2d(channels, outputs, 3, padding=padding, bias=not config.batch_norm)
            )
            if config.batch_norm:
                layers.append(nn.BatchNorm2d(outputs, momentum=config.batchnorm_momentum))
            layers.append(nn.ReLU(inplace=True))
        return nn.Sequential(*layers)

    def _upsampling(self, inputs: int, outputs: int) -> nn.Module:
        if self.config.upsampling == "transposed":
            return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        # A 1x1 convolution and an interpolation may change places; this order is four times cheaper.
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 1), nn.Upsample(scale_factor=2, mode="bilinear")
        )

    def features(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Pad the image for valid convolutions and poolings, run the network and crop."""
        image = pyramid[-1]
        height, width = image.shape[-2:]
        lost = 4 * (self.multiple - 1) if self.margin else 0
        below, right = -(height + lost) % self.multiple, -(width + lost) % self.multiple
        if self.margin:
            image = mirrored(image, self.margin, (self.margin + below, self.margin + right))
        elif below or right:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        return self.convolve(image)[..., :height, :width]

    def convolve(self, image: Tensor) -> Tensor:
        """Run on (N, C, H, W) whose sides are even at each pooling.

        Each side of the output is as long, or ``2 * margin`` shorter with valid convolutions.  While it is
        trained, the outputs of the levels between the lowest and the highest follow, the lowest first.
        """
        skips: list[Tensor] = []
        lower: list[Tensor] = []
        for level, convolutions in enumerate(self.down):
            image = convolutions(F.max_pool2d(image, 2) if level else image)
            skips.append(image)
        image = self.dropout(skips.pop())
        for level in reversed(range(len(self.up))):
            image, skip = self.up[level](image), skips.pop(level)
            image = torch.cat([_central(skip, image), image], dim=1)
            del skip
            # called as a whole, it would hold its input to the end
            for layer in self.merge[level].children():
                image = layer(image)
            if level and self.training and self.level_heads:
                low = self.level_heads[len(lower)](image)
                lower.append(F.interpolate(low, scale_factor=2**level, mode="bilinear"))
        output: Tensor = self.head(image)
        return torch.cat([output, *(_central(low, output) for low in lower)]) if lower else output
