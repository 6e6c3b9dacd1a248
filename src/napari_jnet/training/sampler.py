"""Frames on the device, and the batches drawn from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_jnet.config import Config, OriginalAugmentation
from napari_jnet.device import send
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.preprocess import (
    fit_channels,
    frame_tensor,
    level_statistics,
    pool,
    rescaled_size,
    standardized_pyramid,
)
from napari_jnet.training.augment import (
    augment_original,
    change_intensity,
    choose_entries,
    crop,
    draw_field,
    draw_matrix,
    leave_unwarped,
    sample_grid,
    sample_images,
    sample_labels,
)
from napari_jnet.training.losses import class_weights, frame_borders, pixel_weights
from napari_jnet.training.targets import Targets, make_targets

_CERTAIN = 0.999  # a warped or pooled pixel is known where this much of its origin is
_CELLS_OF_PATCH = 16  # places of a patch differ by this fraction of its side
_REDRAWN = 8  # times that a patch without known pixels is drawn again, the last one moved to one
# A pixel this near to the centre, as a fraction of the side, stays in a rotated and scaled patch.
_REACH = 0.3


@dataclass(frozen=True, eq=False)
class FullFrameDataset:
    """Whole frames and their maps on the device, for the augmentations of the original J-Net.

    ``planes`` are for each frame (C + 4, H, W) float32: image, segmentation, distance in pixels, where the
    segmentation and where the distance is known; ``levels`` those of the network, lowest first.
    """

    planes: tuple[Tensor, ...]
    levels: tuple[int, ...]
    standardization: str
    class_weights: None = None

    def __len__(self) -> int:
        return len(self.planes)

    def draw(
        self, frames: Sequence[int], flags: OriginalAugmentation, generator: torch.Generator
    ) -> tuple[list[Tensor], Targets]:
        """Augment these frames as one batch, cropped at random to its smallest height and width.

        Return the pyramid, (N, C, h, w) standardised for each level, and the targets at the top level,
        average-pooled; distances in pixels of the full frame.
        """
        entry = choose_entries(flags.aug_crop_params, 1, generator)[0]
        chosen = [self.planes[frame] for frame in frames]
        shapes = [tuple(plane.shape[-2:]) for plane in chosen]
        if entry is not None:
            shapes.append((int(entry[0]), int(entry[1])))
        size = (min(shape[0] for shape in shapes), min(shape[1] for shape in shapes))
        values = torch.stack([crop(plane, size, generator) for plane in chosen])
        return self._pyramid(augment_original(values, self._channels, flags, generator))

    def without_augmentation(self, frame: int) -> tuple[list[Tensor], Targets]:
        """Return one frame without augmentation, as a batch of one."""
        return self._pyramid(self.planes[frame][None])

    @property
    def _channels(self) -> int:
        return len(self.planes[0]) - 4

    def _pyramid(self, values: Tensor) -> tuple[list[Tensor], Targets]:
        image, maps = values[:, : self._channels], values[:, self._channels :]
        levels = standardized_pyramid(image, self.levels, standardization=self.standardization)
        pooled = pool(maps, self.levels[-1])
        segmentation, distance, known, distance_known = pooled.unbind(dim=1)
        return levels, Targets(
            segmentation=segmentation,
            known=known > _CERTAIN,
            distance=distance,
            distance_known=distance_known > _CERTAIN,
        )


def load_full_frames(
    frames: Sequence[AnnotatedFrame],
    levels: tuple[int, ...],
    device: torch.device,
    config: Config,
) -> FullFrameDataset:
    """Put whole frames and their maps on the device; `ValueError` if a frame cannot be used.

    They are of any sizes, with one number of channels.
    """
    assert config.targets.dt_bound is not None
    channels, made, how = None, [], config.network.standardization
    for frame in frames:
        image = frame_tensor(frame.image, frame.name, channels, standardization=how).to(device)
        channels = len(image)
        labels = torch.from_numpy(np.ascontiguousarray(frame.labels))[None].to(device)
        metric = config.targets.distance_metric
        targets = make_targets(labels, config.targets.dt_bound, kind=frame.kind, metric=metric)
        maps = (targets.segmentation, targets.distance, targets.known, targets.distance_known)
        made.append(torch.cat([image, *(part.float() for part in maps)]))
    return FullFrameDataset(tuple(made), levels, how)


@dataclass(frozen=True, eq=False)
class FrameStore:
    """Training frames on the device, pooled to the network's top level, each of its own size."""

    images: tuple[Tensor, ...]  # (C, h, w) float32 each, standardised at the top level
    labels: tuple[Tensor, ...]  # (h * unit, w * unit) int32 each, of the full frame
    sizes: Tensor  # (F, 2), height and width at the top level; on the CPU
    gains: (
        Tensor  # (F, levels, C), on the CPU: factors that standardise each pooled level on its own
    )
    levels: tuple[int, ...]  # of the network, lowest first
    kind: LabelKind
    complete: bool = False  # whether every pixel is known
    class_weights: Tensor | None = None  # (K,) float32, where classes are balanced
    borders: tuple[Tensor, ...] | None = None  # border weights, float32, each as its labels
    scale: float = 1.0  # by which the frames were rescaled before they were pooled
    _places: dict[int, list[tuple[Tensor, Tensor] | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def unit(self) -> float:
        """Pixels of the full frame along the side of one pixel at the top level."""
        return float(2 ** -self.levels[-1] / self.scale)

    def places(self, patch: int) -> list[tuple[Tensor, Tensor] | None]:
        """Return where patches of this side, in pixels at the top level, have known pixels.

        For each frame: None if everywhere, else the positions as fractions of the range in which the
        patch can move, float32 (P, 2), and the extent of each, (2,).
        """
        if patch not in self._places:
            self._places[patch] = [
                _known_places(labels, tuple(size), self.unit, patch)
                for labels, size in zip(self.labels, self.sizes.int().tolist(), strict=True)
            ]
        return self._places[patch]


def smallest_side(levels: Sequence[int], scale: float = 1.0) -> int:
    """Return the smallest side that a full frame may have for these levels, in pixels."""
    return math.ceil(2.0 ** (1 - min(levels)) / scale)


def mirror(frame: AnnotatedFrame, side: int) -> AnnotatedFrame:
    """Pad a frame at its lower and right edges by mirroring, to at least ``side`` pixels a side."""
    short = [max(side - length, 0) for length in frame.labels.shape]
    if not any(short):
        return frame
    more = [(0, short[0]), (0, short[1])]
    return dataclasses.replace(
        frame,
        image=np.pad(frame.image, [*more, (0, 0)][: frame.image.ndim], mode="symmetric"),
        labels=np.pad(frame.labels, more, mode="symmetric"),
    )


def reached(
    labels: NDArray[np.signedinteger[Any]], levels: Sequence[int], scale: float = 1.0
) -> NDArray[np.signedinteger[Any]]:
    """Return the part of labels (H, W) that a network with these levels reaches.

    Last rows and columns that are less than one pixel at its top level are dropped, but for a side that
    is short and so mirrored (`mirror`).
    """
    unit, least = 2 ** -levels[-1], smallest_side(levels, scale)
    sides = rescaled_size([max(side, least) for side in labels.shape], scale)
    height, width = (math.ceil(unit / scale * (side // unit)) for side in sides)
    return labels[:height, :width]


def load_frames(
    frames: Sequence[AnnotatedFrame],
    levels: tuple[int, ...],
    device: torch.device,
    config: Config | None = None,
) -> FrameStore | FullFrameDataset:
    """Pool, standardise and put frames on the device, with the weights of their pixels.

    They are of any sizes; one too small for the levels is mirrored at its edges.  Each has a known pixel
    that is `reached`.  On the CPU the labels are shared, not copied.  Raise `ValueError` if a frame has
    values that are not finite, or if all of them have too few pixels for the levels.
    """
    config = config or Config()
    images, labels, gains = [], [], []
    scale = config.network.scale
    side = smallest_side(levels, scale)
    largest = max(min(frame.labels.shape) for frame in frames)
    if largest < side:
        raise ValueError(
            f"The network's lowest level is {levels[0]}, which needs frames of at least {side} x {side} "
            f"pixels; the largest frame has {largest} on its shorter side. Use fewer levels "
            "(network.resolution_levels) or larger frames."
        )
    frames = [mirror(frame, side) for frame in frames]
    how = config.network.standardization
    if config.augmentation.original:
        return load_full_frames(frames, levels, device, config)
    for frame in frames:
        seen = fit_channels(frame.image, config.network.gray and frame.image.ndim == 3)
        image = frame_tensor(seen, frame.name, standardization=how, scale=scale)
        means, deviations = level_statistics(image, levels, standardization=how)
        pooled = pool(image[None], levels[-1])[0]
        pooled = (pooled - means[-1, :, None, None]) / (3 * deviations[-1, :, None, None])
        images.append(pooled.to(device))
        gains.append(deviations[-1] / deviations)
        inside = reached(np.ascontiguousarray(frame.labels), levels, scale)
        labels.append(torch.from_numpy(inside).to(device))
    sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.float32)
    balance = config.training.class_balance
    borders = [frame_borders(frame, config.training, device) for frame in frames]
    return FrameStore(
        images=tuple(images),
        labels=tuple(labels),
        sizes=sizes,
        gains=torch.stack(gains),
        levels=levels,
        kind=frames[0].kind,
        complete=not any((frame.labels == UNKNOWN).any() for frame in frames),
        class_weights=class_weights(frames, config.network.classes).to(device) if balance else None,
        borders=tuple(
            part[: known.shape[0], : known.shape[1]]
            for part, known in zip(borders, labels, strict=True)
            if part is not None
        )
        or None,
        scale=scale,
    )


def _known_places(
    labels: Tensor, size: tuple[int, ...], unit: float, patch: int
) -> tuple[Tensor, Tensor] | None:
    """Return the positions of a patch with a known pixel near its centre; see `places`."""
    known = labels != UNKNOWN
    if known.all():
        return None
    room = np.maximum(np.array(size) - patch, 0)
    counts = np.maximum(-(-room * _CELLS_OF_PATCH // patch), 1)
    per_pixel = counts / np.maximum(room, 1)
    corners = known.nonzero().cpu().numpy() // unit - (patch - 1) / 2
    places = np.floor(corners * per_pixel).astype(int)
    margin = _CELLS_OF_PATCH  # for pixels near an edge, at which no patch has its centre
    near = np.zeros(counts + 2 * margin, bool)
    near[tuple(places.clip(-margin, counts + margin - 1).T + margin)] = True
    reach = np.minimum((_REACH * patch * per_pixel).astype(int), counts)
    near = ndimage.maximum_filter(near, 2 * reach + 1)
    found = near[margin:-margin, margin:-margin]
    found[tuple(places.clip(0, counts - 1).T)] = True  # the patch at that edge
    if found.all():
        return None
    extent = 1 / torch.from_numpy(counts).float()
    return torch.from_numpy(np.argwhere(found)).float() * extent, extent


def _patch_side(store: FrameStore, config: Config) -> int:
    """Return the side of a patch at the top level: at most the largest frame, an integer at each level."""
    step = 2 ** (store.levels[-1] - store.levels[0])
    side = min(config.training.patch_size, int(store.sizes.max()))
    return int(-(-side // step) * step)


def epoch_pixels(store: FrameStore | FullFrameDataset, config: Config) -> float:
    """Return how many pixels at the top level an epoch trains on."""
    if isinstance(store, FullFrameDataset):
        unit = int(2 ** -store.levels[-1])
        sizes = [plane.shape[-2:] for plane in store.planes]
        patch = sum(height // unit * (width // unit) for height, width in sizes) / len(sizes)
    else:
        patch = float(_patch_side(store, config) ** 2)
    return config.training.batches_per_epoch * config.training.batch_size * patch


def draw_batch(
    store: FrameStore | FullFrameDataset,
    config: Config,
    dt_bound: float,
    generator: torch.Generator,
) -> tuple[list[Tensor], Targets]:
    """Draw patches at random, warp them, and make their targets.

    The generator is on the CPU, so that every device draws the same.  Return (N, C, h, w) for each level of
    the store, and the targets at the top level, distances in pixels of the full frame.

    Labels are sampled with a margin of ``dt_bound`` around the patch, so that a boundary just outside
    is known and the distances inside are exact.  All positions in a frame are equally likely, except
    those without known pixels in the patch: these are not drawn, and a patch that its warp leaves without
    is drawn again, at last so that it has one.  A frame is as likely as any other, however few of its
    pixels are known: in the loss a known pixel of the batch counts as any other, so frames of a few strokes
    count for little already.
    """
    count = config.training.batch_size
    rounds = -(-count // len(store))  # no frame is repeated in a batch before all are in it
    drawn = [torch.randperm(len(store), generator=generator) for _ in range(rounds)]
    chosen = torch.cat(drawn)[:count]
    frames = chosen.tolist()
    if isinstance(store, FullFrameDataset):
        flags = config.augmentation.original or OriginalAugmentation()
        return store.draw(frames, flags, generator)
    margin, size = math.ceil(dt_bound / store.unit), _patch_side(store, config)
    inner = slice(margin, margin + size)
    grid, full, labels = _draw_labels(store, chosen, size, margin, config, generator)
    if not store.complete:
        for times in range(1, _REDRAWN + 1):
            empty = (labels[:, inner, inner] == UNKNOWN).flatten(1).all(1).cpu()
            if not empty.any():
                break
            last = times == _REDRAWN
            again = _draw_labels(store, chosen[empty], size, margin, config, generator, last)
            for kept, fresh in zip((grid, full, labels), again, strict=True):
                kept[empty.to(kept.device)] = fresh
    patches = _sampled(sample_images, store.images, frames, grid[:, inner, inner])
    patches = change_intensity(patches, config.augmentation, generator)
    gains = send(store.gains[chosen], patches.device)[..., None, None]
    levels = [
        pool(patches, level - store.levels[-1]) * gains[:, index]
        for index, level in enumerate(store.levels)
    ]
    borders = None
    if store.borders is not None:
        borders = _sampled(sample_labels, store.borders, frames, full)
    targets = pooled_targets(
        labels,
        store.unit,
        dt_bound,
        store.kind,
        config,
        store.class_weights,
        borders,
        complete=store.complete,
    )
    return levels, targets.crop(margin)


def pooled_targets(
    labels: Tensor,
    unit: float,
    dt_bound: float,
    kind: LabelKind,
    config: Config,
    class_weights: Tensor | None,
    borders: Tensor | None,
    *,
    complete: bool | None = None,
) -> Targets:
    """Make weighted targets of labels (N, H, W) with pixels of ``unit`` full-frame pixels a side."""
    made = make_targets(
        labels,
        max(dt_bound / unit, 1.0),
        kind=kind,
        classes=config.network.classes,
        metric=config.targets.distance_metric,
        complete=complete,
        relative=bool(config.targets.relative),
    )
    return dataclasses.replace(
        made,
        distance=(made.distance * unit).clamp_(max=dt_bound),
        weight=pixel_weights(made.segmentation, class_weights, borders),
    )


def _sampled(
    sample: Callable[[Tensor, Tensor], Tensor],
    maps: Sequence[Tensor],
    frames: Sequence[int],
    grid: Tensor,
) -> Tensor:
    """Sample each patch from its own frame, so that no frame is copied."""
    return torch.cat(
        [sample(maps[frame][None], part[None]) for frame, part in zip(frames, grid, strict=True)]
    )


def _draw_labels(
    store: FrameStore,
    chosen: Tensor,
    size: int,
    margin: int,
    config: Config,
    generator: torch.Generator,
    to_known: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw patches with a margin: their grids at the top level and in the full frame, and labels.

    With `to_known` each is moved until it has a known pixel.
    """
    device, count, side = store.images[0].device, len(chosen), size + 2 * margin
    field = draw_field(count, side, config.augmentation, generator)
    centres = _draw_centres(store, chosen, size, generator)
    matrix = draw_matrix(count, config.augmentation, generator)
    centres, matrix, field = leave_unwarped(
        centres, matrix, field, side, config.augmentation, generator
    )
    if to_known:
        centres = _move_to_known(store, chosen, centres, matrix, field, size, generator)
    grid = sample_grid(
        send(centres, device),
        send(matrix, device),
        None if field is None else send(field, device),
        side,
        send(store.sizes[chosen], device),
    )
    full = (grid + 0.5).mul_(store.unit).sub_(0.5)
    return grid, full, _sampled(sample_labels, store.labels, chosen.tolist(), full)


def _move_to_known(
    store: FrameStore,
    chosen: Tensor,
    centres: Tensor,
    matrix: Tensor,
    field: Tensor | None,
    size: int,
    generator: torch.Generator,
) -> Tensor:
    """Move the centres of patches, as little as it takes, so that each samples a known pixel at random.

    ``field`` has the margin around the patches, ``size`` has not.
    """
    known = [(store.labels[frame] != UNKNOWN).nonzero().cpu() for frame in chosen.tolist()]
    drawn = [pixels[torch.randint(len(pixels), (), generator=generator)] for pixels in known]
    target = (torch.stack(drawn) + 0.5) / store.unit - 0.5
    # the pixel of the patch that is nearest to it, and where the warp has that one
    half = (size - 1) / 2
    nearest = torch.linalg.solve(matrix, target - centres).add_(half).round_().clamp_(0, size - 1)
    moved: Tensor = target - (matrix @ (nearest - half)[..., None])[..., 0]
    if field is not None:
        index = nearest.long() + (field.shape[-1] - size) // 2
        moved -= field[torch.arange(len(field)), :, index[:, 0], index[:, 1]]
    return moved


def _draw_centres(
    store: FrameStore, chosen: Tensor, patch: int, generator: torch.Generator
) -> Tensor:
    """Draw patch centres so that the patch lies in the frame, or at the centre of a smaller frame."""
    position = torch.rand(len(chosen), 2, generator=generator)
    places = store.places(patch)
    for row, frame in zip(position, chosen.tolist(), strict=True):
        if (known := places[frame]) is not None:
            corners, extent = known
            place, within = divmod(float(row[0]) * len(corners), 1)
            row[0] = within
            row.mul_(extent).add_(corners[int(place)])
            # Half a place wider than the range at each end, so that many patches lie at an edge.
            row.sub_(0.5).mul_(1 + extent).add_(0.5).clamp_(0, 1)
    sizes = store.sizes[chosen]
    room = (sizes - patch).clamp(min=0)
    return (sizes - 1) / 2 + (position - 0.5) * room
