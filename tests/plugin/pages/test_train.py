"""Train, in a real viewer_model and by its buttons: every way a training begins and ends."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QFormLayout, QWidget

from napari_jnet.config import Config, preset
from napari_jnet.events import Message
from napari_jnet.hardware import Hardware
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.predict import PredictWidget
from napari_jnet.plugin.pages.train import TrainWidget
from napari_jnet.plugin.pages.train_form import TrainForm
from napari_jnet.plugin.workspace import Lifetime

TIMEOUT = 60_000


@pytest.fixture
def widget(viewer_model, qtbot, small):
    widget = TrainWidget(viewer_model)
    qtbot.addWidget(widget)
    widget.set_values(epochs=2, changes=small)
    return widget


@pytest.fixture
def docked(viewer, small):
    """Return the widget in a dock of a window."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-jnet", "Train")
    widget.set_values(epochs=2, changes=small)
    return widget


def click(qtbot, button):
    assert button.isEnabled()
    button.click()


def buttons(widget):
    return widget.train_button.isEnabled(), widget.stop_button.isVisibleTo(widget)


def runs(viewer):
    """Return the folders of the runs of the project."""
    return [run.path for run in open_workspace(viewer).project.runs()]


def train(qtbot, widget):
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        click(qtbot, widget.train_button)
    assert not widget.stop_button.isVisibleTo(widget)
    return signal.args[0]


def attempt(qtbot, widget):
    """Start by script what the button may refuse."""
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        widget.start()
    return signal.args[0]


def test_the_active_layers_are_chosen_and_held_by_reference(viewer_model, widget):
    assert widget.image_combo.currentText() == "movie"
    viewer_model.add_image(np.zeros((4, 64, 64)), name="other")
    assert widget.image_combo.currentText() == "other"  # the new layer is the active one
    widget.image_combo.set_layer(viewer_model.layers["movie"])
    viewer_model.layers["movie"].name = "renamed"
    viewer_model.layers.move(0, 3)
    viewer_model.layers.selection.active = viewer_model.layers["other"]
    assert widget.image_combo.currentText() == "renamed"
    viewer_model.layers.remove("renamed")
    assert widget.image_combo.currentText() == "other"


def test_two_epochs_train_and_hand_the_model_to_predict(qtbot, viewer_model, widget):
    predict = PredictWidget(viewer_model)
    qtbot.addWidget(predict)
    assert train(qtbot, widget) == "done"
    (run,) = runs(viewer_model)
    assert (run / "model.pt").is_file()
    assert predict.form.value("model") == run
    assert widget.plot.points("training")[0] == [1, 2]
    assert len(widget.plot.points("validation")[0]) == 2
    assert "epoch 2" in widget.score_line.text()
    assert "CPU" in widget.device_line.text()
    assert not widget.message.is_error
    assert buttons(widget) == (True, False)
    assert train(qtbot, widget) == "done"
    assert len(runs(viewer_model)) == 2  # nothing is overwritten


def test_the_preview_lies_on_the_frame_that_is_shown(qtbot, viewer_model, widget):
    viewer_model.dims.set_current_step(0, 2)
    assert train(qtbot, widget) == "done"
    preview = viewer_model.layers["preview"]
    assert preview.data.shape == (1, 64, 64)
    assert tuple(preview.scale) == (1, 3, 3)
    assert preview.translate[0] == 2
    assert 0 <= preview.data.min() <= preview.data.max() <= 1
    assert widget.image_combo.currentText() == "movie"  # results are no input


