"""Annotated frames on the device, and the batches that are drawn from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_jnet.augmentations import (
    change_intensity,
    draw_field,
    draw_matrix,
    sample_grid,
    sample_images,
    sample_labels,
)
from napari_jnet.config import Config
from napari_jnet.config.original import OriginalAugmentation
from napari_jnet.data.stack import AnnotatedFrame, LabelKind
from napari_jnet.normalization import frame_tensor, is_constant, level_statistics
from napari_jnet.pyramid import pool
from napari_jnet.targets import Targets, make_targets
from napari_jnet.weights import class_weights, frame_borders, pixel_weights
from napari_jnet.whole_frames import WholeFrames, load_whole_frames

__all__ = ["FrameStore", "draw_batch", "load_frames"]


@dataclass(frozen=True, eq=False)
class FrameStore:
    """Training frames, pooled to the network's top level, side by side on the device.

    Frames of differing size are padded to the largest; `sizes` says what is real.

    Attributes
    ----------
    images
        (F, C, h, w) float32, standardised at the top level.
    labels
        (F, h * unit, w * unit) int32, at full resolution.
    sizes
        (F, 2), height and width at the top level.
    gains
        (F, levels, C): what a pooled level is multiplied with to be standardised on its own.
    levels
        That the network takes, lowest first.
    class_weights
        (K,) float32, or None where classes are not balanced.
    borders
        (F, h * unit, w * unit) float32, the border weights, or None where borders weigh nothing.
    whole
        The frames for the augmentations of the original J-Net, or None where these are off.
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor
    gains: Tensor
    levels: tuple[int, ...]
    kind: LabelKind
    class_weights: Tensor | None = None
    borders: Tensor | None = None
    whole: WholeFrames | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def unit(self) -> int:
        """Pixels of the full frame along the side of one pixel at the top level."""
        return int(2 ** -self.levels[-1])


def load_frames(
    frames: Sequence[AnnotatedFrame],
    levels: tuple[int, ...],
    device: torch.device,
    config: Config | None = None,
) -> FrameStore:
    """Pool, standardise and put frames on the device, with the weights of their pixels.

    Parameters
    ----------
    frames
        To train on.
    levels
        That the network takes, lowest first.
    device
        Where to.
    config
        Whether classes are balanced and borders weighted; None does neither.

    Raises
    ------
    ValueError
        If a frame is constant, has values that are not finite, or too few pixels for the levels.
    """
    images, labels, gains = [], [], []
    unit = 2 ** -levels[-1]
    how = (config or Config()).network.standardization
    for frame in frames:
        image = frame_tensor(frame.image, frame.name, standardization=how)
        if is_constant(image):
            raise ValueError(
                f"{frame.name} has the value {frame.image.flat[0]:g} in every pixel; there is nothing to "
                "learn from it. Leave this frame out of the training."
            )
        means, deviations = level_statistics(image, levels, standardization=how)
        pooled = pool(image[None], levels[-1])[0]
        images.append((pooled - means[-1, :, None, None]) / (3 * deviations[-1, :, None, None]))
        gains.append(deviations[-1] / deviations)
        height, width = (unit * side for side in pooled.shape[-2:])
        labels.append(torch.from_numpy(np.ascontiguousarray(frame.labels[:height, :width])))
    sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.float32)
    return FrameStore(
        images=_side_by_side(images).to(device),
        labels=_side_by_side(labels).to(device),
        sizes=sizes.to(device),
        gains=torch.stack(gains).to(device),
        levels=levels,
        kind=frames[0].kind,
        whole=_whole(frames, levels, device, config or Config()),
        **_weights(frames, labels, device, config or Config()),
    )


def _whole(
    frames: Sequence[AnnotatedFrame], levels: tuple[int, ...], device: torch.device, config: Config
) -> WholeFrames | None:
    if not config.augmentation.original:
        return None
    bound = config.targets.dt_bound
    assert bound is not None
    return load_whole_frames(frames, levels, bound, device, config)


