"""The result layers, apart from the widget that fills them."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.data import array_stack
from napari_jnet.events import FramePrediction
from napari_jnet.plugin.predict.results import add_results

LEGEND = (("background", "#000000"), ("line", "#00ff00"), ("ellipse", "#ff0000"))


def predicted(classes: np.ndarray | None) -> FramePrediction:
    zeros = np.zeros((8, 9), np.float32)
    return FramePrediction(1, 1, 2, zeros, zeros, zeros.astype(np.int32), classes, LEGEND)


@pytest.fixture
def viewer():
    model = ViewerModel()
    model.add_image(np.random.default_rng(0).random((2, 8, 9)), name="movie")
    return model


def add(viewer, before=None):
    image = viewer.layers["movie"]
    return add_results(viewer, before, image, array_stack(image.data), 5.0, "model")


def test_classes_get_a_layer_with_their_colours_and_names(viewer):
    results = add(viewer)
    assert "classes" not in viewer.layers
    classes = np.arange(72).reshape(8, 9).astype(np.uint8) % 3
    results.write(predicted(classes), 0.5)
    layer = viewer.layers["classes"]
    np.testing.assert_array_equal(layer.data[1], classes)
    assert not layer.data[0].any()
    assert layer.colormap.map(2).tolist() == pytest.approx([1, 0, 0, 1])
    assert list(layer.features["class"]) == ["background", "line", "ellipse"]
    np.testing.assert_array_equal(results.prediction(1).classes, classes)


def test_two_classes_have_no_layer_of_their_own(viewer):
    results = add(viewer)
    results.write(predicted(None), 0.5)
    assert [layer.name for layer in viewer.layers][1:] == ["segmentation", "distance", "cells"]
    assert results.prediction(1).classes is None


def test_the_layer_goes_with_the_others(viewer):
    first = add(viewer)
    first.write(predicted(np.ones((8, 9), np.uint8)), 0.5)
    image = viewer.layers["movie"]
    second = add_results(viewer, first, image, array_stack(image.data), 5.0, "another model")
    assert second is not first
    assert "classes" not in viewer.layers
