from __future__ import annotations

import pytest

from napari_jnet.training.setup import draw_names

NAMES = [f"01/t{n:03d}" for n in range(10)]


def test_the_fraction_is_drawn():
    assert len(draw_names(NAMES, 0.3, 0)) == 3
    assert draw_names(NAMES, 0.3, 0) < set(NAMES)


def test_seed_decides_not_the_order():
    first = draw_names(NAMES, 0.2, 1)
    assert draw_names(NAMES, 0.2, 1) == first
    assert draw_names(NAMES[::-1], 0.2, 1) == first
    assert any(draw_names(NAMES, 0.2, seed) != first for seed in range(2, 8))


@pytest.mark.parametrize("fraction", [0.01, 0.12, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [2, 3, 9])
def test_both_parts_have_a_frame(fraction, count):
    assert 0 < len(draw_names(NAMES[:count], fraction, 0)) < count


def test_one_frame_is_training():
    assert draw_names(["a"], 0.5, 0) == set()


def test_no_validation_if_not_wanted():
    assert draw_names(NAMES, 0, 0) == set()
