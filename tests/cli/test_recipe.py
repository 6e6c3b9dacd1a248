"""What the window copies for a terminal or a script does what the window does."""

import dataclasses
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import napari_jnet
from napari_jnet import Project, array_stack
from napari_jnet.cli import app
from napari_jnet.cli.recipe import (
    PredictRecipe,
    Recipe,
    changed_settings,
    predict_command,
    predict_script,
    train_command,
    train_script,
)
from napari_jnet.config import Config, InstanceConfig, preset
from napari_jnet.io.stack import AnnotatedFrame

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
GIVEN = Config().replace({"training.epochs": 9, "training.batch_size": 4})  # 4 is the default
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


@pytest.fixture(
    params=["new", "fine-tune", "fine-tune as it is", "resume", "resume for longer", "epochs"]
)
def recipe(request, project):
    path, runs = project.path, project.path / "runs"
    return {
        "new": Recipe(path, runs / "002", "jnet", CONFIG),
        "fine-tune": Recipe(path, runs / "002", "jnet", CONFIG, start_from=runs / "001"),
        "fine-tune as it is": Recipe(path, runs / "002", None, GIVEN, start_from=runs / "001"),
        "resume": Recipe(path, runs / "001", resume=True),
        "resume for longer": Recipe(path, runs / "001", None, GIVEN, resume=True),
        "epochs": Recipe(path, path.parent / "else where", config=UNET),
    }[request.param]


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


def check(calls, recipe):
    (call,) = calls
    assert call["run"] == recipe.run
    assert len(call["frames"]) == 2
    start = call.get("start_from")
    assert (
        start is None if recipe.start_from is None else recipe.start_from in (start, start.parent)
    )
    assert call.get("resume", False) is recipe.resume
    if recipe.config is not None:  # all but the threads, which are the window's
        assert call["config"] == recipe.config.replace({"training.threads": 0})
        if recipe.preset is None:  # nothing else counts as asked for
            assert {k for k, v in call["config"].given_settings().items() if v is not None} == {
                "training.epochs", "training.batch_size"
            }  # fmt: skip


def test_the_command_line_understands_the_command(recipe, calls):
    words = shlex.split(train_command(recipe))
    result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    check(calls, recipe)


def test_the_script_calls_the_engine_in_the_same_way(recipe, calls):
    exec(compile(train_script(recipe), "script", "exec"), {})
    if calls and isinstance(calls[0].get("start_from"), str):
        calls[0]["start_from"] = Path(calls[0]["start_from"])
    check(calls, recipe)


def test_the_names_of_the_script_are_public():
    assert {"Project", "preset", "train"} <= set(napari_jnet.__all__)


def test_only_what_differs_from_the_preset_is_said():
    assert changed_settings(preset("jnet"), "jnet") == {}
    assert changed_settings(CONFIG, "jnet") == {
        "network.resolution_levels": [-2, -1],
        "targets.dt_bound": 6.0,
        "training.device": "cpu",
        "training.loss": "bce+mse",
    }


@pytest.fixture
def prediction(tmp_path):
    return PredictRecipe(
        tmp_path / "my runs" / "001",
        tmp_path / "HeLa",
        tmp_path / "out",
        choices={"sequence": "02"},
        numbers=(2, 3, 4, 9),
        instances=InstanceConfig(segmentation_threshold=0.31, min_size=40),
    )


def test_the_command_of_a_prediction_goes_through_the_command_line(prediction):
    words = shlex.split(predict_command(prediction))
    assert words[:2] == ["napari-jnet", "predict"]
    assert words[words.index("--frames") + 1] == "2-4,9"
    assert words[words.index("--segmentation-threshold") + 1] == "0.31"
    result = CliRunner().invoke(app, words[1:])
    assert "No such option" not in result.output
    assert "HeLa does not exist" in " ".join(str(result.exception or result.output).split())


def test_what_opens_the_stack_and_an_original_file_is_in_both(prediction):
    choices = {"axes": "TCYX", "series": 2}
    facts = {"resolution_levels": (-1, 0), "dt_bound": 9.0}
    recipe = dataclasses.replace(prediction, choices=choices, facts=facts)
    words = shlex.split(predict_command(recipe))
    values = dict(pairwise(words))
    assert values["--axes"] == "TCYX" and values["--series"] == "2"
    assert values["--resolution-levels"] == "[-1, 0]" and values["--dt-bound"] == "9"
    script = predict_script(recipe)
    assert "axes='TCYX', series=2)" in script
    assert "resolution_levels=(-1, 0), dt_bound=9.0)" in script


@pytest.mark.parametrize("region", [None, (slice(0, 20), slice(5, 30))])
def test_the_script_predicts(tmp_path, monkeypatch, region):
    images = np.random.default_rng(0).random((3, 64, 64)).astype(np.float32)
    tifffile.imwrite(tmp_path / "movie.tif", images, photometric="minisblack")
    labels = np.zeros((64, 64), np.int32)
    labels[8:20, 8:20] = 1
    config = preset("jnet").replace(
        {
            "network.structure": ((1, 2, 3), (1, 1, 3)),
            "network.resolution_levels": (-1, 0),
            "targets.dt_bound": 4.0,
            "training.epochs": 1,
            "training.batches_per_epoch": 1,
            "training.patch_size": 32,
            "training.threads": 1,
            "training.device": "cpu",
        }
    )
    frame = AnnotatedFrame("t0", images[0], labels)
    list(napari_jnet.train([frame], tmp_path / "run", config))
    recipe = PredictRecipe(
        tmp_path / "run",
        tmp_path / "movie.tif",
        tmp_path / "out",
        numbers=(0, 2),
        region=region,
        instances=InstanceConfig(min_size=3),
    )
    exec(compile(predict_script(recipe), "script", "exec"), {})
    written = tifffile.imread(tmp_path / "out" / "probability.tif")
    assert written.shape == ((2, 64, 64) if region is None else (2, 20, 25))
