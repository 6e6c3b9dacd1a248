"""Around a training: pause, paint meanwhile, compare with the model before, resume after a restart."""

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtWidgets import QApplication, QPushButton

from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.train import TrainWidget
from napari_jnet.project.project import Project

TIMEOUT = 60_000


@pytest.fixture
def widget(viewer_model, qtbot, small):
    """Return the Train widget on four frames of which the last is not painted."""
    widget = TrainWidget(viewer_model)
    qtbot.addWidget(widget)
    return prepared(viewer_model, widget, small)


@pytest.fixture
def docked(viewer, small):
    """Return the same in a dock of a window."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-jnet", "Train")
    return prepared(viewer, widget, small)


def prepared(viewer, widget, small):
    labels = viewer.layers["truth"].data.copy()
    labels[3] = 0
    viewer.layers["truth"].data = labels
    widget.set_values(epochs=2, changes=small)
    return widget


def click(qtbot, button):
    assert button.isEnabled()
    button.click()


def fix_button(widget, title):
    (button,) = (b for b in widget.problems.findChildren(QPushButton) if b.text() == title)
    return button


def run(qtbot, widget, button):
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        click(qtbot, button)
    return signal.args[0]


def begin(qtbot, widget):
    """Start a long training; return when its first epoch is there."""
    widget.set_values(epochs=100_000)
    click(qtbot, widget.train_button)
    qtbot.waitUntil(lambda: len(widget.plot.points("training")[0]) >= 1, timeout=TIMEOUT)


def test_a_training_is_paused_resumed_and_stopped_while_paused(qtbot, viewer_model, widget):
    state = open_workspace(viewer_model)
    begin(qtbot, widget)
    assert not widget.form.more_button.isVisibleTo(widget)  # the curves have the room
    click(qtbot, widget.pause_button)
    assert widget.paused
    assert state.training.state == "paused"
    assert widget.pause_button.text() == "Resume"
    done = len(widget.plot.points("training")[0])
    qtbot.waitUntil(lambda: "paused" in widget.progress.text(), timeout=TIMEOUT)
    click(qtbot, widget.pause_button)
    assert state.training.state == "running"
    qtbot.waitUntil(lambda: len(widget.plot.points("training")[0]) > done + 1, timeout=TIMEOUT)
    click(qtbot, widget.pause_button)
    assert run(qtbot, widget, widget.stop_button) == "stopped"
    assert (state.training.state, state.training.outcome) == ("idle", "stopped")
    assert (state.project.path / "runs" / "001" / "last.pt").is_file()
    assert not widget.pause_button.isVisibleTo(widget)


def test_a_script_may_close_the_window_when_a_training_ends(qtbot, viewer, docked):
    ends = []

    def close(outcome):
        viewer.close()
        ends.append(outcome)

    docked.finished.connect(close)
    click(qtbot, docked.train_button)
    qtbot.waitUntil(lambda: ends == ["done"], timeout=TIMEOUT)


def test_what_is_painted_meanwhile_is_learned_from(qtbot, viewer_model, widget):
    begin(qtbot, widget)
    layer = viewer_model.layers["truth"]
    rows, columns = (a.ravel() + 20 for a in np.mgrid[:16, :16])
    layer.data_setitem((np.full(256, 3), rows, columns), 7)
    qtbot.waitUntil(lambda: "with t003" in widget.message.text, timeout=TIMEOUT)
    frames = widget.message.text
    layer.undo()
    assert run(qtbot, widget, widget.stop_button) == "stopped"
    assert "Learning from 3 frames now" in frames


def test_the_better_model_of_two_trainings_is_kept_and_the_other_one_click_away(
    qtbot, viewer_model, widget
):
    state = open_workspace(viewer_model)
    assert not widget.fine_tune_button.isVisibleTo(widget)
    assert run(qtbot, widget, widget.train_button) == "done"
    project = state.project
    first = project.path / "runs" / "001"
    assert state.model == first  # the first round makes the project
    assert widget.comparison.isHidden()
    assert widget.train_button.text() == "Train from scratch"
    assert run(qtbot, widget, widget.fine_tune_button) == "done"
    second = project.path / "runs" / "002"
    panel = widget.comparison
    assert "SEG" in panel.text or "IoU" in panel.text
    kept, other = state.model, {first, second} - {state.model}
    assert {kept} | other == {first, second}
    click(qtbot, panel.button)
    assert {state.model} == other
    qtbot.waitUntil(lambda: Project.open(project.path).model in other, timeout=TIMEOUT)


def test_a_stopped_training_of_the_project_is_resumed_in_another_window(qtbot, viewer, docked):
    widget = docked
    begin(qtbot, widget)
    assert run(qtbot, widget, widget.stop_button) == "stopped"
    epochs = len(widget.plot.points("training")[0])
    viewer.window.remove_dock_widget(widget)
    _, again = viewer.window.add_plugin_dock_widget("napari-jnet", "Train")
    button = again.resume_button
    qtbot.waitUntil(lambda: button.isVisibleTo(again), timeout=TIMEOUT)
    assert f"stopped at epoch {epochs}" in button.text()
    click(qtbot, button)
    points = again.plot.points
    qtbot.waitUntil(lambda: len(points("training")[0]) > epochs, timeout=TIMEOUT)
    assert points("training")[0][: epochs + 1] == list(range(1, epochs + 2))
    assert run(qtbot, again, again.stop_button) == "stopped"
    assert len(open_workspace(viewer).project.runs()) == 1


def test_a_click_marks_the_rest_of_a_frame_as_unknown_and_undo_takes_it_back(
    qtbot, viewer_model, widget
):
    layer = viewer_model.layers["truth"]
    layer.data_setitem((np.full(9, 3), *(a.ravel() for a in np.mgrid[:3, :3])), 1)
    widget.check()
    click(qtbot, fix_button(widget, "Mark unpainted as unknown"))
    qtbot.waitUntil(lambda: bool((layer.data[3] == -1).any()), timeout=TIMEOUT)
    assert (layer.data[3] == -1).sum() == 64 * 64 - 9
    assert not (layer.data[:3] == -1).any()
    layer.undo()
    assert not (layer.data == -1).any()


def test_the_list_fixes_roles_and_missing_labels(qtbot, viewer_model, widget):
    frames = open_workspace(viewer_model).frames
    frames.set_roles(dict.fromkeys(frames.annotated, "validation"))
    widget.check()
    assert not widget.train_button.isEnabled()
    click(qtbot, fix_button(widget, "Reassign training and validation"))
    assert widget.train_button.isEnabled()
    assert sorted(frames.info(p).role for p in (0, 1, 2)) == ["training", "training", "validation"]
    viewer_model.layers.remove("truth")
    widget.check()
    click(qtbot, fix_button(widget, "New annotation"))
    assert open_workspace(viewer_model).annotation.name == "annotation"
    assert open_workspace(viewer_model).page == "annotate"
    assert not widget.train_button.isEnabled()
    assert "paint at least one cell" in widget.train_button.toolTip()


def test_the_form_shows_what_the_cells_suggest(qtbot, widget):
    widget.set_values(changes={})
    widget.prepare()
    widget.measure()
    line = widget.form.estimate_line
    qtbot.waitUntil(lambda: "Cells are about" in line.text(), timeout=TIMEOUT)
    diameter = int(line.text().removeprefix("Cells are about ").split()[0])
    assert 8 <= diameter <= 14  # discs of 13 px, some overlap
    assert "trained at full size" in line.text()
    widget.form["resolution"].native.setCurrentIndex(2)
    qtbot.waitUntil(lambda: "trained at 1/2 size" in line.text(), timeout=TIMEOUT)
    assert widget.form.training_config().network.resolution_levels[-1] == -1


def test_the_command_is_copied_once_there_is_a_project(qtbot, viewer_model, widget):
    click(qtbot, widget.copy_button)
    assert "no project yet" in widget.message.text
    state = open_workspace(viewer_model)
    state.autosave.ensure_project()
    state.autosave.wait()
    project = state.project
    click(qtbot, widget.copy_button)
    text = QApplication.clipboard().text()
    assert text.startswith("napari-jnet train")
    assert project.path.name in text


def test_fine_tuning_learns_more_carefully_unless_told_otherwise(widget):
    form = widget.form
    assert form.training_config().training.learning_rate == pytest.approx(2e-3)
    assert form.training_config(fine_tune=True).training.learning_rate == pytest.approx(1e-3)
    form.set_values(changes={"training.learning_rate": 5e-4})
    assert form.training_config(fine_tune=True).training.learning_rate == pytest.approx(5e-4)


def test_plans_say_the_time_and_an_unknown_one_is_refused(widget):
    widget.set_values(budget="long")
    assert widget.form.training_config().training.minutes == 45
    assert "final masks" in widget.form.budget_line.text()
    with pytest.raises(ValueError, match="must be one of quick"):
        widget.set_values(budget="longer")


def test_a_second_train_widget_leaves_the_training_of_the_first_alone(qtbot, viewer_model, widget):
    state, other = open_workspace(viewer_model), TrainWidget(viewer_model)
    qtbot.addWidget(other)
    begin(qtbot, widget)
    (trained,) = state.project.runs()
    assert trained.trained_by
    assert not trained.resumable
    assert not other.train_button.isEnabled()
    other.start()
    assert "another Train window" in other.message.text
    assert run(qtbot, widget, widget.stop_button) == "stopped"
    assert other.train_button.isEnabled()
    qtbot.waitUntil(lambda: other.resume_button.isVisibleTo(other), timeout=TIMEOUT)
    qtbot.waitUntil(lambda: widget.resume_button.isVisibleTo(widget), timeout=TIMEOUT)
    click(qtbot, widget.resume_button)
    assert not other.resume_button.isVisibleTo(other)
    other.message.say("")
    other.resume()
    assert "another Train window" in other.message.text
    assert run(qtbot, widget, widget.stop_button) == "stopped"
    assert len(state.project.runs()) == 1


def test_closing_the_dock_leaves_no_training_behind(qtbot, viewer, docked):
    widget = docked
    state = open_workspace(viewer)
    begin(qtbot, widget)
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT):
        viewer.window.remove_dock_widget(widget)
    assert state.training.state == "idle"
