"""One warp for image and labels: aligned, seeded, exact where it must be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_jnet.augmentations import (
    AUGMENTATIONS,
    change_intensity,
    draw_field,
    draw_matrix,
    sample_grid,
    sample_images,
    sample_labels,
)
from napari_jnet.batches import draw_batch, load_frames
from napari_jnet.config import AugmentationConfig, Config
from napari_jnet.data.stack import AnnotatedFrame, LabelKind
from napari_jnet.targets import make_targets

NOTHING = AugmentationConfig(
    flip=False, rotation=0, scale=(1, 1), elastic_alpha=0, brightness=0, contrast=0, noise=0
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def warped_grid(config: AugmentationConfig, size: int, seed: int = 0) -> torch.Tensor:
    generator = seeded(seed)
    sizes = torch.tensor([[40.0, 50.0]] * 3)
    return sample_grid(
        (sizes - 1) / 2,
        draw_matrix(3, config, generator),
        draw_field(3, size, config, generator),
        size,
        sizes,
    )


def frames(shape: tuple[int, int] = (40, 50), count: int = 3) -> list[AnnotatedFrame]:
    rng = np.random.default_rng(5)
    made = []
    for index in range(count):
        ids = ndimage.zoom(rng.integers(0, 6, (5, 6)), (shape[0] / 5, shape[1] / 6), order=0)
        made.append(AnnotatedFrame(f"t{index}", 10.0 * ids + 3, ids.astype(np.int32)))
    return made


def test_nothing_is_the_identity() -> None:
    image = torch.rand(3, 1, 40, 50)
    sampled = sample_images(image, warped_grid(NOTHING, 30))
    torch.testing.assert_close(sampled, image[..., 5:35, 10:40], atol=1e-5, rtol=0)


def test_sampling_is_that_of_scipy() -> None:
    image = torch.rand(3, 1, 40, 50)
    grid = warped_grid(AugmentationConfig(), 64)
    sampled = sample_images(image, grid)
    for index in range(3):
        expected = ndimage.map_coordinates(
            image[index, 0].numpy(), grid[index].permute(2, 0, 1).numpy(), order=1, mode="nearest"
        )
        np.testing.assert_allclose(sampled[index, 0], expected, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_the_ids_of_the_nearest_pixels(seed: int) -> None:
    labels = torch.randint(0, 70_000_000, (3, 40, 50), dtype=torch.int32)
    grid = warped_grid(AugmentationConfig(), 48, seed)
    expected = ndimage.map_coordinates(
        labels[0].double().numpy(),
        grid[0].double().permute(2, 0, 1).numpy(),
        order=0,
        mode="nearest",
    )
    agreement = (sample_labels(labels, grid)[0].numpy() == expected).mean()
    assert agreement > 0.999  # positions halfway between two pixels may go either way


def test_positions_beyond_the_frame_are_reflected_into_it() -> None:
    sizes = torch.tensor([[4.0, 6.0]])
    grid = sample_grid((sizes - 1) / 2, torch.eye(2)[None], None, 20, sizes)
    image = torch.arange(24.0).view(1, 1, 4, 6)
    padded = np.pad(image[0, 0].numpy(), ((8, 8), (7, 7)), mode="symmetric")
    np.testing.assert_allclose(sample_images(image, grid)[0, 0], padded, atol=1e-4)


@pytest.mark.parametrize("levels", [(0,), (-1, 0), (-2, -1)])
def test_image_and_labels_stay_aligned(levels: tuple[int, ...]) -> None:
    """The image is its labels, so that after any warp one tells the other away from edges."""
    store = load_frames(frames((64, 64)), levels, torch.device("cpu"))
    config = Config(
        augmentation=dataclasses.replace(AugmentationConfig(), brightness=0, contrast=0, noise=0)
    ).replace({"training.patch_size": 32, "training.batch_size": 3, "network.classes": 6})
    store = dataclasses.replace(store, kind=LabelKind.CLASSES)
    pyramid, targets = draw_batch(store, config, 8.0, seeded(3))
    inside = targets.distance > 2 * store.unit
    assert 0.05 < inside.float().mean() < 0.9
    image, ids = pyramid[-1][:, 0], targets.segmentation
    for patch, classes, deep in zip(image, ids, inside, strict=True):
        for value in range(6):
            same = patch[deep & (classes == value)]
            if len(same):
                assert same.max() - same.min() < 1e-3


def test_targets_are_exact_up_to_the_edge_of_the_patch() -> None:
    """A boundary just outside a patch is seen: the patch of the target is the target of the patch."""
    config = Config(augmentation=NOTHING).replace(
        {"training.patch_size": 16, "training.batch_size": 1}
    )
    made = frames(count=1)
    store = load_frames(made, (0,), torch.device("cpu"))
    _, targets = draw_batch(store, config, 9.0, seeded())
    whole = make_targets(store.labels, 9.0, kind=LabelKind.INSTANCES).distance[0]
    windows = whole.unfold(0, 16, 1).unfold(1, 16, 1)
    difference = (windows - targets.distance[0]).abs().amax((-1, -2))
    # The centre is drawn between pixels, so the labels are those of one of the nearest windows.
    assert difference.min() == 0


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_augmentation_changes_something_and_is_seeded(name: str) -> None:
    settings = {
        "flip": {"flip": True},
        "rotation": {"rotation": 90.0},
        "scale": {"scale": (0.5, 0.8)},
        "elastic": {"elastic_alpha": 6.0},
        "contrast": {"contrast": 0.5},
        "brightness": {"brightness": 0.5},
        "noise": {"noise": 0.5},
    }[name]
    augmentation = dataclasses.replace(NOTHING, **settings)
    store = load_frames(frames(), (0,), torch.device("cpu"))
    base = {"training.patch_size": 32, "training.batch_size": 3}
    plain = draw_batch(store, Config(augmentation=NOTHING).replace(base), 3.0, seeded())[0][0]
    changed = Config(augmentation=augmentation).replace(base)
    first = draw_batch(store, changed, 3.0, seeded())[0][0]
    again = draw_batch(store, changed, 3.0, seeded())[0][0]
    assert torch.equal(first, again)
    assert not torch.allclose(first, plain, atol=1e-3)


def test_intensity_off_is_the_identity() -> None:
    patches = torch.rand(2, 1, 5, 5)
    assert torch.equal(change_intensity(patches, NOTHING, seeded()), patches)


def test_frames_of_differing_size_do_not_see_the_padding() -> None:
    small, large = frames((40, 50), 1)[0], frames((64, 80), 1)[0]
    store = load_frames([small, large], (0,), torch.device("cpu"))
    config = Config().replace({"training.patch_size": 64, "training.batch_size": 2})
    alone = load_frames([small], (0,), torch.device("cpu"))
    for seed in range(3):
        labels = draw_batch(store, config, 3.0, seeded(seed))[1]
        assert labels.known.all()
    assert (store.images[0, :, 40:] == 0).all()
    torch.testing.assert_close(store.images[0, :, :40, :50], alone.images[0])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((40, 50), 7), "t0 has the value 7 in every pixel"),
        (np.where(np.eye(40, 50) > 0, np.nan, 1.0), r"t0 has 40 pixel\(s\) that are NaN"),
    ],
)
def test_frames_that_cannot_be_learnt_from_are_named(image: np.ndarray, message: str) -> None:
    frame = AnnotatedFrame("t0", image, np.ones((40, 50), np.int32))
    with pytest.raises(ValueError, match=message):
        load_frames([frame], (0,), torch.device("cpu"))
