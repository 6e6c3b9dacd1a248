"""The original's augmentations: image and maps stay aligned, in its order, seeded, off when off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_jnet.config import Config, OriginalAugmentation
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN
from napari_jnet.training.augment import (
    SYMMETRIES,
    augment_original,
    choose_entries,
    gaussian_filter,
)
from napari_jnet.training.sampler import load_full_frames
from napari_jnet.training.targets import boundary_pixels, truncated_distance


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(height: int = 40, width: int = 40) -> AnnotatedFrame:
    rng = np.random.default_rng(1)
    labels = np.zeros((height, width), np.int32)
    labels[8:20, 6:20], labels[8:20, 20:30] = 1, 2
    image = (rng.normal(100, 5, labels.shape) + 50 * (labels > 0)).astype(np.float32)
    return AnnotatedFrame("a", image, labels)


def frames(*made: AnnotatedFrame, levels: tuple[int, ...] = (-1, 0)):
    config = Config().replace({"targets.dt_bound": 5.0, "network.standardization": "plain"})
    return load_full_frames(made, levels, torch.device("cpu"), config)


def augment(values: torch.Tensor, seed: int = 0, **flags: object) -> torch.Tensor:
    made = OriginalAugmentation.from_dict(flags)
    return augment_original(values, values.shape[1] - 1, made, seeded(seed))


def test_the_order_is_the_original_s() -> None:
    flags = {
        "aug_rotation": 1,
        "aug_intensity_params": [[0.5, 0.5, 1]],
        "aug_elastic_params": [[5, 2, 1]],
        "aug_rotation_flip": 1,
    }
    values = torch.rand(2, 3, 16, 16)
    together, generator = augment(values, 3, **flags), seeded(3)
    for name, value in flags.items():
        one = OriginalAugmentation.from_dict({name: value})
        values = augment_original(values, 2, one, generator)
    assert torch.equal(together, values)


def test_off_changes_nothing() -> None:
    values = torch.rand(2, 3, 16, 12)
    assert augment(values) is values


@pytest.mark.parametrize(
    "flags",
    [
        {"aug_rotation": 1},
        {"aug_rotation": 1, "aug_rolling": 0},
        {"aug_elastic_params": [[50, 5, 1]]},
        {"aug_rotation_flip": 1},
        {"aug_intensity_params": [[0.3, 0.3, 1]]},
    ],
)
def test_maps_move_with_the_image_and_the_seed_decides(flags: dict[str, object]) -> None:
    plane = torch.from_numpy(
        ndimage.gaussian_filter(np.random.default_rng(0).random((3, 1, 24, 24)), 2)
    )
    values = plane.float().repeat(1, 2, 1, 1)
    first, again, other = (augment(values, seed, **flags) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    if "aug_intensity_params" in flags:
        assert torch.equal(first[:, 1], values[:, 1])  # maps have no intensity
    else:
        assert torch.equal(first[:, 0], first[:, 1])
        assert not torch.equal(first, other) and not torch.equal(first, values)


def test_rolling_goes_around_the_border() -> None:
    values = torch.rand(1, 2, 9, 9)
    rolled = augment(values, aug_rotation=1)
    still = augment(values, aug_rotation=1, aug_rolling=0)
    assert not torch.allclose(rolled, still)


def test_the_six_symmetries_are_among_the_eight() -> None:
    image = torch.arange(9.0).view(3, 3)
    all_of_them = [
        torch.rot90(image.flip(0) if flip else image, turns) for turns, flip in SYMMETRIES
    ]
    assert len({tuple(part.flatten().tolist()) for part in all_of_them}) == 8
    values = image[None, None].repeat(300, 2, 1, 1)
    for count in (6, 8):
        drawn = augment(values, aug_rotation_flip=1, aug_symmetries=count)[:, 0].flatten(1)
        expected = {tuple(part.flatten().tolist()) for part in all_of_them[:count]}
        assert {tuple(part) for part in drawn.tolist()} == expected


def test_images_that_are_not_square_keep_their_shape() -> None:
    assert augment(torch.rand(20, 2, 5, 8), aug_rotation_flip=1).shape == (20, 2, 5, 8)


def test_intensity_changes_the_foreground_alone() -> None:
    image = torch.full((1, 1, 4, 4), 10.0)
    image[..., :2] = 20
    values = torch.cat([image, (image > 15).float()], dim=1)
    changed = augment(values, aug_intensity_params=[[0.5, 0, 1]])[0, 0]
    assert torch.equal(changed[:, 2:], image[0, 0][:, 2:])
    gain = changed[0, 0] / 20 - 1
    assert 0 < gain.abs() <= 0.5 and torch.allclose(changed[:, :2], 20 * (1 + gain))
    shifted = augment(values, aug_intensity_params=[[0, 0.5, 1]])[0, 0]
    assert 0 < (shifted[0, 0] - 20).abs() <= 0.5 * 20


def test_entries_are_drawn_by_their_weights() -> None:
    drawn = choose_entries([[50, 5, 5], [-1, -1, 1]], 6000, seeded())
    part = sum(entry is not None for entry in drawn) / 6000
    assert part == pytest.approx(5 / 6, abs=0.02)
    assert choose_entries([], 3, seeded()) == [None] * 3


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_the_elastic_field_is_smoothed_as_scipy_does(sigma: float) -> None:
    noise = torch.rand(1, 1, 30, 21, generator=seeded()).double()
    expected = ndimage.gaussian_filter(noise[0, 0].numpy(), sigma, mode="mirror", truncate=4)
    np.testing.assert_allclose(gaussian_filter(noise, sigma)[0, 0].numpy(), expected, atol=1e-4)


def test_a_plain_frame_has_the_targets_of_the_description() -> None:
    frame = picture()
    levels, targets = frames(frame).without_augmentation(0)
    labels = torch.from_numpy(frame.labels)[None]
    distance = truncated_distance(boundary_pixels(labels), 5.0)
    assert [tuple(level.shape) for level in levels] == [(1, 1, 20, 20), (1, 1, 40, 40)]
    assert torch.equal(targets.segmentation, (labels > 0).float())
    assert torch.equal(targets.distance, distance)
    for level in levels:  # (x - mean) / (3 std), each on its own
        assert level.mean().abs() < 1e-5 and level.std() == pytest.approx(1 / 3, abs=1e-5)


def test_below_the_full_resolution_targets_are_averages() -> None:
    whole = frames(picture(), levels=(-2, -1))
    _, targets = whole.without_augmentation(0)
    full = frames(picture()).without_augmentation(0)[1]
    expected = torch.nn.functional.avg_pool2d(full.distance[None], 2)[0]
    torch.testing.assert_close(targets.distance, expected)


def test_unknown_pixels_stay_unknown_when_warped() -> None:
    frame = picture()
    frame.labels[:, 30:] = UNKNOWN
    whole = frames(frame)
    assert (whole.without_augmentation(0)[1].known[0].numpy() == (frame.labels != UNKNOWN)).all()
    flags = OriginalAugmentation(aug_rotation=1, aug_elastic_params=((50, 5, 1),))
    _, targets = whole.draw([0] * 8, flags, seeded())
    part = targets.known.float().mean()
    assert 0.5 < part < 0.8
    assert not (targets.distance_known & ~targets.known).any()


def test_crops_and_frames_of_differing_size_make_one_batch() -> None:
    whole = frames(picture(40, 40), picture(32, 48))
    levels, targets = whole.draw([0, 1], OriginalAugmentation(), seeded())
    assert levels[-1].shape == (2, 1, 32, 40) and targets.known.all()
    flags = OriginalAugmentation(aug_crop_params=((16, 24, 1),))
    levels, _ = whole.draw([1, 0, 0], flags, seeded())
    assert levels[-1].shape == (3, 1, 16, 24)
