"""Synthetic frames of touching cells with perfect ground truth, seeded and made in seconds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops
from skimage.segmentation import find_boundaries

_Array = NDArray[Any]
_CLOSENESS = 0.82
"""Rest distance of two cells, as a part of the sum of their radii; below 1 they touch."""


def touching_cells(
    frames: int = 12,
    shape: tuple[int, int] = (256, 256),
    *,
    cells: int = 20,
    diameter: float = 32.0,
    seed: int = 0,
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Make a sequence of moving cells that touch each other, with ground truth for every frame.

    Cells keep their number from frame to frame.  Neighbours touch without background between
    them: a threshold and connected components merge them.  What separates them in the image is a
    faint dark seam, and the shading and brightness of each cell.

    Returns images, (T, H, W) uint8, and labels, (T, H, W) uint16: 0 = background, cells from 1; raises
    `ValueError` if so many cells of this mean `diameter` (pixels) would not fit into the frame.
    """
    needed = cells * np.pi * (diameter / 2) ** 2
    if needed > 0.7 * shape[0] * shape[1]:
        raise ValueError(
            f"{cells} cells of {diameter} pixels do not fit into a frame of "
            f"{shape[0]} x {shape[1]}; ask for fewer or smaller cells, or a larger frame."
        )
    rng = np.random.default_rng(seed)
    appearance = _Appearance.draw(rng, cells, diameter / 2)
    centers = _relax(rng.uniform(0.2, 0.8, (cells, 2)) * shape, appearance.radii, shape, 200)
    velocity = rng.normal(0, 1, (cells, 2))
    illumination = _illumination(rng, shape)
    images = np.empty((frames, *shape), np.uint8)
    labels = np.empty((frames, *shape), np.uint16)
    for t in range(frames):
        labels[t] = _outlines(centers, appearance, t, shape)
        images[t] = _render(rng, labels[t], centers, appearance, illumination)
        velocity = 0.7 * velocity + rng.normal(0, 0.9, (cells, 2))
        centers = _relax(centers + velocity, appearance.radii, shape, 10)
    return images, labels


@dataclass(frozen=True)
class _Appearance:
    """The properties of each cell, the same in every frame."""

    radii: _Array
    brightness: _Array
    wobble: _Array  # (cells, harmonics): amplitudes of the outline
    phase: _Array
    texture: _Array  # one noise field, each cell cuts its own piece
    offset: _Array

    @staticmethod
    def draw(rng: np.random.Generator, cells: int, radius: float) -> _Appearance:
        side = 256
        noise = ndimage.gaussian_filter(rng.standard_normal((side, side)), 2.0, mode="wrap")
        return _Appearance(
            radii=radius * rng.uniform(0.85, 1.2, cells),
            brightness=rng.uniform(0.8, 1.2, cells),
            wobble=rng.normal(0, 1, (cells, 3)) * (0.07, 0.05, 0.03),
            phase=rng.uniform(0, 2 * np.pi, (cells, 3)),
            texture=noise / noise.std(),
            offset=rng.integers(0, side, (cells, 2)),
        )


def _relax(centers: _Array, radii: _Array, shape: tuple[int, int], steps: int) -> _Array:
    """Push overlapping cells apart, pull close ones together, keep all in the frame."""
    centers = centers.copy()
    rest = _CLOSENESS * (radii[:, None] + radii[None, :])
    low, high = radii[:, None], np.array(shape) - radii[:, None]
    for _ in range(steps):
        apart = centers[:, None, :] - centers[None, :, :]
        distance = np.linalg.norm(apart, axis=-1) + 1e-6
        np.fill_diagonal(distance, np.inf)
        push = np.clip(rest - distance, 0, None)
        pull = np.where(distance < 1.5 * rest, 0.06 * np.clip(distance - rest, 0, None), 0)
        force = (0.5 * push - pull) / distance
        centers += 0.5 * (force[..., None] * apart).sum(axis=1)
        centers = np.clip(centers, low, high)
    return centers


def _outlines(
    centers: _Array, appearance: _Appearance, t: int, shape: tuple[int, int]
) -> NDArray[np.uint16]:
    """Assign each pixel to the cell whose centre is nearest in units of its radius."""
    y, x = np.indices(shape, dtype=np.float32)
    best = np.ones(shape, np.float32)
    labels = np.zeros(shape, np.uint16)
    for k, (center, radius) in enumerate(zip(centers, appearance.radii, strict=True)):
        dy, dx = y - center[0], x - center[1]
        angle = np.arctan2(dy, dx)
        reach = np.full(shape, radius, np.float32)
        for n in range(3):
            reach += (
                radius
                * appearance.wobble[k, n]
                * np.cos((n + 2) * angle + appearance.phase[k, n] + t / 6)
            )
        closeness = np.hypot(dy, dx) / reach
        nearer = closeness < best
        best[nearer], labels[nearer] = closeness[nearer], k + 1
    return _connected(labels)


