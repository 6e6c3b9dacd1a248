"""What labels mean is decided from all of them, said, or asked: never guessed from one."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_jnet.io.meaning import StoredLabels
from napari_jnet.io.stack import AmbiguousInput, annotated_frames
from napari_jnet.labels import UNKNOWN, LabelKind, known_labels
from napari_jnet.project.open import open_stack, training_frames
from napari_jnet.project.project import Project

SIDE = 48
EMPTY = np.zeros((SIDE, SIDE), np.uint16)


def cells(count=9, dtype=np.uint16):
    """Discs with numbers of their own, from 1."""
    labels = np.zeros((SIDE, SIDE), dtype)
    y, x = np.mgrid[:SIDE, :SIDE]
    for k in range(count):
        row, column = 8 + 16 * (k // 3), 8 + 16 * (k % 3)
        labels[(y - row) ** 2 + (x - column) ** 2 <= 36] = k + 1
    return labels


def areas(*values, dtype=np.uint8):
    """Stripes of a few values, each in several pieces."""
    rows = np.arange(SIDE) // 4 % (2 * len(values))
    chosen = np.where(rows % 2, 0, np.take(values, rows // 2))
    return np.repeat(chosen[:, None], SIDE, axis=1).astype(dtype)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array, photometric="minisblack" if array.shape[-1] != 3 else None)
    return path


def volume(tmp_path, labels, name="w_masks.tif"):
    labels = np.stack(labels) if isinstance(labels, list) else labels
    image = np.random.default_rng(0).integers(0, 255, labels.shape).astype(np.uint8)
    write(tmp_path / name, labels)
    return write(tmp_path / "w.tif", image)


def masks(tmp_path, labels, suffix=".tif"):
    for k, mask in enumerate(labels):
        write(tmp_path / f"images/a{k}.png", np.full((SIDE, SIDE), k, np.uint8))
        write(tmp_path / f"masks/a{k}{suffix}", mask)
    return tmp_path


BOTH = pytest.mark.parametrize("place", [volume, masks])


@BOTH
@pytest.mark.parametrize(
    ("labels", "kind", "values"),
    [
        ([cells(), cells(1), cells(7)], LabelKind.INSTANCES, 9),
        ([cells(1), cells(7), cells(1)], LabelKind.INSTANCES, 7),
        ([300 * cells(2)], LabelKind.INSTANCES, 600),
        ([areas(255)], LabelKind.CLASSES, 1),
        ([areas(65535, dtype=np.uint16)], LabelKind.CLASSES, 1),
        ([(cells(1) > 0) * np.uint16(65535)], LabelKind.CLASSES, 1),
        ([areas(1)], LabelKind.CLASSES, 1),
        ([areas(7, dtype=np.uint16)], LabelKind.CLASSES, 1),
        ([areas(1) + np.uint8(1)], LabelKind.CLASSES, 1),
        ([areas(1, 2, 3), areas(3)], LabelKind.CLASSES, 3),
        ([areas(10, 20, 40), areas(20)], LabelKind.CLASSES, 3),
    ],
)
def test_decided(tmp_path, place, labels, kind, values):
    found = open_stack(place(tmp_path, labels)).annotation()
    assert found.kind is kind
    assert found.reason
    assert max(found.frame(n).max() for n in found.frame_numbers) == values
    assert min(found.frame(n).min() for n in found.frame_numbers) == 0


@BOTH
@pytest.mark.parametrize("labels", [[cells(1)] * 3, [cells(3)] * 2, [7 * cells(1)]])
def test_unsure_is_asked_and_answered(tmp_path, place, labels):
    path = place(tmp_path, labels)
    with pytest.raises(AmbiguousInput, match=r"masks.* --kind: instances .* or classes") as caught:
        annotated_frames(open_stack(path))
    assert caught.value.parameter == "kind"
    for choice in caught.value.choices:
        found = open_stack(path, kind=choice).annotation()
        assert found.kind.value == choice
        assert found.frame(found.frame_numbers[0]).max() == (
            labels[0].max() if choice == "instances" else len(np.unique(labels)) - 1
        )


def test_strokes_may_be_scribbles(tmp_path):
    strokes = EMPTY.copy()
    strokes[10:40:8, 3:12], strokes[12:40:8, 30:40] = 1, 2
    path = volume(tmp_path, [strokes])
    with pytest.raises(AmbiguousInput, match="scribbles") as caught:
        annotated_frames(open_stack(path))
    assert "scribbles" in caught.value.choices
    labels = open_stack(path, kind="scribbles").annotation().frame(0)
    assert np.array_equal(labels, np.where(strokes == 0, UNKNOWN, strokes.astype(int) - 1))


def test_one_number_a_mask_in_two_conventions_is_asked(tmp_path):
    path = masks(tmp_path, [areas(1), areas(255)])
    with pytest.raises(AmbiguousInput, match="one of the numbers 1, 255 in each frame"):
        annotated_frames(open_stack(path))


@BOTH
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (cells() + np.uint16(1), "no background.*save it as 0"),
        (np.where(cells() == 0, 255, cells()).astype(np.uint8), "255, which may be .*unknown"),
        (np.where(np.arange(SIDE) < 4, 65535, cells()).astype(np.uint16), "65535, which may be"),
        (
            np.where(np.arange(SIDE) < 4, 255, areas(1, 2)).astype(np.uint8),
            "2 numbers and 255, which",
        ),
    ],
)
def test_background_or_unknown_may_have_a_number(tmp_path, place, labels, said):
    path = place(tmp_path, [labels])
    with pytest.raises(AmbiguousInput, match=said):
        annotated_frames(open_stack(path))
    assert open_stack(path, kind="classes").annotation().frame(0).min() == 0


def test_one_value_in_every_pixel_tells_nothing(tmp_path):
    with pytest.raises(ValueError, match="holds 200 in every pixel"):
        annotated_frames(open_stack(masks(tmp_path, [np.full((SIDE, SIDE), 200, np.uint8)])))


def test_whole_numbers_may_be_stored_as_floats(tmp_path):
    found = open_stack(volume(tmp_path, [cells().astype(np.float32)])).annotation()
    assert np.array_equal(found.frame(0), cells())


def test_labels_of_other_axes_are_named(tmp_path):
    path = masks(tmp_path, [np.stack([cells()] * 5)])
    with pytest.raises(
        ValueError, match=r"a0\.tif has shape \(5, 48, 48\); labels of this stack have 2"
    ):
        annotated_frames(open_stack(path))


def test_a_kind_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="kind is 'cells'; labels are instances, classes, scr"):
        open_stack(volume(tmp_path, [cells()]), kind="cells")


class TestNumbers:
    """Values that a program has written."""

    def test_classes_are_numbered_without_gaps_and_say_so(self, tmp_path):
        found = open_stack(masks(tmp_path, [areas(64, 255), areas(128)])).annotation()
        assert "64 = 1, 128 = 2, 255 = 3" in found.reason
        assert [name for name, _ in found.classes] == [
            "background", "label 64", "label 128", "label 255",
        ]  # fmt: skip
        assert np.unique(found.frame(0)).tolist() == [0, 1, 3]

    def test_more_classes_than_anybody_means_are_refused(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE)).astype(np.uint8)
        path = masks(tmp_path, [noise])
        with pytest.raises(ValueError, match=r"different numbers, more than 64 classes.*instances"):
            annotated_frames(open_stack(path))
        with pytest.raises(ValueError, match="more than 64 classes"):
            annotated_frames(open_stack(path, kind="classes"))

    @pytest.mark.parametrize(
        ("dtype", "offset"), [(np.uint32, 2**31), (np.uint64, 2**62), (np.int64, 2**40)]
    )
    def test_ids_beyond_32_bits_are_numbered_anew(self, tmp_path, dtype, offset):
        large = np.where(cells() > 0, cells().astype(dtype) + dtype(offset), dtype(0))
        found = open_stack(volume(tmp_path, [large])).annotation()
        assert found.kind is LabelKind.INSTANCES
        assert np.array_equal(found.frame(0), cells())

    @pytest.mark.parametrize("low", [-1, 0])
    def test_numbering_anew_keeps_unknown_and_background(self, low):
        labels = np.array([low, 2**40, 2**40 + 3, 5])
        assert known_labels(labels, LabelKind.INSTANCES).tolist() == [low, 2, 3, 1]
        with pytest.raises(ValueError, match=str(2**40 + 3)):
            known_labels(labels, LabelKind.CLASSES)

    def test_minus_one_is_background_or_unknown_by_the_word_of_somebody(self, tmp_path):
        labels = np.where(cells() == 0, -1, cells().astype(np.int32))
        path = volume(tmp_path, [labels])
        with pytest.raises(AmbiguousInput, match="-1 may be background or unknown") as caught:
            annotated_frames(open_stack(path))
        assert caught.value.parameter == "unlabelled"
        background = open_stack(path, unlabelled="background").annotation().frame(0)
        assert np.array_equal(background, cells())
        assert np.array_equal(open_stack(path, unlabelled="unknown").annotation().frame(0), labels)

    @pytest.mark.parametrize("place", [masks, volume])
    @pytest.mark.parametrize("said", [None, "background"])
    def test_a_frame_of_unknown_pixels_is_no_frame_without_objects(self, tmp_path, place, said):
        first, unknown = cells().astype(np.int32), np.full((SIDE, SIDE), -1, np.int32)
        stored = [first, unknown, first]
        path = place(tmp_path, stored if place is masks else np.stack(stored))
        found = open_stack(path, unlabelled=said).annotation()
        assert (found.frame_numbers, found.ignored, found.empty) == ((0, 2), (1,), frozenset())

    def test_minus_one_beside_0_is_unknown(self, tmp_path):
        labels = cells().astype(np.int32)
        labels[:3] = UNKNOWN
        assert np.array_equal(open_stack(volume(tmp_path, [labels])).annotation().frame(0), labels)


class TestColours:
    """Masks of red, green and blue."""

    def packed(self, ids):
        return np.stack([ids & 255, ids >> 8, ids >> 16], axis=-1).astype(np.uint8)

    def test_ids_in_colours_are_cells(self, tmp_path):
        ids = np.where(cells() > 0, cells().astype(np.int64) * 99 + 7, 0)
        found = open_stack(masks(tmp_path, [self.packed(ids)], ".png")).annotation()
        assert found.kind is LabelKind.INSTANCES
        assert len(np.unique(found.frame(0))) == 10
        assert (found.frame(0) > 0).sum() == (cells() > 0).sum()

    def test_small_ids_in_one_channel_are_not_taken_for_grey(self, tmp_path):
        ids = np.where(cells() > 0, cells().astype(np.int64) % 3 + 256 * cells(), 0)
        found = open_stack(masks(tmp_path, [self.packed(ids)], ".png")).annotation()
        assert len(np.unique(found.frame(0))) == 10

    def test_a_palette_that_shows_two_ids_alike_keeps_them_apart(self, tmp_path):
        for name in ("images/a.png", "masks/a.png"):
            (tmp_path / name).parent.mkdir()
        picture = Image.fromarray(cells(9, np.uint8))
        picture.putpalette([0, 0, 0] + [255, 0, 0, 0, 255, 0] * 100)
        picture.save(tmp_path / "masks/a.png")
        write(tmp_path / "images/a.png", np.zeros((SIDE, SIDE), np.uint8))
        found = open_stack(tmp_path).annotation()
        assert found.kind is LabelKind.INSTANCES
        assert np.array_equal(found.frame(0), cells())

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_background_of_a_palette_is_its_first_number(self, tmp_path, suffix):
        shown = np.random.default_rng(1).integers(20, 255, (256, 3)).astype(np.uint8)
        write(tmp_path / "images/a.png", np.zeros((SIDE, SIDE), np.uint8))
        (tmp_path / "masks").mkdir()
        if suffix == ".png":
            picture = Image.fromarray(cells(9, np.uint8))
            picture.putpalette(shown.ravel().tolist())
            picture.save(tmp_path / "masks/a.png")
        else:
            table = shown.T.astype(np.uint16) * 257
            options = {"photometric": "palette", "colormap": table}
            tifffile.imwrite(tmp_path / "masks/a.tif", cells(9, np.uint8), **options)
        assert np.array_equal(open_stack(tmp_path).annotation().frame(0), cells())

    def test_a_volume_may_be_in_colours(self, tmp_path):
        colours = np.random.default_rng(2).integers(30, 255, (10, 3)).astype(np.uint8)
        colours[0] = 0
        write(tmp_path / "w.tif", np.zeros((2, SIDE, SIDE), np.uint8))
        labels = colours[np.stack([cells(), cells(6)])]
        tifffile.imwrite(tmp_path / "w_masks.tif", labels, photometric="rgb")
        found = open_stack(tmp_path / "w.tif").annotation()
        assert [len(np.unique(found.frame(n))) for n in (0, 1)] == [10, 7]

    def test_few_colours_in_one_piece_are_asked(self, tmp_path):
        colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8)
        masks(tmp_path, [colours[cells(2)]], ".png")
        with pytest.raises(AmbiguousInput, match="2 colours"):
            annotated_frames(open_stack(tmp_path))
        assert open_stack(tmp_path, kind="classes").annotation().kind is LabelKind.CLASSES


class TestFrames:
    """Which frames are annotated."""

    def test_pages_without_labels_are_not(self, tmp_path):
        path = volume(tmp_path, [cells(), EMPTY, EMPTY, EMPTY, cells()])
        found = open_stack(path).annotation()
        assert (found.kind, found.frame_numbers, found.ignored) == (
            LabelKind.INSTANCES, (0, 4), (1, 2, 3),
        )  # fmt: skip
        assert "not used, as nothing is labelled: 3 (1 to 3)" in found.summary()
        assert len(annotated_frames(open_stack(path))) == 2
        complete = open_stack(path, unlabelled="background").annotation()
        assert complete.frame_numbers == (0, 1, 2, 3, 4)
        assert complete.empty == {1, 2, 3}
        assert not complete.frame(1).any()

    def test_planes_without_labels_are_unknown(self, tmp_path):
        labels = np.zeros((2, 3, SIDE, SIDE), np.uint16)
        labels[0, 1] = cells()
        image = np.zeros(labels.shape, np.uint8)
        metadata = {"axes": "TZYX"}
        tifffile.imwrite(tmp_path / "w.tif", image, imagej=True, metadata=metadata)
        tifffile.imwrite(tmp_path / "w_labels.tif", labels, imagej=True, metadata=metadata)
        found = open_stack(tmp_path / "w.tif").annotation()
        assert found.frame_numbers == (0,)
        assert (found.frame(0)[[0, 2]] == UNKNOWN).all()
        assert np.array_equal(found.frame(0)[1], cells())

    def test_a_mask_file_without_labels_says_that_there_are_no_cells(self, tmp_path):
        path = masks(tmp_path, [cells(), EMPTY])
        found = open_stack(path).annotation()
        assert (found.frame_numbers, found.empty) == ((0, 1), {1})
        assert open_stack(path, unlabelled="unknown").annotation().frame_numbers == (0,)

    @BOTH
    def test_nothing_in_any_frame_is_refused(self, tmp_path, place):
        stack = open_stack(place(tmp_path, [EMPTY] * 3))
        assert len(stack) == 3
        with pytest.raises(ValueError, match="holds no label in any frame"):
            annotated_frames(stack)

    def test_only_some_cells_may_be_labelled(self, tmp_path):
        found = open_stack(volume(tmp_path, [cells()]), unlabelled="unknown").annotation()
        assert found.partial == {0}
        assert set(np.unique(found.frame(0))) == {UNKNOWN, *range(1, 10)}


class TestFiles:
    """Which files are labels."""

    def test_of_several_none_is_taken(self, tmp_path):
        other = cells(7)
        path = volume(tmp_path, [cells()])
        write(tmp_path / "w_cp_masks.tif", other[None])
        stack = open_stack(path)
        assert set(stack.annotations) == {"w_masks.tif", "w_cp_masks.tif"}
        with pytest.raises(AmbiguousInput, match=r"several labels: .*--truth w_") as caught:
            annotated_frames(stack)
        assert caught.value.parameter == "truth"
        for truth, labels in (("w_cp_masks.tif", other), ("w_masks.tif", cells())):
            assert np.array_equal(open_stack(path, truth=truth).annotation().frame(0), labels)
            assert np.array_equal(open_stack(tmp_path / truth).annotation().frame(0), labels)
            assert training_frames(path, annotation=truth)[0].labels.max() == labels.max()

    def test_folders_of_masks_are_asked_for_too(self, tmp_path):
        masks(tmp_path, [cells()])
        write(tmp_path / "labels/a0.tif", cells(7))
        with pytest.raises(AmbiguousInput, match="--truth"):
            open_stack(tmp_path).annotation()
        assert open_stack(tmp_path, truth="labels").annotation().frame(0).max() == 7
        assert open_stack(tmp_path / "labels").annotation().frame(0).max() == 7
        assert open_stack(tmp_path / "masks").annotation().frame(0).max() == 9

    def test_what_was_painted_comes_before_files(self, tmp_path):
        path = volume(tmp_path, [cells()])
        write(tmp_path / "w_cp_masks.tif", cells(7)[None])
        project = Project.create(tmp_path / "work", open_stack(path), "instances")
        project.write_frame(0, cells(5).astype(np.int32))
        assert open_stack(project.path).annotation().frame(0).max() == 5
        assert training_frames(project.path)[0].labels.max() == 5
        truth = training_frames(project.path, annotation="w_cp_masks.tif")
        assert truth[0].labels.max() == 7
        with pytest.raises(ValueError, match=r"'painted'.*instances\. Omit --kind"):
            training_frames(project.path, kind="classes")

    @pytest.mark.parametrize("names", [("a1", "a_mask1"), ("1", "1_gt"), ("x_001", "x_mask_001")])
    def test_masks_beside_images_may_be_numbered(self, tmp_path, names):
        for k in (1, 2):
            image, mask = (name.replace("1", str(k)) for name in names)
            write(tmp_path / f"{image}.png", np.full((SIDE, SIDE), k, np.uint8))
            write(tmp_path / f"{mask}.png", cells(7 + k, np.uint8))
        found = open_stack(tmp_path)
        assert len(found) == 2
        assert [found.annotation().frame(n).max() for n in found.frame_numbers] == [8, 9]

    def test_a_class_has_one_number_in_all_parts(self, tmp_path):
        for part, label in (("train", areas(50, 100)), ("valid", areas(100))):
            write(tmp_path / part / "a.png", np.zeros((SIDE, SIDE), np.uint8))
            write(tmp_path / part / "a_mask.png", label)
        frames = training_frames(tmp_path)
        assert [(f.role, f.labels.max()) for f in frames] == [("training", 2), ("validation", 2)]

    @pytest.mark.parametrize("where", ["elsewhere/truth.tif", "elsewhere"])
    def test_any_file_or_folder_may_be_the_truth(self, tmp_path, where):
        path = write(tmp_path / "w.tif", np.zeros((2, SIDE, SIDE), np.uint8))
        if where.endswith("tif"):
            write(tmp_path / where, np.stack([cells(), cells(7)]))
        else:
            write(tmp_path / where / "man_seg000.tif", cells())
            write(tmp_path / where / "man_seg001.tif", cells(7))
        found = open_stack(path, truth=tmp_path / where).annotation()
        assert [found.frame(n).max() for n in found.frame_numbers] == [9, 7]
        with pytest.raises(FileNotFoundError, match="nowhere is neither a path nor labels of w"):
            open_stack(path, truth="nowhere")

    @pytest.mark.parametrize("name", ["label-free_exp", "mask_07_day2", "segmented x", "seg1_raw"])
    def test_a_word_within_a_name_makes_no_labels(self, tmp_path, name):
        write(tmp_path / f"{name}.tif", np.ones((2, SIDE, SIDE), np.uint8))
        write(tmp_path / f"{name}_masks.tif", np.stack([cells(), cells()]))
        for path in (tmp_path, tmp_path / f"{name}.tif", tmp_path / f"{name}_masks.tif"):
            stack = open_stack(path)
            assert stack.path == tmp_path / f"{name}.tif"
            assert stack.annotation().frame(1).max() == 9

    def test_hidden_files_are_no_data(self, tmp_path):
        path = volume(tmp_path, [cells()])
        for name in ("._w_masks.tif", "._w.tif"):
            (tmp_path / name).write_bytes(b"\0\5\x16\7")
        for place in (path, tmp_path):
            assert open_stack(place).annotation().frame(0).max() == 9

    def test_damaged_labels_do_not_hinder_the_images(self, tmp_path):
        path = volume(tmp_path, [cells(), cells()])
        (tmp_path / "w_masks.tif").write_bytes(b"rubbish")
        stack = open_stack(path)
        assert stack.frame(1).shape == (SIDE, SIDE)
        with pytest.raises(ValueError, match="w_masks"):
            annotated_frames(stack)


class TestIsbi:
    """The names of a challenge promise nothing that the files deny."""

    def test_a_pixel_size_and_numbers_of_its_own(self, tmp_path):
        options = {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "TYX", "unit": "um"}}
        image = np.zeros((3, SIDE, SIDE), np.uint8)
        tifffile.imwrite(tmp_path / "train-volume.tif", image, **options)
        write(tmp_path / "train-labels.tif", np.stack([cells()] * 3))
        stack = open_stack(tmp_path)
        assert (stack.axes, stack.scale, stack.units[1]) == ("TYX", (1.0, 0.5, 0.5), "micrometer")
        assert stack.annotation().kind is LabelKind.INSTANCES

    def test_objects_beside_an_image_that_says_nothing(self, tmp_path):
        write(tmp_path / "train-volume.tif", np.zeros((3, SIDE, SIDE), np.uint8))
        write(tmp_path / "train-labels.tif", np.stack([cells(9, np.uint8)] * 3))
        stack = open_stack(tmp_path)
        assert stack.scale == (1.0, 1.0, 1.0)
        assert stack.annotation().frame(0).max() == 9


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_labels_are_decided_or_refused_in_a_sentence(data):
    """Whatever numbers, types and colours: one meaning, the same for all frames, or one sentence."""
    dtype = data.draw(st.sampled_from(list("?bBhHiIlLfd")))
    shape = data.draw(st.sampled_from([(6, 7), (1, 1), (2, 5, 6), (6, 7, 3)]))
    ndim = 2 if shape[-1] == 3 else len(shape)
    values = data.draw(
        st.lists(st.integers(-2, 9) | st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=6)
    )
    with np.errstate(all="ignore"):
        pool = np.array([float(v) if dtype in "fd" else v % 2**63 if v > 9 else v for v in values])
        pool = pool.astype(np.dtype(dtype))
    count = data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    images = {n: rng.choice(pool, shape) for n in range(count)}
    files = {n: functools.partial(images.__getitem__, n) for n in images}
    where = Path("labels.tif")
    stored = StoredLabels(
        "labels", where, lambda: files, lambda n: where, ndim=ndim, pages=data.draw(st.booleans())
    )
    kind = data.draw(st.sampled_from([None, *LabelKind]))
    unlabelled = data.draw(st.sampled_from([None, "background", "unknown"]))
    found = stored.annotation(kind, unlabelled)
    try:
        read = [found.frame(n) for n in found.frame_numbers]
        summary, legend = found.summary(), found.classes
    except ValueError as error:
        assert "labels.tif" in str(error) and "\n" not in str(error)
        return
    assert kind in (None, found.kind) and found.kind.value in summary
    assert set(found.frame_numbers) | set(found.ignored) == set(images)
    for labels in read:
        assert labels.dtype == np.int32 and labels.shape == shape[:ndim]
        assert labels.min() >= UNKNOWN
        assert not legend or labels.max() < len(legend)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.permutations(range(3)),
    st.permutations(range(1, 10)),
    st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]),
    st.booleans(),
)
def test_objects_are_objects_in_any_order_type_and_numbering(order, numbers, dtype, spread):
    """Nor do gaps between the numbers decide; areas of two classes are no objects in any order."""

    def decided(images):
        files = {n: functools.partial(images.__getitem__, k) for n, k in enumerate(order)}
        where = Path("labels.tif")
        stored = StoredLabels("labels", where, lambda: files, lambda n: where, ndim=2)
        return stored.annotation(None, None)

    renamed = np.array([0, *numbers]) * (13 if spread else 1)
    frames = [cells(count) for count in (9, 5, 2)]
    found = decided([renamed[frame].astype(dtype) for frame in frames])
    assert found.kind is LabelKind.INSTANCES
    for n, k in enumerate(order):
        read = found.frame(n)
        assert len(np.unique(read[frames[k] > 0])) == frames[k].max()
        np.testing.assert_array_equal(read > 0, frames[k] > 0)
    first, second = order.index(0) % 2 + 1, 2 - order.index(0) % 2
    stripes = [
        areas(first, dtype=dtype),
        areas(first, second, dtype=dtype),
        areas(second, dtype=dtype),
    ]
    assert decided(stripes).kind is LabelKind.CLASSES
