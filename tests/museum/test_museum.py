"""What earlier versions wrote opens for ever, and gives the same; see README.md."""

from __future__ import annotations

import csv
import hashlib
import json
import runpy
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from napari_jnet import Config, Project, evaluate, load_model, open_stack, predict
from napari_jnet.config import RENAMED, OriginalAugmentation

FILES = Path(__file__).parent / "files"
COMMITS = ("3c8f135", "0690433")
FIRST, SECOND = (FILES / commit for commit in COMMITS)
EXPECTED = json.loads((FIRST / "expected/index.json").read_text(encoding="utf-8"))
PRESETS = sorted(path.stem for path in (FIRST / "presets").glob("*.json"))


@pytest.fixture(scope="module")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the first set, for tests that only read: opening a project may clean up in it."""
    return Path(shutil.copytree(FIRST, tmp_path_factory.mktemp("museum") / "files"))


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A copy of the first set, for tests that write into it."""
    return Path(shutil.copytree(FIRST, tmp_path / "files"))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A copy of the second set."""
    return Path(shutil.copytree(SECOND, tmp_path / "film"))


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run ``python -m napari_jnet`` in this process; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["napari-jnet", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("napari_jnet", run_name="__main__")
    return int(left.value.code or 0)


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def weights(state: dict[str, torch.Tensor]) -> list[tuple[tuple[int, ...], bytes]]:
    """Shapes and bytes of all weights, whatever they are called."""
    return sorted((tuple(value.shape), value.numpy().tobytes()) for value in state.values())


def same_cells(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether each cell of one is a cell of the other with IoU above 0.99, and none is left.

    Not pixel for pixel: convolutions round differently on other processors, and a pixel whose
    probability is 0.5 but for that may fall to either side.
    """

    def matched(cells: np.ndarray, others: np.ndarray) -> bool:
        for number in np.unique(cells[cells > 0]):
            here = cells == number
            values, counts = np.unique(others[here], return_counts=True)
            there = others == values[counts.argmax()]
            if not values[counts.argmax()] or (here & there).sum() <= 0.99 * (here | there).sum():
                return False
        return True

    return matched(first, second) and matched(second, first)


