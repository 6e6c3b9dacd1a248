"""The command line with a project: its runs, its roles, its model, and where its images are."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer

from napari_jnet.cli import main
from napari_jnet.cli.info import describe, describe_run
from napari_jnet.cli.program import app
from napari_jnet.io.run_folder import PACKAGED
from napari_jnet.model import load_model
from napari_jnet.project.open import open_stack
from napari_jnet.project.project import Project
from napari_jnet.project.runs import read_run
from napari_jnet.synthetic import write_cells_sequence

QUICK = ["--network", "jnet", "--device", "cpu", "--epochs", "1"]
QUICK += ["--set", "training.batches_per_epoch=2", "--set", "training.patch_size=32"]
QUICK += ["--set", "training.batch_size=2", "--set", "training.threads=1"]
ROLES = {0: "training", 1: "training", 2: "validation", 3: "unused"}


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def annotate(folder: Path, dataset: Path) -> Project:
    stack = open_stack(dataset, sequence="01")
    project = Project.create(folder, stack, "instances")
    for number, role in ROLES.items():
        project.write_frame(number, stack.annotation("gold").frame(number))
        project.set_role(number, role)
    return project


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with the stack ``cells`` and the project ``work``, which has one short run."""
    folder = tmp_path_factory.mktemp("lab")
    write_cells_sequence(folder / "cells", frames=(5, 2), shape=(64, 64), cells=4, diameter=20.0)
    annotate(folder / "work", folder / "cells")
    assert call("train", folder / "work", *QUICK) == 0
    return folder


@pytest.fixture
def fresh(lab: Path, tmp_path: Path) -> Path:
    """A copy of the lab, for what changes it."""
    shutil.copytree(lab, tmp_path / "lab")
    Project.open(tmp_path / "lab" / "work").relocate(tmp_path / "lab" / "cells")
    return tmp_path / "lab"


def test_training_a_project_keeps_roles_and_makes_the_next_run(lab):
    project = Project.open(lab / "work")
    (run,) = project.runs()
    assert run.path == lab / "work" / "runs" / "001"
    assert run.training_frames == ("01/t000", "01/t001")
    assert run.validation_frames == ("01/t002",)
    assert (run.epochs, run.finished) == (1, True)
    assert project.model == run.path


def test_a_second_run_leaves_the_chosen_model(fresh):
    folder = fresh / "work"
    assert call("train", folder, "--model", folder, "--frames", "training", *QUICK) == 0
    project = Project.open(folder)
    assert [run.name for run in project.runs()] == ["001", "002"]
    assert project.model == folder / "runs" / "001"
    assert project.runs()[1].training_frames == ("01/t000", "01/t001")
    assert project.runs()[1].validation_frames == ()


def test_resume_goes_on_with_the_last_run_and_the_frames_of_now(fresh):
    folder = fresh / "work"
    Project.open(folder).set_role(3, "training")
    assert call("train", folder, "--resume", "--epochs", 2) == 0
    (run,) = Project.open(folder).runs()
    assert run.epochs == 2
    assert run.training_frames == ("01/t000", "01/t001", "01/t003")


def test_there_must_be_something_to_resume(fresh, capsys):
    shutil.rmtree(fresh / "work" / "runs")
    assert call("train", fresh / "work", "--resume") == 2
    assert "has no run yet" in capsys.readouterr().err
    (fresh / "work" / "runs" / "001").mkdir(parents=True)
    (fresh / "work" / "runs" / "001" / "config.json").write_text("{}")
    assert call("train", fresh / "work", "--resume") == 2
    assert "no last.pt in its last run, 001" in capsys.readouterr().err


def test_a_stack_that_is_no_project_needs_an_output(lab, capsys):
    assert call("train", lab / "cells", *QUICK) == 2
    assert "--output RUN" in capsys.readouterr().err
    assert call("train", lab / "cells", "--output", lab / "x", "--frames", "validation") == 2
    assert "is not a project" in capsys.readouterr().err


