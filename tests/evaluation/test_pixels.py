"""Pixel scores against sets of pixels and counts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_jnet.evaluation import pixels


def test_confusion_counts_known_pixels():
    reference = np.array([[0, 1, 1, -1, 2]])
    result = np.array([[1, 1, 0, 2, 2]])
    table = pixels.confusion(reference, result, classes=3)
    assert table.tolist() == [[0, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_scores_of_a_table():
    table = np.array([[50, 10], [5, 35]])
    assert pixels.iou(table).tolist() == [50 / 65, 35 / 50]
    assert pixels.mean_iou(table) == pytest.approx((50 / 65 + 0.7) / 2)
    assert pixels.pixel_accuracy(table) == 0.85


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_sets_of_pixels(seed):
    rng = np.random.default_rng(seed)
    reference = rng.random((3, 9, 8)) < 0.4
    result = rng.random((3, 9, 8)) < 0.5
    table = pixels.confusion(reference, result)
    assert pixels.iou(table)[1] == (reference & result).sum() / (reference | result).sum()
    assert pixels.pixel_accuracy(table) == (reference == result).mean()


def test_absent_classes_are_left_out_of_the_mean():
    table = pixels.confusion(np.zeros((2, 2), int), np.zeros((2, 2), int), classes=3)
    assert np.isnan(pixels.iou(table)[1:]).all()
    assert pixels.mean_iou(table) == 1
    nothing = pixels.confusion(np.full((2, 2), -1), np.zeros((2, 2), int))
    assert math.isnan(pixels.mean_iou(nothing))
    assert math.isnan(pixels.pixel_accuracy(nothing))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="classes 0 to 7"):
        pixels.confusion(np.array([0, 7]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        pixels.confusion(np.zeros(2, int), np.zeros(3, int))
