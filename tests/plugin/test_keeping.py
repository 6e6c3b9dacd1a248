"""What is painted is on disk by itself, whatever happens to the window; and comes back."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.events import FramePrediction
from napari_jnet.files import FolderLock
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.autosave import autosave as autosave_module
from napari_jnet.plugin.autosave.resume import (
    LOCK_FILE,
    lock_project,
    resume_project,
)
from napari_jnet.plugin.layers import watch as watch_module
from napari_jnet.plugin.layers.add import add_results
from napari_jnet.plugin.layers.read import class_options, image_stack
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.predict import copy_to_annotation
from napari_jnet.project.places import project_summary
from napari_jnet.project.project import Project

TIMEOUT = 30_000


def paint_on(viewer):
    """Return the workspace of a viewer and an empty annotation layer."""
    del viewer.layers["truth"]
    layer = viewer.add_labels(np.zeros((4, 64, 64), np.int32), name="annotation")
    return open_workspace(viewer), layer


@pytest.fixture
def painting(viewer_model):
    """Return a workspace and an empty annotation layer."""
    state, layer = paint_on(viewer_model)
    yield state, layer
    state.autosave.flush()


@pytest.fixture
def painting_window(viewer):
    """Return the same of a viewer with a window."""
    return paint_on(viewer)


def locked_by(path):
    """Return who has a project open, "" if nobody has."""
    return FolderLock(path, LOCK_FILE).holder


def closed(state):
    """Do what closing the window does; return the image."""
    assert state.autosave.flush()
    state.autosave.wait()
    state.autosave.release()
    return state.image.data


def opened(movie):
    """Open an image in another viewer; return that and its workspace."""
    viewer = ViewerModel()
    viewer.add_image(movie, name="movie")
    state = open_workspace(viewer)
    state.autosave.wait()
    return viewer, state


def test_the_first_stroke_makes_a_project_and_is_saved_by_itself(qtbot, projects, painting):
    state, layer = painting
    assert state.project is None
    assert not projects.exists()
    layer.paint((2, 20, 20), 3)
    assert not state.saving.saved
    qtbot.waitUntil(lambda: state.saving.text.startswith("saved "), timeout=TIMEOUT)
    project = state.project
    assert project.path == projects / "movie"
    assert project.annotated == (2,)
    assert np.array_equal(project.read_frame(2), layer.data[2])
    assert project.role(2) == state.frames.info(2).role == "training"
    state.autosave.wait()
    assert np.array_equal(Project.open(project.path).frames()[0].image, state.image.data[2])


def test_undo_and_redo_are_saved_too(painting):
    state, layer = painting
    layer.paint((2, 20, 20), 3)
    layer.paint((0, 20, 20), 1)
    assert state.autosave.flush()
    assert state.project.annotated == (0, 2)
    state.viewer.dims.set_point(0, 3)
    layer.undo()
    assert state.autosave.flush()
    assert state.project.annotated == (2,)
    layer.redo()
    assert state.autosave.flush()
    assert np.array_equal(state.project.read_frame(0), layer.data[0])


def test_labels_that_were_there_are_kept_with_the_first_stroke(viewer_model):
    state = open_workspace(viewer_model)
    truth = viewer_model.layers["truth"]
    truth.data_setitem((np.array([1]), np.array([0]), np.array([0])), UNKNOWN)
    assert state.autosave.flush()
    assert state.project.annotated == (0, 1, 2, 3)
    for number in range(4):
        assert np.array_equal(state.project.read_frame(number), truth.data[number])
    roles = [state.frames.info(p).role for p in range(4)]
    assert roles == ["training", "training", "validation", "training"]
    assert roles == [state.project.role(n) for n in range(4)]


def predicted(state):
    """Return the results of a prediction that found one cell in every frame."""
    results = add_results(state.viewer, None, state.image, image_stack(state.image), 5.0, "model")
    cells = np.zeros((64, 64), np.int32)
    cells[40:50, 40:50] = 1
    maps = (cells > 0).astype(np.float32)
    for position in range(4):
        results.write(FramePrediction(position, position, 4, maps, maps, cells), 0.5)
    return results


@pytest.mark.parametrize(("adopts", "role"), [(True, "training"), (False, "validation")])
def test_a_copied_prediction_is_learned_from_and_checks_nothing(painting, adopts, role):
    state, layer = painting
    results = predicted(state)
    for position in range(2):
        layer.paint((position, 20, 20), 1)
    assert state.autosave.flush()
    state.viewer.dims.set_point(0, 2)
    if adopts:
        copy_to_annotation(state, results)
    else:
        layer.paint((2, 20, 20), 1)
    assert state.autosave.flush()
    assert [state.project.role(n) for n in range(3)] == ["training", "training", role]


def test_a_role_that_was_chosen_outlives_the_copy(painting):
    state, _ = painting
    results = predicted(state)
    state.viewer.dims.set_point(0, 2)
    state.frames.set_roles({2: "unused"})
    copy_to_annotation(state, results)
    assert state.autosave.flush()
    assert state.project.role(2) == "unused"


def test_kind_classes_and_roles_are_kept(painting):
    state, layer = painting
    layer.paint((1, 20, 20), 2)
    assert state.autosave.flush()
    state.frames.set_kind(LabelKind.SCRIBBLES)
    names = (("not painted", "#000000"), ("background", "#0000ff"), ("nucleus", "#ff0000"))
    options = class_options(names)
    layer.features, layer.colormap = options["features"], options["colormap"]
    state.frames.set_roles({1: "unused"})
    assert state.autosave.flush()
    kept = Project.open(state.project.path)
    assert kept.kind is LabelKind.SCRIBBLES
    assert kept.classes == names
    assert kept.roles == {1: "unused"}


def test_a_layer_that_is_deleted_is_saved_first_and_the_next_has_its_own_project(painting):
    state, layer = painting
    layer.paint((2, 20, 20), 3)
    state.viewer.layers.remove(layer)
    state.autosave.wait()
    first = state.autosave.projects[0]
    assert np.array_equal(first.read_frame(2), layer.data[2])
    assert state.project is None
    other = state.viewer.add_labels(np.zeros((4, 64, 64), np.int32), name="other")
    other.paint((0, 20, 20), 1)
    assert state.autosave.flush()
    assert state.project.path != first.path
    assert state.project.annotated == (0,)
    assert first.annotated == (2,)
    assert state.project.path.name in state.saving.text


def test_closing_the_window_saves(painting_window):
    state, layer = painting_window
    layer.paint((2, 20, 20), 3)
    state.viewer.close()
    project = state.autosave.projects[0]
    assert np.array_equal(project.read_frame(2), layer.data[2])
    assert not locked_by(project.path)


def test_a_window_that_stays_open_keeps_its_project(monkeypatch, painting_window):
    state, layer = painting_window
    layer.paint((2, 20, 20), 3)
    window = state.viewer.window.main_menu.window()
    with monkeypatch.context() as patch:
        patch.setattr(type(window), "closeEvent", lambda self, event: event.ignore())
        assert not window.close()
    path = state.project.path
    assert state.project.annotated == (2,), "saved before the answer"
    assert locked_by(path)
    layer.paint((1, 20, 20), 3)
    assert state.autosave.flush()
    assert Project.open(path).annotated == (1, 2)
    assert locked_by(path)
    state.viewer.close()
    assert not locked_by(path)


def test_a_full_disk_is_said_and_nothing_is_lost(monkeypatch, painting):
    state, layer = painting
    layer.paint((2, 20, 20), 3)
    assert state.autosave.flush()

    def full(self, number, labels, **said):
        raise OSError(errno.ENOSPC, "the disk is full. Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(Project, "write_frame", full)
        layer.paint((1, 20, 20), 1)
        assert not state.autosave.flush()
        assert state.saving.failed
        assert not state.saving.saved
        assert "the disk is full" in state.saving.text
    assert state.autosave.flush()
    assert state.saving.text.startswith("saved ")
    assert np.array_equal(state.project.read_frame(1), layer.data[1])


def test_a_layer_deleted_while_the_disk_is_full_is_not_lost(monkeypatch, painting):
    state, layer = painting

    def full(self, number, labels, **said):
        raise OSError(errno.ENOSPC, "the disk is full. Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr(Project, "write_frame", full)
        layer.paint((1, 20, 20), 1)
        state.viewer.layers.remove(layer)
        assert not state.autosave.flush()
    assert state.autosave.flush()
    assert np.array_equal(state.autosave.projects[0].read_frame(1), layer.data[1])


def test_a_copy_of_a_layer_has_its_own_project(painting):
    state, layer = painting
    layer.paint((1, 20, 20), 1)
    assert state.autosave.flush()
    first = state.project
    copied = state.viewer.add_labels(layer.data.copy(), name="copy", metadata=dict(layer.metadata))
    copied.paint((2, 20, 20), 1)
    assert state.autosave.flush()
    assert state.project.path != first.path
    assert state.project.annotated == (1, 2)
    assert first.annotated == (1,)


def test_labels_of_another_size_are_not_saved_and_that_is_said(viewer_model, projects):
    layer = viewer_model.add_labels(np.zeros((4, 32, 32), np.int32), name="small")
    state = open_workspace(viewer_model)
    layer.paint((0, 9, 9), 1)
    assert state.saving.failed
    assert "4 × 32 × 32" in state.saving.text
    assert "4 × 64 × 64" in state.saving.text
    with pytest.raises(ValueError, match="32"):
        state.autosave.ensure_project()
    assert not projects.exists()


def test_a_project_on_request(viewer_model):
    state = open_workspace(viewer_model)
    state.autosave.ensure_project()
    state.autosave.wait()
    project = state.autosave.projects[0]
    assert project.annotated == (0, 1, 2, 3)
    assert state.project is project
    asked = []
    state.autosave.ensure_project(then=asked.append)
    assert asked == [project]


def test_going_on_brings_everything_back(painting, tmp_path):
    state, layer = painting
    state.frames.set_kind(LabelKind.CLASSES)
    layer.colormap = class_options((("none", "#000000"), ("cell", "#ff8800")))["colormap"]
    layer.features = {"index": [0, 1], "class": ["none", "cell"]}
    layer.paint((2, 20, 20), 1)
    layer.paint((3, 20, 20), UNKNOWN)
    state.frames.set_roles({2: "validation"})
    assert state.autosave.flush()
    run = state.project.new_run()
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"training": {"minutes": 15}}))
    (run / "last.pt").write_bytes(b"")
    (run / "history.csv").write_text("epoch,elapsed_s,best\n1,2.0,True\n")
    state.project.set_model(run)
    path, movie = state.project.path, closed(state)
    _viewer, again = opened(movie)
    assert again.offer.path == path
    assert "2 frames annotated" in again.offer.summary
    assert "stopped at epoch 1" in again.offer.summary
    resume_project(again, again.offer.path)
    again.autosave.wait()
    assert again.offer is None
    assert again.project.path == path
    assert np.array_equal(again.annotation.data, layer.data)
    assert again.annotation.data.dtype == np.int32
    assert again.frames.kind is LabelKind.CLASSES
    assert again.frames.classes == (("none", "#000000"), ("cell", "#ff8800"))
    assert again.frames.info(2).role == "validation"
    assert again.model == run
    assert again.project.last_run.resumable
    again.annotation.paint((0, 30, 30), 1)
    assert again.autosave.flush()
    assert Project.open(path).annotated == (0, 2, 3)


def test_starting_anew_leaves_the_project_alone(painting):
    state, layer = painting
    layer.paint((2, 20, 20), 1)
    assert state.autosave.flush()
    path, before, movie = state.project.path, state.project.read_frame(2), closed(state)
    viewer, again = opened(movie)
    again.dismiss_offer()
    assert again.offer is None
    new = viewer.add_labels(np.zeros((4, 64, 64), np.int32))
    new.paint((2, 50, 50), 4)
    assert again.autosave.flush()
    assert again.project.path != path
    assert np.array_equal(Project.open(path).read_frame(2), before)


def test_a_second_window_is_refused_in_words(painting):
    state, layer = painting
    layer.paint((2, 20, 20), 1)
    assert state.autosave.flush()
    _viewer, other = opened(state.image.data)
    assert other.offer is None
    resume_project(other, state.project.path)
    other.autosave.wait()
    assert "another window" in other.saving.text
    other.annotation.paint((0, 9, 9), 1)
    assert other.autosave.flush()
    assert other.project.path != state.project.path
    assert state.project.annotated == (2,)


OTHER_WINDOW = """
import sys
from pathlib import Path
from napari_jnet.files import FolderLock