def test_stop_leaves_a_model_that_can_go_on(qtbot, viewer_model, widget):
    widget.set_values(epochs=1000)
    click(qtbot, widget.train_button)
    qtbot.waitUntil(lambda: buttons(widget) == (False, True), timeout=TIMEOUT)
    assert widget.pause_button.isVisibleTo(widget)
    assert not widget.train_button.isVisibleTo(widget)
    qtbot.waitUntil(lambda: len(widget.plot.points("training")[0]) >= 1, timeout=TIMEOUT)
    assert buttons(widget) == (False, True)
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        click(qtbot, widget.stop_button)
    assert signal.args == ["stopped"]
    (run,) = runs(viewer_model)
    assert (run / "last.pt").is_file()
    done = len(widget.plot.points("training")[0])
    qtbot.waitUntil(lambda: widget.resume_button.isVisibleTo(widget), timeout=TIMEOUT)
    click(qtbot, widget.resume_button)
    epochs = widget.plot.points("training")[0]
    qtbot.waitUntil(lambda: len(epochs) > done, timeout=TIMEOUT)
    assert epochs == list(range(1, len(epochs) + 1))  # those before are drawn again
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT):
        click(qtbot, widget.stop_button)
    assert runs(viewer_model) == [run]


def test_fine_tuning_starts_from_the_model_that_predicts(
    qtbot, viewer_model, widget, trained_run, tmp_path
):
    state = open_workspace(viewer_model)
    state.choose_model(trained_run)
    widget.set_values(changes={"training.patch_size": 16})
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        click(qtbot, widget.fine_tune_button)
    assert signal.args == ["done"]
    (tmp_path / "mine.pt").write_bytes(b"no model")
    state.choose_model(tmp_path / "mine.pt")
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        click(qtbot, widget.fine_tune_button)
    assert signal.args == ["failed"]
    assert "mine.pt" in widget.message.text


def empty(viewer_model):
    viewer_model.layers["truth"].data = np.zeros((4, 64, 64), np.int32)


def negative(viewer_model):
    labels = viewer_model.layers["truth"].data.copy()
    labels[labels == 1] = -5
    viewer_model.layers["truth"].data = labels


def another_size(viewer_model):
    viewer_model.layers["truth"].data = np.ones((4, 32, 32), np.int32)


def no_labels(viewer_model):
    viewer_model.layers.remove("truth")


def no_image(viewer_model):
    viewer_model.layers.remove("movie")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (empty, "empty; paint at least one cell"),
        (negative, "repaint these pixels"),
        (another_size, "4 × 32 × 32"),
        (no_labels, "add a labels layer"),
        (no_image, "no image"),
    ],
)
def test_bad_labels_are_said_in_words(qtbot, viewer_model, widget, spoil, words):
    spoil(viewer_model)
    assert attempt(qtbot, widget) == "failed"
    assert widget.message.is_error
    assert words in widget.message.text


def test_one_annotated_frame_trains_with_a_notice(qtbot, viewer_model, widget):
    labels = viewer_model.layers["truth"].data.copy()
    labels[1:] = 0
    viewer_model.layers["truth"].data = labels
    assert train(qtbot, widget) == "done"
    assert "kept for validation" in widget.message.text


def test_an_error_inside_torch_frees_the_buttons(qtbot, viewer_model, widget, monkeypatch):
    import napari_jnet.training.loop

    def broken(*_, **__):
        raise RuntimeError("CUDA error: out of luck")
        yield

    monkeypatch.setattr(napari_jnet.training.loop, "train", broken)
    assert train(qtbot, widget) == "failed"
    assert "out of luck" in widget.message.text
    monkeypatch.undo()
    assert train(qtbot, widget) == "done"


def test_a_problem_while_training_is_shown_as_an_error_until_it_is_over(widget):
    widget.monitor.take(Message("One frame is skipped."))
    widget.monitor.take(Message("last.pt cannot be written.", "saving", is_problem=True))
    assert widget.message.is_error
    assert widget.message.text == "One frame is skipped.\nlast.pt cannot be written."
    widget.monitor.take(Message("It is saved again.", "saving"))
    assert not widget.message.is_error
    assert widget.message.text == "One frame is skipped.\nIt is saved again."


def test_closing_the_viewer_while_training_leaves_no_thread(qtbot, viewer, docked):
    widget = docked
    widget.set_values(epochs=1000)
    click(qtbot, widget.train_button)
    qtbot.waitUntil(lambda: len(widget.plot.points("training")[0]) >= 1, timeout=TIMEOUT)
    (run,) = runs(viewer)
    viewer.close()
    assert QThreadPool.globalInstance().waitForDone(5000)
    assert (run / "last.pt").is_file()


