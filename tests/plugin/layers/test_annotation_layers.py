"""New labels to paint on, and the functions behind the buttons of Annotate."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.editing import copy_labels
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.frames import FrameInfo
from napari_jnet.plugin.layers.add import (
    UNKNOWN_COLOUR,
    annotation_options,
)
from napari_jnet.plugin.layers.edit import rest_is_background, rest_is_unknown
from napari_jnet.plugin.layers.read import layer_classes, network_classes
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.annotate import choose_next

CELLS, CLASSES, SCRIBBLES = LabelKind.INSTANCES, LabelKind.CLASSES, LabelKind.SCRIBBLES


@pytest.fixture
def viewer(viewer_model):
    """Return a viewer without a window."""
    return viewer_model


def plane(*rows):
    return np.array(rows, np.int32)


def test_a_new_annotation_lies_on_its_image_and_is_ready_to_paint(viewer):
    image = viewer.layers["movie"]
    image.metadata["napari-jnet"] = {"path": "/data/01", "frame_numbers": [2, 3, 5, 7], "digits": 3}
    state = open_workspace(viewer)
    layer = state.new_annotation()
    assert layer.data.shape == (4, 64, 64)
    assert layer.data.dtype == np.int32
    assert not layer.data.any()
    for name in ("scale", "translate", "units", "axis_labels"):
        assert tuple(getattr(layer, name)) == tuple(getattr(image, name))
    told = layer.metadata["napari-jnet"]
    assert told["kind"] == "instances"
    assert told["frame_numbers"] == [2, 3, 5, 7]
    assert told["path"] == "/data/01"
    assert state.annotation is layer
    assert viewer.layers.selection.active == layer
    assert (str(layer.mode), layer.brush_size, layer.selected_label) == ("paint", 3, 1)
    assert layer.preserve_labels
    assert state.new_annotation("scribbles").name != layer.name


def test_a_colour_image_gets_labels_without_colours(qapp):
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 16, 16, 3), np.uint8), rgb=True)
    assert open_workspace(viewer).new_annotation().data.shape == (3, 16, 16)


def test_without_an_image_there_is_nothing_to_annotate(qapp):
    with pytest.raises(ValueError, match="no image to annotate; open one"):
        open_workspace(ViewerModel()).new_annotation()


def test_unknown_has_one_colour_in_every_kind_and_no_cell_nearby_has_it(viewer):
    unknown = np.array([int(UNKNOWN_COLOUR[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    layer = open_workspace(viewer).new_annotation()
    for kind in LabelKind:
        layer.colormap = annotation_options(kind)["colormap"]
        np.testing.assert_allclose(layer.get_color(-1)[:3], unknown, atol=1e-3)
    layer.colormap = annotation_options(CELLS)["colormap"]
    cells = np.array([layer.get_color(n)[:3] for n in range(1, 500)])
    assert np.abs(cells - unknown).sum(1).min() > 0.05


def test_the_names_of_classes_come_back_from_the_layer(viewer):
    legend = (("not painted", "#000000"), ("background", "#112233"), ("nucleus", "#ff0000"))
    layer = open_workspace(viewer).new_annotation(SCRIBBLES, legend)
    assert layer_classes(layer) == legend
    assert network_classes(layer, SCRIBBLES) == legend[1:]
    assert network_classes(layer, CLASSES) == legend
    assert network_classes(layer, CELLS) == ()
    assert layer.selected_label == 2
    assert not layer.preserve_labels


@pytest.mark.parametrize(("side", "expected"), [(64, 3), (512, 10), (10_000, 40)])
def test_the_brush_suits_the_image(viewer, side, expected):
    open_workspace(viewer)
    labels, told = np.zeros((1, side, side + 7), np.uint8), {"napari-jnet": {"kind": "classes"}}
    assert viewer.add_labels(labels, metadata=told).brush_size == expected


def test_the_rest_becomes_unknown_or_background():
    painted = plane([0, 1, -1])
    assert rest_is_unknown(painted, CELLS).tolist() == [[-1, 1, -1]]
    assert rest_is_background(painted, CELLS).tolist() == [[0, 1, 0]]
    assert rest_is_background(plane([0, 2, -1, 1]), SCRIBBLES).tolist() == [[1, 2, 1, 1]]
    assert painted.tolist() == [[0, 1, -1]]


def test_the_rest_of_nothing_is_background_but_not_unknown():
    assert rest_is_background(plane([0, 0, -1]), CELLS).tolist() == [[0, 0, 0]]
    assert rest_is_background(plane([0, 0, -1]), SCRIBBLES).tolist() == [[1, 1, 1]]
    with pytest.raises(ValueError, match="paint a cell first"):
        rest_is_unknown(plane([0, 0, -1]), CELLS)


def test_scribbles_have_no_rest_to_make_unknown():
    with pytest.raises(ValueError, match="unknown already"):
        rest_is_unknown(plane([0, 2]), SCRIBBLES)


def test_copied_cells_keep_their_numbers_and_never_join_painted_ones():
    before = plane([1, 1, 0, 2, 2, 0], [1, 1, 0, 2, 2, 0], [0, 0, 0, 0, 0, 7])
    present = plane([0, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 2], [9, 0, 0, 0, 0, 0])
    new, count = copy_labels(present, before, CELLS)
    assert count == 3
    # 2 is painted elsewhere in this frame, so the copied one needs a new number
    assert new.tolist() == [[1, 1, 0, 10, 10, 2], [1, 1, 0, 10, 10, 2], [9, 0, 0, 0, 0, 7]]


def test_a_cell_that_is_painted_already_is_not_copied():
    before = plane([1, 1, 1, 1, 0, 3])
    new, count = copy_labels(plane([0, 5, 5, 0, 0, 0]), before, CELLS)
    assert (new.tolist(), count) == ([[0, 5, 5, 0, 0, 3]], 1)
    new, count = copy_labels(plane([0, 5, 5, 0, 6, 0]), before, CELLS, overwrite=True)
    assert (new.tolist(), count) == ([[1, 1, 1, 1, 6, 3]], 2)


def test_unknown_pixels_are_copied_and_not_painted_over():
    new, count = copy_labels(plane([0, -1, 0]), plane([-1, 1, 1]), CELLS)
    assert (new.tolist(), count) == ([[-1, -1, 0]], 0)  # half of cell 1 is unknown here
    new, count = copy_labels(plane([0, 0]), plane([0, 0]), CELLS)
    assert (new.tolist(), count) == ([[0, 0]], 0)


def test_classes_are_copied_pixel_by_pixel():
    new, count = copy_labels(plane([0, 2, 0, -1]), plane([1, 1, 0, 2]), CLASSES)
    assert (new.tolist(), count) == ([[1, 2, 0, -1]], 1)


@pytest.mark.parametrize(
    ("annotated", "shown", "scores", "unsure", "expected", "why"),
    [
        ((), 0, {}, {}, 3, "nothing is annotated"),
        ((0,), 0, {}, {}, 5, "farthest"),
        ((0, 5), 0, {}, {}, 2, "farthest"),
        ((0, 5), 2, {}, {}, 3, "farthest"),
        ((0,), 0, {}, {1: 0.2, 4: 0.7, 0: 0.9}, 5, "farthest"),
        ((), 0, {}, {0: 0.2, 1: 0.7}, 3, "nothing is annotated"),
        ((0,), 0, {2: 0.5, 3: 0.4}, {4: 0.7}, 3, "worst score, 0.40"),
        ((0, 1, 2, 3, 4, 5), 0, {2: 0.5, 0: 0.1}, {}, 2, "all frames are annotated; worst"),
        ((0, 1, 2, 3, 4, 5), 4, {}, {}, 4, "all frames are annotated"),
        ((0, 1, 2, 3, 4), 5, {}, {}, 5, "last frame without"),
    ],
)
def test_the_next_frame_is_the_worst_or_far_from_annotated_ones(
    annotated, shown, scores, unsure, expected, why
):
    infos = [
        FrameInfo(p, p, annotated=p in annotated, score=scores.get(p), uncertainty=unsure.get(p))
        for p in range(6)
    ]
    position, reason = choose_next(infos, shown)
    assert position == expected
    assert why in reason
