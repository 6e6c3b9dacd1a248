"""Layers that lie on an image lie on it wherever it is: moved, turned, stretched, sheared."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image

from napari_jnet.events import Preview
from napari_jnet.plugin.jobs.measure import measuring
from napari_jnet.plugin.jobs.predict import draw_region, make_request
from napari_jnet.plugin.jobs.train import PreviewLayer
from napari_jnet.plugin.layers.add import (
    Prediction,
)
from napari_jnet.plugin.layers.read import image_stack, pixel_size, placement, world_matrix
from napari_jnet.plugin.workspace import Workspace

TURNED = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
MOVED = np.eye(4)
MOVED[1, 3], MOVED[2, 3] = 50, -7
ODD = MOVED.copy()
ODD[1, 1], ODD[2, 1] = 1.2, 0.3
PLACES = {
    "moved": {"affine": MOVED},
    "odd": {"affine": ODD, "scale": (2, 0.5, 0.5), "translate": (1, 2, 3), "rotate": TURNED},
    "sheared": {"scale": (2, 0.5, 0.25), "shear": [0.1, 0, 0.2], "translate": (1, 2, 3)},
    "flipped": {"scale": (1, -0.5, 0.5)},
}


@pytest.fixture(params=PLACES)
def image(request):
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((3, 20, 24)), **PLACES[request.param])
    return viewer, layer


def same_place(one, other, *points):
    for point in points:
        np.testing.assert_allclose(one.data_to_world(point), other.data_to_world(point), atol=1e-9)


def test_annotation_and_results_lie_on_the_image(image):
    viewer, layer = image
    workspace = Workspace(viewer)
    made = [
        workspace.new_annotation(),
        *Prediction(viewer, layer, image_stack(layer), 5.0).layers,
    ]
    made.append(draw_region(viewer, layer))
    for other in made:
        same_place(layer, other, (0, 0, 0), (2, 5, 9))


def test_a_preview_lies_on_its_plane(image):
    viewer, layer = image
    preview = PreviewLayer(viewer, layer)
    shown = np.zeros((20, 24), np.float32)
    viewer.dims.set_point(0, layer.data_to_world((2, 10, 12))[0])
    preview.follow()
    preview.read()
    preview.show(Preview(shown, shown, 1))
    for point in ((0, 3), (19, 0)):
        place = layer.data_to_world((2, *point))
        np.testing.assert_allclose(
            viewer.layers["preview"].data_to_world((0, *point)), place, atol=1e-9
        )
    PreviewLayer(viewer, viewer.add_image(np.zeros((3, 20, 24))))
    assert np.allclose(viewer.layers["preview"].affine.affine_matrix, np.eye(4))


def test_a_plane_lies_where_the_layer_shows_it(image):
    _, layer = image
    flat = Image(np.zeros((20, 24)), **placement(layer, (2,), (-2, -1)))
    for point in ((0, 0), (3, 0), (7, 11)):
        place = np.asarray(layer.data_to_world((2, *point)))[-2:]
        np.testing.assert_allclose(flat.data_to_world(point), place, atol=1e-9)


def test_a_drawn_region_is_in_pixels_of_the_image(image):
    viewer, layer = image
    region = draw_region(viewer, layer)
    corners = np.array([[0, 4, 6], [0, 4, 12], [0, 10, 12], [0, 10, 6]], float)
    region.add_rectangles(corners)
    viewer.dims.set_point(0, layer.data_to_world((0, 10, 12))[0])
    rows, columns = make_request("region", Workspace(viewer), layer, image_stack(layer)).region
    assert (rows, columns) == (slice(4, 11), slice(6, 13))


def test_pixel_sizes_are_those_in_the_world():
    def sizes(**options):
        return pixel_size(Image(np.zeros((20, 24)), **options))

    assert sizes(affine=np.diag([0.5, 0.25, 1])) == (0.5, 0.25)
    assert sizes(scale=(-0.5, 0.5)) == (0.5, 0.5)
    assert sizes(scale=(2, 3), rotate=30) == (2, 3)
    mixed = Image(np.zeros((3, 20, 24)), scale=(500, 0.1, 0.1), units=("nm", "um", "um"))
    assert pixel_size(mixed, mixed.units[-1]) == (0.5, 0.1, 0.1)
    stack = image_stack(Image(np.zeros((3, 20, 24)), scale=(1, -0.5, 0.5)))
    assert stack.scale == (1, 0.5, 0.5)


def test_measured_cells_lie_where_they_are_shown():
    labels = np.zeros((20, 24), int)
    labels[4:7, 8:11] = 1
    layer = Image(labels, scale=(0.5, 0.5), rotate=90, affine=MOVED[1:, 1:])
    job = measuring(labels, None, ((0, 0),), pixel_size(layer), world_matrix(layer, 2), {})
    frame, _ = job()
    (cell,) = frame.objects
    assert cell.area == pytest.approx(9 / 4)
    np.testing.assert_allclose(cell.centroid, layer.data_to_world((5, 9)), atol=1e-9)


def test_placement_says_everything():
    layer = Image(np.zeros((3, 20, 24)), units=("s", "um", "um"), axis_labels=("t", "y", "x"))
    told = placement(layer)
    assert told["axis_labels"] == ("t", "y", "x")
    assert [str(unit) for unit in told["units"]] == ["second", "micrometer", "micrometer"]
