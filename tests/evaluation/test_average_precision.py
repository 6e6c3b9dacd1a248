"""Average precision against brute force and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from napari_jnet.evaluation.average_precision import THRESHOLDS, average_precision, match_frame


def blobs(rng: np.random.Generator, shape: tuple[int, ...], objects: int = 6) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    for label in rng.choice(np.arange(1, 400), objects, replace=False):
        corner = [rng.integers(0, n - 4) for n in shape]
        size = [rng.integers(2, 9) for _ in shape]
        labels[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = label
    return labels


def brute_force(reference, result, threshold):
    """The best one-to-one pairing, as StarDist and Cellpose compute it."""
    rows = [reference == r for r in np.unique(reference[reference > 0])]
    columns = [result == c for c in np.unique(result[result > 0])]
    iou = np.array([[(a & b).sum() / (a | b).sum() for b in columns] for a in rows])
    above = iou > threshold
    found = above[linear_sum_assignment(-(above + iou / 1000))].sum()
    return found, len(columns) - found, len(rows) - found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(24, 31), (7, 12, 13)])
def test_equals_the_best_assignment(seed, shape):
    rng = np.random.default_rng(seed)
    reference = blobs(rng, shape)
    other = np.where(rng.random(shape) < 0.8, reference + (reference > 0) * 3, blobs(rng, shape))
    matches = match_frame(reference, other)
    for i, threshold in enumerate(THRESHOLDS):
        ours = matches.found[i], matches.added[i], matches.missed[i]
        assert ours == brute_force(reference, other, threshold)


def squares() -> np.ndarray:
    labels = np.zeros((20, 40), np.int32)
    for number in range(4):
        labels[5:15, 10 * number : 10 * number + 8] = number + 1
    return labels


def test_known_values():
    reference, result = squares(), squares()
    result[result == 1] = 0  # one missed
    result[0:3, 0:3] = 9  # one added
    result[5:9, 10:18] = 0  # 60 % of cell 2 is left
    matches = match_frame(reference, result)
    assert matches.at(0.5) == 3 / 5
    assert matches.at(0.75) == 2 / 6
    assert matches.mean == pytest.approx((2 * 3 / 5 + 8 * 2 / 6) / 10)


def test_exactly_the_threshold_is_no_match():
    reference, result = np.array([[1, 1, 1, 1]]), np.array([[1, 1, 0, 0]])
    assert match_frame(reference, result).at(0.5) == 0
    result[0, 2] = 1
    assert match_frame(reference, result).at(0.5) == 1
    assert match_frame(reference, result).at(0.75) == 0


def test_nobody_knows_what_lies_on_unknown_pixels():
    reference, result = squares(), squares()
    reference[:, 20:] = -1
    matches = match_frame(reference, result)
    assert (matches.found == 2).all() and (matches.added == 0).all() and (matches.missed == 0).all()
    result[5:15, 0:8] = 0
    result[0:4, 10:30] = 7  # as much on known as on unknown pixels
    assert match_frame(reference, result).at(0.5) == 1 / 3
    result[0:4, 30] = 7
    assert match_frame(reference, result).at(0.5) == 1 / 2


def test_an_annotated_cell_is_annotated_whole():
    """What reaches onto unknown pixels is too large."""
    reference = np.full((4, 10), -1, np.int32)
    reference[:, :4] = 3
    result = np.zeros((4, 10), np.int32)
    result[:, :8] = 1
    assert match_frame(reference, result).at(0.5) == 0
    result[:, 5:] = 0
    assert match_frame(reference, result).at(0.75) == 1


def test_frames_add_up_by_objects():
    full, empty = squares(), np.zeros((20, 40), np.int32)
    both = match_frame(full, full) + match_frame(full, empty)
    assert both.at(0.5) == 0.5
    assert average_precision([(full, full), (full, empty)]).tolist() == [0.5] * len(THRESHOLDS)


def test_no_object_is_no_score():
    empty = np.zeros((4, 4), np.int32)
    assert match_frame(empty, empty).at(0.5) is None
    assert match_frame(empty, empty).mean is None
    assert match_frame(empty, empty + 1).at(0.5) == 0
    with pytest.raises(ValueError, match="at least one"):
        average_precision([(empty, empty)])
    with pytest.raises(ValueError, match="at least one"):
        average_precision([])


@pytest.mark.parametrize(
    ("result", "thresholds", "words"),
    [
        (np.zeros((3, 4), int), THRESHOLDS, "same frame"),
        (np.full((4, 4), -2), THRESHOLDS, "holds label -2"),
        (np.zeros((4, 4), int), (0.3, 0.6), "from 0.5"),
        (np.zeros((4, 4), int), (0.5, 1.0), "below 1"),
    ],
)
def test_bad_input(result, thresholds, words):
    with pytest.raises(ValueError, match=words):
        match_frame(np.ones((4, 4), int), result, thresholds)


def test_other_thresholds_do_not_add_up():
    labels = squares()
    with pytest.raises(ValueError, match="do not add"):
        match_frame(labels, labels) + match_frame(labels, labels, (0.5,))
