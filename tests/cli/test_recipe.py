"""What the window copies for a terminal does what the window does."""

import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_jnet import Project, array_stack
from napari_jnet.cli.program import app
from napari_jnet.cli.recipe import changed_settings, predict_command, train_command
from napari_jnet.config import InstanceConfig, preset

CONFIG = preset("jnet").replace(
    {
        "training.minutes": 2.5,
        "training.threads": 1,
        "training.device": "cpu",
        "network.resolution_levels": (-2, -1),
        "targets.dt_bound": 6.0,
        "training.loss": "bce+mse",
    }
)
UNET = preset("unet").replace({"training.epochs": 3})


@pytest.fixture
def project(tmp_path):
    """Return a project of two painted frames, with a run."""
    images = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
    labels = np.zeros((2, 32, 32), np.int32)
    labels[:, 8:20, 8:20] = 1
    project = Project.create(tmp_path / "my project", array_stack(images), "instances")
    for number, plane in enumerate(labels):
        project.write_frame(number, plane)
    run = project.new_run()
    run.mkdir(parents=True)
    for name in ("model.pt", "last.pt", "config.json"):
        (run / name).write_text("{}")
    return project


@pytest.fixture
def calls(monkeypatch):
    """Return what the engine is called with, in place of training."""
    import napari_jnet.training.loop

    calls = []

    def train(frames, run, config=None, **more):
        calls.append({"frames": frames, "run": Path(run), "config": config, **more})
        return
        yield

    # in this order: the name of the package is looked up, and kept, when it is first asked for
    monkeypatch.setattr(napari_jnet, "train", train)
    monkeypatch.setattr(napari_jnet.training.loop, "train", train)
    return calls


@pytest.mark.parametrize(("config", "name"), [(CONFIG, "jnet"), (UNET, "unet")])
def test_the_command_line_understands_the_command(project, calls, config, name):
    run = project.path.parent / "else where"
    words = shlex.split(train_command(project.path, run, config, name))
    result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (call,) = calls
    assert call["run"] == run
    assert len(call["frames"]) == 2
    # all but the threads, which are the window's
    assert call["config"] == config.replace({"training.threads": 0})


def test_only_what_differs_from_the_preset_is_said():
    assert changed_settings(preset("jnet"), "jnet") == {}
    assert changed_settings(CONFIG, "jnet") == {
        "network.resolution_levels": [-2, -1],
        "targets.dt_bound": 6.0,
        "training.device": "cpu",
        "training.loss": "bce+mse",
    }


def test_the_command_of_a_prediction_goes_through_the_command_line(tmp_path):
    command = predict_command(
        tmp_path / "my runs" / "001",
        tmp_path / "HeLa",
        tmp_path / "out",
        choices={"sequence": "02"},
        numbers=(2, 3, 4, 9),
        instances=InstanceConfig(segmentation_threshold=0.31, min_size=40, fill_holes=False),
        options={},
    )
    words = shlex.split(command)
    assert words[:2] == ["napari-jnet", "predict"]
    assert words[words.index("--frames") + 1] == "2-4,9"
    assert words[words.index("--segmentation-threshold") + 1] == "0.31"
    assert "--no-fill-holes" in words
    result = CliRunner().invoke(app, words[1:])
    assert "No such option" not in result.output
    assert "HeLa does not exist" in " ".join(str(result.exception or result.output).split())


def test_what_opens_the_stack_and_an_original_file_is_in_it(tmp_path):
    options = {"resolution_levels": (-1, 0), "dt_bound": 9.0}
    command = predict_command(
        tmp_path, tmp_path, tmp_path, choices={"axes": "TCYX", "series": 2}, options=options
    )
    values = dict(pairwise(shlex.split(command)))
    assert values["--axes"] == "TCYX" and values["--series"] == "2"
    assert values["--resolution-levels"] == "[-1, 0]" and values["--dt-bound"] == "9"
