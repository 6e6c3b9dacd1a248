"""What every network has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_jnet.config import NetworkConfig

__all__ = ["SegmentationNetwork"]


class SegmentationNetwork(nn.Module, ABC):
    """Standardised pyramid in, segmentation logits and boundary distance out.

    A network is one file that subclasses this, fills in the attributes below and `features`, and is
    listed in `NETWORKS`.

    Attributes
    ----------
    levels
        Resolution levels that `forward` takes, lowest first; the answer is at the last one.
    stride
        Tile origins must lie on multiples of this, in pixels of the full frame.
    halo
        Pixels of the full frame around a tile that influence its answer.
    """

    levels: tuple[int, ...]
    stride: int
    halo: int

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.outputs = config.classes + int(config.distance)

    @property
    def top_level(self) -> int:
        """Level of the answer."""
        return self.levels[-1]

    @abstractmethod
    def features(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Compute ``(N, outputs, H, W)`` at the top level, before the distance gets its unit."""

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Answer for a batch.

        Parameters
        ----------
        pyramid
            One (N, C, h, w) for each of `levels`.

        Returns
        -------
        Tensor
            (N, classes + distance, H, W) at the top level: segmentation logits, then the distance in
            pixels of the full frame, where the network has that head.
        """
        output = self.features(pyramid)
        if self.config.distance and self.config.distance_scale != 1:
            logits, distance = torch.split(output, [self.config.classes, 1], dim=1)
            output = torch.cat([logits, distance * self.config.distance_scale], dim=1)
        return output

    def parameter_count(self) -> int:
        """Count the trainable numbers."""
        return sum(p.numel() for p in self.parameters())