lock = FolderLock(Path(sys.argv[1]), sys.argv[2]).acquire()  # as a window does
print("open", flush=True)
sys.stdin.readline()
"""


def test_the_lock_of_a_process_that_is_gone_is_taken_over(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_WINDOW, str(tmp_path), LOCK_FILE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "open\n"
        assert f"process {other.pid}" in locked_by(tmp_path)
        with pytest.raises(ValueError, match=rf"process {other.pid}.*Close it there"):
            lock_project(tmp_path)
        other.kill()
    assert (tmp_path / LOCK_FILE).exists()
    assert not locked_by(tmp_path)
    held = lock_project(tmp_path)
    with pytest.raises(ValueError, match=r"another window \(this program"):
        lock_project(tmp_path)
    held.release()
    assert not (tmp_path / LOCK_FILE).exists()


def test_words_of_an_empty_project_say_nothing(painting):
    state, layer = painting
    layer.paint((2, 20, 20), 1)
    assert state.autosave.flush()
    assert project_summary(state.project).startswith("1 frame annotated, saved ")
    layer.undo()
    assert state.autosave.flush()
    assert project_summary(state.project) == ""


CHILD = """
import sys
import numpy as np
import napari
from napari_jnet.plugin.open_workspace import open_workspace

viewer = napari.Viewer(show=False)
image = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)
viewer.add_image(image, name="film")
layer = viewer.add_labels(np.zeros(image.shape, np.int32))
state = open_workspace(viewer)

