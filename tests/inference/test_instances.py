"""From maps to objects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_jnet.config import InstanceConfig
from napari_jnet.inference.confidence import cell_confidence
from napari_jnet.inference.instances import separate


def two_touching_cells() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, segmentation and exact boundary distance of two discs that touch."""
    rows, columns = np.ogrid[:60, :90]
    truth = np.zeros((60, 90), np.int32)
    truth[(rows - 30) ** 2 + (columns - 28) ** 2 < 18**2] = 1
    truth[((rows - 30) ** 2 + (columns - 62) ** 2 < 18**2) & (truth == 0)] = 2
    edges = np.zeros(truth.shape, bool)
    edges[1:] |= truth[1:] != truth[:-1]
    edges[:, 1:] |= truth[:, 1:] != truth[:, :-1]
    distance = ndimage.distance_transform_cdt(~edges, metric="taxicab").clip(max=10)
    return truth, (truth > 0).astype(np.float32), distance.astype(np.float32)


def test_touching_cells_come_apart_where_components_do_not() -> None:
    truth, segmentation, distance = two_touching_cells()
    assert ndimage.label(segmentation)[1] == 1, "test invalid: the cells must touch"
    objects = separate(segmentation, distance, InstanceConfig(), 10)
    assert objects.max() == 2 and objects.dtype == np.int32
    for value in (1, 2):
        own = objects == objects[30, 28 if value == 1 else 62]
        overlap = (own & (truth == value)).sum() / (own | (truth == value)).sum()
        assert overlap > 0.95


def test_a_cell_too_small_for_the_seed_threshold_is_kept() -> None:
    segmentation = np.zeros((20, 20), np.float32)
    segmentation[5:8, 5:8] = 1
    objects = separate(segmentation, segmentation, InstanceConfig(), 10)
    assert (objects > 0).sum() == 9


def test_a_piece_too_small_goes_to_the_cell_it_touches() -> None:
    """One cell with a second, spurious seed near its rim."""
    segmentation = np.zeros((40, 60), np.float32)
    segmentation[5:35, 5:55] = 1
    distance = 2 * segmentation
    distance[10:30, 10:45] = distance[10:14, 50:54] = 10
    settings = {"smoothing": 0.0, "fill_holes": False}
    assert separate(segmentation, distance, InstanceConfig(**settings), 10).max() == 2
    whole = separate(segmentation, distance, InstanceConfig(**settings, min_size=300), 10)
    np.testing.assert_array_equal(whole, segmentation)


def test_smoothing_joins_seeds_that_noise_has_cut() -> None:
    segmentation = np.zeros((40, 60), np.float32)
    segmentation[5:35, 5:55] = 1
    distance = 8 * segmentation
    distance[:, 30] = 3
    assert separate(segmentation, distance, InstanceConfig(smoothing=0), 10).max() == 2
    assert separate(segmentation, distance, InstanceConfig(), 10).max() == 1


def test_minimum_size_and_numbers_without_gaps() -> None:
    segmentation = np.zeros((20, 40), np.float32)
    segmentation[2:4, 2:4] = segmentation[2:12, 10:20] = segmentation[2:12, 25:35] = 1
    objects = separate(segmentation, segmentation, InstanceConfig(min_size=5), 10)
    assert sorted(np.unique(objects)) == [0, 1, 2]
    assert separate(segmentation, segmentation, InstanceConfig(), 10).max() == 3


def test_cells_of_low_confidence_are_left_out() -> None:
    segmentation = np.zeros((20, 40), np.float32)
    segmentation[2:12, 10:20], segmentation[2:12, 25:35] = 0.6, 0.9
    distance = np.zeros_like(segmentation)
    (kept,) = cell_confidence(
        segmentation,
        distance,
        separate(segmentation, distance, InstanceConfig(min_confidence=0.7), 10),
        10,
    )
    assert kept == pytest.approx(0.9)
    assert not separate(segmentation, distance, InstanceConfig(min_confidence=1), 10).any()
    assert separate(segmentation, distance, InstanceConfig(min_confidence=0.5), 10).max() == 2


@pytest.mark.parametrize("fill", [True, False])
def test_holes_are_filled_on_request(fill: bool) -> None:
    segmentation = np.zeros((20, 20), np.float32)
    segmentation[3:15, 3:15] = 1
    segmentation[8:10, 8:10] = 0
    objects = separate(segmentation, segmentation, InstanceConfig(fill_holes=fill), 10)
    assert bool(objects[8, 8]) == fill


def test_holes_are_those_of_scipy() -> None:
    """Background goes to the innermost of the cells whose holes it lies in, beside other cells or not."""
    enclosed = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        coarse, fine, depth = (
            ndimage.gaussian_filter(rng.random((70, 60)), s) for s in (1.5, 0.7, 4)
        )
        cells = (coarse > np.quantile(coarse, 0.4)) | (fine > np.quantile(fine, 0.9))
        segmentation = cells.astype(np.float32)
        distance = (10 * (depth > np.quantile(depth, 0.98))).astype(np.float32)
        settings = InstanceConfig(fill_holes=False, smoothing=0, min_size=0)
        plain = separate(segmentation, distance, settings, 10)
        filled = {v: ndimage.binary_fill_holes(plain == v) for v in range(1, plain.max() + 1)}
        expected = plain.copy()
        for value in sorted(filled, key=lambda value: -filled[value].sum()):
            expected[filled[value] & (plain == 0)] = value
            enclosed += len(np.unique(plain[filled[value]])) > 2  # background, itself, others
        found = separate(segmentation, distance, settings.changed(fill_holes=True), 10)
        np.testing.assert_array_equal(found, expected)
    assert enclosed, "test invalid: cells must lie in holes of others"


