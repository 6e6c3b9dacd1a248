"""One warp for image and labels: aligned, seeded, exact where it must be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_jnet.config import AugmentationConfig, Config
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.training.augment import (
    FIELDS,
    INTENSITY,
    LINEAR,
    change_intensity,
    draw_field,
    draw_matrix,
    sample_grid,
    sample_images,
    sample_labels,
)
from napari_jnet.training.losses import class_weights, loss_function
from napari_jnet.training.sampler import FrameStore, draw_batch, load_frames
from napari_jnet.training.targets import make_targets

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
        augmentation=AugmentationConfig().changed(brightness=0, contrast=0, noise=0)
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


def test_a_batch_is_drawn_without_waiting_for_the_device() -> None:
    """The device "meta" computes shapes only: nothing can be read back from it."""
    config = Config().replace(
        {"training.patch_size": 32, "training.border_weight": 5.0, "training.class_balance": True}
    )
    store = load_frames(frames((64, 64)), (-2, -1, 0), torch.device("cpu"), config)
    assert isinstance(store, FrameStore) and store.borders and store.class_weights is not None
    draw_batch(store, config, 8.0, seeded())  # the first one looks where labels are known
    away = dataclasses.replace(
        store,
        images=tuple(image.to("meta") for image in store.images),
        labels=tuple(labels.to("meta") for labels in store.labels),
        borders=tuple(weights.to("meta") for weights in store.borders),
        class_weights=store.class_weights.to("meta"),
    )
    levels, targets = draw_batch(away, config, 8.0, seeded())
    assert [level.shape[-1] for level in levels] == [8, 16, 32]
    output = torch.zeros(4, 2, 32, 32, device="meta", requires_grad=True)
    loss_function("bce+smooth_l1")(output, targets, 1, 8.0).backward()


def test_targets_are_exact_up_to_the_edge_of_the_patch() -> None:
    """A boundary just outside a patch is seen: the patch of the target is the target of the patch."""
    config = Config(augmentation=NOTHING).replace(
        {"training.patch_size": 16, "training.batch_size": 1}
    )
    made = frames(count=1)
    store = load_frames(made, (0,), torch.device("cpu"))
    _, targets = draw_batch(store, config, 9.0, seeded())
    whole = make_targets(store.labels[0][None], 9.0, kind=LabelKind.INSTANCES).distance[0]
    windows = whole.unfold(0, 16, 1).unfold(1, 16, 1)
    difference = (windows - targets.distance[0]).abs().amax((-1, -2))
    # The centre is drawn between pixels, so the labels are those of one of the nearest windows.
    assert difference.min() == 0


@pytest.mark.parametrize("name", [*LINEAR, *FIELDS, *INTENSITY])
def test_each_augmentation_changes_something_and_is_seeded(name: str) -> None:
    settings = {
        "flip": {"flip": True},
        "rotation": {"rotation": 90.0},
        "scale": {"scale": (0.5, 0.8)},
        "shear": {"shear": 0.5},
        "elastic": {"elastic_alpha": 6.0},
        "smooth": {"smooth_alpha": (100.0, 300.0)},
        "spline": {"spline_sigma": 10.0},
        "contrast": {"contrast": 0.5},
        "brightness": {"brightness": 0.5},
        "noise": {"noise": 0.5},
        "blur": {"blur": 3.0},
        "gamma": {"gamma": (0.3, 3.0)},
        "shading": {"shading": 0.8},
        "inversion": {"inversion": 1.0},
    }[name]
    augmentation = NOTHING.changed(**settings)
    store = load_frames(frames(), (0,), torch.device("cpu"))
    base = {"training.patch_size": 32, "training.batch_size": 3}
    plain = draw_batch(store, Config(augmentation=NOTHING).replace(base), 3.0, seeded())[0][0]
    changed = Config(augmentation=augmentation).replace(base)
    first = draw_batch(store, changed, 3.0, seeded())[0][0]
    again = draw_batch(store, changed, 3.0, seeded())[0][0]
    assert torch.equal(first, again)
    assert not torch.allclose(first, plain, atol=1e-3)


def test_shear_moves_columns_in_proportion_to_rows() -> None:
    matrix = draw_matrix(200, NOTHING.changed(shear=0.41), seeded())
    sheared = matrix[:, 1, 0]
    torch.testing.assert_close(matrix[:, 0], torch.tensor([1.0, 0]).expand(200, 2))
    assert (matrix[:, 1, 1] == 1).all()
    assert sheared.abs().max() <= 0.41 and sheared.min() < -0.35 and sheared.max() > 0.35


def test_smoothed_noise_is_that_of_scipy() -> None:
    config = NOTHING.changed(smooth_alpha=(200, 200), smooth_sigma=(6, 6))
    field = draw_field(2, 80, config, seeded(4))
    generator = seeded(4)
    torch.rand(4, generator=generator)  # alpha and sigma of two patches
    noise = torch.rand(2, 2, 80, 80, generator=generator) * 2 - 1
    expected = 200 * ndimage.gaussian_filter(
        noise.numpy().astype(float), (0, 0, 6, 6), mode="wrap", truncate=8
    )
    assert field is not None
    np.testing.assert_allclose(field, expected, atol=1e-3)


def test_smoothed_noise_takes_its_strength_from_the_ranges() -> None:
    config = NOTHING.changed(smooth_alpha=(100, 300), smooth_sigma=(10, 15))
    field = draw_field(64, 96, config, seeded())
    assert field is not None
    # White noise of variance 1/3 through a Gaussian of deviation s has deviation 1 / (s sqrt(12 pi)).
    deviations = field.std((1, 2, 3))
    assert 0.5 * 100 / (15 * np.sqrt(12 * np.pi)) < deviations.min() < 1.3
    assert 3 < deviations.max() < 2 * 300 / (10 * np.sqrt(12 * np.pi))


def test_spline_passes_through_normal_displacements_of_three_by_three_knots() -> None:
    field = draw_field(500, 33, NOTHING.changed(spline_sigma=10), seeded())
    assert field is not None
    knots = field[..., ::16, ::16]
    torch.testing.assert_close(knots, 10 * torch.randn(500, 2, 3, 3, generator=seeded()))


def test_what_is_off_draws_nothing() -> None:
    """So that an augmentation added later leaves the trainings of before as they were."""
    generator = seeded()
    before = generator.get_state()
    assert draw_field(3, 32, NOTHING, generator) is None
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("name", ["scale", "smooth_alpha", "smooth_sigma"])
@pytest.mark.parametrize("value", [(1.5, 1.0), (1.0,), (1.0, 1.5, 2.0)])
def test_ranges_are_two_ascending_numbers(name: str, value: tuple[float, ...]) -> None:
    with pytest.raises(
        ValueError,
        match=rf"AugmentationConfig.{name} is .*(lowest comes first|too short|too long|should have at most)",
    ):
        NOTHING.changed(**{name: value})


def test_intensity_off_is_the_identity() -> None:
    patches = torch.rand(2, 1, 5, 5)
    assert torch.equal(change_intensity(patches, NOTHING, seeded()), patches)


def test_frames_of_differing_size_are_each_held_once_and_at_their_own_size() -> None:
    """One large frame makes the others no larger, and no frame sees what is not its own."""
    made = [*frames((40, 50), 6), frames((640, 800), 1)[0]]
    store = load_frames(made, (0,), torch.device("cpu"))
    for kind, parts in (("images", store.images), ("labels", store.labels)):
        held = sum(part.untyped_storage().nbytes() for part in parts)
        assert held == 4 * sum(frame.labels.size for frame in made), kind
    config = Config().replace({"training.patch_size": 64, "training.batch_size": 7})
    for seed in range(3):
        assert draw_batch(store, config, 3.0, seeded(seed))[1].known.all()
    alone = load_frames(made[:1], (0,), torch.device("cpu"))
    torch.testing.assert_close(store.images[0], alone.images[0])


def test_a_frame_too_small_for_the_levels_is_mirrored_and_learned_from() -> None:
    """A crop of 20 pixels beside frames of 96: the lowest level needs 64."""
    crop, large = frames((20, 20), 1)[0], frames((96, 96), 1)[0]
    store = load_frames([crop, large], (-5, -4, -3, -2, -1, 0), torch.device("cpu"))
    torch.testing.assert_close(store.labels[0][:20, :20], torch.from_numpy(crop.labels))
    assert set(store.labels[0].unique().tolist()) == set(np.unique(crop.labels).tolist())
    config = Config().replace({"training.patch_size": 64, "training.batch_size": 2})
    levels, targets = draw_batch(store, config, 3.0, seeded())
    assert all(torch.isfinite(level).all() for level in levels) and targets.known.all()


def test_frames_all_too_small_for_the_levels_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"level is -5.*at least 64 x 64.*largest frame has 20.*Use"
    ):
        load_frames(frames((20, 30), 2), (-5, -4), torch.device("cpu"))


def stroked(shape: tuple[int, int], boxes: list[tuple[int, int, int, int]]) -> AnnotatedFrame:
    """A frame of which only some boxes (top, left, height, width) are known."""
    labels = np.full(shape, UNKNOWN, np.int32)
    for index, (top, left, height, width) in enumerate(boxes):
        labels[top : top + height, left : left + width] = index % 2
    image = np.random.default_rng(0).normal(size=shape)
    return AnnotatedFrame("t0", image, labels, LabelKind.CLASSES)


def known_patches(
    frame: AnnotatedFrame, levels: tuple[int, ...], patch: int, warped: float = 0.5
) -> list[bool]:
    sizes = {"training.patch_size": patch, "training.batch_size": 8}
    config = Config().replace(sizes | {"augmentation.warped": warped})
    store = load_frames([frame], levels, torch.device("cpu"))
    generator = seeded(5)
    batches = [draw_batch(store, config, 3.0, generator)[1].known for _ in range(12)]
    return torch.cat(batches).flatten(1).any(dim=1).tolist()


@pytest.mark.parametrize(
    ("boxes", "levels", "least"),
    [
        ([(400, 300, 4, 40), (90, 700, 40, 4)], (0,), 1.0),
        ([(500, 500, 3, 3)], (-2, -1), 1.0),
        ([(797, 100, 3, 40)], (-1,), 1.0),  # at the edge, where a turned patch is drawn again
    ],
)
def test_patches_are_drawn_where_something_is_known(
    boxes: list[tuple[int, int, int, int]], levels: tuple[int, ...], least: float
) -> None:
    """By chance, one patch in twenty would hold a stroke."""
    assert np.mean(known_patches(stroked((800, 900), boxes), levels, 64)) >= least


@pytest.mark.parametrize("levels", [(0,), (-2, -1)])
@pytest.mark.parametrize("place", [(0, 0), (69, 40), (35, 72)])
def test_every_patch_has_a_known_pixel_where_a_frame_is_barely_larger(
    place: tuple[int, int], levels: tuple[int, ...]
) -> None:
    """Of a dot as large as a pixel of the network."""
    side = 2 ** -levels[-1]
    shape, box = (70 * side, 73 * side), (place[0] * side, place[1] * side, side, side)
    assert all(known_patches(stroked(shape, [box]), levels, 64))


@pytest.mark.parametrize("box", [(0, 300, 1, 40), (797, 100, 3, 40), (400, 0, 40, 2)])
def test_a_stroke_at_the_edge_of_the_frame_is_in_patches_that_are_not_warped(
    box: tuple[int, int, int, int],
) -> None:
    """Such a patch shows nothing beyond the frame, so it has to lie at that edge."""
    found = known_patches(stroked((800, 900), [box]), (0,), 64, warped=0.0)
    assert np.mean(found) >= 0.95


def test_patches_that_are_not_warped_are_parts_of_the_frame_turned_or_mirrored() -> None:
    """With every geometric change on: no value is interpolated, and image and labels stay together."""
    image = np.random.default_rng(0).normal(size=(48, 48)).astype(np.float32)
    labels = np.arange(48 * 48, dtype=np.int32).reshape(48, 48)
    store = load_frames([AnnotatedFrame("t0", image, labels)], (0,), torch.device("cpu"))
    store = dataclasses.replace(store, kind=LabelKind.CLASSES)
    still = AugmentationConfig(warped=0.0, brightness=0, contrast=0, noise=0)
    sizes = {"training.patch_size": 16, "training.batch_size": 32, "network.classes": 48 * 48}
    levels, targets = draw_batch(store, Config(augmentation=still).replace(sizes), 3.0, seeded())
    places = targets.segmentation
    torch.testing.assert_close(
        levels[0][:, 0], store.images[0][0].flatten()[places], atol=1e-3, rtol=0
    )
    whole = labels[:16, :16] - labels[0, 0]
    symmetries = {
        tuple((part - part.min()).flatten().tolist())
        for turned in (whole, whole.T)
        for part in (turned, turned[::-1], turned[:, ::-1], turned[::-1, ::-1])
    }
    drawn = {tuple((place - place.min()).flatten().tolist()) for place in places}
    assert drawn <= symmetries and len(drawn) > 5


def test_the_share_of_warped_patches_is_that_of_the_configuration() -> None:
    store = load_frames(frames((64, 64), 1), (0,), torch.device("cpu"))
    sharp = []
    for warped in (0.0, 0.25, 1.0):
        config = Config(augmentation=NOTHING.changed(rotation=80.0, warped=warped)).replace(
            {"training.patch_size": 16, "training.batch_size": 400}
        )
        values = draw_batch(store, config, 3.0, seeded())[0][0]
        known = torch.unique(store.images[0])
        nearest = (values[..., None] - known).abs().amin(-1)
        sharp.append(float((nearest.flatten(1).amax(1) < 1e-3).float().mean()))
    assert sharp[0] == 1 and abs(sharp[1] - 0.75) < 0.1 and sharp[2] < 0.1


def test_every_stroke_is_equally_likely() -> None:
    """A small stroke far from a large area is seen as often as a pixel of that area."""
    frame = stroked((300, 300), [(25, 25, 4, 4), (100, 100, 150, 150)])
    store = load_frames([frame], (0,), torch.device("cpu"))
    config = Config(augmentation=NOTHING).replace(
        {"training.patch_size": 32, "training.batch_size": 64}
    )
    generator, seen = seeded(1), np.zeros(2)
    lone = store.labels[0].clone()
    for _ in range(40):
        positions = draw_batch(store, config, 3.0, generator)[1].known
        full = positions.flatten(1).sum(dim=1)
        seen += [
            int((full == 16).sum()),
            float(full[full > 16].sum()) / lone[100:250, 100:250].numel(),
        ]
    assert 0.5 < seen[0] / seen[1] < 2


def test_an_unknown_pixel_changes_no_place_of_a_patch() -> None:
    """Frames that are known, or nearly, are drawn from as ever, number for number."""
    whole = frames((96, 96), 2)
    holed = [dataclasses.replace(frame, labels=frame.labels.copy()) for frame in whole]
    holed[1].labels[40:44, 40:44] = UNKNOWN
    config = Config().replace({"training.patch_size": 48, "training.batch_size": 4})
    drawn = [
        draw_batch(load_frames(made, (0,), torch.device("cpu")), config, 3.0, seeded(2))[0][0]
        for made in (whole, holed)
    ]
    assert torch.equal(*drawn)


def test_a_frame_with_values_that_are_not_finite_is_named() -> None:
    image = np.where(np.eye(40, 50) > 0, np.nan, 1.0)
    frame = AnnotatedFrame("t0", image, np.ones((40, 50), np.int32))
    with pytest.raises(ValueError, match=r"t0 has 40 pixel\(s\) that are NaN"):
        load_frames([frame], (0,), torch.device("cpu"))


def weighted(levels: tuple[int, ...], frame: AnnotatedFrame) -> tuple[FrameStore, Config]:
    config = Config().replace(
        {
            "training.patch_size": 32,
            "training.batch_size": 4,
            "training.class_balance": True,
            "training.border_weight": 10.0,
        }
    )
    return load_frames([frame], levels, torch.device("cpu"), config), config


def cells_and_void(kind: LabelKind = LabelKind.INSTANCES) -> AnnotatedFrame:
    """Squares with gaps between them; a part of the frame is unknown."""
    rows, columns = np.mgrid[:96, :96]
    ids = 1 + rows // 16 + 6 * (columns // 16)
    labels = np.where((rows % 16 < 12) & (columns % 16 < 12), ids, 0).astype(np.int32)
    labels[:, 60:75] = UNKNOWN
    image = np.random.default_rng(0).normal(size=labels.shape)
    if kind is LabelKind.CLASSES:
        labels = np.minimum(labels, 1)
    return AnnotatedFrame("t0", image, labels, kind)


@pytest.mark.parametrize("levels", [(0,), (-1, 0), (-1,)])
@pytest.mark.parametrize("kind", [LabelKind.INSTANCES, LabelKind.CLASSES])
def test_weights_are_warped_with_the_labels(levels: tuple[int, ...], kind: LabelKind) -> None:
    """Where a warped weight lies, its warped label tells the same: border only on background."""
    frame = cells_and_void(kind)
    store, config = weighted(levels, frame)
    _, targets = draw_batch(store, config, 6.0, seeded(2))
    assert targets.weight is not None and targets.weight.shape == targets.segmentation.shape
    background, cell = class_weights([frame], 1)
    known, inside = targets.known, targets.segmentation == 1
    assert (targets.weight[inside] == cell).all()
    border = targets.weight[known & ~inside] - background
    narrow = 10 * np.exp(-(5**2) / 50)  # the gaps are four pixels wide
    assert border.min() > 0 and border.max() == pytest.approx(narrow, rel=1e-5)
    assert 0.02 < (~known).float().mean() < 0.6


def test_no_weights_are_made_unless_asked_for() -> None:
    store = load_frames([cells_and_void()], (0,), torch.device("cpu"), Config())
    assert store.borders is None and store.class_weights is None
    assert draw_batch(store, Config(), 6.0, seeded())[1].weight is None


@pytest.mark.parametrize("kind", [LabelKind.INSTANCES, LabelKind.CLASSES])
def test_void_pixels_stay_void_under_every_warp(kind: LabelKind) -> None:
    """The image of a void pixel is 1, of any other 0: what the warped image says is void, is unknown."""
    frame = cells_and_void(kind)
    void = AnnotatedFrame("t0", (frame.labels == UNKNOWN).astype(np.float32), frame.labels, kind)
    strong = AugmentationConfig(
        shear=0.4, smooth_alpha=(100, 300), spline_sigma=5, brightness=0, contrast=0, noise=0
    )
    config = Config(augmentation=strong).replace(
        {"training.patch_size": 48, "network.standardization": "plain"}
    )
    store = load_frames([void], (0,), torch.device("cpu"), config)
    levels, targets = draw_batch(store, config, 6.0, seeded(1))
    image = levels[0][:, 0]
    clear = (image < image.min() + 1e-4) | (image > image.max() - 1e-4)
    assert 0.6 < clear.float().mean() < 1
    assert torch.equal((image > image.mean())[clear], ~targets.known[clear])


@pytest.mark.parametrize("name", ["blur", "gamma", "shading", "inversion"])
def test_an_intensity_change_that_is_off_leaves_patch_and_generator(name: str) -> None:
    patches, generator = torch.rand(2, 1, 16, 16), seeded()
    before = generator.get_state()
    assert torch.equal(INTENSITY[name](patches, NOTHING, generator), patches)
    assert torch.equal(generator.get_state(), before)


def test_blur_is_a_gaussian() -> None:
    patches = torch.rand(3, 2, 40, 50)
    blurred = INTENSITY["blur"](patches, NOTHING.changed(blur=2.0), seeded())
    sigma = (2.0 * torch.rand(3, 1, generator=seeded()))[:, 0].tolist()
    for patch, found, width in zip(patches.numpy(), blurred.numpy(), sigma, strict=True):
        reach = 6 / width  # where the kernel is cut
        expected = ndimage.gaussian_filter(patch, (0, width, width), mode="mirror", truncate=reach)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_gamma_keeps_mean_and_contrast_and_the_order_of_values() -> None:
    patches = torch.randn(4, 1, 32, 32)
    bent = INTENSITY["gamma"](patches, NOTHING.changed(gamma=(0.4, 2.5)), seeded())
    torch.testing.assert_close(bent.mean((-2, -1)), patches.mean((-2, -1)), atol=1e-5, rtol=0)
    torch.testing.assert_close(bent.std((-2, -1)), patches.std((-2, -1)), atol=1e-5, rtol=0)
    assert not torch.allclose(bent, patches, atol=0.05)
    for patch, found in zip(patches.flatten(1), bent.flatten(1), strict=True):
        assert (found[patch.argsort()].diff() >= 0).all()


def test_shading_changes_the_brightness_smoothly() -> None:
    patches = torch.ones(3, 1, 64, 64)
    patches[..., 0, 0] = 0.0  # the lowest, from which light is counted
    lit = INTENSITY["shading"](patches, NOTHING.changed(shading=0.5), seeded())[..., 1:, 1:]
    assert 0.01 < float((lit - 1).abs().amax()) < 0.75
    assert float(lit.diff(dim=-1).abs().amax()) < 0.05
    assert (lit.amax((-2, -1)) > lit.amin((-2, -1))).all()


def test_inversion_turns_about_as_many_patches_as_it_says() -> None:
    patches = torch.rand(200, 1, 2, 2) + 1
    turned = INTENSITY["inversion"](patches, NOTHING.changed(inversion=0.3), seeded())
    signs = (turned / patches).flatten(1)
    assert ((signs == 1) | (signs == -1)).all()
    assert 0.2 < float((signs[:, 0] < 0).float().mean()) < 0.4
