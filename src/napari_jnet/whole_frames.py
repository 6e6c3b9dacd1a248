"""Training frames as the original J-Net takes them: whole, at full resolution, with their own intensities.

Each sample is a frame, augmented as there; every level is pooled from it and standardised on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_jnet.augmentations.original import Planes, augment_original, choose_entries, crop
from napari_jnet.config import Config
from napari_jnet.config.original import OriginalAugmentation
from napari_jnet.data.stack import AnnotatedFrame
from napari_jnet.normalization import frame_tensor, standardized_pyramid
from napari_jnet.pyramid import pool
from napari_jnet.targets import Targets, make_targets

__all__ = ["WholeFrames", "load_whole_frames"]

_CERTAIN = 0.999
"""A warped or pooled pixel is known where this much of what it was made of is."""


@dataclass(frozen=True, eq=False)
class WholeFrames:
    """Frames and their maps on the device.

    Attributes
    ----------
    planes
        For each frame (C + 4, H, W) float32: image, segmentation, distance in pixels, where the
        segmentation and where the distance is known.
    levels
        Resolution levels of the network, lowest first.
    standardization
        As ``network.standardization``.
    """

    planes: tuple[Tensor, ...]
    levels: tuple[int, ...]
    standardization: str = "plain"

    def __len__(self) -> int:
        return len(self.planes)

    def draw(
        self, frames: Sequence[int], flags: OriginalAugmentation, generator: torch.Generator
    ) -> tuple[list[Tensor], Targets]:
        """Augment these frames as one batch.

        Frames of differing size are cut at random to the smallest height and width of the batch.

        Returns
        -------
        pyramid
            (N, C, h, w) for each level, standardised.
        targets
            At the top level, average-pooled; distances in pixels of the full frame.
        """
        entry = choose_entries(flags.aug_crop_params, 1, generator)[0]
        chosen = [self.planes[frame] for frame in frames]
        shapes = [part.shape[-2:] for part in chosen]
        if entry is not None:
            shapes.append(torch.Size([int(entry[0]), int(entry[1])]))
        size = (min(shape[0] for shape in shapes), min(shape[1] for shape in shapes))
        values = torch.stack([crop(part, size, generator) for part in chosen])
        return self._pyramid(
            augment_original(Planes(values, self.channels), flags, generator).values
        )

    def plain(self, frame: int) -> tuple[list[Tensor], Targets]:
        """Return one frame as it is, as a batch of one."""
        return self._pyramid(self.planes[frame][None])

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return len(self.planes[0]) - 4

    def _pyramid(self, values: Tensor) -> tuple[list[Tensor], Targets]:
        levels = standardized_pyramid(
            values[:, : self.channels], self.levels, standardization=self.standardization
        )
        maps = pool(values[:, self.channels :], self.levels[-1])
        segmentation, distance, known, distance_known = maps.unbind(dim=1)
        targets = Targets(
            segmentation=segmentation,
            known=known > _CERTAIN,
            distance=distance,
            distance_known=distance_known > _CERTAIN,
        )
        return levels, targets


def load_whole_frames(
    frames: Sequence[AnnotatedFrame],
    levels: tuple[int, ...],
    bound: float,
    device: torch.device,
    config: Config | None = None,
) -> WholeFrames:
    """Put whole frames and their maps on the device.

    Parameters
    ----------
    frames
        Of any sizes, with the same number of channels.
    levels
        Resolution levels of the network, lowest first.
    bound
        dt_bound in pixels of the full frame.
    device
        Where to.
    config
        The metric of the distance and the standardisation; None takes those of the original.

    Raises
    ------
    ValueError
        If a frame cannot be used.
    """
    how = "plain" if config is None else config.network.standardization
    metric = "cityblock" if config is None else config.targets.distance_metric
    channels = len(frame_tensor(frames[0].image, frames[0].name, standardization=how))
    made = []
    for frame in frames:
        image = frame_tensor(frame.image, frame.name, channels, standardization=how).to(device)
        labels = torch.from_numpy(np.ascontiguousarray(frame.labels))[None].to(device)
        targets = make_targets(labels, bound, kind=frame.kind, metric=metric)
        maps = (targets.segmentation, targets.distance, targets.known, targets.distance_known)
        made.append(torch.cat([image, *(part.float() for part in maps)]))
    return WholeFrames(tuple(made), levels, how)