def _connected(labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Keep the largest piece of each cell; the rest becomes background."""
    kept = np.zeros_like(labels)
    for cell in regionprops(labels):  # type: ignore[no-untyped-call]
        pieces, _ = ndimage.label(cell.image)
        largest = np.bincount(pieces[pieces > 0]).argmax()
        kept[cell.slice][pieces == largest] = cell.label
    return kept


def _illumination(rng: np.random.Generator, shape: tuple[int, int]) -> _Array:
    y, x = np.indices(shape) / np.reshape(shape, (2, 1, 1)) - 0.5
    slope = rng.uniform(-0.25, 0.25, 2)
    return np.asarray(1 + slope[0] * y + slope[1] * x - 0.35 * (y**2 + x**2))


def _render(
    rng: np.random.Generator,
    labels: NDArray[np.uint16],
    centers: _Array,
    appearance: _Appearance,
    illumination: _Array,
) -> NDArray[np.uint8]:
    depth = _depth(labels)
    brightness = np.concatenate([[0.0], appearance.brightness])[labels]
    dome = 0.42 + 0.58 * np.minimum(depth / 8.0, 1.0)
    grain = _grain(labels, centers, appearance)
    signal = 95 * brightness * dome * (1 + 0.13 * grain)
    signal = ndimage.gaussian_filter(signal, 1.0)
    haze = 0.12 * ndimage.gaussian_filter(signal, 14)
    signal = illumination * (28 + signal + haze)
    signal = signal + rng.standard_normal(labels.shape) * (2.0 + 0.5 * np.sqrt(signal))
    return np.asarray(np.clip(signal, 0, 255), np.uint8)


def _grain(labels: NDArray[np.uint16], centers: _Array, appearance: _Appearance) -> _Array:
    """Return the texture of the cells, which moves with them."""
    y, x = np.indices(labels.shape)
    start = np.concatenate([[[0, 0]], appearance.offset - np.round(centers).astype(int)])
    side = appearance.texture.shape[0]
    rows, columns = y + start[labels, 0], x + start[labels, 1]
    return np.asarray(appearance.texture[rows % side, columns % side])


LOOKS = ("nuclei", "membrane", "relief", "halo")


def varied_cells(
    shape: tuple[int, int] = (256, 256),
    *,
    diameter: float = 24.0,
    look: str = "nuclei",
    seed: int = 0,
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Make one frame of cells of mixed sizes and shapes, some of them touching, with ground truth.

    Parameters
    ----------
    shape
        Height and width in pixels.
    diameter
        Median diameter of the cells in pixels; theirs are 0.5 to 1.7 times as large.
    look
        One of `LOOKS`: "nuclei" (blurred, textured, few photons), "membrane" (bright rims), "relief"
        (lit from one side, as by differential interference contrast), "halo" (dark in a bright
        rim, as by phase contrast).
    seed
        Of every random choice.

    Returns
    -------
    image, labels
        (H, W) uint16 each; labels have 0 = background and cells from 1 without gaps.

    Raises
    ------
    ValueError
        If the look is unknown.
    """
    if look not in LOOKS:
        raise ValueError(f"look is {look!r}; it is one of {', '.join(LOOKS)}.")
    rng = np.random.default_rng(seed)
    labels = _varied_outlines(rng, shape, diameter)
    depth = _depth(labels)
    light = _illumination(rng, shape)
    blur = 0.04 * diameter
    bright = np.concatenate([[0.0], rng.uniform(0.35, 1.0, int(labels.max()))])[labels]
    grain = ndimage.gaussian_filter(rng.standard_normal(shape), 0.08 * diameter)
    grain /= max(float(grain.std()), 1e-9)
    dome = np.minimum(depth / (0.3 * diameter), 1.0)
    if look == "nuclei":
        signal = 0.05 + bright * (0.5 + 0.5 * dome) * (1 + 0.2 * grain)
    elif look == "membrane":
        rim = np.exp(-((depth / (0.08 * diameter)) ** 2)) * (labels > 0)
        signal = 0.1 + 0.25 * bright * (1 + 0.3 * grain) + (0.4 + bright) * rim
    elif look == "relief":
        height = ndimage.gaussian_filter(np.sqrt(dome), 0.06 * diameter) + 0.05 * grain
        angle = rng.uniform(0, 2 * np.pi)
        rows, columns = np.gradient(height)
        steep = np.cos(angle) * rows + np.sin(angle) * columns
        signal = 0.5 + 0.12 * steep / max(float(steep.std()), 1e-9)
    else:
        around = ndimage.gaussian_filter((labels > 0).astype(float), 0.12 * diameter)
        signal = 0.5 + 0.6 * np.where(labels > 0, 0.0, around) - 0.3 * bright * dome + 0.03 * grain
    signal = light * ndimage.gaussian_filter(signal, blur)
    photons = 10 ** rng.uniform(1.5, 3.0)
    counts = rng.poisson(np.clip(signal, 0, None) * photons) + rng.normal(0, 2, shape)
    image = np.clip(100 + counts * (20000 / photons), 0, 65535)
    return image.astype(np.uint16), labels


def _varied_outlines(
    rng: np.random.Generator, shape: tuple[int, int], diameter: float
) -> NDArray[np.uint16]:
    """Place wavy ellipses in clusters; each pixel belongs to the nearest in units of its radius."""
    area = np.pi * (diameter / 2) ** 2
    count = max(2, round(rng.uniform(0.15, 0.6) * shape[0] * shape[1] / area))
    radii = diameter / 2 * np.clip(np.exp(rng.normal(0, 0.3, count)), 0.5, 1.7)
    clusters = rng.uniform(0, 1, (max(1, count // 6), 2)) * shape
    centers = clusters[rng.integers(len(clusters), size=count)]
    centers = centers + rng.normal(0, 2.0 * diameter, (count, 2))
    centers = _relax(np.clip(centers, 0, shape), radii, shape, 100)
    stretch = np.exp(rng.uniform(0, 0.5, count))
    turn, wave = rng.uniform(0, np.pi, count), rng.normal(0, 1, (count, 2)) * (0.05, 0.04)
    best, labels = np.ones(shape, np.float32), np.zeros(shape, np.uint16)
    for k, (center, radius) in enumerate(zip(centers, radii, strict=True)):
        low = np.maximum(np.floor(center - 2.2 * radius), 0).astype(int)
        high = np.minimum(np.ceil(center + 2.2 * radius) + 1, shape).astype(int)
        part = slice(low[0], high[0]), slice(low[1], high[1])
        y, x = np.ogrid[part]
        dy, dx = y - center[0], x - center[1]
        along, across = (
            np.cos(turn[k]) * dy + np.sin(turn[k]) * dx,
            np.cos(turn[k]) * dx - np.sin(turn[k]) * dy,
        )
        angle = np.arctan2(across, along)
        reach = radius * (1 + wave[k, 0] * np.cos(2 * angle) + wave[k, 1] * np.cos(3 * angle))
        closeness = np.hypot(along / stretch[k], across * stretch[k]) / reach
        nearer = closeness < best[part]
        best[part][nearer], labels[part][nearer] = closeness[nearer], k + 1
    kept = _connected(labels)
    return np.unique(kept, return_inverse=True)[1].reshape(shape).astype(np.uint16)


def _depth(labels: NDArray[np.uint16]) -> _Array:
    """Return how far each pixel of a cell is from the boundary of the cell; 0 outside."""
    edge = find_boundaries(labels)  # type: ignore[no-untyped-call]
    return np.where(labels > 0, ndimage.distance_transform_edt(~edge), 0.0)


def write_cells_sequence(
    folder: str | os.PathLike[str],
    *,
    frames: tuple[int, int] = (12, 8),
    shape: tuple[int, int] = (256, 256),
    cells: int = 20,
    diameter: float = 32.0,
    seed: int = 0,
) -> Path:
    """Write `touching_cells` as a Cell Tracking Challenge dataset and return its root.

    `frames` are the numbers of frames of sequence 01 (for training) and of sequence 02 (held out, other
    cells); each has gold masks and markers.
    """
    root = Path(folder)
    for number, count in enumerate(frames, start=1):
        made = touching_cells(
            count, shape, cells=cells, diameter=diameter, seed=1000 * seed + number
        )
        _write_sequence(root, f"{number:02d}", *made)
    return root


def _write_sequence(
    root: Path, name: str, images: NDArray[np.uint8], labels: NDArray[np.uint16]
) -> None:
    ground_truth = root / f"{name}_GT"
    for part in (root / name, ground_truth / "SEG", ground_truth / "TRA"):
        part.mkdir(parents=True, exist_ok=True)
    for t, (image, cells) in enumerate(zip(images, labels, strict=True)):
        files = {
            root / name / f"t{t:03d}.tif": image,
            ground_truth / "SEG" / f"man_seg{t:03d}.tif": cells,
            ground_truth / "TRA" / f"man_track{t:03d}.tif": _markers(cells),
        }
        for path, array in files.items():
            tifffile.imwrite(path, array, compression="zlib", photometric="minisblack")
    lines = []
    for cell in np.unique(labels[labels > 0]):
        present = np.flatnonzero((labels == cell).any(axis=(1, 2)))
        lines.append(f"{cell} {present[0]} {present[-1]} 0\n")
    (ground_truth / "TRA" / "man_track.txt").write_text("".join(lines), encoding="ascii")


def _markers(labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return a marker for each cell: the pixels within 4 pixels of its innermost one."""
    markers = np.zeros_like(labels)
    for cell in regionprops(labels):  # type: ignore[no-untyped-call]
        depth = ndimage.distance_transform_edt(np.pad(cell.image, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(depth.argmax(), depth.shape)
        y, x = np.indices(depth.shape)
        near = (y - row) ** 2 + (x - column) ** 2 <= 16
        markers[cell.slice][near & cell.image] = cell.label
    return markers
