"""The result layers, apart from the widget that fills them."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.events import FramePrediction
from napari_jnet.io.axes import array_stack
from napari_jnet.plugin.layers.add import ModelOutputs, add_results
from napari_jnet.plugin.pages.predict import PredictionSummary

LEGEND = (("background", "#000000"), ("line", "#00ff00"), ("ellipse", "#ff0000"))


def predicted(classes: np.ndarray | None) -> FramePrediction:
    zeros = np.zeros((8, 9), np.float32)
    return FramePrediction(1, 1, 2, zeros, zeros, zeros.astype(np.int32), classes, LEGEND)


@pytest.fixture
def viewer():
    model = ViewerModel()
    model.add_image(np.random.default_rng(0).random((2, 8, 9)), name="movie")
    return model


def add(viewer, before=None, outputs=None):
    image = viewer.layers["movie"]
    stack = array_stack(image.data)
    return add_results(viewer, before, image, stack, 5.0, "model", outputs=outputs)


def test_classes_get_a_layer_with_their_colours_and_names(viewer):
    results = add(viewer, outputs=ModelOutputs(3, True, LEGEND))
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


def test_a_relative_distance_is_shown_as_a_fraction_and_kept_as_it_is(viewer):
    results = add(viewer, outputs=ModelOutputs(relative=True))
    found = np.linspace(0, 5, 72, dtype=np.float32).reshape(8, 9)
    results.write(dataclasses.replace(predicted(None), distance=found), 0.5)
    layer = viewer.layers["distance"]
    np.testing.assert_allclose(layer.data[1], found / 5)
    assert layer.contrast_limits == [0, 1]
    np.testing.assert_array_equal(results.maps(1)[1], found)
    np.testing.assert_array_equal(results.prediction(1).distance, found)  # what is exported


def test_the_layer_goes_with_the_others(viewer):
    first = add(viewer, outputs=ModelOutputs(3, True, LEGEND))
    first.write(predicted(np.ones((8, 9), np.uint8)), 0.5)
    image = viewer.layers["movie"]
    second = add_results(viewer, first, image, array_stack(image.data), 5.0, "another model")
    assert second is not first
    assert "classes" not in viewer.layers


def test_classes_are_seen_first_and_cells_do_not_lie_over_them(viewer):
    results = add(viewer, outputs=ModelOutputs(3, True, LEGEND))
    results.write(predicted(np.ones((8, 9), np.uint8)), 0.5)
    seen = {layer.name: layer.visible for layer in results.layers}
    assert seen == {"segmentation": False, "distance": False, "cells": False, "classes": True}


def test_a_network_without_distance_has_no_layer_of_it(viewer):
    outputs = ModelOutputs(distance=False)
    results = add(viewer, outputs=outputs)
    results.write(predicted(None), 0.5)
    assert [layer.name for layer in viewer.layers][1:] == ["segmentation", "cells"]
    assert results.layers == (results.segmentation, results.cells)
    assert results.distance is None
    assert add(viewer, results, outputs) is results
    assert not results.prediction(1).distance.any()  # what is exported, as before


def test_what_was_found_is_said_in_cells_or_in_pieces():
    summary = PredictionSummary(device="CPU", frames=2, cells=3)
    assert summary.text() == "3 cells in 2 frames, on the CPU."
    summary.objects, summary.cells = "separate piece", 1
    assert summary.text() == "1 separate piece in 2 frames, on the CPU."
