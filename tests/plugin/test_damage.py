"""Damaged files of a project cost no more than what was in them, and are said by name."""

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.plugin.autosave.resume import describe_damage, resume_project
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.stack import LoadWidget
from napari_jnet.project.open import open_stack
from napari_jnet.project.project import Project


@pytest.fixture
def painted(viewer_model):
    """Return the project of three painted frames, whose window is closed, and its image."""
    viewer = viewer_model
    del viewer.layers["truth"]
    layer = viewer.add_labels(np.zeros((4, 64, 64), np.int32), name="annotation")
    state = open_workspace(viewer)
    for frame in (0, 2, 3):
        layer.paint((frame, 20, 20), frame + 1)
    assert state.autosave.flush()
    state.autosave.wait()
    project, movie = state.project, state.image.data
    state.autosave.release()
    return project, movie


def opened(viewer, movie):
    """Open the image of a project in another window."""
    viewer.add_image(movie, name="movie")
    state = open_workspace(viewer)
    state.autosave.wait()
    return state


def test_a_damaged_frame_is_said_and_the_others_come_back(painted, projects):
    project, movie = painted
    file = project.path / "annotations" / "t002.tif"
    broken = file.read_bytes()[:100]
    file.write_bytes(broken)
    viewer = ViewerModel()
    state = opened(viewer, movie)
    load = LoadWidget(viewer)
    resume_project(state, project.path)
    state.autosave.wait()
    layer = state.annotation
    assert [p for p in range(4) if layer.data[p].any()] == [0, 3]
    assert str(file) in state.problem
    assert "paint the frame again" in load.problem.text.text()
    assert not load.problem.isHidden()
    state.problem = ""
    assert load.problem.isHidden()

    layer.paint((0, 40, 40), 9)
    assert state.autosave.flush()
    assert state.project.path == project.path
    assert file.read_bytes() == broken

    layer.paint((2, 40, 40), 7)
    assert state.autosave.flush()
    assert Project.open(project.path).read_frame(2).max() == 7
    assert file.with_name("t002.tif.damaged").read_bytes() == broken
    assert Project.open(project.path).annotated == (0, 2, 3)
    assert [path.name for path in projects.iterdir()] == [project.path.name]


def test_a_project_with_a_damaged_frame_is_loaded_by_its_path(qtbot, painted):
    project, _ = painted
    (project.path / "annotations" / "t003.tif").write_bytes(b"")
    viewer = ViewerModel()
    load = LoadWidget(viewer)
    load.set_path(project.path)
    with qtbot.waitSignal(load.finished, timeout=30_000) as end:
        load.load()
    assert end.args == ["done"]
    state = open_workspace(viewer)
    state.autosave.wait()
    assert state.project.path == project.path
    assert "t003.tif" in state.problem


def test_a_lost_project_is_said_when_its_stack_is_opened(painted):
    project, movie = painted
    (project.path / "project.json").write_text("")
    viewer = ViewerModel()
    state = opened(viewer, movie)
    assert state.offer is None
    assert str(project.path) in state.problem
    assert "put back a copy" in state.problem


def test_a_project_whose_images_moved_asks_for_them(qtbot, tmp_path):
    old, new, other = tmp_path / "old.tif", tmp_path / "new.tif", tmp_path / "other.tif"
    movie = np.random.default_rng(0).integers(0, 99, (3, 32, 32), np.uint8)
    tifffile.imwrite(old, movie, photometric="minisblack")
    tifffile.imwrite(other, movie + 1, photometric="minisblack")
    project = Project.create(tmp_path / "work", open_stack(old), "instances")
    project.write_frame(1, np.ones((32, 32), np.int32))
    old.rename(new)
    viewer = ViewerModel()
    load = LoadWidget(viewer)
    load.set_path(project.path)
    for button, path, outcome in (
        (load.load_button, None, "failed"),
        (load.moved_button, other, "failed"),
        (load.moved_button, new, "done"),
    ):
        assert load.moved.isHidden() == (button is load.load_button)
        load.moved_path.value = path
        with qtbot.waitSignal(load.finished, timeout=30_000) as end:
            button.click()
        assert end.args == [outcome]
        if path == other:
            assert load.message.is_error and "another stack" in load.message.text
            assert not load.moved.isHidden()
    assert load.moved.isHidden()
    assert np.array_equal(np.asarray(viewer.layers[0].data[1]), movie[1])
    assert open_workspace(viewer).annotation.data[1].all()
    assert Project.open(project.path).stack.path == new


def test_going_on_twice_brings_one_annotation(painted):
    _, movie = painted
    viewer = ViewerModel()
    state = opened(viewer, movie)
    load = LoadWidget(viewer)
    load.resume_button.click()
    load.resume_button.click()
    load.resume()
    state.autosave.wait()
    assert len(viewer.layers) == 2
    assert not load.message.is_error


def test_what_cannot_be_gone_on_with_is_offered_again(painted):
    project, movie = painted
    viewer = ViewerModel()
    state = opened(viewer, movie)
    load = LoadWidget(viewer)
    (project.path / "project.json").write_text("")
    load.resume()
    state.autosave.wait()
    assert "is damaged" in load.message.text
    assert state.offer.path == project.path


def test_many_damaged_frames_are_told_in_one_sentence():
    words = describe_damage({n: f"/a/t{n:03d}.tif is damaged." for n in range(20)})
    assert words.startswith("/a/t000.tif is damaged. Frames that are empty")
    assert "20 (0 to 19)" in words
    assert words.count(".tif") == 1