def _weights(
    frames: Sequence[AnnotatedFrame], labels: Sequence[Tensor], device: torch.device, config: Config
) -> dict[str, Tensor]:
    """Make the weights that the configuration asks for, once for the whole training."""
    made = {}
    if config.training.class_balance:
        made["class_weights"] = class_weights(frames, config.network.classes).to(device)
    maps = [frame_borders(frame, config.training, device) for frame in frames]
    borders = [
        border[: part.shape[0], : part.shape[1]]
        for border, part in zip(maps, labels, strict=True)
        if border is not None
    ]
    if borders:
        made["borders"] = _side_by_side(borders)
    return made


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    height = max(part.shape[-2] for part in parts)
    width = max(part.shape[-1] for part in parts)
    together = parts[0].new_zeros((len(parts), *parts[0].shape[:-2], height, width))
    for row, part in zip(together, parts, strict=True):
        row[..., : part.shape[-2], : part.shape[-1]] = part
    return together


def draw_batch(
    store: FrameStore, config: Config, bound: float, generator: torch.Generator
) -> tuple[list[Tensor], Targets]:
    """Draw patches at random, warp them, and make their targets.

    Parameters
    ----------
    store
        Frames to draw from.
    config
        Patch and batch size, augmentation, classes.
    bound
        dt_bound, in pixels of the full frame.
    generator
        On the CPU, so that every device draws the same.

    Returns
    -------
    pyramid
        (N, C, h, w) for each level of the store.
    targets
        At the top level; distances in pixels of the full frame.

    Notes
    -----
    Labels are sampled with a margin of the bound around the patch, so that a boundary just outside
    is known and the distances inside are exact.
    """
    if store.whole is not None:
        return _draw_whole(store.whole, config, generator)
    training, device = config.training, store.images.device
    count, margin = training.batch_size, math.ceil(bound / store.unit)
    step = 2 ** (store.levels[-1] - store.levels[0])
    side = min(training.patch_size, max(store.images.shape[-2:]))
    size = -(-side // step) * step
    chosen = _choose(len(store), count, generator).to(device)
    sizes = store.sizes[chosen]
    field = draw_field(count, size + 2 * margin, config.augmentation, generator)
    grid = sample_grid(
        _draw_centres(sizes, size, generator),
        draw_matrix(count, config.augmentation, generator).to(device),
        None if field is None else field.to(device),
        size + 2 * margin,
        sizes,
    )
    inner = slice(margin, margin + size)
    patches = sample_images(store.images[chosen], grid[:, inner, inner])
    patches = change_intensity(patches, config.augmentation, generator)
    gains = store.gains[chosen][..., None, None]
    levels = [
        pool(patches, level - store.levels[-1]) * gains[:, index]
        for index, level in enumerate(store.levels)
    ]
    full = (grid + 0.5) * store.unit - 0.5
    labels = sample_labels(store.labels[chosen], full)
    borders = None if store.borders is None else sample_labels(store.borders[chosen], full)
    return levels, _batch_targets(labels, borders, store, config, bound).crop(margin)


def _batch_targets(
    labels: Tensor, borders: Tensor | None, store: FrameStore, config: Config, bound: float
) -> Targets:
    made = make_targets(
        labels,
        max(bound / store.unit, 1.0),
        kind=store.kind,
        classes=config.network.classes,
        metric=config.targets.distance_metric,
    )
    return dataclasses.replace(
        made,
        distance=made.distance * store.unit,
        weight=pixel_weights(made.segmentation, store.class_weights, borders),
    )


def _draw_whole(
    whole: WholeFrames, config: Config, generator: torch.Generator
) -> tuple[list[Tensor], Targets]:
    flags = OriginalAugmentation.from_json(config.augmentation.original)
    frames = _choose(len(whole), config.training.batch_size, generator).tolist()
    return whole.draw(frames, flags, generator)


def _choose(frames: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw frames, none twice in a batch before every one is in it."""
    rounds = -(-count // frames)
    drawn = [torch.randperm(frames, generator=generator) for _ in range(rounds)]
    return torch.cat(drawn)[:count]


def _draw_centres(sizes: Tensor, patch: int, generator: torch.Generator) -> Tensor:
    """Patch centres such that the patch lies in the frame, or at the centre of a smaller frame."""
    position = torch.rand(len(sizes), 2, generator=generator).to(sizes.device)
    room = (sizes - patch).clamp(min=0)
    return (sizes - 1) / 2 + (position - 0.5) * room