def test_a_project_means_its_model_and_its_stack(lab, tmp_path, capsys):
    for model in (lab / "work", lab / "work" / "runs" / "001"):
        out = tmp_path / model.name
        assert call("predict", model, "--output", out, "--frames", "validation") == 0
        assert [p.name for p in (out / "01_RES").glob("*.tif")] == ["mask002.tif"]
    out = tmp_path / "whole"
    assert call("predict", lab / "work", lab / "work", "--output", out) == 0
    assert len(tifffile.imread(out / "instances.tif")) == 5
    capsys.readouterr()
    assert call("evaluate", out, lab / "work", "--frames", "validation") == 0
    said = capsys.readouterr().out
    assert "painted" in said and "Note:" not in said
    metrics = json.loads((out / "metrics.json").read_text())
    assert [frame["number"] for frame in metrics["frames"]] == [2]
    assert call("evaluate", out, lab / "work", "--truth", "gold") == 0
    assert "training learns from 0, 1, so" in capsys.readouterr().out


def cells(out: Path) -> int:
    return int(tifffile.imread(out / "instances.tif").max())


def test_a_project_separates_cells_as_its_window_does_and_options_go_before(fresh, tmp_path):
    folder = fresh / "work"
    project, one = Project.open(folder), ("--frames", "0", "--tta", "1", "--output")
    own = load_model(project.model, device="cpu").config.instances
    project.set_instances(own.changed(segmentation_threshold=0.0, min_size=10**6))
    assert call("predict", folder, *one, tmp_path / "a") == 0
    assert cells(tmp_path / "a") == 0
    assert call("predict", folder, *one, tmp_path / "b", "--min-size", 1) == 0
    assert cells(tmp_path / "b") > 0  # the project's threshold, with another size
    assert call("predict", folder, *one, tmp_path / "c", "--segmentation-threshold", 1) == 0
    assert cells(tmp_path / "c") == 0
    words = ("predict", folder / "runs" / "001", *one)
    assert call(*words, tmp_path / "d", "--segmentation-threshold", 0, "--min-size", 1) == 0
    found = [tifffile.imread(tmp_path / name / "instances.tif") for name in "bd"]
    np.testing.assert_array_equal(*found)


def test_the_diameter_of_a_project_is_that_of_its_starter(fresh, tmp_path, capsys):
    folder = fresh / "work"
    project, one = Project.open(folder), ("--frames", "0", "--tta", "1", "--output")
    project.set_model(PACKAGED["starter"])
    assert call("predict", folder, *one, tmp_path / "a") == 0
    assert "estimated" in capsys.readouterr().out
    project.set_diameter(20.0)
    assert call("predict", folder, *one, tmp_path / "b") == 0
    assert "estimated" not in capsys.readouterr().out
    assert call("predict", "starter", folder, *one, tmp_path / "c", "--diameter", 20) == 0
    found = [tifffile.imread(tmp_path / name / "instances.tif") for name in "bc"]
    np.testing.assert_array_equal(*found)


def test_a_run_in_the_project_called_like_the_starter_is_not_it(fresh):
    project = Project.open(fresh / "work")
    project.set_model(PACKAGED["starter"])
    (fresh / "work" / "starter").mkdir()
    assert project.model == PACKAGED["starter"]
    project.set_model(fresh / "work" / "starter")
    assert Project.open(fresh / "work").model == fresh / "work" / "starter"


def test_a_diameter_out_of_range_is_refused_and_one_in_the_file_is_estimated_again(fresh):
    project, file = Project.open(fresh / "work"), fresh / "work" / "project.json"
    with pytest.raises(ValueError, match="diameter is 1;"):
        project.set_diameter(1)
    assert project.diameter is None
    project.set_diameter(31.5)
    assert Project.open(fresh / "work").diameter == 31.5
    file.write_text(file.read_text().replace("31.5", "1e9"))
    assert Project.open(fresh / "work").diameter is None


def test_without_a_model_or_a_stack_the_remedy_is_said(fresh, tmp_path, capsys):
    run = fresh / "run"
    shutil.move(fresh / "work" / "runs" / "001", run)
    assert call("predict", fresh / "work", "--output", tmp_path / "out") == 2
    assert "has no model yet" in capsys.readouterr().err
    assert call("predict", run, "--output", tmp_path / "out") == 2
    assert "Name the stack to segment" in capsys.readouterr().err


