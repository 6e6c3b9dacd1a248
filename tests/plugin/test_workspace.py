"""What is true in one viewer: one image, one annotation, one model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.ui.widgets import LayerChoice, LayerCombo
from napari_jnet.plugin.workspace import Lifetime, SaveStatus, TrainingStatus


@pytest.fixture
def viewer(viewer_model):
    """Return a viewer without a window."""
    return viewer_model


@pytest.fixture
def state(viewer):
    return open_workspace(viewer)


def heard(signal):
    """Collect what a signal says."""
    said = []
    signal.connect(said.append)
    return said


def test_there_is_one_workspace_for_each_viewer(viewer, make_napari_viewer_proxy, state):
    assert open_workspace(viewer) is state
    proxy = make_napari_viewer_proxy()  # as plugins get it
    other = open_workspace(proxy)
    assert other is not state
    assert other is open_workspace(other.viewer)
    assert proxy.add_image(np.zeros((4, 64, 64)), name="image") is not other.image
    other.choose("image", proxy.layers["image"])
    assert other.image is other.viewer.layers["image"]


def test_the_active_layers_are_worked_on_until_one_is_chosen(viewer, state):
    assert state.image is viewer.layers["movie"]
    assert state.annotation is viewer.layers["truth"]
    other = viewer.add_image(np.zeros((4, 64, 64)), name="other")
    assert state.image is other
    assert state.annotation is viewer.layers["truth"]
    state.choose("image", viewer.layers["movie"])
    viewer.layers.selection.active = other
    assert state.image is viewer.layers["movie"]


def test_a_chosen_layer_that_is_gone_is_no_longer_chosen(viewer, state):
    other = viewer.add_labels(np.zeros((4, 64, 64), int), name="other")
    state.choose("annotation", viewer.layers["truth"])
    viewer.layers.remove("truth")
    assert state.annotation is other
    viewer.layers.remove("other")
    assert state.annotation is None


def test_results_are_nothing_to_work_on_but_cells_may_be_learned_from(viewer, state):
    made = {}
    for name in ("preview", "cells", "segmentation"):
        made[name] = viewer.add_labels(
            np.zeros((4, 64, 64), int), metadata={"napari-jnet": {"result": name}}
        )
        viewer.layers.selection.active = made[name]
    assert state.annotation is viewer.layers["truth"]
    assert [layer.name for layer in state.labels()] == ["truth", made["cells"].name]
    state.choose("annotation", made["cells"])
    assert state.annotation is made["cells"]


def test_a_layer_of_another_viewer_is_refused(viewer, state):
    from napari.layers import Image, Labels

    with pytest.raises(ValueError, match="cannot be the image; add it to the viewer"):
        state.choose("image", Image(np.zeros((4, 64, 64))))
    with pytest.raises(ValueError, match="cannot be the annotation"):
        state.choose("annotation", Labels(np.zeros((4, 64, 64), int)))
    assert state.image is viewer.layers["movie"]


def test_a_change_is_said_once_and_no_change_is_not_said(viewer, state):
    images, training = heard(state.image_changed), heard(state.training_changed)
    state.choose("image", viewer.layers["movie"])
    state.training = TrainingStatus()
    state.saving = SaveStatus()
    assert not images and not training
    state.training = TrainingStatus("running", epoch=3)
    state.training = TrainingStatus("running", epoch=3)
    assert training == [TrainingStatus("running", epoch=3)]


def test_a_model_is_said_again_because_its_file_may_be_new(state):
    models = heard(state.model_changed)
    state.set_model(Path("run"), state.annotation, state.project)
    state.set_model(Path("run"), state.annotation, state.project)
    assert models == ["run", "run"]


def test_going_to_a_frame_heeds_scale_and_place(viewer, state):
    layer = viewer.add_image(np.zeros((5, 8, 8)), scale=(2, 1, 1), translate=(10, 0, 0))
    state.choose("image", layer)
    state.go_to(3)
    assert viewer.dims.point[0] == 16
    state.go_to(0)
    assert viewer.dims.point[0] == 10


def test_all_combos_of_a_viewer_choose_together(viewer, state):
    lifetime = Lifetime()
    viewer.add_image(np.zeros((4, 64, 64)), name="other")
    one, other = (LayerCombo(state, "image", lifetime) for _ in range(2))
    told = []
    other.layer_changed.connect(lambda: told.append(other.currentText()))
    one.set_layer(viewer.layers["movie"])
    assert one.currentText() == other.currentText() == "movie"
    assert told == ["movie"]
    viewer.layers["movie"].name = "renamed"
    assert one.currentText() == other.currentText() == "renamed"
    assert told == ["movie"]  # the layer is still the same
    lifetime.end()


def test_a_choice_of_its_own_leaves_the_others_alone(viewer, state):
    lifetime = Lifetime()
    viewer.add_labels(np.zeros((4, 64, 64), int), name="result")
    choice = LayerChoice(state, state.labels, lifetime)
    assert choice.currentText() == "result"
    choice.set_layer(viewer.layers["truth"])
    assert choice.currentText() == "truth" and state.annotation.name == "result"
    viewer.layers.remove("truth")
    assert choice.currentText() == "result"
    with pytest.raises(ValueError, match=r"cannot be chosen here"):
        choice.set_layer(viewer.layers["movie"])
    lifetime.end()
