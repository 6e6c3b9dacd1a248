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


_USUAL_DEPTH = 5


class UNet(SegmentationNetwork):
    """U-Net over the resolution levels of the configuration.

    It sees the image at the last (highest) level only; the lower ones are reached by max pooling.

    Notes
    -----
    Valid convolutions trim an image of ``m * (n + 4) + 4 * (m - 1)`` pixels to one of
    ``m * n - 4 * (m - 1)``, where ``m`` is 2 to the number of poolings: 572 to 388 in the paper.  The
    frame is mirrored at its borders first, so that the answer has its size all the same; in training
    these are the borders of the patch.
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
        # From a level to the one above, what matters doubles; four convolutions and the upsampling add 6.
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

    @classmethod
    def depth(cls, config: NetworkConfig, most: int) -> int:
        """Return the five levels of the paper, or as many as there are."""
        return min(_USUAL_DEPTH, most)

    def _convolutions(self, inputs: int, outputs: int) -> nn.Sequential:
        return double_convolution(
            inputs,
            outputs,
            self.config.batchnorm_momentum,
            batch_norm=self.config.batch_norm,
            padding=int(self.config.padding == "same"),
        )

    def _upsampling(self, inputs: int, outputs: int) -> nn.Module:
        if self.config.upsampling == "transposed":
            return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        # A 1x1 convolution and an interpolation may change places; this order is four times cheaper.
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 1), nn.Upsample(scale_factor=2, mode="bilinear")
        )

    def features(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Go down, come back up, and answer at the size that came in."""
        image = pyramid[-1]
        height, width = image.shape[-2:]
        return self.convolve(self._enlarged(image))[..., :height, :width]

    def _enlarged(self, image: Tensor) -> Tensor:
        """Add what the convolutions will trim, and what makes each pooling come out even."""
        height, width = image.shape[-2:]
        if self.margin:
            lost = 4 * (self.multiple - 1)
            below, right = -(height + lost) % self.multiple, -(width + lost) % self.multiple
            return mirrored(image, self.margin, (self.margin + below, self.margin + right))
        below, right = -height % self.multiple, -width % self.multiple
        return F.pad(image, (0, right, 0, below), mode="replicate") if below or right else image

    def convolve(self, image: Tensor) -> Tensor:
        """Answer for a batch whose size comes out even at each pooling.

        Parameters
        ----------
        image
            (N, C, H, W).

        Returns
        -------
        Tensor
            (N, outputs, h, w): ``h = H``, or ``h = H - 2 * margin`` with valid convolutions.
        """
        skips: list[Tensor] = []
        for level, convolutions in enumerate(self.down):
            image = convolutions(F.max_pool2d(image, 2) if level else image)
            skips.append(image)
        image = self.dropout(image)
        for level in reversed(range(len(self.up))):
            above = self.up[level](image)
            skip = _centre(skips[level], above.shape[-2], above.shape[-1])
            image = self.merge[level](torch.cat([skip, above], dim=1))
        answer: Tensor = self.head(image)
        return answer


def _centre(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]
