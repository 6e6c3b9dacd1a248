"""The confidence of a cell: by its definition, and lower where a cell is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import napari_jnet as nj
from napari_jnet.files import scratch_array

BOUND = 8.0


def disc(rows: int, columns: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.indices((rows, columns))
    return np.hypot(y - centre[0], x - centre[1]) < radius


def to_outline(labels: np.ndarray) -> np.ndarray:
    """Return the city-block distance to the nearest pixel beside another number, plainly."""
    padded = np.pad(labels, 1, mode="edge")
    beside = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    outline = np.any([other != labels for other in beside], axis=0)
    places = np.argwhere(outline)
    if not len(places):
        return np.full(labels.shape, BOUND)
    pixels = np.argwhere(np.ones_like(outline))
    nearest = np.abs(pixels[:, None] - places[None]).sum(axis=2).min(axis=1)
    return np.minimum(nearest, BOUND).reshape(labels.shape)


def plainly(p: np.ndarray, distance: np.ndarray, labels: np.ndarray) -> list[float]:
    drawn, found = to_outline(labels), []
    for number in range(1, labels.max() + 1):
        own = labels == number
        both = np.minimum(distance, drawn)[own] + 1, np.maximum(distance, drawn)[own] + 1
        found.append(p[own].mean() * both[0].sum() / both[1].sum())
    return found


def random_maps(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.normal(size=shape), 3)
    labels = ndimage.label(noise > 0.02)[0].astype(np.int32)
    p = random.random(shape).astype(np.float32)
    distance = (BOUND * random.random(shape)).astype(np.float32)
    return p, distance, labels


def test_its_definition():
    p, distance, labels = random_maps((40, 57))
    assert labels.max() > 5
    found = nj.cell_confidence(p, distance, labels, BOUND)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plainly(p, distance, labels), rtol=1e-5)


def test_a_tall_frame_is_that_of_the_whole_also_in_a_file():
    labels = np.zeros((1300, 12), np.int32)
    for number, top in enumerate((0, 495, 510, 700, 1020), start=1):
        labels[top : top + 15, 2:11] = number
    p, distance, _ = random_maps(labels.shape)
    expected = plainly(p, distance, labels)
    stored = [scratch_array(labels.shape, array.dtype) for array in (p, distance, labels)]
    for file, array in zip(stored, (p, distance, labels), strict=True):
        file[:] = array
    np.testing.assert_allclose(nj.cell_confidence(*stored, BOUND), expected, rtol=1e-5)


def prediction(labels: np.ndarray, softness: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps of a network that is right about these cells, with a rim as soft as this."""
    inside = ndimage.gaussian_filter((labels > 0).astype(np.float32), softness)
    return inside, ndimage.gaussian_filter(to_outline(labels).astype(np.float32), softness)


def test_a_cell_that_is_two_and_one_that_is_half_are_less_sure():
    left = np.indices((60, 60))[1] < 30
    two = disc(60, 60, (30, 19), 13) & left | 2 * (disc(60, 60, (30, 41), 13) & ~left)
    right = nj.cell_confidence(*prediction(two), two, BOUND)
    merged = nj.cell_confidence(*prediction(two), (two > 0).astype(np.int32), BOUND)
    one = disc(60, 60, (30, 30), 20).astype(np.int32)
    halves = np.where(one & (np.indices(one.shape)[1] > 30), 2, one)
    sure = nj.cell_confidence(*prediction(one), one, BOUND)
    cut = nj.cell_confidence(*prediction(one), halves, BOUND)
    assert right.min() > 0.85 and sure[0] > 0.85
    assert merged[0] < right.min() - 0.05
    assert cut.max() < sure[0] - 0.1


def test_a_faint_cell_is_less_sure():
    one = disc(60, 60, (30, 30), 15).astype(np.int32)
    p, distance = prediction(one)
    assert nj.cell_confidence(0.6 * p, 0.5 * distance, one, BOUND)[0] < 0.4


def test_planes_of_a_volume():
    p, distance, labels = random_maps((3, 30, 41))
    drawn = np.stack([to_outline(plane) for plane in labels])
    own = labels == 1
    both = np.minimum(distance, drawn)[own] + 1, np.maximum(distance, drawn)[own] + 1
    expected = p[own].mean() * both[0].sum() / both[1].sum()
    found = nj.cell_confidence(p, distance, labels, BOUND)
    assert found[0] == pytest.approx(expected, rel=1e-5)


def test_without_distance_it_is_the_mean_probability():
    p, distance, labels = random_maps((40, 57))
    found = nj.cell_confidence(p, np.zeros_like(distance), labels, BOUND)
    means = ndimage.mean(p, labels, range(1, labels.max() + 1))
    np.testing.assert_allclose(found, means, rtol=1e-5)


def test_numbers_that_no_pixel_has_and_frames_without_cells():
    labels = np.zeros((9, 9), np.int32)
    maps = np.ones((2, 9, 9), np.float32)
    assert nj.cell_confidence(*maps, labels, BOUND).shape == (0,)
    labels[2:5, 2:5] = 3
    found = nj.cell_confidence(*maps, labels, BOUND)
    assert np.isnan(found[:2]).all() and 0 <= found[2] <= 1
    assert nj.cell_confidence(*maps, np.ones((9, 9), np.int32), BOUND) == pytest.approx(
        2 / (BOUND + 1)
    )


def test_what_does_not_fit():
    maps, labels = np.ones((2, 9, 9), np.float32), np.ones((9, 8), np.int32)
    with pytest.raises(ValueError, match=r"instances.*\(9, 8\).*segmentation.*\(9, 9\)"):
        nj.cell_confidence(*maps, labels, BOUND)
    with pytest.raises(ValueError, match="dt_bound is 0"):
        nj.cell_confidence(*maps, np.ones((9, 9), np.int32), 0)


def test_a_depth_in_each_cell_s_own_unit_is_not_compared_with_pixels():
    cells = np.zeros((30, 30), np.int32)
    cells[5:20, 5:20] = 1
    probability = np.where(cells > 0, 0.9, 0.1).astype(np.float32)
    depth = np.where(cells > 0, 3.0, 0.0).astype(np.float32)
    sure = nj.cell_confidence(probability, depth, cells, 20.0, relative=True)
    assert sure == pytest.approx(0.9)
    assert nj.cell_confidence(probability, depth, cells, 20.0) < 0.9