def told(saving):
    if saving.text.startswith("saved "):
        state.autosave.wait()
        layer.paint((1, 50, 50), 2)  # too late to be saved
        print("saved", flush=True)

state.saving_changed.connect(told)
layer.paint((1, 20, 20), 1)
napari.run()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_leaves_all_that_was_said_to_be_saved(tmp_path, projects):
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(CHILD))
    child = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "saved\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    path = projects / "film"
    assert not locked_by(path)
    project = Project.open(path)
    painted = project.read_frame(1)
    assert project.annotated == (1,)
    assert painted[20, 20] == 1
    assert painted[50, 50] == 0
    assert project.frames()[0].image.shape == (64, 64)
    lock_project(path).release()


def test_going_on_protects_the_cells_and_paints_a_new_one(painting):
    state, layer = painting
    layer.paint((2, 20, 20), 5)
    assert state.autosave.flush()
    path, movie = state.project.path, closed(state)
    _viewer, again = opened(movie)
    resume_project(again, again.offer.path)
    again.autosave.wait()
    assert again.annotation.selected_label == 6
    assert again.annotation.preserve_labels
    assert again.annotation.mode == "paint"
    closed(again)
    third = ViewerModel()
    third.open(str(path / "project.json"), plugin="napari-jnet")
    other = open_workspace(third)
    other.autosave.wait()
    assert other.annotation.selected_label == 6
    assert other.annotation.preserve_labels