def test_info_says_what_a_project_holds(fresh):
    words = describe(fresh / "work")
    assert words["project"].startswith("cells 01")
    assert words["annotation painted"].startswith("instances; ")
    assert words["annotation painted"].endswith("annotated frames: 4 (0 to 3)")
    assert words["training frames"] == "2 (0, 1)"
    assert words["validation frames"] == "1 (2)" and words["unused frames"] == "1 (3)"
    assert words["model"] == str(fresh / "work" / "runs" / "001")
    assert words["run 001"].startswith("epochs: 1 in ") and "finished" in words["run 001"]
    assert "training frames: 2" in words["run 001"]
    shutil.rmtree(fresh / "cells")
    assert "napari-jnet relocate" in describe(fresh / "work")["stack"]


def test_annotated_on_a_laptop_trained_on_a_cluster(fresh, tmp_path):
    fresh.rename(tmp_path / "cluster")
    folder = tmp_path / "cluster" / "work"
    assert call("train", folder, "--frames", "0,2", *QUICK) == 0
    with (folder / "runs" / "002" / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1


def test_relocate(fresh, tmp_path, capsys):
    folder = fresh / "work"
    (fresh / "cells").rename(tmp_path / "elsewhere")
    assert call("train", folder, *QUICK) == 2
    assert "napari-jnet relocate" in capsys.readouterr().err
    assert call("relocate", folder, tmp_path / "elsewhere", "--sequence", "02") == 2
    assert "another stack" in capsys.readouterr().err
    assert call("relocate", folder, tmp_path / "elsewhere") == 0
    assert "are now at" in capsys.readouterr().out
    assert len(Project.open(folder).frames()) == 3


def test_a_damaged_project_is_one_line_on_stderr(fresh, capsys):
    (fresh / "work" / "project.json").write_text("{")
    for command in (
        ("info", fresh / "work"),
        ("train", fresh / "work"),
        ("predict", fresh / "work", "--output", fresh / "out"),
    ):
        assert call(*command) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "project.json" in said and "is damaged" in said


def test_the_python_of_the_document_runs(tmp_path, monkeypatch):
    document = Path(__file__).resolve().parents[2] / "docs" / "project-folder.md"
    (block,) = re.findall(
        r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S
    )
    monkeypatch.chdir(tmp_path)
    write_cells_sequence(tmp_path / "cells", frames=(4, 1), shape=(64, 64), cells=4, diameter=20.0)
    # One short epoch: the test is about the names, not about the cells.
    quick = (
        "__import__('napari_jnet').preset('jnet').replace({'training.epochs': 1, "
        "'training.batches_per_epoch': 2, 'training.patch_size': 32, 'training.threads': 1})"
    )
    changed = block.replace("project.new_run())", f"project.new_run(), {quick})")
    assert changed != block
    exec(compile(changed, str(document), "exec"), {})
    project = Project.open(tmp_path / "work")
    assert project.roles == {0: "training", 1: "training", 2: "validation"}
    assert project.model == tmp_path / "work" / "runs" / "001"


def test_the_commands_of_the_document_exist():
    """Each line is parsed as it stands; the commands themselves are tested above."""
    document = Path(__file__).resolve().parents[2] / "docs" / "project-folder.md"
    lines = re.findall(r"^ *napari-jnet ([^#\n]+)", document.read_text(encoding="utf-8"), re.M)
    assert len(lines) == 9
    commands = typer.main.get_command(app).commands
    for line in lines:
        name, *words = line.split()
        commands[name].make_context(name, words)


@pytest.mark.parametrize(("last", "said"), [("", "epoch 2, 3 is kept"), ("0.75", "which is kept")])
def test_a_run_shows_the_last_score_where_its_last_epoch_was_not_scored(
    tmp_path: Path, last: str, said: str
) -> None:
    rows = ["epoch,iou,seg,best,elapsed_s", "1,0.5,0.25,True,9", "2,0.625,0.5,True,19"]
    (tmp_path / "history.csv").write_text("\n".join([*rows, f"3,{last},{last},True,29"]))
    run = read_run(tmp_path)
    assert run.best_epoch == 3 and run.seg == (float(last) if last else 0.5)
    assert f"SEG {run.seg:.3f}" in describe_run(run) and said in describe_run(run)
