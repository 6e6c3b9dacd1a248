"""The base class of all networks."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_jnet.config import NetworkConfig, options

# Options that only some networks have; setting one of another network is an error.
_OPTIONAL = ("padding", "batch_norm", "upsampling", "dropout", "width")


class SegmentationNetwork(nn.Module, ABC):
    """A network from a standardised pyramid to segmentation logits and boundary distance.

    A network is one file that subclasses this, fills in the attributes below and `features`, and is
    listed in `NETWORKS`.  `ValueError` refuses options that it does not have.

    Attributes
    ----------
    takes
        Which of the options padding, batch_norm, upsampling, dropout and width it has.
    levels
        Resolution levels that `forward` takes, lowest first; the output is at the last one.
    stride
        Tile origins must lie on multiples of this, in pixels of the full frame.
    halo
        Pixels of the full frame around a tile that influence its output, a multiple of the stride.
    level_heads
        Convolutions for the outputs of lower levels, with ``deep_supervision`` (Lee, Xie, Gallagher, Zhang,
        Tu, 2015): what a level hands to the next is trained to be an output too.
    """

    takes: ClassVar[frozenset[str]] = frozenset()
    levels: tuple[int, ...]
    stride: int
    halo: int

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        if not config.resolution_levels:
            raise ValueError(
                f"resolution_levels is empty; the network {config.name} needs at least one level, "
                "such as 0. Training finds levels from the data."
            )
        for name in _OPTIONAL:
            default, value = options(NetworkConfig)[name].default, getattr(config, name)
            if name not in self.takes and value != default:
                raise ValueError(
                    f"{name} is {value!r}, but the network {config.name} has no such option. "
                    f"Leave it at {default!r}, or choose another network."
                )
        self.config = config
        self.outputs = config.classes + int(config.distance)
        self.level_heads = nn.ModuleList()

    @classmethod
    def depth(cls, config: NetworkConfig, most: int) -> int:
        """Return the default number of resolution levels, at most ``most``."""
        return 1

    @property
    def top_level(self) -> int:
        """Level of the output."""
        return self.levels[-1]

    @abstractmethod
    def features(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Compute ``(N, outputs, H, W)`` at the top level, before the distance gets its unit.

        While it is trained, outputs of lower levels may follow, (k * N, outputs, H, W) in all: each is
        enlarged to the top level, and has a loss of its own.
        """

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Run the network on a batch, one (N, C, h, w) for each of `levels`.

        Return (N, classes + distance, H, W) at the top level: segmentation logits, then the distance in
        pixels of the full frame, where the network has that head.
        """
        output = self.features(pyramid)
        if self.config.distance and self.config.distance_scale != 1:
            logits, distance = torch.split(output, [self.config.classes, 1], dim=1)
            output = torch.cat([logits, distance * self.config.distance_scale], dim=1)
        return output

    def folded(self) -> Self:
        """Return a copy to predict with, whose batch normalization is in the weights of its convolutions.

        Its outputs are the same up to rounding.
        """
        network = copy.deepcopy(self).eval()
        for block in network.modules():
            if not isinstance(block, nn.Sequential):
                continue
            for index, (layer, norm) in enumerate(pairwise(block)):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    block[index], block[index + 1] = fuse_conv_bn_eval(layer, norm), nn.Identity()
        return network

    def load_pretrained(self, path: Path) -> None:
        """Load weights of a network trained on other images; `ValueError` if not supported."""
        raise ValueError(
            f"pretrained is {path}, but the network {self.config.name} does not start from weights of "
            "another network. Leave pretrained empty, or choose fcn8, fcn16 or fcn32."
        )

    def add_level_heads(self, widths: Iterable[int]) -> None:
        """Add a head for each lower level, of so many channels, if the configuration asks for it."""
        if self.config.deep_supervision:
            self.level_heads.extend(nn.Conv2d(width, self.outputs, 1) for width in widths)

    def set_initial_logits(self, logits: Tensor) -> None:
        """Make these, (classes,), the bias of the segmentation in the last convolution and each level's."""
        *_, last = (layer for layer in self.modules() if isinstance(layer, nn.Conv2d))
        for head in (*self.level_heads, last):
            assert isinstance(head.bias, Tensor) and len(head.bias) == self.outputs
            with torch.no_grad():
                head.bias[: len(logits)] = logits

    def parameter_count(self) -> int:
        """Return the number of trainable weights."""
        return sum(p.numel() for p in self.parameters())
