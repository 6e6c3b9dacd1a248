from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_jnet.io.stack import AmbiguousInput, annotated_frames
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.project.open import open_stack, sequences, training_frames
from napari_jnet.project.project import Project

GREY = np.arange(24 * 32).reshape(24, 32).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY], axis=-1)
RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def save(path, array, axes="", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif" and axes:
        tifffile.imwrite(path, array, imagej=True, metadata={"axes": axes})
    elif path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        Image.fromarray(array).save(path, **options)
    return path


def halves(left, right, *more):
    mask = np.zeros((24, 32, *np.shape(left)), np.uint8)
    mask[2:, :16], mask[2:, 16:] = left, right
    return mask


def striped(left, right):
    """Halves in several pieces each, as classes are."""
    mask = halves(left, right)
    mask[::5] = 0
    return mask


def test_names_are_paired_by_number(tmp_path):
    for n in (1, 2, 10):
        save(tmp_path / f"images/Img_{n}.png", np.full((24, 32), n, np.uint8))
        save(tmp_path / f"masks/Mask_{n}.png", halves(255 * (n == 10), 255))
    stack = open_stack(tmp_path)
    assert stack.frame_numbers == stack.annotation().frame_numbers == (1, 2, 10)
    assert (stack.frame(10) == 10).all()
    assert stack.annotation().frame(10)[5, 5] == 1
    assert stack.annotation().frame(2)[5, 5] == 0


class TestOrder:
    """Frames are in the order of the number that differs, else as people count."""

    @pytest.mark.parametrize(
        ("names", "numbers"),
        [
            (["exp2_t1", "exp2_t2", "exp2_t10"], (1, 2, 10)),
            (["t1_exp2", "t2_exp2", "t10_exp2"], (1, 2, 10)),
            (["2026-01-05_007", "2026-01-05_008", "2026-01-05_100"], (7, 8, 100)),
            (["p1_t9", "p1_t10", "p2_t1"], (0, 1, 2)),
            (["a2", "a10", "b1"], (0, 1, 2)),
            (["day", "day2", "day10"], (0, 1, 2)),
        ],
    )
    def test_of_names(self, tmp_path, names, numbers):
        for k, name in enumerate(names):
            save(tmp_path / f"images/{name}.png", np.full((24, 32), k, np.uint8))
            save(tmp_path / f"masks/{name}.png", halves(255 * (k == 1), 0))
        stack = open_stack(tmp_path)
        assert stack.frame_numbers == numbers
        assert [stack.frame(n)[0, 0] for n in numbers] == [0, 1, 2]
        assert [stack.annotation().frame(n)[5, 5] for n in numbers] == [0, 1, 0]

    def test_masks_have_the_number_that_differs_too(self, tmp_path):
        for k in (1, 2, 10):
            save(tmp_path / f"images/exp2_t{k}.png", GREY)
            save(tmp_path / f"masks/run7_{k}_of_12.png", halves(255 * (k == 2), 0))
        labels = open_stack(tmp_path).annotation()
        assert [labels.frame(n)[5, 5] for n in labels.frame_numbers] == [0, 1, 0]

    def test_a_project_of_before_keeps_its_frames(self, tmp_path):
        """Version 0.1.0 counted these in the order of their letters."""
        for k in (1, 2, 10):
            save(tmp_path / f"film/exp2_t{k}.png", np.full((24, 32), k, np.uint8))
        project = Project.create(tmp_path / "work", open_stack(tmp_path / "film"), "instances")
        file = project.path / "project.json"
        content = json.loads(file.read_text())
        content["stack"] |= {"frame_numbers": [0, 1, 2], "fingerprint": ""}
        del content["stack"]["order"]
        file.write_text(json.dumps(content))
        stack = open_stack(tmp_path / "work")
        assert [stack.frame(n)[0, 0] for n in (0, 1, 2)] == [1, 10, 2]


class TestOneFolder:
    """Images and masks side by side, as Cellpose writes them, and stacks of sections."""

    def test_masks_are_no_images(self, tmp_path):
        ids = np.zeros((24, 32), np.uint16)
        for k in range(6):
            ids[2 + 10 * (k // 3) :, 10 * (k % 3) : 10 * (k % 3) + 8] = k + 1
        for k in range(3):
            save(tmp_path / f"im{k}.tif", GREY)
            save(tmp_path / f"im{k}_masks.tif", ids)
            save(tmp_path / f"im{k}_flows.tif", COLOUR)
        (tmp_path / "im0_seg.npy").write_bytes(b"")
        stack = open_stack(tmp_path)
        assert (stack.frame_numbers, stack.axes) == ((0, 1, 2), "TYX")
        assert np.array_equal(stack.annotation("masks").frame(1), ids)
        save(tmp_path / "im1_cp_masks.tif", ids)
        with pytest.raises(AmbiguousInput, match="cp_masks"):
            open_stack(tmp_path).annotation()

    def test_of_nnunet(self, tmp_path):
        for k in (1, 2):
            save(tmp_path / f"imagesTr/case_{k:03d}_0000.png", GREY)
            save(tmp_path / f"labelsTr/case_{k:03d}.png", halves(255 * (k == 2), 0))
        labels = open_stack(tmp_path).annotation()
        assert [labels.frame(n)[5, 5] for n in labels.frame_numbers] == [0, 1]

    def test_sections_are_no_colours(self, tmp_path):
        ids = np.zeros((3, 24, 32), np.uint16)
        for k in range(6):
            ids[1, 2 + 10 * (k // 3) :, 10 * (k % 3) : 10 * (k % 3) + 8] = k + 1
        for k in range(2):
            save(tmp_path / f"images/a{k}.tif", np.full((3, 24, 32), k, np.uint16), "ZYX")
            save(tmp_path / f"masks/a{k}.tif", ids, "ZYX")
        stack = open_stack(tmp_path)
        assert (stack.axes, stack.shape) == ("TZYX", (3, 24, 32))
        assert (stack.frame(1) == 1).all()
        assert len(annotated_frames(stack)) == 2, "the planes that somebody has labelled"
        assert np.array_equal(
            open_stack(tmp_path, unlabelled="background").annotation().frame(0), ids
        )

    def test_channels_are_no_sections(self, tmp_path):
        two = np.stack([GREY, GREY[::-1]]).astype(np.uint16)
        save(tmp_path / "images/a.tif", two, "CYX")
        save(tmp_path / "masks/a.tif", halves(255, 0))
        stack = open_stack(tmp_path)
        assert (stack.axes, stack.shape) == ("TYXC", (24, 32, 2))
        assert np.array_equal(stack.frame(0), np.moveaxis(two, 0, -1))

    def test_a_film_among_images_is_refused(self, tmp_path):
        save(tmp_path / "a.tif", np.zeros((3, 24, 32), np.uint16), "TYX")
        with pytest.raises(ValueError, match=r"a\.tif has axes TYX.* one by one"):
            open_stack(tmp_path)


@pytest.mark.parametrize("part", ["", "images", "masks"])
def test_any_of_the_folders_opens_both(tmp_path, part):
    save(tmp_path / "images/a.png", GREY)
    save(tmp_path / "images/b.png", GREY)
    save(tmp_path / "masks/b.png", halves(0, 255))
    stack = open_stack(tmp_path / part)
    assert stack.frame_numbers == (0, 1)
    assert stack.annotation("masks").frame_numbers == (1,)


@pytest.mark.parametrize(
    ("suffix", "image"),
    [(s, i) for s in (".png", ".tif", ".jpg") for i in (GREY, COLOUR)] + [(".gif", GREY)],
)
def test_plain_folder_of_images(tmp_path, suffix, image):
    save(tmp_path / f"one{suffix}", image)
    stack = open_stack(tmp_path)
    assert stack.axes == ("TYX" if image.ndim == 2 else "TYXC")
    assert stack.shape == image.shape == stack.frame(0).shape
    assert stack.frame(0).dtype == stack.dtype == np.uint8
    if suffix in (".png", ".tif"):
        assert np.array_equal(stack.frame(0), image)
    assert not stack.annotations


def test_sixteen_bit_png(tmp_path):
    save(tmp_path / "a.png", GREY.astype(np.uint16) * 200)
    stack = open_stack(tmp_path)
    assert stack.dtype == np.uint16
    assert stack.frame(0).max() == 255 * 200


def test_colours_become_classes_in_a_stable_order(tmp_path):
    for n, mask in enumerate([striped(RED, BLACK), striped(BLACK, GREEN), striped(GREEN, RED)]):
        save(tmp_path / f"images/{n}.png", COLOUR)
        save(tmp_path / f"masks/{n}.png", mask)
    labels = open_stack(tmp_path).annotation()
    assert labels.kind is LabelKind.CLASSES
    assert [np.unique(labels.frame(n)).tolist() for n in range(3)] == [[0, 2], [0, 1], [0, 1, 2]]
    assert labels.frame(2)[4, 5] == 1  # green sorts before red


def test_an_empty_mask_does_not_decide(tmp_path):
    for n, mask in enumerate([striped(BLACK, BLACK), striped(BLACK, GREEN)]):
        save(tmp_path / f"images/{n}.png", COLOUR)
        save(tmp_path / f"masks/{n}.png", mask)
    labels = open_stack(tmp_path).annotation()
    assert [np.unique(labels.frame(n)).tolist() for n in range(2)] == [[0], [0, 1]]


def test_too_many_colours_are_refused(tmp_path):
    save(tmp_path / "images/0.png", COLOUR)
    save(tmp_path / "masks/0.png", np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8))
    labels = open_stack(tmp_path).annotation()
    with pytest.raises(
        ValueError,
        match=r"masks holds \d+ colours, more than 64 classes.* as PNG",
    ):
        labels.frame(0)


def test_jpeg_masks_are_cut_at_the_middle(tmp_path):
    mask = halves(255, 0)
    save(tmp_path / "images/0.jpg", COLOUR)
    path = save(tmp_path / "masks/0.jpg", np.repeat(mask[..., None], 3, axis=-1), quality=80)
    assert len(np.unique(np.asarray(Image.open(path)))) > 2
    labels = open_stack(tmp_path).annotation()
    assert labels.kind is LabelKind.CLASSES
    assert np.array_equal(labels.frame(0), mask // 255)


def test_ids_in_one_piece_are_instances(tmp_path):
    ids = np.zeros((24, 32), np.uint16)
    for k in range(6):
        ids[2 + 10 * (k // 3) :, 10 * (k % 3) : 10 * (k % 3) + 8] = k + 1
    save(tmp_path / "images/0.png", GREY)
    save(tmp_path / "masks/0.tif", ids)
    labels = open_stack(tmp_path).annotation()
    assert labels.kind is LabelKind.INSTANCES
    assert np.array_equal(labels.frame(0), ids)


def test_ids_in_many_pieces_are_classes(tmp_path):
    mask = np.zeros((24, 32), np.uint8)
    mask[::4, ::4], mask[2::4, 2::4] = 1, 2
    save(tmp_path / "images/0.png", GREY)
    save(tmp_path / "masks/0.png", mask)
    labels = open_stack(tmp_path).annotation()
    assert labels.kind is LabelKind.CLASSES
    assert np.array_equal(labels.frame(0), mask)


def test_field_of_view_of_drive(tmp_path):
    save(tmp_path / "images/21_training.tif", COLOUR)
    save(tmp_path / "1st_manual/21_manual1.gif", halves(255, 0))
    view = np.full((24, 32), 255, np.uint8)
    view[:, :4] = 0
    save(tmp_path / "mask/21_training_mask.gif", view)
    stack = open_stack(tmp_path)
    labels = stack.annotation().frame(21)
    assert (labels[:, :4] == UNKNOWN).all()
    assert np.array_equal(labels[:, 4:], halves(1, 0)[:, 4:])
    assert annotated_frames(stack)[0].image.shape == (24, 32, 3)


def test_sizes_may_differ_from_frame_to_frame(tmp_path):
    for name, rows in (("a", 24), ("b", 20)):
        save(tmp_path / f"images/{name}.png", COLOUR[:rows])
        save(tmp_path / f"masks/{name}.png", halves(0, 255)[:rows])
    frames = annotated_frames(open_stack(tmp_path))
    assert [frame.labels.shape for frame in frames] == [(24, 32), (20, 32)]


def test_mask_of_another_size_is_named(tmp_path):
    save(tmp_path / "images/a.png", GREY)
    save(tmp_path / "masks/a.png", halves(0, 255)[:9])
    with pytest.raises(ValueError, match=r"labels have shape \(9, 32\), the image has \(24, 32\)"):
        annotated_frames(open_stack(tmp_path))


def test_mask_without_an_image_is_named(tmp_path):
    save(tmp_path / "images/cell_1.png", GREY)
    save(tmp_path / "masks/cell_1.png", halves(0, 255))
    save(tmp_path / "masks/cell_7.png", halves(0, 255))
    stack = open_stack(tmp_path)
    assert stack.frame(1).shape == (24, 32), "a mask is no reason not to segment the images"
    with pytest.raises(ValueError, match=r"masks has cell_7\.png but .* has no image of this name"):
        annotated_frames(stack)


def test_truncated_image_is_named(tmp_path):
    path = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image"):
        open_stack(tmp_path).frame(0)


def test_grey_among_colours_is_named(tmp_path):
    save(tmp_path / "a.png", COLOUR)
    save(tmp_path / "b.png", GREY)
    with pytest.raises(
        ValueError, match=r"b\.png is grey, the first image of the folder is colour"
    ):
        open_stack(tmp_path).frame(1)


def test_opening_reads_no_mask_and_one_image_header(tmp_path):
    for n in range(3):
        save(tmp_path / f"images/{n}.png", GREY)
        save(tmp_path / f"masks/{n}.png", halves(0, 255))
    for path in (*(tmp_path / "images").iterdir(), *(tmp_path / "masks").iterdir()):
        if path != tmp_path / "images/0.png":
            path.write_bytes(b"rubbish")
    assert len(open_stack(tmp_path)) == 3


@pytest.mark.parametrize(
    ("folder", "count", "kind", "values"),
    [
        ("lines-ellipses", 100, LabelKind.CLASSES, {0, 1, 2}),
        ("DRIVE/training", 20, LabelKind.CLASSES, {UNKNOWN, 0, 1}),
        ("Kvasir-SEG", 3, LabelKind.CLASSES, {0, 1}),
    ],
)
def test_real_folders(shared_data, folder, count, kind, values):
    stack = open_stack(shared_data / folder)
    labels = stack.annotation()
    assert len(stack) == len(labels.frame_numbers) == count
    assert labels.kind is kind
    assert set(np.unique(labels.frame(stack.frame_numbers[-1]))) == values


def save_parts(root, **classes):
    """Save parts of one colour image each; the colours of a mask are those of its halves."""
    for part, colours in classes.items():
        save(root / part / "images/a.png", COLOUR)
        save(root / part / "masks/a.png", striped(*colours))


class TestParts:
    """Train, valid and test side by side."""

    def test_a_stack_opens_again_by_its_own_path_and_sequence(self, tmp_path):
        save_parts(tmp_path, train=(RED, GREEN), valid=(GREEN, BLACK))
        stack = open_stack(tmp_path, sequence="valid")
        again = open_stack(stack.path, sequence=stack.sequence)
        assert (again.name, again.sequence) == (stack.name, "valid")
        assert (again.frame(again.frame_numbers[0]) == stack.frame(stack.frame_numbers[0])).all()
        with pytest.raises(ValueError, match="has no sequences"):
            open_stack(stack.path, sequence="train")

    def test_each_is_a_sequence(self, tmp_path):
        save_parts(tmp_path, test=(RED, RED), train=(RED, GREEN), valid=(GREEN, BLACK))
        assert sequences(tmp_path) == ("train", "valid", "test")
        assert open_stack(tmp_path).sequence == "train"
        stack = open_stack(tmp_path, sequence="valid")
        assert stack.name == f"{tmp_path.name} valid"
        assert annotated_frames(stack)[0].name == "valid/t000"

    @pytest.mark.parametrize("path", ["", "valid"])
    def test_a_colour_is_the_same_class_in_each(self, tmp_path, path):
        save_parts(tmp_path, train=(RED, GREEN), valid=(RED, BLACK))
        stack = open_stack(tmp_path / path, sequence=None if path else "valid")
        assert set(np.unique(stack.annotation().frame(0))) == {0, 2}, "green comes before red"

    def test_the_division_is_kept(self, tmp_path):
        save_parts(tmp_path, train=(RED, GREEN), valid=(GREEN, BLACK), test=(RED, RED))
        frames = training_frames(tmp_path)
        assert [(f.name, f.role) for f in frames] == [
            ("train/t000", "training"),
            ("valid/t000", "validation"),
        ]
        assert [f.role for f in training_frames(tmp_path, sequence="test")] == [""]
        assert [f.role for f in training_frames(tmp_path / "train")] == [""]

    def test_one_that_is_not_there(self, tmp_path):
        save_parts(tmp_path, train=(RED, GREEN))
        with pytest.raises(ValueError, match=r"no sequence 'test'; it has train"):
            open_stack(tmp_path, sequence="test")


class TestLegend:
    """Names and colours of classes."""

    def test_colours_have_names(self, tmp_path):
        save_parts(tmp_path, train=(RED, (1, 2, 3)))
        frame = annotated_frames(open_stack(tmp_path))[0]
        expected = (("background", "#000000"), ("#010203", "#010203"), ("red", "#ff0000"))
        assert frame.classes == expected

    def test_grey_masks_have_none(self, tmp_path):
        save(tmp_path / "images/a.png", GREY)
        save(tmp_path / "masks/a.png", halves(0, 255))
        assert open_stack(tmp_path).annotation().classes == ()


def test_one_image_in_two_formats_is_no_two_frames(tmp_path):
    for name in ("a.png", "a.tif", "b.png"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"holds a\.png and a\.tif, which would be two frames"):
        open_stack(tmp_path)
    (tmp_path / "a.tif").unlink()
    assert len(open_stack(tmp_path)) == 2