def test_closing_the_dock_stops_the_training(qtbot, viewer, docked):
    widget = docked
    widget.set_values(epochs=1000)
    click(qtbot, widget.train_button)
    qtbot.waitUntil(lambda: len(widget.plot.points("training")[0]) >= 1, timeout=TIMEOUT)
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        viewer.window.remove_dock_widget(widget)
    assert signal.args == ["stopped"]
    assert (runs(viewer)[0] / "last.pt").is_file()


def test_the_kind_of_labels_is_explained(viewer_model, widget):
    said = set()
    for kind in LabelKind:
        open_workspace(viewer_model).frames.set_kind(kind)
        said.add(widget.form.kind_line.text())
    assert len(said) == 3


def test_the_network_form_gives_the_configuration(widget):
    widget.set_values(network="jnet", minutes=0.5, changes={})
    config = widget.form.training_config()
    assert config.network.name == "jnet"
    assert (config.training.minutes, config.training.epochs) == (0.5, None)
    assert config.targets.dt_bound is None
    assert config.training.threads >= 1
    with pytest.raises(ValueError, match="must be one of unet, jnet"):
        widget.set_values(network="vgg")


def test_a_model_keeps_what_nobody_chose(qtbot):
    """What the form only proposes is not asked of a model to fine-tune."""
    holders = QWidget(), QWidget()
    for holder in holders:
        qtbot.addWidget(holder)
    viewer_model = ViewerModel()  # of which the session keeps a weak reference
    form = TrainForm(*map(QFormLayout, holders), open_workspace(viewer_model), Lifetime())
    tuned = form.training_config(fine_tune=True)
    assert tuned.training.learning_rate == 0.5 * Config().training.learning_rate
    assert not [k for k in tuned.given_settings() if k.startswith(("network.", "targets."))]
    form.set({"network.channels": 32})
    form.set_values(minutes=5.0, changes={"training.seed": 0})
    given = form.training_config(fine_tune=True).given_settings()
    assert (given["network.channels"], given["training.minutes"]) == (32, 5.0)
    assert given["training.seed"] == 0 and "network.name" not in given
    assert set(form.computer().given_settings()) == {"training.threads"}
    form.set_values(changes={"training.device": "cpu"})
    assert form.computer().training.device == "cpu"
    form.set_values(network="jnet")
    assert form.training_config(fine_tune=True).given_settings()["network.name"] == "jnet"


def test_sizes_that_were_chosen_stand_in_the_command(widget):
    form = widget.form
    workspace = widget._workspace
    workspace.annotation.data_setitem((np.array([0]), np.array([5]), np.array([5])), 9)
    assert workspace.autosave.flush()
    form.set_hardware(Hardware(device="cuda", cores=4, memory_gb=24))
    widget.set_values(budget="long", changes={})
    own = preset("unet")
    chosen = {
        "training.batch_size": own.training.batch_size,
        "training.patch_size": own.training.patch_size,
        "network.channels": own.network.channels,
    }
    form.set(chosen)  # as the preset, not as the hardware
    command = form.command()
    for name, value in chosen.items():
        assert f"--set {name}={value}" in command
    assert "training.seed" not in command


def test_options_follow_preset_and_time_until_somebody_chooses(qtbot, widget):
    form = widget.form
    form["training.batch_size"].value = 7
    form.set_hardware(Hardware(device="cuda", cores=4, memory_gb=24))
    widget.set_values(budget="long", changes={})
    config = form.training_config()
    assert (config.training.batch_size, config.network.channels) == (7, 64)
    form["network"].value = "jnet"
    assert not form["network.channels"].native.isVisibleTo(widget)
    form["network"].value = "original"
    config = form.training_config()
    assert (config.training.batch_size, config.targets.dt_bound) == (8, 9.0)
    assert config.training.learning_rate == 1e-4
    form["targets.dt_bound"].native.setText("0")
    with pytest.raises(ValueError, match="dt_bound is 0"):
        form.training_config()