def test_the_first_stroke_after_resuming_falls_on_no_cell_of_a_long_film(painting, monkeypatch):
    state, layer = painting
    layer.paint((2, 20, 20), 5)
    assert state.autosave.flush()
    _viewer, again = opened(closed(state))
    monkeypatch.setattr(
        watch_module, "_LAYER_AT_ONCE", 0
    )  # its highest number is found in a thread
    chosen = []
    again.annotation_changed.connect(
        lambda layer: layer.events.mode.connect(lambda _: chosen.append(layer.selected_label))
    )
    resume_project(again, again.offer.path)
    again.autosave.wait()
    assert chosen == [6]


def refuse(self, number, labels, **said):
    raise OSError(errno.ENOSPC, "the disk is full. Free some space.")


@pytest.fixture
def told(monkeypatch):
    """Return what is said when the window closes."""
    said = []
    monkeypatch.setattr(autosave_module, "show_box", lambda text, window: said.append(text))
    return said


@pytest.mark.parametrize("before", [True, False])
def test_what_the_disk_refuses_at_the_end_is_rescued_and_offered(
    monkeypatch, painting_window, projects, told, before
):
    state, layer = painting_window
    if before:
        layer.paint((0, 20, 20), 1)
        assert state.autosave.flush()
    state.frames.set_roles({1: "unused"})
    movie, full = state.image.data, Project.write_frame
    with monkeypatch.context() as patch:
        patch.setattr(
            Project,
            "write_frame",
            lambda own, *what, **said: (refuse if projects in own.path.parents else full)(
                own, *what, **said
            ),
        )
        layer.paint((1, 30, 30), 4)
        state.viewer.close()
    (said,) = told
    (root,) = Path.home().glob("napari-jnet-rescued-*")
    assert str(root) in said
    assert "the disk is full" in said
    assert os.name == "nt" or root.stat().st_mode & 0o077 == 0  # nobody else may read it

    _viewer, again = opened(movie)
    assert again.offer.path.parent == root
    assert "recovery copy" in again.offer.summary
    resume_project(again, again.offer.path)
    again.autosave.wait()
    assert again.project.path.parent == root
    assert again.frames.info(1).role == "unused"
    assert np.array_equal(again.annotation.data, layer.data)
    assert again.annotation.selected_label == 5
    again.annotation.paint((2, 30, 30), 5)
    assert again.autosave.flush()
    assert again.project.annotated == ((0, 1, 2) if before else (1, 2))


