"""All work that exists on an image is offered again, the newest first."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.cli.info import describe
from napari_jnet.io.axes import array_stack
from napari_jnet.plugin.autosave.resume import lock_project
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.stack import LoadWidget
from napari_jnet.project.places import list_projects
from napari_jnet.project.project import Project

MOVIE = np.random.default_rng(0).integers(0, 99, (4, 32, 32), np.uint8)


def make(folder, *numbers, age=0):
    """Make a project of the movie with these frames painted."""
    project = Project.create(folder, array_stack(MOVIE, name="movie"), "instances")
    for number in numbers:
        project.write_frame(number, np.full((32, 32), number + 1, np.int32))
    for path in (folder / "project.json", folder / "annotations", *folder.glob("annotations/*")):
        os.utime(path, (1e9 - age, 1e9 - age))
    return project


@pytest.fixture
def opened(qapp, projects):
    """Open the movie, with an empty newest project and two older ones that hold something."""
    make(projects / "movie", 0, age=30)
    make(projects / "movie-2", 1, 2, age=20)
    make(projects / "movie-3", age=10)
    viewer = ViewerModel()
    viewer.add_image(MOVIE, name="movie")
    state = open_workspace(viewer)
    state.autosave.wait()
    yield viewer, state
    state.autosave.flush()


def test_an_empty_project_hides_no_other(opened, projects):
    _, state = opened
    assert state.offer.path == projects / "movie-2"
    assert [one.path.name for one in state.projects] == ["movie-3", "movie-2", "movie"]


def test_what_was_declined_can_still_be_opened(opened, projects, qtbot):
    viewer, state = opened
    load = LoadWidget(viewer)
    qtbot.addWidget(load)
    part = load.project
    assert "movie-2, 2 frames annotated" in load.offer.text.text()
    state.dismiss_offer()
    assert load.offer.isHidden()
    actions = {action.text().split(":")[0]: action for action in part.menu.actions()}
    assert sorted(actions) == ["movie", "movie-2", "movie-3"]
    assert "nothing painted" in actions["movie-3"].text()
    actions["movie-2"].trigger()
    state.autosave.wait()
    assert state.frames.annotated == (1, 2)
    first = state.annotation
    state.autosave.wait()
    titles = [action.text() for action in part.menu.actions()]
    assert sum("open here" in title for title in titles) == 1
    new = viewer.add_labels(np.zeros((4, 32, 32), np.int32))
    state.choose("annotation", new)
    state.autosave.wait()
    assert state.offer is None, "who has begun is not asked again"
    part.resume(projects / "movie")
    state.autosave.wait()
    assert state.frames.annotated == (0,)
    part.resume(projects / "movie-2")
    assert state.annotation is first, "a project that is open is not opened twice"


def test_what_was_painted_before_is_said_to_be_in_no_project(qapp, qtbot):
    viewer = ViewerModel()
    viewer.add_image(MOVIE, name="movie")
    layer = viewer.add_labels(np.zeros((4, 32, 32), np.int32))
    layer.paint((1, 9, 9), 1)
    state = open_workspace(viewer)
    load = LoadWidget(viewer)
    qtbot.addWidget(load)
    part = load.project
    assert part.saved.text().startswith("Not in a project yet")
    layer.paint((2, 9, 9), 1)
    assert state.autosave.flush()
    assert part.saved.text().startswith("Saved")
    assert state.project.annotated == (1, 2)


def test_what_cannot_be_opened_is_listed_with_the_reason(qapp, projects, qtbot):
    make(projects / "movie", 0, age=30)
    make(projects / "movie-2", 1, age=20)
    make(projects / "movie-3", 1, age=10)
    (projects / "movie-3" / "project.json").write_text("{")
    lock = lock_project(projects / "movie-2")
    viewer = ViewerModel()
    viewer.add_image(MOVIE, name="movie")
    state = open_workspace(viewer)
    state.autosave.wait()
    lock.release()
    assert state.offer.path == projects / "movie"
    problems = {one.path.name: one.problem for one in state.projects}
    assert problems["movie"] == ""
    assert "another window" in problems["movie-2"]
    assert "movie-3" in problems["movie-3"]
    load = LoadWidget(viewer)
    qtbot.addWidget(load)
    part = load.project
    enabled = [action.isEnabled() for action in part.menu.actions()]
    assert enabled.count(True) == 1


def test_rescued_work_is_listed_although_newer_work_is_there(qapp, projects):
    make(Path.home() / "napari-jnet-rescued-1" / "movie", 0, 1, age=40)
    make(Path.home() / "napari-jnet-rescued-2" / "movie", 2, age=30)
    make(projects / "movie", 3, age=10)
    viewer = ViewerModel()
    viewer.add_image(MOVIE, name="movie")
    state = open_workspace(viewer)
    state.autosave.wait()
    assert state.offer.path == projects / "movie"
    assert [one.path.parent.name for one in state.projects] == [
        "projects",
        "napari-jnet-rescued-2",
        "napari-jnet-rescued-1",
    ]


def test_the_command_line_lists_them(projects, tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "movie.tif", MOVIE, photometric="minisblack")
    make(projects / "movie", 0, age=30)
    make(projects / "movie-2", 1, 2, age=20)
    told = describe(tmp_path / "movie.tif")
    assert str(projects / "movie-2") in told["project 1"]
    assert "2 frames annotated" in told["project 1"]
    assert str(projects / "movie") in told["project 2"]
    assert len(list_projects(array_stack(MOVIE))) == 2