@pytest.mark.parametrize("commit", COMMITS)
def test_no_file_has_changed(commit: str) -> None:
    """The evidence itself is guarded: no test, tool or line ending may rewrite it."""
    files = FILES / commit
    lines = (files / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    known = {name: checksum for checksum, name in (line.split("  ", 1) for line in lines)}
    found = {
        path.relative_to(files).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    assert found == known


# models


@pytest.mark.parametrize("entry", EXPECTED, ids=lambda entry: entry["maps"])
def test_a_model_gives_the_maps_that_it_gave(museum: Path, entry: dict) -> None:
    model = load_model(museum / entry["model"], device="cpu", **entry["facts"])
    stack = open_stack(museum / entry["stack"])
    (made,) = predict(model, stack, frames=[entry["frame"]])
    with np.load(museum / "expected" / f"{entry['maps']}.npz") as expected:
        for name in ("segmentation", "distance"):
            np.testing.assert_allclose(
                getattr(made, name), expected[name].astype(np.float32), atol=1e-3, rtol=0
            )
        assert same_cells(made.instances, expected["instances"])
        assert (made.classes is None) == ("classes" not in expected)
        if made.classes is not None:
            assert (made.classes == expected["classes"]).mean() > 0.999


@pytest.mark.parametrize(
    "file",
    [path.relative_to(FILES).as_posix() for path in sorted(FILES.rglob("*.pt"))],
)
def test_all_weights_of_a_checkpoint_are_loaded_as_they_are(tmp_path: Path, file: str) -> None:
    copy = shutil.copy(FILES / file, tmp_path)
    stored = torch.load(copy, weights_only=True)["network"]
    assert weights(load_model(copy, device="cpu").network.state_dict()) == weights(stored)


def test_the_original_s_file_needs_what_it_does_not_hold(museum: Path) -> None:
    file = museum / "original/model_final"
    with pytest.raises(ValueError, match=r"resolution_levels.*dt_bound"):
        load_model(file, device="cpu")
    model = load_model(file, device="cpu", resolution_levels=[-2, -1, 0], dt_bound=4)
    # Batch counters are no weights; files of 2018 lack them.
    loaded = {k: v for k, v in model.network.state_dict().items() if "num_batches" not in k}
    stored = torch.load(file, weights_only=True)["state_dict"]
    assert weights(loaded) == weights({k: v for k, v in stored.items() if "num_batches" not in k})


@pytest.mark.parametrize(
    ("run", "channels", "classes", "bound", "names"),
    [
        ("runs/unet", 1, 1, 4, ()),
        ("runs/patches", 3, 3, 4, ("ground", "line", "ellipse")),
        ("projects/scribbles/runs/001", 1, 1, 4, ("membrane", "inside")),
    ],
)
def test_a_model_says_what_it_takes_and_gives(
    museum: Path, run: str, channels: int, classes: int, bound: float, names: tuple[str, ...]
) -> None:
    config = load_model(museum / run, device="cpu").config
    assert (config.network.in_channels, config.network.classes) == (channels, classes)
    assert config.targets.dt_bound == bound
    assert tuple(name for name, _ in config.targets.classes) == names


# configurations


def read_config(file: Path) -> None:
    """Open a config.json: every parameter that still has its name has the value in the file."""
    stored = json.loads(file.read_text(encoding="utf-8"))
    config = Config.from_dict(stored)
    assert json.loads(json.dumps(Config.from_dict(config.to_dict()).to_dict())) == json.loads(
        json.dumps(config.to_dict())
    )
    now = json.loads(json.dumps(config.to_dict()))
    kept = 0
    for section, values in stored.items():
        for name, value in values.items():
            name = RENAMED.get(f"{section}.{name}", name)
            if name == "original":  # was a text
                value = None if value == "" else OriginalAugmentation(**json.loads(value)).to_dict()
            if name in now.get(section, {}):
                assert now[section][name] == value, f"{section}.{name}"
                kept += 1
    assert kept > 40
    assert config.network.name == stored["network"]["name"]
    assert config.training.learning_rate == stored["training"]["learning_rate"]
    assert config.targets.dt_bound == stored["targets"]["dt_bound"]


@pytest.mark.parametrize("name", PRESETS)
def test_the_configuration_of_a_preset_opens(museum: Path, name: str) -> None:
    read_config(museum / "presets" / f"{name}.json")


def test_the_configuration_of_every_run_opens(museum: Path) -> None:
    files = sorted(museum.rglob("config.json"))
    assert len(files) == 11
    for file in files:
        read_config(file)


def test_a_training_takes_a_configuration_of_then(
    museum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", museum / "cells", "--sequence", "01", "--output", tmp_path / "run"]
    words += ["--config", museum / "runs/jnet/config.json", "--epochs", 1]
    assert call(monkeypatch, *words, "--set", "training.batches_per_epoch=1") == 0
    model = load_model(tmp_path / "run", device="cpu")
    then = load_model(museum / "runs/jnet", device="cpu").config
    # a new training does as trainings do now; the model of then goes on as it did
    assert then.network.standardization == "plain"
    assert not then.network.halve_channels and not then.network.deep_supervision
    assert then.network.diameter is None and model.config.network.diameter is not None
    changes = {
        "standardization": "robust",
        "halve_channels": True,
        "deep_supervision": True,
        "diameter": model.config.network.diameter,
    }
    now = then.replace({f"network.{name}": value for name, value in changes.items()})
    assert model.config.network == now.network


# runs


def test_a_stopped_run_goes_on(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the twelve epochs that it was to have; the ten before stay as they were."""
    run = fresh / "runs/stopped"
    before = history(run)
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    words = ["train", fresh / "cells", "--sequence", "01", "--output", run, "--resume"]
    assert call(monkeypatch, *words) == 0
    after = history(run)
    assert [row["epoch"] for row in before] == [str(n) for n in range(1, 11)]
    assert [row["epoch"] for row in after] == [str(n) for n in range(1, 13)]
    for old, kept in zip(before, after, strict=False):
        assert {name: kept[name] for name in old} == old
    assert float(after[-1]["iou"]) > 0.8  # it goes on from what it had learned
    now = json.loads((run / "split.json").read_text(encoding="utf-8"))
    assert {name: now[name] for name in split} == split


def test_a_run_is_a_start_for_fine_tuning(
    museum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", museum / "cells", "--sequence", "01", "--output", tmp_path / "run"]
    words += ["--model", museum / "runs/unet", "--epochs", 1, "--device", "cpu"]
    assert call(monkeypatch, *words, "--set", "training.batches_per_epoch=1") == 0
    assert float(history(tmp_path / "run")[0]["iou"]) > 0.8


@pytest.mark.parametrize(
    "path", ["runs/unet", "runs/fcn16/model.pt", "original/model_final", "projects/instances"]
)
def test_info_knows_them(
    museum: Path, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "info", museum / path) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 4


# projects


def test_a_project_of_instances_is_all_there(museum: Path) -> None:
    project = Project.open(museum / "projects/instances")
    assert project.roles == {
        0: "training",
        1: "training",
        2: "validation",
        3: "training",
        4: "unused",
    }
    assert project.partial == frozenset({3})
    project.set_roles(project.roles)
    values = json.loads((project.path / "project.json").read_text(encoding="utf-8"))
    assert values["settings"] == {"brush": 7, "names": ["a", "b"], "nested": {"on": True}}
    assert project.annotated == (0, 1, 2, 3, 4)
    stack = project.open_stack()
    for number in project.annotated:
        truth = tifffile.imread(museum / f"cells/01_GT/SEG/man_seg{number:03d}.tif")
        if number == 3:
            truth = np.where(truth <= 3, truth, 0)
        np.testing.assert_array_equal(project.read_frame(number), truth)
        image = tifffile.imread(museum / f"cells/01/t{number:03d}.tif")
        np.testing.assert_array_equal(stack.frame(number), image)
    frames = project.frames()
    assert [frame.role for frame in frames] == ["training", "training", "validation", "training"]
    assert [bool((frame.labels == -1).any()) for frame in frames] == [False, False, False, True]


def test_the_runs_of_a_project_are_all_there(museum: Path) -> None:
    project = Project.open(museum / "projects/instances")
    first, second = project.runs()
    assert (first.name, first.epochs, first.finished, first.resumable) == ("001", 2, True, False)
    assert (second.name, second.epochs, second.finished, second.resumable) == (
        "002",
        10,
        False,
        True,
    )
    assert first.training_frames == ("01/t000", "01/t001", "01/t003")
    assert first.validation_frames == ("01/t002",)
    rows = history(first.path)
    assert str(first.seg) == rows[first.best_epoch - 1]["seg"]
    assert str(first.iou) == rows[first.best_epoch - 1]["iou"]
    assert project.model == first.path and project.new_run().name == "003"


def test_a_project_of_classes_is_all_there(museum: Path) -> None:
    project = Project.open(museum / "projects/classes")
    assert project.kind == "classes" and project.roles == {} and project.model is None
    assert project.classes == (("ground", "#000000"), ("line", "#00ff00"), ("ellipse", "#ff0000"))
    stack = project.open_stack()
    assert (stack.axes, stack.shape) == ("TYXC", (64, 80, 3))
    values = set()
    for number in project.annotated:
        file = tifffile.imread(museum / f"projects/classes/annotations/t{number:03d}.tif")
        np.testing.assert_array_equal(project.read_frame(number), file)
        values |= set(np.unique(file).tolist())
        with Image.open(museum / f"pictures/Img_{number}.png") as picture:
            np.testing.assert_array_equal(stack.frame(number), np.asarray(picture))
    assert len(project.annotated) == 3 and values == {-1, 0, 1, 2}


def test_a_project_of_scribbles_is_all_there(museum: Path) -> None:
    project = Project.open(museum / "projects/scribbles")
    assert project.kind == "scribbles" and project.annotated == (0, 2)
    assert [name for name, _ in project.classes] == ["unlabelled", "membrane", "inside"]
    assert project.model == museum / "projects/scribbles/runs/001"
    volume = tifffile.imread(museum / "volume/stack.tif")
    frames = project.frames()
    assert [frame.role for frame in frames] == ["training", "training"]
    for number, frame in zip(project.annotated, frames, strict=True):
        file = tifffile.imread(museum / f"projects/scribbles/annotations/t{number:03d}.tif")
        np.testing.assert_array_equal(project.read_frame(number), file)
        np.testing.assert_array_equal(frame.image, volume[number])
        np.testing.assert_array_equal(frame.labels, file.astype(int) - 1)


def test_a_project_of_an_image_in_memory_is_all_there(museum: Path) -> None:
    project = Project.open(museum / "projects/memory")
    stack = project.open_stack()
    assert (stack.axes, stack.shape, len(stack)) == ("TZYX", (3, 32, 40), 2)
    image = tifffile.imread(museum / "projects/memory/stack.tif")
    for number in (0, 1):
        np.testing.assert_array_equal(stack.frame(number), image[number])
    expected = np.zeros((3, 32, 40), int)
    expected[0, 4:12, 5:15], expected[0, 12:20, 5:15], expected[1] = 1, 70000, -1
    assert project.annotated == (1,)
    np.testing.assert_array_equal(project.read_frame(1), expected)


def test_a_project_goes_on(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is painted on, opened again, and its run is resumed."""
    project = Project.open(fresh / "projects/instances")
    labels = project.read_frame(4)
    labels[:5, :5] = 99
    project.write_frame(4, labels)
    project.set_role(4, "training")
    words = ["train", fresh / "projects/instances", "--resume", "--epochs", 11]
    assert call(monkeypatch, *words) == 0
    again = Project.open(fresh / "projects/instances")
    np.testing.assert_array_equal(again.read_frame(4), labels)
    assert again.partial == frozenset({3}) and again.model == project.model
    assert again.runs()[1].epochs == 11
    assert again.runs()[1].training_frames == ("01/t000", "01/t001", "01/t003", "01/t004")


# results


def test_a_result_is_scored_as_it_was(museum: Path) -> None:
    stored = json.loads((museum / "results/cells/metrics.json").read_text(encoding="utf-8"))
    stack = open_stack(museum / "cells", sequence="01")
    for folder in (museum / "results/cells", museum / "results/cells/01_RES"):
        *frames, scores = evaluate(folder, stack)
        for name in ("seg", "det", "iou", "mean_iou", "pixel_accuracy", "ap50", "ap75", "ap"):
            assert getattr(scores, name) == pytest.approx(stored[name]), name
            for frame, known in zip(frames, stored["frames"], strict=True):
                if name != "mean_iou":
                    assert getattr(frame, name) == pytest.approx(known[name]), name
        assert (scores.objects, scores.missed) == (stored["objects"], stored["missed"])


def test_a_prediction_again_writes_what_it_wrote(
    museum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["predict", museum / "runs/unet", museum / "cells", "--sequence", "01"]
    assert call(monkeypatch, *words, "--device", "cpu", "--output", tmp_path) == 0
    then = museum / "results/cells"
    for name in ("probability", "distance"):
        now = tifffile.imread(tmp_path / f"{name}.tif")
        np.testing.assert_allclose(now, tifffile.imread(then / f"{name}.tif"), atol=1e-3, rtol=0)
    now, before = (tifffile.imread(place / "instances.tif") for place in (tmp_path, then))
    for number in range(len(before)):
        assert same_cells(now[number], before[number])
    tracks = (tmp_path / "01_RES/res_track.txt").read_text(encoding="ascii")
    assert tracks == (then / "01_RES/res_track.txt").read_text(encoding="ascii")


def test_a_project_predicts_its_volume_as_it_did(
    museum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, "predict", museum / "projects/scribbles", "--output", tmp_path) == 0
    now = tifffile.imread(tmp_path / "probability.tif")
    then = tifffile.imread(museum / "results/volume/probability.tif")
    np.testing.assert_allclose(now, then, atol=1e-3, rtol=0)


# what the window of 0690433 wrote


def leaves(values: Any) -> Iterator[str]:
    """Yield every value of nested plain values, whatever it is called."""
    if isinstance(values, dict):
        for value in values.values():
            yield from leaves(value)
    else:
        yield json.dumps(values)


def test_a_film_of_the_window_is_all_there(film: Path) -> None:
    project = Project.open(film / "projects/film")
    assert (project.name, project.kind) == ("film", "instances")
    assert project.roles == {0: "training", 1: "training", 2: "validation", 4: "unused"}
    assert project.annotated == (0, 1, 2, 4) and project.empty == {4}
    for number in project.annotated:
        file = tifffile.imread(SECOND / f"projects/film/annotations/t{number:03d}.tif")
        np.testing.assert_array_equal(project.read_frame(number), file)
    values = [set(np.unique(project.read_frame(n)).tolist()) for n in (0, 1, 2)]
    assert values == [{*range(11), 20}, {-1, *range(1, 6)}, set(range(11))]
    stack = project.open_stack()
    assert (stack.axes, stack.scale) == ("TYX", (60, 0.5, 0.5))
    frames = project.frames()
    assert [frame.role for frame in frames] == ["training", "training", "validation"]
    images = tifffile.imread(SECOND / "film.tif")
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, images[number])
        np.testing.assert_array_equal(frame.labels, project.read_frame(number))


def test_the_runs_of_the_film_are_all_there(film: Path) -> None:
    """Although the window that trained the second was killed, and left its locks."""
    project = Project.open(film / "projects/film")
    first, second = project.runs()
    assert (first.name, first.epochs, first.finished, first.resumable) == ("001", 2, True, False)
    assert (second.name, second.epochs, second.finished, second.resumable) == (
        "002",
        5,
        False,
        True,
    )
    for run in (first, second):
        assert run.training_frames == ("film/t000", "film/t001")
        assert run.validation_frames == ("film/t002",)
        rows = history(run.path)
        assert str(run.seg) == rows[run.best_epoch - 1]["seg"]
    assert project.model == first.path and project.new_run().name == "003"


@pytest.mark.parametrize(
    ("name", "kind", "entries", "roles", "painted"),
    [
        (
            "film-2",
            "classes",
            (("ground", "#000000"), ("core", "#ff0000"), ("rim", "#00ff00")),
            {0: "validation", 3: "training"},
            {-1, 0, 1, 2},
        ),
        (
            "film-3",
            "scribbles",
            (("not painted", "#000000"), ("outside", "#5b6abf"), ("inside", "#ff9f1c")),
            {2: "training"},
            {0, 1, 2},
        ),
    ],
)
def test_what_was_painted_with_classes_is_all_there(
    film: Path, name: str, kind: str, entries: tuple, roles: dict, painted: set
) -> None:
    project = Project.open(film / "projects" / name)
    assert (project.kind, project.classes, project.roles) == (kind, entries, roles)
    assert project.annotated == tuple(roles) and project.model is None
    for number in project.annotated:
        file = tifffile.imread(SECOND / f"projects/{name}/annotations/t{number:03d}.tif")
        np.testing.assert_array_equal(project.read_frame(number), file)
        assert set(np.unique(file).tolist()) == painted
    learned = {int(value) for frame in project.frames() for value in np.unique(frame.labels)}
    assert learned == ({-1, 0, 1} if kind == "scribbles" else painted)


def test_the_stopped_training_of_the_film_goes_on(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.open(film / "projects/film")
    run = project.path / "runs/002"
    before = history(run)
    assert call(monkeypatch, "train", project.path, "--resume") == 0
    after = history(run)
    assert [row["epoch"] for row in after] == [str(n) for n in range(1, 9)]
    for old, kept in zip(before, after, strict=False):
        assert {name: kept[name] for name in old} == old
    assert min(float(row["iou"]) for row in after[5:]) > 0.9
    assert project.runs()[1].finished and not project.runs()[1].resumable
    assert Project.open(project.path).model == project.path / "runs/001"


def test_the_film_is_predicted_into_its_result_as_it_was(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the thresholds and the test-time augmentation of the run, which are not the defaults."""
    result, then = film / "results/film", SECOND / "results/film"
    for name in ("probability", "distance", "instances"):
        (result / f"{name}.tif").touch()
    words = ["predict", film / "projects/film", "--device", "cpu", "--output", result]
    assert call(monkeypatch, *words) == 0
    for name in ("probability", "distance"):
        assert (result / f"{name}.tif").read_bytes() != (then / f"{name}.tif").read_bytes()
        now = tifffile.imread(result / f"{name}.tif")
        np.testing.assert_allclose(now, tifffile.imread(then / f"{name}.tif"), atol=1e-3, rtol=0)
    now, before = (tifffile.imread(place / "instances.tif") for place in (result, then))
    assert len(now) == len(before) == 5
    for number in range(5):
        assert same_cells(now[number], before[number])


def test_the_result_of_the_film_is_scored_as_it_was(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", film / "results/film", film / "projects/film"]
    assert call(monkeypatch, *words, "--output", tmp_path / "now.json") == 0
    now = json.loads((tmp_path / "now.json").read_text(encoding="utf-8"))
    then = json.loads((SECOND / "results/film/metrics.json").read_text(encoding="utf-8"))
    for name in ("seg", "iou", "mean_iou", "pixel_accuracy", "ap50", "ap75", "ap", "objects"):
        assert now[name] == pytest.approx(then[name]), name
    assert now["missed"] == then["missed"]
    for frame, before in zip(now["frames"], then["frames"], strict=True):
        assert {key: frame[key] for key in before} == pytest.approx(before)


def test_the_model_of_the_film_is_a_start_for_fine_tuning(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its file alone, as somebody passes it on."""
    model = shutil.move(film / "projects/film/runs/001/model.pt", film / "cells.pt")
    words = ["train", film / "projects/film", "--model", model, "--epochs", 1, "--device", "cpu"]
    assert call(monkeypatch, *words, "--set", "training.batches_per_epoch=1") == 0
    assert float(history(film / "projects/film/runs/003")[0]["iou"]) > 0.9
    network = json.loads((film / "projects/film/runs/003/config.json").read_text())["network"]
    then = json.loads((SECOND / "projects/film/runs/001/config.json").read_text())["network"]
    assert not Counter(leaves(then)) - Counter(leaves(network))


def test_every_value_of_a_configuration_is_read(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its key is called now; nearly all of them differ from the defaults."""
    words = ["train", film / "projects/film", "--config", film / "config.json"]
    words += ["--output", film / "run", "--epochs", 1, "--set", "training.batches_per_epoch=1"]
    assert call(monkeypatch, *words) == 0
    now = json.loads((film / "run/config.json").read_text(encoding="utf-8"))
    then = json.loads((film / "config.json").read_text(encoding="utf-8"))
    assert (then["training"].pop("epochs"), then["training"].pop("batches_per_epoch")) == (3, 7)
    then["network"].pop("distance_scale")  # the training sets it
    assert then["augmentation"].pop("original") == ""  # flags as text; none of them are None now
    assert now["augmentation"]["original"] is None
    assert not Counter(leaves(then)) - Counter(leaves(now))


@pytest.mark.parametrize(
    "path",
    ["film.tif", "projects/film", "projects/film/runs/002", "projects/film/runs/001/model.pt"],
)
def test_info_knows_what_the_window_wrote(
    film: Path, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAPARI_JNET_PROJECTS", str(film / "projects"))
    assert call(monkeypatch, "info", film / path) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 4
