"""A synthetic sequence of moving cells that touch: what the demonstration trains on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["boxes", "edge_distance", "touching_cells"]

_Array = NDArray[Any]

_CLOSENESS = 0.82
"""Rest distance of two cells, as a part of the sum of their radii: below 1 they press together."""


def touching_cells(
    frames: int = 12,
    shape: tuple[int, int] = (256, 256),
    *,
    cells: int = 20,
    diameter: float = 32.0,
    seed: int = 0,
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Make a sequence of moving cells that press on each other, with a truth for every frame.

    Cells keep their number from frame to frame.  Neighbours touch without background between
    them: a threshold and connected components merge them.  What separates them in the image is a
    faint dark seam, a shading and a brightness of their own.

    Parameters
    ----------
    frames
        Number of frames.
    shape
        Height and width of a frame, pixels.
    cells
        Number of cells.
    diameter
        Mean diameter of a cell, pixels.
    seed
        Same seed, same sequence.

    Returns
    -------
    images : ndarray of uint8, shape (T, H, W)
    labels : ndarray of uint16, shape (T, H, W)
        0 = background, cells from 1.

    Raises
    ------
    ValueError
        If the cells would not fit into the frame.
    """
    needed = cells * np.pi * (diameter / 2) ** 2
    if needed > 0.7 * shape[0] * shape[1]:
        raise ValueError(
            f"{cells} cells of {diameter} pixels do not fit into a frame of "
            f"{shape[0]} x {shape[1]}; ask for fewer or smaller cells, or a larger frame."
        )
    rng = np.random.default_rng(seed)
    look = _Look.draw(rng, cells, diameter / 2)
    centres = _settle(rng.uniform(0.2, 0.8, (cells, 2)) * shape, look.radii, shape, 200)
    pace = rng.normal(0, 1, (cells, 2))
    light = _illumination(rng, shape)
    images = np.empty((frames, *shape), np.uint8)
    labels = np.empty((frames, *shape), np.uint16)
    for t in range(frames):
        labels[t] = _outlines(centres, look, t, shape)
        images[t] = _picture(rng, labels[t], centres, look, light)
        pace = 0.7 * pace + rng.normal(0, 0.9, (cells, 2))
        centres = _settle(centres + pace, look.radii, shape, 10)
    return images, labels


@dataclass(frozen=True)
class _Look:
    """What makes each cell itself, the same in every frame."""

    radii: _Array
    brightness: _Array
    wobble: _Array  # (cells, harmonics): amplitudes of the outline
    phase: _Array
    texture: _Array  # one noise field, each cell cuts its own piece
    offset: _Array

    @staticmethod
    def draw(rng: np.random.Generator, cells: int, radius: float) -> _Look:
        side = 256
        noise = ndimage.gaussian_filter(rng.standard_normal((side, side)), 2.0, mode="wrap")
        return _Look(
            radii=radius * rng.uniform(0.85, 1.2, cells),
            brightness=rng.uniform(0.8, 1.2, cells),
            wobble=rng.normal(0, 1, (cells, 3)) * (0.07, 0.05, 0.03),
            phase=rng.uniform(0, 2 * np.pi, (cells, 3)),
            texture=noise / noise.std(),
            offset=rng.integers(0, side, (cells, 2)),
        )


def _settle(centres: _Array, radii: _Array, shape: tuple[int, int], steps: int) -> _Array:
    """Push cells apart that overlap much, pull close ones together, keep all in the frame."""
    centres = centres.copy()
    rest = _CLOSENESS * (radii[:, None] + radii[None, :])
    low, high = radii[:, None], np.array(shape) - radii[:, None]
    for _ in range(steps):
        apart = centres[:, None, :] - centres[None, :, :]
        distance = np.linalg.norm(apart, axis=-1) + 1e-6
        np.fill_diagonal(distance, np.inf)
        push = np.clip(rest - distance, 0, None)
        pull = np.where(distance < 1.5 * rest, 0.06 * np.clip(distance - rest, 0, None), 0)
        force = (0.5 * push - pull) / distance
        centres += 0.5 * (force[..., None] * apart).sum(axis=1)
        centres = np.clip(centres, low, high)
    return centres


def _outlines(centres: _Array, look: _Look, t: int, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Label image: each pixel goes to the cell whose centre is nearest in units of its radius."""
    y, x = np.indices(shape, dtype=np.float32)
    best = np.ones(shape, np.float32)
    labels = np.zeros(shape, np.uint16)
    for k, (centre, radius) in enumerate(zip(centres, look.radii, strict=True)):
        dy, dx = y - centre[0], x - centre[1]
        angle = np.arctan2(dy, dx)
        reach = np.full(shape, radius, np.float32)
        for n in range(3):
            reach += radius * look.wobble[k, n] * np.cos((n + 2) * angle + look.phase[k, n] + t / 6)
        closeness = np.hypot(dy, dx) / reach
        nearer = closeness < best
        best[nearer], labels[nearer] = closeness[nearer], k + 1
    return _connected(labels)


def boxes(labels: NDArray[Any]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Yield each label above 0 with its bounding box."""
    found: list[Any] = ndimage.find_objects(labels)
    for label, box in enumerate(found, start=1):
        if box is not None:
            yield label, box


def _connected(labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Keep the largest piece of each cell; the rest becomes background."""
    kept = np.zeros_like(labels)
    for cell, window in boxes(labels):
        pieces, _ = ndimage.label(labels[window] == cell)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        kept[window][pieces == sizes.argmax()] = cell
    return kept


def _illumination(rng: np.random.Generator, shape: tuple[int, int]) -> _Array:
    y, x = np.indices(shape) / np.reshape(shape, (2, 1, 1)) - 0.5
    slope = rng.uniform(-0.25, 0.25, 2)
    return np.asarray(1 + slope[0] * y + slope[1] * x - 0.35 * (y**2 + x**2))


def _picture(
    rng: np.random.Generator,
    labels: NDArray[np.uint16],
    centres: _Array,
    look: _Look,
    light: _Array,
) -> NDArray[np.uint8]:
    depth = np.where(labels > 0, edge_distance(labels), 0.0)
    brightness = np.concatenate([[0.0], look.brightness])[labels]
    dome = 0.42 + 0.58 * np.minimum(depth / 8.0, 1.0)
    grain = _grain(labels, centres, look)
    signal = 95 * brightness * dome * (1 + 0.13 * grain)
    signal = ndimage.gaussian_filter(signal, 1.0)
    haze = 0.12 * ndimage.gaussian_filter(signal, 14)
    signal = light * (28 + signal + haze)
    signal = signal + rng.standard_normal(labels.shape) * (2.0 + 0.5 * np.sqrt(signal))
    return np.asarray(np.clip(signal, 0, 255), np.uint8)


def edge_distance(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the distance, in pixels, to the nearest pixel beside another label; 2-D."""
    edge = np.zeros(labels.shape, bool)
    down = labels[1:] != labels[:-1]
    right = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return np.asarray(ndimage.distance_transform_edt(~edge))


def _grain(labels: NDArray[np.uint16], centres: _Array, look: _Look) -> _Array:
    """Texture that moves with its cell."""
    y, x = np.indices(labels.shape)
    start = np.concatenate([[[0, 0]], look.offset - np.round(centres).astype(int)])
    side = look.texture.shape[0]
    rows, columns = y + start[labels, 0], x + start[labels, 1]
    return np.asarray(look.texture[rows % side, columns % side])