def nested_rings() -> np.ndarray:
    """Return numbers: a ring in a gap of a ring, and two cells with a gap between them in that."""
    numbers = np.zeros((40, 40), np.int32)
    for value, begin in ((2, 3), (0, 6), (1, 9), (0, 12)):
        numbers[begin : 40 - begin, begin : 40 - begin] = value
    numbers[14:26, 14:20], numbers[14:26, 20:26] = 3, 4
    numbers[18:22, 18:22] = 0
    return numbers


def test_a_hole_within_several_cells_goes_to_the_innermost() -> None:
    numbers = nested_rings()
    outer = (slice(6, 34), slice(6, 34))
    expected = numbers.copy()
    expected[outer] = np.where(numbers[outer] == 0, 2, numbers[outer])
    expected[12:28, 12:28] = np.where(numbers[12:28, 12:28] == 0, 1, numbers[12:28, 12:28])
    distance = np.where(np.isin(numbers, [3, 4]) & (np.abs(np.arange(40) - 19.5) < 1), 1, 10)
    settings = InstanceConfig(smoothing=0)
    found = separate((numbers > 0).astype(np.float32), distance.astype(np.float32), settings, 10)
    assert found.max() == 4, "test invalid: the two cells in the middle must come apart"
    names = dict(zip(found[numbers > 0].tolist(), numbers[numbers > 0].tolist(), strict=True))
    np.testing.assert_array_equal(np.vectorize(names.get)(found, 0), expected)


def test_the_work_on_holes_does_not_grow_with_the_number_of_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    label = ndimage.label
    monkeypatch.setattr(ndimage, "label", lambda *a, **k: calls.append(1) or label(*a, **k))

    def work(cells: int) -> int:
        ring = np.pad(np.pad(np.zeros((2, 2)), 2, constant_values=1), 2)
        segmentation = np.tile(ring, (cells, cells)).astype(np.float32)
        calls.clear()
        assert separate(segmentation, segmentation, InstanceConfig(), 10).max() == cells**2
        return len(calls)

    assert work(2) == work(8)


def test_a_small_piece_leaves_the_rest_of_other_cells_as_it_is() -> None:
    rng = np.random.default_rng(3)
    segmentation = (ndimage.gaussian_filter(rng.random((120, 110)), 3) > 0.49).astype(np.float32)
    distance = 10 * ndimage.gaussian_filter(rng.random((120, 110)), 2).astype(np.float32)
    distance = (distance - distance.min()) / np.ptp(distance) * 10
    settings = InstanceConfig(fill_holes=False)
    every = separate(segmentation, distance, settings, 10)
    sizes = np.bincount(every.ravel())
    least = int(np.median(sizes[1:]))
    found = separate(segmentation, distance, settings.changed(min_size=least), 10)
    large = (sizes >= least)[every] & (every > 0)
    pairs = np.unique(np.stack([every[large], found[large]]), axis=1)
    assert (pairs > 0).all() and pairs.shape[1] == len(set(pairs[0])) == len(set(pairs[1]))
    alone, _ = ndimage.label(segmentation)
    lost = (segmentation > 0) & (found == 0)
    assert not np.isin(alone[lost], alone[found > 0]).any(), (
        "only pieces without neighbours are lost"
    )
    assert ((found > 0) & ~large).any() and lost.any(), "test invalid: it needs both"


def test_a_hole_that_is_another_cell_stays_one() -> None:
    segmentation = np.ones((30, 30), np.float32)
    distance = np.full((30, 30), 10, np.float32)
    distance[8:22, 8:22] = 0
    distance[12:18, 12:18] = 10
    objects = separate(segmentation, distance, InstanceConfig(), 10)
    assert objects.max() == 2 and objects[15, 15] != objects[2, 2]


def test_volumes_are_separated_as_volumes() -> None:
    truth, segmentation, distance = two_touching_cells()
    objects = separate(np.stack([segmentation] * 4), np.stack([distance] * 4), InstanceConfig(), 10)
    assert objects.shape == (4, *truth.shape) and objects.max() == 2


def test_nothing_is_nothing() -> None:
    empty = np.zeros((8, 8), np.float32)
    assert separate(empty, empty, InstanceConfig(), 10).max() == 0


def test_maps_of_two_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 4\).*\(5, 5\)"):
        separate(np.zeros((4, 4)), np.zeros((5, 5)), InstanceConfig(), 10)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_refused(value: float) -> None:
    good, bad = np.ones((8, 8), np.float32), np.ones((8, 8), np.float32)
    bad[3, 3] = value
    for maps in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match="NaN or infinite"):
            separate(*maps, InstanceConfig(), 5)
    with pytest.raises(ValueError, match="dt_bound is"):
        separate(good, good, InstanceConfig(), 0)
    with pytest.raises(ValueError, match="1 axes"):
        separate(good[0], good[0], InstanceConfig(), 5)
