"""How unsure a frame is: known entropies, and that a grid is enough."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from napari_jnet.inference.confidence import frame_uncertainty


def test_known_values():
    assert frame_uncertainty(np.full((8, 9), 0.5, np.float32)) == 1.0
    assert frame_uncertainty(np.array([[0.0, 1.0]], np.float32)) == 0.0
    assert frame_uncertainty(np.zeros((0, 9), np.float32)) == 0.0
    half = np.where(np.arange(16) < 8, 0.5, 1.0).reshape(4, 4)
    assert frame_uncertainty(half) == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [(17, 23), (3, 8, 9)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_equals_scipy(shape, dtype):
    probability = np.random.default_rng(0).random(shape).astype(dtype)
    exact = probability.astype(np.float64)
    theirs = entropy(np.stack([exact, 1 - exact]), base=2, axis=0).mean()
    assert frame_uncertainty(probability) == pytest.approx(theirs, abs=1e-5)


def test_a_grid_ranks_frames_as_all_pixels_do():
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:300, :300]
    frames = []
    for softness in (2, 6, 12, 25):
        distance = 80 - np.hypot(rows - 150, columns - 150) + random.normal(0, 1, rows.shape)
        frames.append((1 / (1 + np.exp(-distance / softness))).astype(np.float32))
    few = [frame_uncertainty(frame, pixels=2000) for frame in frames]
    every = [frame_uncertainty(frame, pixels=10**9) for frame in frames]
    assert few == sorted(few)
    np.testing.assert_allclose(few, every, rtol=0.03)
