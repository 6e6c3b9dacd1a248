"""Work that the window of an earlier version left goes on in this one; see tests/museum/README.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_jnet import Project
from napari_jnet.plugin.autosave.resume import resume_project
from napari_jnet.plugin.open_workspace import open_workspace

FILES = Path(__file__).parents[1] / "museum/files/0690433"
TIMEOUT = 60_000


@pytest.fixture
def film(tmp_path, monkeypatch):
    """Return a copy of what the window of commit 0690433 left, where this one looks for it."""
    copy = Path(shutil.copytree(FILES, tmp_path / "left"))
    monkeypatch.setenv("NAPARI_JNET_PROJECTS", str(copy / "projects"))
    monkeypatch.setenv("HOME", str(copy / "home"))
    for path in (copy / "projects/film/annotations").iterdir():
        os.utime(path)  # it is the newest work
    return copy


def painted(name: str) -> dict[int, np.ndarray]:
    """Return frame number -> what was painted."""
    files = sorted((FILES / "projects" / name / "annotations").iterdir())
    return {int(file.stem[1:]): tifffile.imread(file) for file in files}


def opened(film, viewer, path=None):
    """Open the film as somebody does, and go on with the project that is offered, or with this one."""
    viewer.open(str(film / "film.tif"), plugin="napari")
    state = open_workspace(viewer)
    state.autosave.wait()
    if path is None:
        assert state.offer.path == film / "projects/film"
    resume_project(state, path or state.offer.path)
    state.autosave.wait()
    return state


def test_a_project_is_offered_painted_on_trained_and_opened_again(film, make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    state = opened(film, viewer)
    layer, then = state.annotation, painted("film")
    assert layer.data.shape == (5, 64, 64)
    for number in range(5):
        np.testing.assert_array_equal(layer.data[number], then.get(number, 0))
    assert state.frames.kind == "instances"
    assert layer.selected_label == 21 and layer.preserve_labels
    roles = [state.frames.info(position).role for position in range(5)]
    assert roles == ["training", "training", "validation", "", "unused"]
    assert state.model == film / "projects/film/runs/001"
    project = Project.open(film / "projects/film")

    layer.brush_size = 7
    layer.paint((3, 20, 20), 21)
    qtbot.waitUntil(lambda: 3 in project.annotated, timeout=TIMEOUT)
    np.testing.assert_array_equal(project.read_frame(3), layer.data[3])
    assert (layer.data[3] == 21).sum() > 20

    _, widget = viewer.window.add_plugin_dock_widget("napari-jnet", "Train")
    button = widget.resume_button
    qtbot.waitUntil(lambda: button.isVisibleTo(widget) and button.isEnabled(), timeout=TIMEOUT)
    assert "5" in button.text()
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as finished:
        qtbot.mouseClick(button, Qt.LeftButton)
    assert finished.args == ["done"]
    first, second = project.runs()
    assert (second.epochs, second.finished) == (8, True)
    assert second.training_frames == ("film/t000", "film/t001", "film/t003")
    labels = layer.data.copy()
    viewer.close()

    again = make_napari_viewer()
    again.open(str(project.path / "project.json"), plugin="napari-jnet")
    state = open_workspace(again)
    state.autosave.wait()
    assert state.project.path == project.path and state.model in (first.path, second.path)
    np.testing.assert_array_equal(state.annotation.data, labels)
    assert not state.problem and not state.saving.failed
    again.close()


@pytest.mark.parametrize(
    ("name", "kind", "names"),
    [
        ("film-2", "classes", ["ground", "core", "rim"]),
        ("film-3", "scribbles", ["not painted", "outside", "inside"]),
    ],
)
def test_classes_have_their_names_and_are_painted_on(qapp, film, name, kind, names):
    viewer = ViewerModel()
    state = opened(film, viewer, film / "projects" / name)
    then = painted(name)
    for number in range(5):
        np.testing.assert_array_equal(state.annotation.data[number], then.get(number, 0))
    assert state.frames.kind == kind
    assert [entry for entry, _ in state.frames.classes] == names
    state.annotation.paint((1, 20, 20), 2)
    assert state.autosave.flush()
    project = Project.open(film / "projects" / name)
    assert project.annotated == tuple(sorted({1, *then}))
    assert [entry for entry, _ in project.classes] == names


def test_a_film_that_was_moved_is_known_by_its_pixels(qapp, film):
    shutil.move(film / "film.tif", film / "renamed.tif")
    viewer = ViewerModel()
    viewer.open(str(film / "renamed.tif"), plugin="napari")
    state = open_workspace(viewer)
    state.autosave.wait()
    assert state.offer.path == film / "projects/film"


def test_what_was_rescued_from_a_full_disk_is_offered(qapp, film):
    (rescued,) = film.glob("home/*/film")
    viewer = ViewerModel()
    viewer.open(str(film / "film.tif"), plugin="napari")
    state = open_workspace(viewer)
    state.autosave.wait()
    assert rescued in [one.path for one in state.projects]
    resume_project(state, rescued)
    state.autosave.wait()
    assert state.project.path == rescued
    assert (state.annotation.data[3] == 7).any()
    state.annotation.paint((0, 20, 20), 30)
    assert state.autosave.flush()
    np.testing.assert_array_equal(Project.open(rescued).read_frame(0), state.annotation.data[0])


SCRIPT = """
import json
from napari.settings import get_plugin_settings

def leaves(values):
    for value in values.values():
        if isinstance(value, dict):
            yield from leaves(value)
        else:
            yield value

print(json.dumps(list(leaves(get_plugin_settings("napari-jnet").model_dump()))))
"""


def test_preferences_are_kept(film):
    """Whatever they are called now, as far as they exist."""
    words = [sys.executable, "-c", SCRIPT]
    settings = {"NAPARI_CONFIG": str(film / "preferences/settings.yaml")}
    done = subprocess.run(
        words, env=os.environ | settings, capture_output=True, text=True, check=True
    )
    values = json.loads(done.stdout.splitlines()[-1])
    for value in ("/data/cells/projects", "Shift+P", "Alt+U", ""):
        assert value in values
    assert values.count(False) == 2
