"""Border weights against brute force: every object's own distance map, over the whole frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.training.losses import border_weights, two_nearest_distances


def distances_of_objects(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the distance to every object, nearest first: (objects, H, W)."""
    ids = np.unique(labels[labels > 0])
    return np.sort([ndimage.distance_transform_edt(labels != number) for number in ids], axis=0)


def brute_force(labels: NDArray[np.int32], weight: float, sigma: float) -> NDArray[np.float64]:
    nearest, second = distances_of_objects(labels)[:2]
    weights = weight * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return np.where(labels == 0, weights, 0)


def scattered_cells(seed: int, shape: tuple[int, int] = (70, 90)) -> NDArray[np.int32]:
    """Cells that touch, that are near, that are in two parts, and one of a single pixel."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    rows, columns = np.indices(shape)
    for number in rng.permutation(np.arange(1, 14)) * 1000:
        row, column = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        labels[(rows - row) ** 2 + (columns - column) ** 2 < rng.integers(1, 12) ** 2] = number
    labels[3, 3] = 7
    labels[60:64, 80:84] = 1000
    return labels


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sigma", [1.0, 5.0, 9.5])
def test_weights_are_those_of_brute_force(seed: int, sigma: float) -> None:
    labels = scattered_cells(seed)
    weights = border_weights(torch.from_numpy(labels), 10, sigma)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights, brute_force(labels, 10, sigma), atol=1e-6)
    assert weights.max() > 1 and (weights[labels > 0] == 0).all()


@pytest.mark.parametrize("shape", [(70, 90), (1, 90), (70, 1), (2, 2)])
def test_distances_are_exact_where_they_add_up_to_the_reach(shape: tuple[int, int]) -> None:
    labels = scattered_cells(5)[: shape[0], : shape[1]]
    labels[0, 0] = 9
    reach = 20
    expected = np.full((2, *labels.shape), np.inf)
    exact = distances_of_objects(labels)[:2]
    expected[: len(exact)] = exact
    found = torch.stack(two_nearest_distances(torch.from_numpy(labels), reach)).numpy()
    within = expected.sum(axis=0) <= reach
    np.testing.assert_allclose(found[:, within], expected[:, within], rtol=1e-6)
    assert (found[:, ~within].sum(axis=0) > reach).all()


def test_many_ids_and_a_far_reach_do_not_overflow() -> None:
    labels = np.arange(1, 256 * 300 + 1, dtype=np.int32).reshape(256, 300)
    labels[100:150, 100:170] = 0
    nearest, second = two_nearest_distances(torch.from_numpy(labels), 250)
    hole = ndimage.distance_transform_edt(labels == 0)
    assert hole.max() < 30, "test invalid: all of the hole must be within the reach"
    np.testing.assert_allclose(nearest, hole, rtol=1e-6)
    assert (second >= nearest).all() and torch.isfinite(second).all()


@pytest.mark.parametrize("value", [0, 4])
def test_fewer_than_two_objects_have_no_border(value: int) -> None:
    labels = torch.zeros(20, 30, dtype=torch.int32)
    labels[5:9, 5:9] = value
    assert (border_weights(labels, 10, 5) == 0).all()


def test_cells_that_touch_have_no_weight_at_their_contact() -> None:
    labels = np.zeros((21, 40), np.int32)
    labels[5:15, 5:20], labels[5:15, 20:35] = 1, 2
    weights = border_weights(torch.from_numpy(labels), 10, 5).numpy()
    assert (weights[labels > 0] == 0).all()
    assert weights[4, 20] == pytest.approx(10 * np.exp(-((1 + np.sqrt(2)) ** 2) / 50), abs=1e-5)


def test_unknown_pixels_are_neither_border_nor_object() -> None:
    labels = scattered_cells(1)
    unknown = np.zeros(labels.shape, bool)
    unknown[20:50, 30:40] = True
    partial = np.where(unknown, UNKNOWN, labels).astype(np.int32)
    weights = border_weights(torch.from_numpy(partial), 10, 5).numpy()
    without = brute_force(np.where(unknown, 0, labels), 10, 5)
    np.testing.assert_allclose(weights, np.where(unknown, 0, without), atol=1e-6)


def test_objects_of_classes_are_their_connected_parts() -> None:
    cells = scattered_cells(2)
    membranes = (cells > 0).astype(np.int32)
    parts = ndimage.label(membranes)[0].astype(np.int32)
    weights = border_weights(torch.from_numpy(membranes), 10, 5, kind=LabelKind.CLASSES)
    np.testing.assert_allclose(weights, brute_force(parts, 10, 5), atol=1e-6)
