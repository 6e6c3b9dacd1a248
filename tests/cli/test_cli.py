"""The command line: what it writes, what it says, and its exit status."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_jnet import device
from napari_jnet.cli import main
from napari_jnet.cli.common import parse_frames
from napari_jnet.cli.console import duration, message_of
from napari_jnet.cli.train import make_config
from napari_jnet.config import read_settings
from napari_jnet.events import BatchEnd
from napari_jnet.files import FolderLock
from napari_jnet.hardware import Hardware
from napari_jnet.synthetic import write_cells_sequence
from napari_jnet.training import loop

QUICK = ["--network", "jnet", "--device", "cpu"]
QUICK += ["--set", "training.batches_per_epoch=2", "--set", "training.patch_size=32"]
QUICK += ["--set", "training.batch_size=2", "--set", "training.threads=1"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_cells_sequence(
        tmp_path_factory.mktemp("data") / "cells",
        frames=(6, 4),
        shape=(128, 128),
        cells=6,
        diameter=24.0,
    )


@pytest.fixture(scope="module")
def run(dataset) -> Path:
    """A run of one short epoch, by the command line."""
    folder = dataset.parent / "run"
    status = call("train", dataset, "--output", folder, "--epochs", 1, "--frames", "0-2", *QUICK)
    assert status == 0
    return folder


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def test_train_writes_a_run(run):
    names = {"model.pt", "last.pt", "history.csv", "config.json", "split.json"}
    assert names <= {path.name for path in run.iterdir()}
    with (run / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1
    config = json.loads((run / "config.json").read_text())
    assert config["network"]["name"] == "jnet"
    assert config["training"]["batches_per_epoch"] == 2


def test_resume_takes_the_frames_of_the_run(dataset, run, capsys):
    assert call("train", dataset, "--output", run, "--resume", "--epochs", 2) == 0
    said = capsys.readouterr().out
    assert "Resuming after epoch 1" in said
    assert "epoch    2  loss" in said
    with (run / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_predict_and_evaluate(dataset, run, tmp_path, capsys):
    out = tmp_path / "out"
    assert call("predict", run, dataset, "--sequence", "02", "--output", out) == 0
    frames = len(list((dataset / "02").glob("t*.tif")))
    assert len(list((out / "02_RES").glob("mask*.tif"))) == frames
    assert (out / "02_RES" / "res_track.txt").is_file()
    assert tifffile.imread(out / "probability.tif").dtype == np.float32
    assert len(tifffile.imread(out / "instances.tif")) == frames
    assert f"in {frames} of {frames} frames" in capsys.readouterr().out

    assert call("evaluate", out, dataset, "--sequence", "02", "--truth", "gold") == 0
    said = capsys.readouterr().out
    assert "SEG" in said and "DET" in said and "IoU" in said
    metrics = json.loads((out / "metrics.json").read_text())
    assert {"seg", "det", "iou", "pixel_accuracy", "v_rand", "v_info"} <= metrics.keys()
    assert 0 <= metrics["seg"] <= 1 and metrics["det"] is not None
    assert len(metrics["frames"]) == frames


def test_a_volume_from_training_to_scores(tmp_path, capsys):
    """Two volumes of a dataset with truth: trained, predicted, scored and described as volumes."""
    z, y, x = np.mgrid[:6, :48, :48]
    for sequence in ("01", "02"):
        for t in range(2):
            truth = np.zeros(z.shape, np.uint16)
            for value, (row, column) in enumerate([(12, 12), (12, 34), (34, 12 + 4 * t)], start=1):
                truth[(y - row) ** 2 + (x - column) ** 2 + 4 * (z - 3) ** 2 < 64] = value
            rng = np.random.default_rng(t + int(sequence))
            image = (20 + 100 * (truth > 0) + rng.normal(0, 4, truth.shape)).astype(np.uint8)
            for path, array in {
                f"{sequence}/t{t:03d}.tif": image,
                f"{sequence}_GT/SEG/man_seg{t:03d}.tif": truth,
                f"{sequence}_GT/TRA/man_track{t:03d}.tif": truth,
            }.items():
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(tmp_path / path, array)
    run, out = tmp_path / "run", tmp_path / "out"
    assert call("train", tmp_path, "--output", run, "--epochs", 2, *QUICK) == 0
    assert call("predict", run, tmp_path, "--sequence", "02", "--output", out) == 0
    masks = sorted((out / "02_RES").glob("mask*.tif"))
    assert [tifffile.imread(mask).shape for mask in masks] == [z.shape] * 2
    assert tifffile.imread(out / "probability.tif").shape == (2, *z.shape)
    assert call("evaluate", out, tmp_path, "--sequence", "02", "--truth", "gold") == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert 0 <= metrics["seg"] <= 1 and len(metrics["frames"]) == 2
    for path, truth in zip(masks, sorted((tmp_path / "02_GT/SEG").iterdir()), strict=True):
        path.write_bytes(truth.read_bytes())
    scores = tmp_path / "scores.json"
    wanted = ["--sequence", "02", "--output", scores]
    assert call("evaluate", out / "02_RES", tmp_path, *wanted) == 0
    assert json.loads(scores.read_text())["seg"] == 1  # one object through its planes
    capsys.readouterr()
    assert call("info", tmp_path) == 0
    assert "6 × 48 × 48" in " ".join(capsys.readouterr().out.split())


def test_predict_goes_on_behind_a_damaged_frame(dataset, run, tmp_path, capsys):
    copy = tmp_path / "cells" / "02"
    shutil.copytree(dataset / "02", copy)
    (copy / "t001.tif").write_bytes((copy / "t001.tif").read_bytes()[:200])
    out = tmp_path / "out"
    assert call("predict", run, copy.parent, "--sequence", "02", "--output", out) == 2
    said = capsys.readouterr()
    assert "in 3 of 4 frames" in said.out
    assert said.err.startswith("Error: 1 frame skipped (1): ") and "t001.tif" in said.err
    assert said.err.count("\n") == 1
    names = sorted(path.name for path in (out / "02_RES").glob("mask*.tif"))
    assert names == ["mask000.tif", "mask002.tif", "mask003.tif"]
    assert len(tifffile.imread(out / "instances.tif")) == 3


def test_predict_takes_frames_and_thresholds(dataset, run, tmp_path):
    common = ("predict", run, dataset, "--frames", "1,3", "--device", "cpu")
    assert call(*common, "--output", tmp_path / "a", "--segmentation-threshold", 0) == 0
    assert call(*common, "--output", tmp_path / "b", "--segmentation-threshold", 1) == 0
    assert sorted(p.name for p in (tmp_path / "a" / "01_RES").glob("*.tif")) == [
        "mask001.tif",
        "mask003.tif",
    ]
    assert tifffile.imread(tmp_path / "a" / "instances.tif").any()
    assert not tifffile.imread(tmp_path / "b" / "instances.tif").any()
    lines = (tmp_path / "a" / "confidence.csv").read_text().splitlines()
    assert lines[0] == "frame,cell,confidence" and {n.split(",")[0] for n in lines[1:]} == {
        "1",
        "3",
    }
    low = (*common, "--output", tmp_path / "c", "--segmentation-threshold", 0)
    assert call(*low, "--min-confidence", 1) == 0
    assert not tifffile.imread(tmp_path / "c" / "instances.tif").any()


def test_what_the_model_holds_is_not_overridden(dataset, run, tmp_path, capsys):
    for option, value in (("--dt-bound", 99), ("--resolution-levels", "[-7,-6]")):
        assert call("predict", run, dataset, "-o", tmp_path / "x", option, value) == 2
        assert "Leave both out" in capsys.readouterr().err
        assert not (tmp_path / "x").exists()


def test_evaluate_writes_where_it_is_told(dataset, tmp_path):
    result = tmp_path / "01_RES"
    result.mkdir()
    for path in (dataset / "01_GT" / "SEG").glob("man_seg*.tif"):
        tifffile.imwrite(result / path.name.replace("man_seg", "mask"), tifffile.imread(path))
    file = tmp_path / "deep" / "scores.json"
    assert call("evaluate", result, dataset, "--sequence", "01", "--output", file) == 0
    assert json.loads(file.read_text())["seg"] == 1
    assert not (result / "metrics.json").exists()


def test_evaluate_takes_frames(dataset, run, tmp_path, capsys):
    out = tmp_path / "out"
    assert call("predict", run, dataset, "--output", out, "--frames", "2-3") == 0
    assert call("evaluate", out, dataset, "--frames", "3") == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert [frame["number"] for frame in metrics["frames"]] == [3]
    capsys.readouterr()
    assert call("evaluate", out, dataset) == 2
    assert "no result for frames 0-1, 4" in capsys.readouterr().err


def test_info_says_that_frames_differ_in_size(tmp_path, capsys):
    for name, shape in (("a", (20, 30)), ("b", (64, 50)), ("c", (20, 30))):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.arange(np.prod(shape)).reshape(shape))
    assert call("info", tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "20 × 30 to 64 × 50, int64" in said


def test_info_says_what_things_are(dataset, run, capsys):
    assert call("info", dataset) == 0
    said = capsys.readouterr().out
    assert "time, rows, columns" in said and "annotation gold" in said and "01, 02" in said
    assert call("info", run) == 0
    assert "jnet" in capsys.readouterr().out


def test_labels_that_do_not_tell_end_with_the_choices(dataset, run, tmp_path, capsys):
    """One cell a frame, or a class; two frames that nobody has labelled; and two label files."""
    frames = [tifffile.imread(dataset / f"01/t{n:03d}.tif") for n in range(4)]
    tifffile.imwrite(tmp_path / "w.tif", np.stack(frames), photometric="minisblack")
    labels = np.zeros((4, 128, 128), np.uint8)
    labels[:2, 20:60, 30:90] = 1
    tifffile.imwrite(tmp_path / "w_masks.tif", labels, photometric="minisblack")
    new = tmp_path / "new"
    words = ("train", tmp_path / "w.tif", "-o", new, "--epochs", 1, *QUICK)
    assert call(*words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--kind: instances" in err and "or classes" in err
    assert not new.exists()
    assert call("info", tmp_path / "w.tif") == 0
    assert "cannot be used" in capsys.readouterr().out
    assert call("info", tmp_path / "w.tif", "--kind", "classes") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "classes (as given)" in told and "not used, as nothing is labelled: 2 (2, 3)" in told
    assert call(*words, "--kind", "classes") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Labels: classes (as given)" in told and "annotated frames: 2 (0, 1)" in told
    tifffile.imwrite(tmp_path / "w_labels.tif", labels, photometric="minisblack")
    out = tmp_path / "out"
    assert call("predict", run, tmp_path / "w.tif", "-o", out) == 0
    capsys.readouterr()
    scored = ("evaluate", out, tmp_path / "w.tif", "--kind", "instances")
    assert call(*scored) == 2
    assert "--truth w_labels.tif" in capsys.readouterr().err
    assert call(*scored, "--truth", "w_masks.tif", "--unlabelled", "background") == 0
    found = json.loads((out / "metrics.json").read_text())["frames"]
    assert [frame["number"] for frame in found] == [0, 1, 2, 3]


def test_axes_and_images_of_a_file_are_said(tmp_path, capsys):
    film = np.random.default_rng(0).integers(0, 99, (3, 2, 64, 64)).astype(np.uint8)
    film[:, 0, 20:40, 20:40] += 100
    tifffile.imwrite(tmp_path / "a.tif", film, photometric="minisblack")
    masks = np.zeros((3, 64, 64), np.uint16)
    masks[:, 20:40, 20:40] = 7
    masks[:, :9, :9] = 8
    tifffile.imwrite(tmp_path / "a_masks.tif", masks, photometric="minisblack")
    run, out = tmp_path / "run", tmp_path / "out"
    said, cells = ("--axes", "TCYX"), ("--kind", "instances")
    assert call("train", tmp_path / "a.tif", "-o", run, "--epochs", 1, *QUICK) == 2
    assert "3 × 2 × 64 × 64" in capsys.readouterr().err
    assert call("train", tmp_path / "a.tif", "-o", run, "--epochs", 1, *QUICK, *said, *cells) == 0
    assert call("predict", run, tmp_path / "a.tif", "-o", out, *said) == 0
    assert call("evaluate", out, tmp_path / "a.tif", *said, *cells) == 0
    assert json.loads((run / "config.json").read_text())["network"]["in_channels"] == 2
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as writer:
        for part in (film[:, 0], film[:2, 1]):
            writer.write(part, photometric="minisblack", metadata={"axes": "TYX"})
    capsys.readouterr()
    assert call("info", tmp_path / "m.ome.tif") == 0
    assert "1 of 2" in capsys.readouterr().out
    assert call("info", tmp_path / "m.ome.tif", "--series", 2, "--axes", "zyx") == 0
    words = capsys.readouterr().out
    assert "sections, rows, columns" in words and "1 of 2" not in words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["info", "{tmp}/nowhere"], "does not exist"),
        (["train", "{tmp}", "-o", "{tmp}/x"], "not a stack that can be opened"),
        (["train", "{data}", "-o", "{tmp}/x", "--preset", "junet"], "did you mean 'unet'"),
        (["train", "{data}", "-o", "{tmp}/x", "--network", "fcn9"], "no network 'fcn9'"),
        (
            ["train", "{data}", "-o", "{tmp}/x", "--truth", "golden"],
            "golden is neither a path nor labels",
        ),
        (["train", "{data}", "-o", "{tmp}/x", "--sequence", "07"], "no sequence '07'"),
        (["train", "{data}", "-o", "{tmp}/x", "--frames", "900"], "Frame 900 is not annotated"),
        (["train", "{data}", "-o", "{tmp}/x", "--frames", "2;3"], "such as 2,5,21"),
        (["train", "{data}", "-o", "{tmp}/x", "--epochs", "0"], "greater than or equal to 1"),
        (["train", "{data}", "-o", "{tmp}/x", "--resume"], "no last.pt"),
        (["train", "{data}", "-o", "{data}/01/t000.tif/x", "--epochs", "1"], "cannot be written"),
        (["predict", "{tmp}", "{data}", "-o", "{tmp}/x"], "model file"),
        (["predict", "{run}", "{data}", "-o", "{tmp}/x", "--frames", "900"], "no frame 900"),
        (["predict", "{run}", "{data}", "-o", "{data}/01/t000.tif"], "file is where"),
        (
            ["predict", "{run}", "{data}", "-o", "{tmp}/x", "--seed-threshold", "3"],
            "less than or equal to 1",
        ),
        (["evaluate", "{tmp}", "{data}"], "choose a folder that predict has written"),
        (["demo", "--minutes", "0", "-o", "{tmp}/x"], "must be more than 0"),
    ],
)
def test_errors_are_one_line_and_status_2(words, said, dataset, run, tmp_path, capfd):
    if words[0] == "demo":
        pytest.importorskip("napari")
    names = {"tmp": tmp_path, "data": dataset, "run": run}
    assert call(*(word.format(**names) for word in words)) == 2
    error = capfd.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["training.batch_size=2.5"], "it should be a valid integer"),
        (["augmentation.flip=maybe"], "it should be true or false"),
        (["training.loss=xyz"], "xyz"),
        (["network.name=jnet", "network.structure=[[1,2,3]]", "network.resolution_levels=[-1,0]"],
         "1 segments for 2 resolution levels"),
    ],
)  # fmt: skip
def test_a_refused_configuration_leaves_no_folder(settings, said, dataset, tmp_path, capfd):
    words = [word for setting in settings for word in ("--set", setting)]
    assert call("train", dataset, "-o", tmp_path / "x", *words) == 2
    error = capfd.readouterr().err
    assert said in error and error.startswith("Error: ") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_demo_without_napari_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    module = import_module("napari_jnet.cli.demo")

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert call("demo", "--output", tmp_path) == 2
    assert 'pip install "napari-jnet[all]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_out_of_memory_names_a_remedy(monkeypatch, dataset, run, tmp_path, capsys, error):
    import napari_jnet.inference.predict as inference_readable

    def full(*_, **__):
        raise error
        yield

    monkeypatch.setattr(inference_readable, "predict", full)
    assert call("predict", run, dataset, "--output", tmp_path / "x") == 2
    assert "--tile" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_first_ctrl_c_keeps_everything(dataset, tmp_path):
    run = tmp_path / "run"
    words = ["train", str(dataset), "--output", str(run), "--minutes", "5", "--frames", "0-2"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "napari_jnet", *words, *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert f"saved in {run}" in out.replace("\n", "")
    assert (run / "last.pt").is_file() and (run / "model.pt").is_file()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_what_else_ends_a_program_keeps_everything_too(dataset, tmp_path, monkeypatch, name):
    run, number = tmp_path / "run", getattr(signal, name)
    train = loop.train

    def ended(*given, **more):
        with closing(train(*given, **more)) as events:
            for event in events:
                if isinstance(event, BatchEnd) and event.batch == 1:
                    os.kill(os.getpid(), number)
                yield event

    monkeypatch.setattr(loop, "train", ended)
    before = signal.getsignal(number)
    status = call("train", dataset, "--output", run, "--minutes", "5", "--frames", "0-2", *QUICK)
    assert status == 128 + number
    assert (run / "last.pt").is_file() and (run / "model.pt").is_file()
    assert not list(run.glob(".*"))
    assert signal.getsignal(number) == before


def test_a_second_training_of_a_run_is_refused_in_one_line(dataset, run, capsys):
    with FolderLock(run):
        before = {path: path.read_bytes() for path in run.iterdir() if path.suffix}
        for words in (["--resume"], []):
            capsys.readouterr()
            assert call("train", dataset, "--output", run, *words, "--epochs", "9") == 2
            error = capsys.readouterr().err
            assert error.count("\n") == 1 and "is in use: this program is writing" in error
        assert {path: path.read_bytes() for path in run.iterdir() if path.suffix} == before


def test_help_is_there_at_once():
    script = (
        "import sys\nfrom napari_jnet.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as left:\n    assert not left.code\n"
        "assert not {'torch', 'napari', 'numpy', 'skimage', 'psutil'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("train", "predict", "evaluate", "info", "demo"))


def test_version(capsys):
    assert call("--version") == 0
    assert capsys.readouterr().out.startswith("napari-jnet 0.")


def test_frames():
    assert parse_frames(None) is None
    assert parse_frames("2,5, 21") == (2, 5, 21)
    assert parse_frames("0-3,2,007") == (0, 1, 2, 3, 7)
    for wrong in ("", "a", "3-1", "1,,2", "-4", "0-99999999999", f"7-{10**30}"):
        with pytest.raises(ValueError, match="numbers, and ranges of at most"):
            parse_frames(wrong)


def test_levels_that_cannot_be_read_are_refused(dataset, run, tmp_path, capsys):
    words = ("predict", run, dataset, "-o", tmp_path / "x", "--resolution-levels")
    for wrong in ("", "[a]", "[1,,2]", "[-]", "[1]"):
        assert call(*words, wrong) == 2
        assert "Error: --resolution_levels " in capsys.readouterr().err
    for levels in ("[-9,-8,-7]", " -9, -8, -7 "):
        assert call(*words, levels) == 2
        assert "its own resolution levels" in capsys.readouterr().err


def test_configuration_of_a_command_line(tmp_path):
    config = make_config(network="jnet", epochs=3, seed=None, settings=["training.loss=bce+mse"])
    assert (config.network.name, config.training.epochs, config.training.seed) == ("jnet", 3, 0)
    assert config.training.loss == "bce+mse"
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_dict()))
    again = make_config(file=file, minutes=2.0, settings=["network.resolution_levels=[-2,-1]"])
    assert again.training.minutes == 2 and again.training.epochs is None
    assert again.network.resolution_levels == (-2, -1)
    assert read_settings(["a.b=null", "a.c=x=y"]) == {"a.b": None, "a.c": "x=y"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"minutes": 1.0, "epochs": 1}, "give one of them"),
        ({"file": Path("c.json"), "preset": "jnet"}, "give one of them"),
        ({"file": Path("nowhere.json")}, "does not exist"),
        ({"settings": ["training"]}, "section.field=value"),
        ({"settings": ["trainig.seed=1"]}, "did you mean 'training'"),
        ({"settings": ["training.epochs=abc"]}, "should be a valid integer"),
    ],
)
def test_contradictions_are_named(given, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        make_config(**given)


def test_a_configuration_file_that_is_none(tmp_path):
    file = tmp_path / "c.json"
    for text, said in (
        ("{", "JSON"),
        ("[1]", "not a configuration"),
        ('{"training": 3}', "not a con"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=said):
            make_config(file=file)


def test_messages_of_errors_and_times():
    assert message_of(OSError(28, "the disk is full")) == "the disk is full"
    assert message_of(PermissionError(13, "Permission denied", "/x")) == "/x: Permission denied."
    assert message_of(ValueError("why")) == "why"
    assert [duration(s) for s in (5.2, 245, 3723)] == ["0:05", "4:05", "1:02:03"]
    assert duration(float("inf")) == duration(float("nan")) == "–"


def test_a_folder_divided_into_parts_is_trained_and_predicted_as_divided(
    tmp_path, capsys, color_classes
):
    for part in ("train", "valid", "test"):
        color_classes(tmp_path / "data" / part)
    run, out = tmp_path / "run", tmp_path / "out"
    quick = ["--device", "cpu", "--epochs", 1, "--preset", "patches"]
    for setting in ("network.channels=2", "training.batches_per_epoch=2", "training.threads=1"):
        quick += ["--set", setting]
    assert call("train", tmp_path / "data", "--output", run, *quick) == 0
    said = capsys.readouterr().out
    assert "Training on 2 frames, validating on valid/t000, valid/t001" in " ".join(said.split())
    assert "of classes" in said
    config = json.loads((run / "config.json").read_text())
    assert config["targets"]["classes"][2] == ["red", "#ff0000"]
    common = ("predict", run, tmp_path / "data", "--sequence", "test", "--output")
    assert call(*common, out, "--tta", 4, "--overlap", 0.25, "--tile", 48) == 0
    assert tifffile.imread(out / "classes.tif").shape == (2, 64, 96)
    capsys.readouterr()
    assert call(*common, tmp_path / "no", "--tta", 3) == 2
    assert "it should be 1, 4 or 8" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "training.batch_size=4"], "training.batch_size=2, not training.batch_size=4"),
        (["--preset", "unet"], "network.name=jnet, not network.name=unet"),
        (["--network", "fcn8"], "not network.name=fcn8"),
        (["--seed", 3], "training.seed=0, not training.seed=3"),
    ],
)
def test_resume_refuses_what_the_run_does_not_have(words, said, dataset, run, capfd):
    before = (run / "config.json").read_bytes(), (run / "last.pt").read_bytes()
    assert call("train", dataset, "--output", run, "--resume", "--epochs", 9, *words) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1
    assert before == ((run / "config.json").read_bytes(), (run / "last.pt").read_bytes())


def test_resume_takes_device_and_threads_and_keeps_the_budget(dataset, run, tmp_path, capfd):
    copy = shutil.copytree(run, tmp_path / "run")
    words = ["--device", "cpu", "--set", "training.threads=2", "--preset", "jnet"]
    assert call("train", dataset, "--output", copy, "--resume", *words) == 0
    assert re.search(
        r"Note: The training has used its budget after \d+ epochs", capfd.readouterr().out
    )
    training = json.loads((copy / "config.json").read_text())["training"]
    before = json.loads((run / "config.json").read_text())["training"]
    assert training == {**before, "threads": 2}


def test_a_start_model_keeps_its_network(dataset, run, tmp_path, capfd):
    words = ["--model", run, "--output", tmp_path / "x", "--epochs", 1, *QUICK]
    assert call("train", dataset, *words, "--set", "network.structure=[[1,2,3]]") == 2
    assert "not network.structure=[[1, 2, 3]]" in capfd.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), (16, 32, 96)),
        (("--set", "training.batch_size=2"), (2, 32, 96)),
        (("--network", "jnet"), (16, 16, 96)),
        (("--preset", "unet-paper"), (2, 64, 24)),  # as published
        (("--preset", "unet", "--network", "jnet"), (16, 16, 96)),
        (("--epochs", "3"), (16, 32, 96)),
    ],
)
def test_sizes_follow_from_the_hardware_unless_they_are_given(
    words, expected, dataset, tmp_path, monkeypatch, capsys
):
    seen = []
    monkeypatch.setattr(device, "find_hardware", lambda *_: Hardware("cuda", 16, 24.0))

    def nothing(frames, run, config, **_):
        seen.append(config)
        yield from ()

    monkeypatch.setattr(loop, "train", nothing)
    assert call("train", dataset, "--output", tmp_path / "run", *words) == 0
    (config,) = seen
    training = config.training
    sizes = (training.batch_size, config.network.channels, training.batches_per_epoch)
    assert sizes == expected
    assert ("Sizes for this hardware: " in capsys.readouterr().out) == ("unet-paper" not in words)
