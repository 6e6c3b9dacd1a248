"""The starter in the window: cells before anything is painted or trained, at a diameter that one can drag."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_jnet.io.run_folder import PACKAGED
from napari_jnet.plugin.guidance import workflow_state
from napari_jnet.plugin.jobs.predict import circle_diameter, circle_layer
from napari_jnet.plugin.layers.read import image_stack
from napari_jnet.plugin.pages.predict import PredictWidget
from napari_jnet.project.project import Project
from napari_jnet.synthetic import varied_cells

TIMEOUT = 120_000
DIAMETER = "prediction.diameter"


@pytest.fixture
def widget(qtbot, viewer_model):
    viewer_model.layers.clear()
    images = [varied_cells((150, 180), diameter=24.0, seed=seed)[0] for seed in (1, 2)]
    viewer_model.add_image(np.stack(images), name="nuclei")
    widget = PredictWidget(viewer_model)
    qtbot.addWidget(widget)
    widget.resize(410, 1400)
    widget.show()
    return widget


def predict(qtbot, widget):
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        widget.predict_button.click()
    return signal.args[0]


def test_it_finds_cells_where_there_is_no_model_and_shows_the_diameter_that_it_estimates(
    qtbot, widget
):
    assert widget._workspace.model is None
    assert "starter" in widget.form.description.text()
    assert widget.form[DIAMETER].native.isVisibleTo(widget)
    assert predict(qtbot, widget) == "done"
    assert widget._workspace.model == PACKAGED["starter"]
    assert widget.form["model"].line_edit.value == "starter"
    assert widget.results.cells.data.max() > 5
    estimated = widget.form.value(DIAMETER)
    assert 15 < estimated < 40
    assert f"estimated: {estimated:g} px" in widget.message.text
    before = widget.results
    assert predict(qtbot, widget) == "done"  # at the same diameter, not estimated again
    assert "estimated" not in widget.message.text and widget.results is before
    widget.form.set({DIAMETER: 35.0})
    assert predict(qtbot, widget) == "done"
    assert widget.results is not before and widget.results.dt_bound > before.dt_bound


def test_its_name_can_be_typed(widget):
    widget.form["model"].line_edit.value = "starter"
    assert widget._workspace.model == PACKAGED["starter"]
    assert workflow_state(widget._workspace).starter


def test_the_circle_and_the_number_are_one(qtbot, viewer_model, widget):
    layers = len(viewer_model.layers)
    widget.form.circle_button.click()
    layer = circle_layer(viewer_model)
    assert layer is not None and circle_diameter(layer) == pytest.approx(30)
    widget.form.set({DIAMETER: 50.0})
    assert circle_diameter(layer) == pytest.approx(50)
    middle = np.asarray(layer.data[0]).mean(axis=0)
    dragged = middle + 0.5 * (np.asarray(layer.data[0]) - middle)
    dragged[:, 0] = middle[0]
    layer.data = [dragged]
    assert widget.form.value(DIAMETER) == pytest.approx(25)
    widget.form.circle_button.click()
    assert circle_layer(viewer_model) is None and len(viewer_model.layers) == layers


def test_the_button_of_the_circle_is_released_where_there_is_none(viewer_model, widget):
    widget.form.circle_button.click()
    viewer_model.layers.remove(circle_layer(viewer_model))
    assert not widget.form.circle_button.isChecked()
    viewer_model.layers.clear()
    widget.form.circle_button.click()
    assert "no image" in widget.message.text and not widget.form.circle_button.isChecked()


def test_what_is_copied_from_it_is_learned_by_it_and_the_project_remembers_it(qtbot, widget):
    predict(qtbot, widget)
    widget.copy_to_annotation()
    workspace = widget._workspace
    assert workspace.annotation is not None and workspace.annotation.data.max() > 5
    workspace.autosave.ensure_project()
    workspace.autosave.wait()
    project = Project.open(workspace.project.path)
    assert project.model == PACKAGED["starter"] == workspace.own_model
    assert str(PACKAGED["starter"]) not in (project.path / "project.json").read_text("utf-8")


def test_the_project_remembers_a_diameter_that_was_typed_dragged_or_emptied(
    qtbot, viewer_model, widget
):
    widget.form.set({DIAMETER: 35.0})  # before there is a project
    workspace = widget._workspace
    workspace.new_annotation().paint((0, 60, 60), 1)
    assert workspace.autosave.flush()
    path = workspace.project.path
    assert Project.open(path).diameter == 35
    widget.form.circle_button.click()
    layer = circle_layer(viewer_model)
    middle = np.asarray(layer.data[0]).mean(axis=0)
    layer.data = [middle + (np.asarray(layer.data[0]) - middle) * 2]
    assert workspace.autosave.flush()
    assert Project.open(path).diameter == pytest.approx(70)

    project, workspace.project = workspace.project, None
    again = PredictWidget(viewer_model)
    qtbot.addWidget(again)
    assert again.form.diameter is None
    workspace.project = project
    assert again.form.diameter == pytest.approx(70)
    again.form.set({DIAMETER: None})
    assert workspace.autosave.flush()
    assert Project.open(path).diameter is None


@pytest.mark.parametrize("between", [True, False])
def test_what_one_project_remembers_is_not_written_into_the_next(widget, tmp_path, between):
    workspace, stack = widget._workspace, image_stack(widget._workspace.image)
    first, second = (Project.create(tmp_path / name, stack, "instances") for name in "ab")
    workspace.project = first
    widget.form.set({DIAMETER: 70.0})
    widget.separation.set({"instances.min_size": 400})
    widget._save_sliders()
    workspace.autosave.queue.wait()
    assert first.diameter == 70 and first.instances.min_size == 400
    if between:  # an image without a project
        workspace.project = None
        assert widget.form.diameter is None
    workspace.project = second
    workspace.autosave.queue.wait()
    assert second.diameter is None and second.instances is None
    assert widget.form.diameter is None and widget.separation.config.instances.min_size == 0
    workspace.project = first
    assert widget.form.diameter == 70 and widget.separation.config.instances.min_size == 400


def test_a_diameter_that_is_half_typed_is_not_remembered(widget):
    widget.form.set({DIAMETER: 35.0})
    workspace = widget._workspace
    workspace.new_annotation().paint((0, 60, 60), 1)
    assert workspace.autosave.flush()
    widget.form.set({DIAMETER: 1.0})
    assert workspace.autosave.flush()
    assert Project.open(workspace.project.path).diameter == 35


def test_its_card_is_shown(qtbot, widget):
    dialog = widget.form.show_card()
    qtbot.addWidget(dialog)
    assert "Not for" in dialog.findChild(type(dialog.layout().itemAt(0).widget())).toPlainText()
    dialog.close()


def test_another_model_has_no_diameter(tmp_path, widget):
    (tmp_path / "model.pt").write_bytes(b"a model")
    widget.set_model(tmp_path)
    assert not widget.form[DIAMETER].native.isVisibleTo(widget)
    assert not widget.form.circle_button.isVisibleTo(widget)
    assert widget.form.diameter is None
