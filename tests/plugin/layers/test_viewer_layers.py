"""Layers as the engine reads them: axes, colours, kinds of labels, lazy and partial ones."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.jobs.train import training_input
from napari_jnet.plugin.layers.read import (
    class_options,
    current_index,
    image_stack,
    layer_classes,
    plane,
)


def pair(shape=(3, 8, 9), **options):
    image = Image(np.arange(np.prod(shape), dtype=np.uint16).reshape(shape), name="movie")
    return image, Labels(np.zeros(shape, np.int32), name="truth", **options)


def test_only_annotated_frames_are_read():
    image, labels = pair()
    labels.data[1, 2:4, 2:4] = 7
    (frame,) = training_input(image, labels, LabelKind.INSTANCES).frames()
    assert frame.name == "movie/t001"
    assert frame.kind is LabelKind.INSTANCES
    np.testing.assert_array_equal(frame.image, image.data[1])
    np.testing.assert_array_equal(frame.labels, labels.data[1])


def test_a_binary_mask_of_another_program_is_not_taken_for_cells():
    mask = np.zeros((2, 32, 32), np.uint8)
    mask[:, 2:30:8, 4:8], mask[:, 2:30:8, 16:24] = 255, 255
    image, labels = Image(np.zeros((2, 32, 32), np.uint8)), Labels(mask)
    with pytest.raises(ValueError, match=r"look like classes .* step Annotate, under Meaning"):
        training_input(image, labels, LabelKind.INSTANCES).frames()
    assert len(training_input(image, labels, LabelKind.CLASSES).frames()) == 2
    labels.metadata["napari-jnet"] = {"kind": "instances"}
    assert len(training_input(image, labels, LabelKind.INSTANCES).frames()) == 2


def test_scribbles_leave_the_rest_unknown():
    image, labels = pair()
    labels.data[2, 0, 0], labels.data[2, 1, 1] = 1, 2
    (frame,) = training_input(image, labels, LabelKind.SCRIBBLES).frames()
    assert (frame.labels[0, 0], frame.labels[1, 1], frame.labels[5, 5]) == (0, 1, UNKNOWN)
    assert frame.kind is LabelKind.CLASSES


def test_partial_frames_and_frame_numbers_come_from_the_reader():
    told = {"frame_numbers": [4, 7, 9], "sequence": "01", "digits": 3}
    image, labels = pair(metadata={"napari-jnet": {**told, "partial": {7}}})
    image.metadata["napari-jnet"] = told
    labels.data[:, 2, 2] = 3
    frames = training_input(image, labels, LabelKind.INSTANCES).frames()
    assert [frame.name for frame in frames] == ["01/t004", "01/t007", "01/t009"]
    assert [frame.labels[0, 0] for frame in frames] == [0, UNKNOWN, 0]
    stack = image_stack(image)
    assert (stack.frame_numbers, stack.sequence) == ((4, 7, 9), "01")
    np.testing.assert_array_equal(stack.frame(7), image.data[1])


def test_lazy_layers_are_read_frame_by_frame():
    read = []

    def block(block_id):
        read.append(block_id[0])
        return np.full((1, 8, 9), block_id[0], np.uint8)

    chunks = ((1,) * 5, (8,), (9,))
    lazy = da.map_blocks(block, chunks=chunks, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    image = Image(lazy, name="movie", contrast_limits=(0, 5))
    painted = np.zeros((5, 8, 9), np.int32)
    painted[3] = 1
    labels = Labels(painted, name="truth")
    taken = training_input(image, labels, LabelKind.INSTANCES)
    read.clear()
    (frame,) = taken.frames()
    assert set(read) == {3}
    assert (frame.image == 3).all()


@pytest.mark.parametrize(
    ("shape", "labels_text", "axes"),
    [((8, 9), None, "TYX"), ((3, 8, 9), "zyx", "ZYX"), ((2, 3, 8, 9), "tzyx", "TZYX")],
)
def test_planes_and_volumes_are_named(shape, labels_text, axes):
    options = {} if labels_text is None else {"axis_labels": tuple(labels_text)}
    image = Image(np.zeros(shape), name="a", **options)
    labels = Labels(np.zeros(shape, np.int32), name="b", **options)
    labels.data[..., 2, 2] = 1
    stack = image_stack(image)
    assert stack.axes == axes
    assert stack.frame(0).shape == (shape if len(shape) == 2 else shape[1:])
    frames = training_input(image, labels, LabelKind.INSTANCES).frames()
    assert len(frames) == int(np.prod(shape[:-2]))
    assert len({frame.name for frame in frames}) == len(frames)


def test_colours_stay_last():
    image = Image(np.zeros((2, 8, 9, 3), np.uint8), name="a", rgb=True)
    labels = Labels(np.ones((2, 8, 9), np.int32), name="b")
    assert image_stack(image).axes == "TYXC"
    frames = training_input(image, labels, LabelKind.INSTANCES).frames()
    assert [frame.image.shape for frame in frames] == [(8, 9, 3)] * 2


def test_layers_that_do_not_fit_are_refused_in_words():
    image, labels = pair()
    with pytest.raises(ValueError, match="are empty; paint at least one cell"):
        training_input(image, labels, LabelKind.INSTANCES).frames()
    with pytest.raises(ValueError, match=r"8 × 9.*3 × 8 × 9.*same pixels"):
        training_input(image, Labels(np.ones((8, 9), int)), LabelKind.INSTANCES)
    labels.data[0, 0, 0] = -3
    with pytest.raises(ValueError, match=r"movie/t000.*-3.*repaint"):
        training_input(image, labels, LabelKind.INSTANCES).frames()
    with pytest.raises(ValueError, match="at most time and depth"):
        image_stack(Image(np.zeros((2, 2, 2, 8, 9))))


def test_the_shown_plane_follows_scale_and_offset():
    viewer = ViewerModel()
    lies = {"scale": (2, 0.5, 0.5), "translate": (10, 0, 0)}
    image = viewer.add_image(np.arange(5 * 64).reshape(5, 8, 8), **lies)
    viewer.dims.set_point(0, 16)
    assert current_index(viewer, image) == (3,)
    np.testing.assert_array_equal(plane(image)((3,)), image.data[3])


def test_names_and_colours_of_classes_reach_the_training() -> None:
    legend = (("background", "#000000"), ("line", "#ff0000"), ("ellipse", "#00ff00"))
    painted = np.zeros((2, 8, 8), np.int32)
    painted[0, 2:4] = 1
    image = Image(np.random.default_rng(0).random((2, 8, 8)))
    labels = Labels(painted, **class_options(legend))
    assert layer_classes(labels) == legend
    frames = training_input(image, labels, LabelKind.CLASSES).frames()
    assert frames[0].classes == legend
    assert training_input(image, labels, LabelKind.INSTANCES).frames()[0].classes == ()
    assert training_input(image, Labels(painted), LabelKind.CLASSES).frames()[0].classes == ()


def test_frames_are_named_as_on_the_command_line(tmp_path):
    """A run that was begun in the window goes on there: it asks for its frames by name."""
    from napari.layers import Image, Labels

    from napari_jnet.io.stack import annotated_frames
    from napari_jnet.project.project import Project

    volumes = np.random.default_rng(0).normal(size=(3, 12, 16, 16)).astype(np.float32)
    painted = np.zeros(volumes.shape, np.int32)
    painted[1, 10, 4:8, 4:8] = 1
    layer = Image(volumes, name="embryo", axis_labels=("t", "z", "y", "x"))
    project = Project.create(tmp_path / "project", image_stack(layer), LabelKind.INSTANCES)
    project.write_frame(1, painted[1])
    layer.name = "renamed"
    data = training_input(layer, Labels(painted), LabelKind.INSTANCES)
    data = replace(data, stack=replace(data.stack, name=project.stack.name))
    there = [frame.name for frame in annotated_frames(project.open_stack(), "painted")]
    (here,) = (frame.name for frame in data.frames())
    assert here == "embryo/t001 z10"
    assert here in there
