"""What the dimensions of a layer are: by its labels, by what somebody says, and what follows."""

import dask.array as da
import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_jnet.io.stack import AmbiguousInput
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.autosave.resume import stack_of
from napari_jnet.plugin.guidance import step_states, workflow_state
from napari_jnet.plugin.jobs.train import training_input
from napari_jnet.plugin.layers.add import Prediction
from napari_jnet.plugin.layers.read import (
    choose_axes,
    current_index,
    image_stack,
    layer_choices,
    spatial_shape,
    stored_axes,
)
from napari_jnet.plugin.layers.stack_layers import path_layers, project_layers
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.stack import ImageSection
from napari_jnet.plugin.workspace import Workspace
from napari_jnet.project.open import open_stack
from napari_jnet.project.project import Project


def film(shape):
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


@pytest.mark.parametrize(
    ("labels", "shape", "axes", "frames", "frame"),
    [
        ("tcyx", (3, 2, 16, 20), "TYXC", 3, (16, 20, 2)),
        ("ctyx", (2, 3, 16, 20), "TYXC", 3, (16, 20, 2)),
        ("czyx", (2, 3, 16, 20), "ZYXC", 3, (16, 20, 2)),
        ("cyx", (2, 16, 20), "TYXC", 1, (16, 20, 2)),
        (("Channel", "Time", "row", "col"), (2, 3, 16, 20), "TYXC", 3, (16, 20, 2)),
        ("tzyx", (3, 4, 16, 20), "TZYX", 3, (4, 16, 20)),
        (("", "z", "", ""), (3, 4, 16, 20), "TZYX", 3, (4, 16, 20)),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_labels_of_axes_are_believed(labels, shape, axes, frames, frame, lazy):
    array = film(shape)
    data = da.from_array(array, chunks=(1, *shape[1:])) if lazy else array
    layer = Image(data, name="a", axis_labels=tuple(labels))
    stack = image_stack(layer)
    assert (stack.axes, len(stack), stack.shape) == (axes, frames, frame)
    assert len(stack.scale) == len(stack.units) == len(axes.replace("C", ""))
    names = [str(name)[:1].lower() for name in labels]
    expected = array if frames == 1 else array.take(1, 0 if names[0] != "c" else 1)
    if "c" in names:
        channel = 0 if names[0] == "c" else names.index("c") - 1
        expected = np.moveaxis(expected, channel, -1)
    assert np.array_equal(stack.frame(min(1, frames - 1)), expected)


def test_four_dimensions_without_labels_are_asked_for():
    layer = Image(film((3, 2, 16, 20)), name="a")
    with pytest.raises(AmbiguousInput, match=r"3 × 2 × 16 × 20.*step Stack.*TZYX, TCYX") as caught:
        image_stack(layer)
    assert caught.value.choices == layer_choices(layer)
    with pytest.raises(ValueError, match="positions"):
        image_stack(Image(film((3, 2, 16, 20)), axis_labels=("p", "t", "y", "x")))
    with pytest.raises(ValueError, match="do not fit"):
        choose_axes(layer, "TYX")


def test_a_chosen_channel_axis_goes_first_and_labels_lie_on_the_image():
    viewer = ViewerModel()
    array = film((3, 2, 16, 20))
    layer = viewer.add_image(array, scale=(5, 1, 0.5, 0.5), units=("s", "pixel", "um", "um"))
    layer.translate = (7, 0, 3, 4)
    before = layer.data_to_world((2, 1, 4, 5))
    choose_axes(layer, "TCYX")
    assert layer.data.shape == (2, 3, 16, 20)
    assert [str(a) for a in layer.axis_labels] == ["c", "t", "y", "x"]
    after = layer.data_to_world((1, 2, 4, 5))
    np.testing.assert_allclose(np.asarray(after), np.asarray(before)[[1, 0, 2, 3]])
    stack = image_stack(layer)
    assert (stack.scale, stack.units[0]) == ((5, 0.5, 0.5), "second")
    assert stack.given_axes == "TCYX"
    state = Workspace(viewer)
    labels = state.new_annotation()
    assert labels.data.shape == spatial_shape(layer) == (3, 16, 20)
    for point in ((0, 0, 0), (2, 5, 9)):
        place = layer.data_to_world((0, *point))[1:]
        np.testing.assert_allclose(labels.data_to_world(point), place)
    state.go_to(2)
    assert current_index(viewer, layer) == current_index(viewer, labels) == (2,)
    labels.data[2, 4:8, 4:8] = 1
    (frame,) = training_input(layer, labels, LabelKind.INSTANCES).frames()
    np.testing.assert_array_equal(frame.image, np.moveaxis(array[2], 0, -1))
    results = Prediction(viewer, layer, stack, 5.0)
    assert results.cells.data.shape == (3, 16, 20)
    assert results.shown() == 2


def test_another_choice_is_of_the_image_as_it_came():
    array = film((3, 2, 16, 20))
    layer = Image(array, scale=(5, 2, 1, 1), name="a")
    choose_axes(layer, "TCYX")
    assert stored_axes(layer) == "TCYX"
    choose_axes(layer, "TZYX")
    assert stored_axes(layer) == "TZYX"
    assert tuple(layer.scale) == (5, 2, 1, 1)
    np.testing.assert_array_equal(layer.data, array)
    assert image_stack(layer).shape == (2, 16, 20)


def test_a_turned_image_with_channels_keeps_its_place():
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    place = {"rotate": np.eye(4), "translate": (1, 2, 3, 4), "scale": (2, 1, 0.5, 0.25)}
    place["rotate"][2:, 2:] = [[0.8, -0.6], [0.6, 0.8]]
    viewer = ViewerModel()
    layer = viewer.add_image(film((3, 2, 16, 20)), **place)
    before = np.asarray(layer.data_to_world((2, 1, 4, 5)))
    choose_axes(layer, "TCYX")
    np.testing.assert_allclose(layer.data_to_world((1, 2, 4, 5)), before[[1, 0, 2, 3]])
    labels = Workspace(viewer).new_annotation()
    np.testing.assert_allclose(labels.data_to_world((2, 4, 5)), before[[0, 2, 3]])


def test_a_file_with_channels_is_one_image_that_is_learned_from_whole(tmp_path):
    array = film((3, 2, 16, 20))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, imagej=True, metadata={"axes": "TCYX", "finterval": 4.0})
    ((data, options, _),) = path_layers(path)
    layer = ViewerModel().add_image(data, **options)
    stack = image_stack(layer)
    assert (stack.axes, stack.shape, stack.scale[0]) == ("TYXC", (16, 20, 2), 4.0)
    assert np.array_equal(stack.frame(1), open_stack(path).frame(1))
    project = Project.create(tmp_path / "project", stack_of(layer), "instances")
    assert project.stack.path == path
    image, labels = project_layers(project)
    assert image[0].shape == (2, 3, 16, 20)
    assert labels[0].shape == (3, 16, 20)
    assert labels[1]["axis_labels"] == ("t", "y", "x")


def test_what_is_said_in_the_window_is_kept_by_the_project(tmp_path):
    path = tmp_path / "a.tif"
    array = film((3, 2, 16, 20))
    tifffile.imwrite(path, array, photometric="minisblack")
    ((data, options, _),) = path_layers(path, axes="TCYX")
    layer = Image(data, **options)
    assert image_stack(layer).choices == {"axes": "TCYX"}
    chosen = Image(
        array, name="a", metadata={"napari-jnet": {"path": str(path), "format": "volume"}}
    )
    choose_axes(chosen, "TCYX")
    project = Project.create(tmp_path / "project", stack_of(chosen), "instances")
    assert (project.stack.path, project.stack.stored) == (path, False)
    assert Project.open(project.path).open_stack().frame(2).shape == (16, 20, 2)


def test_the_step_stack_asks_what_it_is(qtbot, make_napari_viewer):
    viewer = make_napari_viewer()
    state = open_workspace(viewer)
    from napari_jnet.plugin.workspace import Lifetime

    part = ImageSection(state, Lifetime())
    qtbot.addWidget(part)
    layer = viewer.add_image(np.zeros((3, 2, 16, 20), np.uint8), name="a")
    assert "3 × 2 × 16 × 20" in part.description.text()
    assert part.form.value("axes") == ""
    assert step_states(workflow_state(state))["stack"] == "next"
    with pytest.raises(ValueError, match="step Stack"):
        state.new_annotation()
    assert len(viewer.layers) == 1
    part.form.set({"axes": "TCYX"})
    assert (
        part.description.text() == "time, rows, columns, channels: 3 frames of 16 × 20 × 2, uint8"
    )
    assert step_states(workflow_state(state))["stack"] == "done"
    assert len(state.frames) == 3
    assert state.new_annotation().data.shape == (3, 16, 20)
    viewer.add_image(np.zeros((2, 2, 2, 16, 20), np.uint8), name="five")
    state.choose("image", viewer.layers["five"])
    assert step_states(workflow_state(state))["stack"] == "next"
    assert layer.data.shape == (2, 3, 16, 20)


def test_frames_and_sections_have_one_name_everywhere():
    viewer = ViewerModel()
    viewer.add_image(film((3, 16, 20)), name="a", axis_labels=("z", "y", "x"))
    state = Workspace(viewer)
    assert state.frames.frame_name(2) == "z002"
    choose_axes(viewer.layers["a"], "TYX")
    assert state.frames.frame_name(2) == "t002"
    viewer.layers["a"].metadata["napari-jnet"] |= {"digits": 4}
    assert state.frames.frame_name(2) == "t0002"
    viewer.add_labels(np.zeros((3, 16, 20), int))
    assert isinstance(viewer.layers[-1], Labels)
    assert state.frames.frame_name(2) == "t0002"
