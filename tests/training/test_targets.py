"""Targets against scipy and scikit-image, and what unknown pixels do to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.segmentation import find_boundaries

from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.training.targets import (
    boundary_pixels,
    make_targets,
    relative_depth,
    truncated_distance,
)


def random_labels(seed: int, shape: tuple[int, int] = (61, 47)) -> np.ndarray:
    """Blobs of several ids that touch each other."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    ids = ndimage.gaussian_filter(rng.normal(size=shape), 5)
    return np.where(smooth > 0, 1 + (ids > 0) + 2 * (ids > 0.03), 0).astype(np.int32)


def tensor(labels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(labels)[None]


@pytest.mark.parametrize("seed", range(4))
def test_boundaries_are_those_of_scikit_image(seed: int) -> None:
    labels = random_labels(seed)
    expected = find_boundaries(labels, connectivity=1, mode="thick")
    assert 0 < expected.sum() < labels.size
    np.testing.assert_array_equal(boundary_pixels(tensor(labels))[0].numpy(), expected)


@pytest.mark.parametrize("dt_bound", [1, 3, 6, 7.5, 24, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_cityblock_distance_equals_scipy(dt_bound: float, seed: int) -> None:
    boundary = find_boundaries(random_labels(seed), connectivity=1, mode="thick")
    expected = ndimage.distance_transform_cdt(~boundary, metric="taxicab").clip(max=dt_bound)
    found = truncated_distance(tensor(boundary), dt_bound)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=0)


@pytest.mark.parametrize("dt_bound", [1, 5, 12.5, 80])
@pytest.mark.parametrize("seed", range(3))
def test_euclidean_distance_equals_scipy(dt_bound: float, seed: int) -> None:
    boundary = find_boundaries(random_labels(seed), connectivity=1, mode="thick")
    expected = ndimage.distance_transform_edt(~boundary).clip(max=dt_bound)
    found = truncated_distance(tensor(boundary), dt_bound, "euclidean")[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_without_any_boundary_the_distance_is_dt_bound() -> None:
    distance = truncated_distance(torch.zeros(2, 9, 9, dtype=torch.bool), 4)
    assert (distance == 4).all()


def test_a_batch_does_not_mix_its_images() -> None:
    labels = np.stack([random_labels(0), random_labels(1)])
    both = truncated_distance(boundary_pixels(torch.from_numpy(labels)), 9)
    alone = truncated_distance(boundary_pixels(torch.from_numpy(labels[1:])), 9)
    torch.testing.assert_close(both[1:], alone)


def test_touching_cells_have_a_boundary_between_them() -> None:
    labels = np.ones((5, 8), np.int32)
    labels[:, 4:] = 2
    targets = make_targets(tensor(labels), 3, kind=LabelKind.INSTANCES)
    np.testing.assert_array_equal(targets.distance[0, 0], [3, 2, 1, 0, 0, 1, 2, 3])
    assert (targets.segmentation == 1).all()


def test_partial_frame_knows_its_cells_and_nothing_else() -> None:
    full = random_labels(3)
    partial = np.where(full == 1, 1, UNKNOWN).astype(np.int32)
    targets = make_targets(tensor(partial), 8, kind=LabelKind.INSTANCES)
    reference = make_targets(tensor(full), 8, kind=LabelKind.INSTANCES)
    cell = torch.from_numpy(full == 1)[None]
    assert torch.equal(targets.known, cell)
    assert torch.equal(targets.distance_known, cell)
    torch.testing.assert_close(targets.distance[cell], reference.distance[cell])


@pytest.mark.parametrize("seed", range(3))
def test_no_distance_is_learnt_where_a_boundary_could_hide(seed: int) -> None:
    """Whatever the unknown pixels turn out to be, a distance called known stays the same."""
    rng = np.random.default_rng(seed)
    labels = random_labels(seed)
    hidden = ndimage.binary_dilation(rng.random(labels.shape) < 0.004, iterations=4)
    scribbles = np.where(hidden, UNKNOWN, labels).astype(np.int32)
    targets = make_targets(tensor(scribbles), 5, kind=LabelKind.CLASSES, classes=8)
    known = targets.distance_known[0].numpy()
    assert 0.05 < known.mean() < 0.95
    for value in (0, 1, 2, 3, 4):
        revealed = np.where(hidden, value, labels).astype(np.int32)
        truth = make_targets(tensor(revealed), 5, kind=LabelKind.CLASSES, classes=8)
        difference = (truth.distance - targets.distance).abs()[0].numpy()
        assert difference[known].max() == 0


def test_classes_keep_their_numbers() -> None:
    labels = np.array([[0, 1, 2, UNKNOWN]], np.int32)
    targets = make_targets(tensor(labels), 2, kind=LabelKind.CLASSES, classes=3)
    np.testing.assert_array_equal(targets.segmentation[0], [[0, 1, 2, 0]])
    np.testing.assert_array_equal(targets.known[0], [[True, True, True, False]])


class TestRelativeDepth:
    """With ``relative``, each object has its own unit."""

    @pytest.mark.parametrize("seed", range(3))
    def test_it_is_the_distance_over_the_largest_of_each_object(self, seed: int) -> None:
        labels = random_labels(seed)
        boundary = find_boundaries(labels, connectivity=1, mode="thick")
        distance = ndimage.distance_transform_cdt(~boundary, metric="taxicab").astype(float)
        expected = np.zeros(labels.shape)
        for number in np.unique(labels[labels > 0]):
            here = labels == number
            expected[here] = 9 * distance[here] / max(distance[here].max(), 1)
        found = make_targets(tensor(labels), 9, kind=LabelKind.INSTANCES, relative=True)
        assert expected.max() == 9
        np.testing.assert_allclose(found.distance[0].numpy(), expected, atol=1e-5)

    def test_small_and_large_objects_have_the_same_peak_and_images_do_not_mix(self) -> None:
        labels = torch.zeros(2, 60, 60, dtype=torch.int32)
        labels[0, 5:10, 5:10], labels[0, 20:51, 20:51] = 1, 2
        labels[1, 10:21, 10:21] = 1
        found = make_targets(labels, 4, kind=LabelKind.INSTANCES, relative=True).distance
        peaks = [found[0, 7, 7], found[0, 35, 35], found[1, 15, 15]]
        assert peaks == [4.0, 4.0, 4.0] and found[0, 35, 21] < 1

    def test_large_numbers_of_objects_cost_no_more(self) -> None:
        labels = torch.from_numpy(np.stack([random_labels(seed) for seed in range(3)]))
        distance = torch.rand(labels.shape)
        large = torch.where(labels > 0, labels * 2**20, 0)
        with torch.profiler.profile(profile_memory=True) as profile:
            found = relative_depth(distance, large)
        assert torch.equal(found, relative_depth(distance, labels))
        used = max(event.cpu_memory_usage for event in profile.events())
        assert used <= 64 * labels.numel()

    def test_a_pixel_that_unknown_ones_may_be_near_to_is_not_certain(self) -> None:
        labels = np.full((20, 40), UNKNOWN, np.int32)
        labels[4:15, 4:15] = 1
        labels[:, 30:] = 0
        plain = make_targets(tensor(labels), 8, kind=LabelKind.INSTANCES)
        found = make_targets(tensor(labels), 8, kind=LabelKind.INSTANCES, relative=True)
        assert torch.equal(found.distance_known, plain.distance_known)

    def test_classes_have_none(self) -> None:
        labels = tensor(random_labels(0).clip(max=1))
        found = make_targets(labels, 8, kind=LabelKind.CLASSES, relative=True)
        assert not found.distance_known.any()
