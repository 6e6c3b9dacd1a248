"""What is done to the window in the wrong moment, and files that break: nothing painted is lost."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.stack import LoadWidget
from napari_jnet.plugin.pages.train import TrainWidget
from napari_jnet.plugin.workspace import Lifetime

TIMEOUT = 60_000


@pytest.fixture
def widget(viewer_model, qtbot, small):
    """Return the Train widget on four annotated frames."""
    widget = TrainWidget(viewer_model)
    qtbot.addWidget(widget)
    widget.set_values(epochs=2, changes=small)
    return widget


def click(qtbot, button):
    assert button.isEnabled()
    button.click()


def begin(qtbot, widget):
    """Start a long training; return when its first epoch is there."""
    widget.set_values(epochs=100_000)
    click(qtbot, widget.train_button)
    more_epochs(qtbot, widget)


def more_epochs(qtbot, widget):
    done = len(widget.plot.points("training")[0])
    qtbot.waitUntil(lambda: len(widget.plot.points("training")[0]) > done, timeout=TIMEOUT)


def ends(qtbot, widget, button):
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        click(qtbot, button)
    return signal.args[0]


@pytest.mark.parametrize("shape", [(2, 64, 64), (6, 64, 64), (4, 32, 32), (64, 64)])
def test_other_labels_put_into_the_layer_leave_what_was_painted_in_its_project(
    qtbot, viewer_model, widget, shape
):
    state, layer = open_workspace(viewer_model), viewer_model.layers["truth"]
    begin(qtbot, widget)
    project = state.project
    layer.data_setitem((np.array([3]), np.array([20]), np.array([21])), 9)
    layer.data = np.ones(shape, np.int32)
    more_epochs(qtbot, widget)  # it goes on with the frames that it has
    state.frames.wait()
    assert state.frames.annotated == tuple(range(1 if len(shape) == 2 else shape[0]))
    widget.check()
    assert any("pixels" in problem.text for problem in widget.problems.problems)
    layer.data_setitem(tuple(np.array([n]) for n in (0, 10, 10)[-len(shape) :]), 5)
    assert state.saving.failed
    assert "not saved: The labels 'truth' have" in state.saving.text
    assert ends(qtbot, widget, widget.stop_button) == "stopped"
    state.autosave.flush()
    assert project.annotated == (0, 1, 2, 3)
    assert project.read_frame(3)[20, 21] == 9
    assert project.read_frame(0).shape == (64, 64)


def test_labels_that_fit_again_get_a_project_of_their_own(viewer_model):
    state, layer = open_workspace(viewer_model), viewer_model.layers["truth"]
    layer.data_setitem((np.array([3]), np.array([20]), np.array([21])), 9)
    layer.data = np.ones((2, 64, 64), np.int32)
    layer.data = np.full((4, 64, 64), 3, np.int32)
    layer.data_setitem((np.array([1]), np.array([20]), np.array([21])), 2)
    assert state.autosave.flush()
    first, second = state.autosave.projects
    assert first.read_frame(3)[20, 21] == 9
    assert state.project is second
    assert second.read_frame(1)[20, 21] == 2
    assert second.read_frame(3)[20, 21] == 3


def test_a_folder_whose_first_image_is_truncated_is_refused_in_words(qtbot, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for number in range(3):
        tifffile.imwrite(tmp_path / f"t{number:03d}.tif", np.ones((64, 64), np.uint8))
    first = tmp_path / "t000.tif"
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    viewer = ViewerModel()
    widget = LoadWidget(viewer)
    qtbot.addWidget(widget)
    widget.set_path(tmp_path)
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        widget.load()
    assert signal.args == ["failed"]
    assert "t000.tif" in widget.message.text
    assert "truncated or damaged" in widget.message.text
    first.write_bytes(whole)  # mended: the same button works
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        widget.load()
    assert signal.args == ["done"]
    assert len(viewer.layers) == 1


def test_a_run_folder_that_is_gone_is_said_as_such(
    qtbot, viewer_model, widget, tmp_path, monkeypatch
):
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    state = open_workspace(viewer_model)
    begin(qtbot, widget)
    # renamed, not removed: the training writes into it meanwhile
    (state.project.path / "runs").rename(state.project.path / "gone")
    qtbot.waitUntil(lambda: "its folder does not exist" in widget.message.text, timeout=TIMEOUT)
    assert "The training goes on" in widget.message.text
    assert "Free some space" not in widget.message.text
    assert ends(qtbot, widget, widget.stop_button) == "failed"
    assert list(home.glob("*/**/model.pt")), "a recovery copy"
    assert str(home) in widget.message.text
    assert widget.train_button.isEnabled()


def test_a_layer_that_is_gone_is_called_by_its_name(viewer_model):
    image = viewer_model.layers["movie"]
    viewer_model.layers.remove(image)
    with pytest.raises(ValueError, match="'movie' cannot be the image"):
        open_workspace(viewer_model).choose("image", image)


def test_what_ends_with_a_widget_ends_though_qt_deleted_some_of_it():
    ended = []

    def deleted():
        raise RuntimeError("wrapped C/C++ object of type QTimer has been deleted")

    lifetime = Lifetime()
    lifetime.at_end(lambda: ended.append("first"))
    lifetime.at_end(deleted)
    lifetime.end()
    assert ended == ["first"]


def test_why_loading_failed_stays_when_the_path_was_looked_at_meanwhile(qtbot, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "t000.tif", np.ones((64, 64), np.uint8))
    viewer = ViewerModel()
    widget = LoadWidget(viewer)
    qtbot.addWidget(widget)
    widget.set_path(tmp_path)
    widget.show_error(ValueError("labels/t001.tif is damaged."))  # as if Load had been quicker
    qtbot.waitUntil(lambda: widget.form.description.text() != "", timeout=TIMEOUT)
    assert widget.message.text == "labels/t001.tif is damaged."
    widget.set_path(tmp_path / "nothing")
    qtbot.waitUntil(lambda: "nothing" in widget.form.question.text(), timeout=TIMEOUT)
    widget.set_path(tmp_path)
    qtbot.waitUntil(lambda: widget.form.question.text() == "", timeout=TIMEOUT)
    assert widget.message.text == "labels/t001.tif is damaged."