def test_where_nothing_can_be_written_that_is_said(monkeypatch, painting_window, told):
    state, layer = painting_window
    layer.paint((1, 30, 30), 4)
    monkeypatch.setattr(Project, "write_frame", refuse)
    state.viewer.close()
    assert "A recovery copy could not be written either" in told[0]
    assert not list(Path.home().glob("napari-jnet-rescued-*"))


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize(
    ("shape", "dtype", "number"), [((2, 30, 30), np.int32, 5), ((4, 64, 64), np.int64, 2**40)]
)
def test_labels_that_fit_nothing_are_rescued_where_their_file_cannot_be_written(
    painting_window, projects, told, shape, dtype, number, removed
):
    state, _ = painting_window
    projects.mkdir()
    (projects / "labels without an image").write_text("a file in the way")
    state.viewer.add_labels(np.zeros(shape, dtype), name="odd")
    state.viewer.layers["odd"].data_setitem((np.array([1]), np.array([9]), np.array([9])), number)
    if removed:
        state.autosave.flush()
        del state.viewer.layers["odd"]
        state.autosave.flush()
        assert state.saving.failed
    state.viewer.close()
    (said,) = told
    (file,) = Path.home().glob("napari-jnet-rescued-*/odd.tif")
    assert str(file) in said
    assert tifffile.imread(file)[1, 9, 9] == number


def test_the_window_closes_while_the_image_is_copied(monkeypatch, painting_window, caplog):
    state, layer = painting_window
    go_on, store = threading.Event(), Project.store_stack

    def held(project, stack):
        go_on.wait(30)
        store(project, stack)

    monkeypatch.setattr(Project, "store_stack", held)
    layer.paint((1, 30, 30), 4)
    assert state.autosave.flush()
    path = state.project.path
    state.viewer.close()
    assert not (path / "stack.tif").exists()
    assert "still being copied" in caplog.text
    go_on.set()
    state.autosave.wait()
    assert Project.open(path).frames()[0].image.shape == (64, 64)


def test_an_image_whose_copy_was_killed_is_copied_when_its_project_is_resumed(
    monkeypatch, painting
):
    state, layer = painting
    with monkeypatch.context() as killed:
        killed.setattr(Project, "store_stack", lambda *_: None)
        layer.paint((1, 30, 30), 4)
        movie, path = closed(state), state.project.path
    assert not (path / "stack.tif").exists()
    _viewer, again = opened(movie)
    resume_project(again, path)
    again.autosave.wait()
    assert Project.open(path).open_stack().shape == (64, 64)
