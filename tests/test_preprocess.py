"""Standardisation does not depend on offset, scale, type, single pixels or padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_jnet.preprocess import (
    frame_tensor,
    is_constant,
    rescale_plane,
    rescaled_region,
    rescaled_size,
    restore,
    standardized_pyramid,
)

LEVELS = (-2, -1, 0)
ROBUST, PLAIN = "robust", "plain"


def cells(side: int = 96, radius: int = 9) -> NDArray[np.uint8]:
    """Return discs of 150 on 30, with noise."""
    rows, columns = np.mgrid[:side, :side]
    discs = ((rows % 24 - 12) ** 2 + (columns % 24 - 12) ** 2) <= radius**2
    noise = np.random.default_rng(0).normal(30, 6, (side, side))
    return np.clip(discs * 120 + noise, 0, 255).astype(np.uint8)


def seen(image: NDArray[np.generic], how: str = ROBUST, level: int = 0) -> NDArray[np.float32]:
    tensor = frame_tensor(image, "x", standardization=how)
    levels = standardized_pyramid(tensor[None], LEVELS, standardization=how)
    return levels[LEVELS.index(level)][0, 0].numpy()


CHANGES = {
    "1e-9": lambda x: x * 1e-9,
    "1e-300": lambda x: x * 1e-300,
    "1e34": lambda x: x * 1e34,
    "1e306": lambda x: x * 1e306,
    "negative": lambda x: x.astype(np.int16) - 500,
    "+1e9": lambda x: x + 1e9,
    "float32 - 1e3": lambda x: x.astype(np.float32) - 1000,
    "uint32 + 4e9": lambda x: x.astype(np.uint32) + np.uint32(4_000_000_000),
    "int64 + 1e12": lambda x: x.astype(np.int64) + 10**12,
    "int64 - 9e18": lambda x: x.astype(np.int64) - 9 * 10**18,
    "uint64 + 2^63": lambda x: x.astype(np.uint64) + np.uint64(2**63),
    "uint16 x 200": lambda x: x.astype(np.uint16) * 200,
    "big-endian": lambda x: x.astype(">i4"),
}


@pytest.mark.parametrize("how", [ROBUST, PLAIN])
@pytest.mark.parametrize("change", CHANGES)
def test_offset_scale_and_type_change_nothing(change: str, how: str) -> None:
    for level in LEVELS:
        expected = seen(cells(), how, level)
        np.testing.assert_allclose(seen(CHANGES[change](cells()), how, level), expected, atol=2e-5)


def test_plain_values_stay_as_they_are() -> None:
    image = cells().astype(np.uint16) * 100
    assert np.array_equal(frame_tensor(image, "x", standardization=PLAIN)[0].numpy(), image)


def test_robust_and_plain_agree_where_nothing_is_odd() -> None:
    np.testing.assert_allclose(seen(cells()), seen(cells(), PLAIN), atol=1e-5)


def hot_pixel(image: NDArray[np.uint16]) -> None:
    image[5, 5] = 65535


def hot_cluster(image: NDArray[np.uint16]) -> None:
    image[50:53, 20:23] = 65535


def hot_column(image: NDArray[np.uint16]) -> None:
    image[:, 40] = 65535


def dead_row(image: NDArray[np.uint16]) -> None:
    image[33] = 0


def salt(image: NDArray[np.uint16]) -> None:
    image[np.random.default_rng(1).random(image.shape) < 0.005] = 40_000


@pytest.mark.parametrize("fault", [hot_pixel, hot_cluster, hot_column, dead_row, salt])
def test_odd_pixels_do_not_decide_for_the_others(fault) -> None:
    good = cells().astype(np.uint16)
    bad = good.copy()
    fault(bad)
    same = good == bad
    contrast = np.ptp(seen(good))
    assert np.abs(seen(bad) - seen(good))[same].max() < 0.06 * contrast


@pytest.mark.parametrize("value", [0, 255, 65535])
@pytest.mark.parametrize(
    "pad",
    [((20, 20), (20, 20)), ((0, 60), (0, 0)), ((0, 0), (33, 7))],
    ids=["all", "below", "sides"],
)
def test_padding_is_not_looked_at(value: int, pad: tuple[tuple[int, int], ...]) -> None:
    image = cells().astype(np.uint16)
    padded = np.pad(image, pad, constant_values=value)
    inside = tuple(slice(before, before + 96) for before, _ in pad)
    np.testing.assert_allclose(seen(padded)[inside], seen(image), atol=1e-4)


def test_the_corners_of_a_turned_image_and_a_missing_tile_are_padding() -> None:
    image = cells(192)
    turned = ndimage.rotate(image, 20, order=1, reshape=True, mode="constant", cval=0)
    middle = slice(100, 160), slice(100, 160)
    assert abs(np.ptp(seen(turned)[middle]) / np.ptp(seen(image)) - 1) < 0.15
    missing = image.copy()
    missing[:96, :96] = 0
    np.testing.assert_allclose(seen(missing)[104:, 104:], seen(image)[104:, 104:], atol=0.01)


def test_a_background_of_zero_is_no_padding() -> None:
    image = (cells() > 90) * np.uint8(120)
    np.testing.assert_allclose(seen(image), seen(image, PLAIN), atol=1e-5)


def test_an_object_in_a_corner_of_an_empty_frame_is_no_padding() -> None:
    image = np.zeros((64, 64), np.uint8)
    image[:20, :30] = 200
    np.testing.assert_allclose(seen(image), seen(image, PLAIN), atol=1e-5)


def test_small_bright_objects_stay_far_above_the_noise() -> None:
    image = np.random.default_rng(0).normal(100, 2, (96, 96))
    image[30:33, 40:43] += 200
    found = seen(image)
    noise = np.delete(found.ravel(), np.argmax(found)).std()
    assert found[30:33, 40:43].min() > found[:20].mean() + 4 * noise


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 65535, 1e30])
def test_a_constant_channel_is_nothing_beside_another(value: float) -> None:
    image = np.stack([cells().astype(np.float64), np.full((96, 96), value)], axis=-1)
    tensor = frame_tensor(image, "x")
    levels = standardized_pyramid(tensor[None], LEVELS)
    assert all(float(level[0, 1].abs().max()) < 1e-3 for level in levels)
    assert not is_constant(tensor) and is_constant(frame_tensor(image[..., 1], "x"))


@pytest.mark.parametrize("how", [ROBUST, PLAIN])
def test_mirrored_frames_are_seen_mirrored(how: str) -> None:
    image = np.pad(cells(88), ((0, 5), (3, 0)), constant_values=255)
    turned = np.ascontiguousarray(image[::-1].T)
    np.testing.assert_allclose(seen(turned, how), seen(image, how)[::-1].T, atol=0.05)


@pytest.mark.parametrize("side", [2, 5, 7, 9])
def test_small_frames_have_values(side: int) -> None:
    image = cells()[:side, :side]
    tensor = frame_tensor(image, "x")
    (level,) = standardized_pyramid(tensor[None], (0,))
    assert torch.isfinite(level).all()


def test_complex_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="complex64; an image holds real numbers"):
        frame_tensor(cells().astype(np.complex64), "frame 3")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_refused(value: float) -> None:
    image = cells().astype(np.float64)
    image[3, 4] = value
    with pytest.raises(ValueError, match=r"frame 3 has 1 pixel\(s\) that are NaN or infinite"):
        frame_tensor(image, "frame 3")


@pytest.mark.parametrize("scale", [0.218, 0.5, 0.97, 1.7, 3.0])
def test_a_plane_is_rescaled_as_torch_does_with_antialiasing(scale: float) -> None:
    plane = cells(90)[:, :77]
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(plane[None, None].astype(np.float32)),
        scale_factor=scale,
        mode="bilinear",
        antialias=True,
    )
    found = rescale_plane(plane, scale)
    assert found.shape == expected.shape[2:] == rescaled_size(plane.shape, scale)
    np.testing.assert_allclose(found, expected[0, 0].numpy(), atol=2e-3)


def test_rescaling_keeps_values_that_float32_cannot_distinguish() -> None:
    plane = 2**40 + np.arange(64, dtype=np.int64).reshape(8, 8)
    steps = np.diff(rescale_plane(plane, 2.0), axis=1)[:, 2:-2]
    assert (steps > 0).all() and steps.max() < 1.01 * steps.min()


@pytest.mark.parametrize("scale", [0.3, 0.77, 1.9])
def test_restored_maps_lie_where_the_pixels_were_and_regions_are_parts_of_the_whole(
    scale: float,
) -> None:
    rows, columns = np.mgrid[:61, :83].astype(np.float32)
    whole = slice(0, 61), slice(0, 83)
    maps = np.stack([rescale_plane(plane, scale) for plane in (rows, columns)])
    restored = restore(torch.from_numpy(maps), whole, scale, (61, 83)).numpy()
    inner = slice(8, -8), slice(8, -8)
    np.testing.assert_allclose(restored[0][inner], rows[inner], atol=0.1)
    np.testing.assert_allclose(restored[1][inner], columns[inner], atol=0.1)
    region = slice(11, 30), slice(40, 83)
    part = rescaled_region(region, scale, (61, 83))
    found = restore(torch.from_numpy(maps[:, part[0], part[1]]), region, scale, (61, 83))
    assert np.array_equal(found.numpy(), restored[:, region[0], region[1]])
