from __future__ import annotations

import pytest

from napari_jnet.training.setup import split_frames

NAMES = [f"01/t{n:03d}" for n in range(10)]


def test_parts_are_disjoint_complete_and_in_order():
    training, validation = split_frames(NAMES, 0.3, 0)
    assert len(validation) == 3
    assert sorted([*training, *validation]) == NAMES
    assert list(training) == sorted(training)


def test_seed_decides_not_the_order():
    first = split_frames(NAMES, 0.2, 1)
    assert split_frames(NAMES, 0.2, 1) == first
    assert set(split_frames(NAMES[::-1], 0.2, 1)[1]) == set(first[1])
    assert any(split_frames(NAMES, 0.2, seed)[1] != first[1] for seed in range(2, 8))


@pytest.mark.parametrize("fraction", [0.01, 0.12, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [2, 3, 9])
def test_both_parts_have_a_frame(fraction, count):
    training, validation = split_frames(NAMES[:count], fraction, 0)
    assert training
    assert validation


def test_one_frame_is_training():
    assert split_frames(["a"], 0.5, 0) == (("a",), ())


def test_no_validation_if_not_wanted():
    assert split_frames(NAMES, 0, 0) == (tuple(NAMES), ())


def test_names_are_unique():
    with pytest.raises(ValueError, match="Two frames are called 'a'"):
        split_frames(["a", "a"], 0.1, 0)
