"""A stack predicted in parts, by programs that share a folder, gives the result of one program."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_jnet.cli import main
from napari_jnet.config import Config
from napari_jnet.events import ClusterProgress, FramePrediction, Message
from napari_jnet.inference import parts as parts_module
from napari_jnet.inference import predict as prediction
from napari_jnet.inference.parts import join_parts, predict_part, predict_scheduled
from napari_jnet.inference.predict import predict_to_folder
from napari_jnet.io.marks import read_mark
from napari_jnet.io.stack import Stack
from napari_jnet.model import Model, load_model, save_checkpoint
from napari_jnet.networks import build_network
from napari_jnet.project.open import open_stack
from napari_jnet.synthetic import touching_cells

FRAMES = 5
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
MAPS = ("probability.tif", "distance.tif", "instances.tif")


def write_model(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = Config().replace(
        {
            "network.name": "jnet",
            "network.structure": ((2, 4, 3), (1, 2, 3)),
            "network.resolution_levels": (-1, 0),
            "targets.dt_bound": 5.0,
            # of random weights: many small objects
            "network.halve_channels": False,
            "network.deep_supervision": False,
            "instances.segmentation_threshold": 0.532,
            "instances.seed_threshold": 0.0,
            "instances.smoothing": 0.0,
        }
    )
    network = build_network(config.network)
    content = {"config": config.to_dict(), "network": network.state_dict(), "history": []}
    save_checkpoint(path, content)
    return path


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.pt")


@pytest.fixture(scope="module")
def model(model_path: Path) -> Model:
    return load_model(model_path, device="cpu")


def write_sequence(folder: Path) -> Path:
    """Blobs that move by a pixel a frame, so that tracks go on."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (48, 64 + FRAMES))
    for _ in range(6):
        noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3
    image = np.clip(120 + 300 * noise, 0, 255).astype(np.uint8)
    (folder / "01").mkdir(parents=True)
    for number in range(FRAMES):
        tifffile.imwrite(folder / "01" / f"t{number:03d}.tif", image[:, number : number + 64])
    return folder


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return open_stack(write_sequence(tmp_path / "cells"), sequence="01")


@pytest.fixture
def plain(model: Model, stack: Stack, tmp_path: Path) -> dict[str, object]:
    list(predict_to_folder(model, stack, tmp_path / "plain"))
    found = result(tmp_path / "plain")
    tracks = str(found["01_RES/res_track.txt"]).splitlines()
    assert 20 < len(tracks) < FRAMES * np.max(found["instances.tif"])
    return found


def result(folder: Path) -> dict[str, object]:
    """Return all arrays and tracks of a result, and nothing else may be there."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".tif":
            found[name] = tifffile.imread(path)
            mark = read_mark(path)
            assert mark is not None
            found[f"{name} mark"] = (mark.count, mark.sequence)
        elif path.is_file():
            found[name] = path.read_text(encoding="ascii")
    return found


def check_same(found: dict[str, object], expected: dict[str, object]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            other = found[name]
            assert isinstance(other, np.ndarray)
            assert other.dtype == value.dtype and other.tobytes() == value.tobytes(), name
        else:
            assert found[name] == value, name


def numbers_of(events: list[object]) -> list[int]:
    return [event.number for event in events if isinstance(event, FramePrediction)]


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 7])
def test_any_number_of_parts_gives_the_result_of_a_plain_prediction(
    model: Model, stack: Stack, plain: dict[str, object], tmp_path: Path, parts: int
) -> None:
    out = tmp_path / "out"
    done: list[int] = []
    for part in reversed(range(1, parts + 1)):
        done += numbers_of(list(predict_part(model, stack, out, part, parts)))
    assert sorted(done) == list(range(FRAMES))
    events = list(join_parts(model, stack, out))
    assert numbers_of(events) == list(range(FRAMES))
    check_same(result(out), plain)


def test_large_frames_are_joined_from_files_and_not_from_memory(
    model: Model,
    stack: Stack,
    plain: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    list(predict_part(model, stack, tmp_path / "out", 1, 1))
    monkeypatch.setattr(parts_module, "_LARGE", 48 * 64 * 4)
    monkeypatch.setattr(parts_module, "_CHUNK", 1000)
    events = [
        e for e in join_parts(model, stack, tmp_path / "out") if isinstance(e, FramePrediction)
    ]
    assert len(events) == FRAMES
    for event in events:
        for array in (event.segmentation, event.distance, event.instances):
            assert isinstance(array, np.memmap)
        assert not isinstance(event.confidence, np.memmap)
    check_same(result(tmp_path / "out"), plain)


def test_a_part_does_only_what_is_missing_or_damaged(
    model: Model, stack: Stack, plain: dict[str, object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with closing(predict_part(model, stack, out, 1, 1)) as events:
        stopped = [next(events) for _ in range(3)]  # a message, two frames
    assert numbers_of(stopped) == [0, 1]
    files = sorted(out.glob(".napari-jnet-parts-*/*.npz"))
    files[1].write_bytes(files[1].read_bytes()[:-500])
    damaged = bytearray(files[0].read_bytes())
    damaged[len(damaged) // 2] ^= 255
    files[0].write_bytes(damaged)
    # another number of parts takes what is there
    list(predict_part(model, stack, out, 1, 2))
    assert numbers_of(list(predict_part(model, stack, out, 1, 2))) == []
    assert numbers_of(list(predict_part(model, stack, out, 2, 2))) == [1, 3]
    list(join_parts(model, stack, out))
    check_same(result(out), plain)


def test_join_names_the_parts_that_are_missing_and_writes_nothing(
    model: Model, stack: Stack, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"lacks 5 of 5 frames .*--part 1/4, then --join"):
        list(join_parts(model, stack, out))
    list(predict_part(model, stack, out, 2, 4))
    words = r"lacks 4 of 5 frames .*\(0, 2, 3, 4\).*--part 1/4, --part 3/4, --part 4/4 again"
    with pytest.raises(ValueError, match=words):
        list(join_parts(model, stack, out))
    assert not list(out.glob("*.tif"))


def test_parts_of_another_model_stack_or_setting_are_refused(
    model: Model, stack: Stack, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    list(predict_part(model, stack, out, 1, 2))
    other = load_model(write_model(tmp_path / "other.pt", seed=1), device="cpu")
    with pytest.raises(ValueError, match=r"parts of another prediction: model is .* delete"):
        list(predict_part(other, stack, out, 2, 2))
    strict = model.config.instances.changed(seed_threshold=0.7)
    for run in (
        predict_part(model, stack, out, 2, 2, instances=strict),
        join_parts(model, stack, out, instances=strict),
    ):
        with pytest.raises(ValueError, match=r"seed_threshold is 0\.0 there, and 0\.7 now"):
            list(run)
    with pytest.raises(ValueError, match=r"frames is 5 \(0 to 4\) there, and 2 \(0, 3\) now"):
        list(predict_part(model, stack, out, 2, 2, frames=[0, 3]))
    tifffile.imwrite(tmp_path / "cells/01/t002.tif", np.zeros((48, 64), np.uint8))
    with pytest.raises(ValueError, match="checksum of the middle frame is"):
        list(predict_part(model, stack, out, 2, 2))


@pytest.mark.parametrize(("part", "parts"), [(0, 2), (3, 2), (1, 0)])
def test_there_is_no_part_beyond_the_last(
    model: Model, stack: Stack, tmp_path: Path, part: int, parts: int
) -> None:
    with pytest.raises(ValueError, match=f"The part is {part}/{parts}; parts are counted from 1"):
        list(predict_part(model, stack, tmp_path / "out", part, parts))


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def test_skipped_frames_are_an_error_of_the_join_and_are_tried_again(
    model_path: Path,
    model: Model,
    stack: Stack,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, frame = tmp_path / "out", tmp_path / "cells/01/t002.tif"
    whole = frame.read_bytes()
    frame.write_bytes(whole[:100])
    command = ["predict", model_path, tmp_path / "cells/01", "-o", out, "--device", "cpu"]
    for part in ("1/3", "2/3", "3/3"):
        assert call(*command, "--part", part) == 0
    said = capsys.readouterr().out
    assert "Note: 1 frame skipped (2)" in said
    assert "0 frames predicted now: part 3/3 is done" in said
    assert call(*command, "--join") == 2
    said, error = capsys.readouterr()
    assert "objects in 4 of 5 frames" in said
    assert "Error: 1 frame skipped (2)" in error
    assert len(tifffile.imread(out / "instances.tif")) == 4

    frame.write_bytes(whole)
    assert call(*command, "--part", "3/3") == 0
    assert "1 frames predicted now" in capsys.readouterr().out
    assert call(*command, "--join") == 0
    list(predict_to_folder(model, stack, tmp_path / "plain"))
    check_same(result(out), result(tmp_path / "plain"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--part", "two"], "--part is 'two'; parts are written as 2/8"),
        (["--part", "9/8"], "The part is 9/8"),
        (["--part", "1/2", "--join"], "exclude each other"),
    ],
)
def test_the_command_line_says_what_is_wrong_with_a_part(
    model_path: Path,
    stack: Stack,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    command = ["predict", model_path, tmp_path / "cells/01", "-o", tmp_path / "out"]
    assert call(*command, *words) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


def test_a_scheduler_gives_the_same_result_though_a_worker_is_killed(
    model: Model, stack: Stack, plain: dict[str, object], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "out"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        done = []
        for event in predict_scheduled(cluster.scheduler_address, model, stack, out, device="cpu"):
            if isinstance(event, ClusterProgress):
                if not done:
                    os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
                done.append(event.done)
    assert done == list(range(1, FRAMES + 1))
    check_same(result(out), plain)


SBATCH = """#!/bin/bash
# runs a job at once: an array task by task, a dependent one if the former ended well
echo "$@" >> sbatch.log
tasks=1; for word in "$@"; do case $word in --array=1-*) tasks=${word#--array=1-};; esac; done
for script in "$@"; do :; done
for ((task = 1; task <= tasks; task++)); do
    SLURM_ARRAY_TASK_ID=$task bash "$script" >&2 || exit 1
done
echo 4711
"""


@pytest.mark.skipif(os.name != "posix", reason="bash scripts")
def test_the_slurm_script_of_the_document_gives_the_same_result(
    model_path: Path,
    plain: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = DOCUMENT.read_text(encoding="utf-8").split("## Predict in parts")[1]
    (script,) = re.findall(r"^```bash\n(.*?)^```", text.split("\n## ")[0], re.M | re.S)
    for word, path in {"MODEL": model_path, "STACK": "cells/01", "DIR": "out"}.items():
        assert word in script
        script = script.replace(word, str(path))
    calls = tmp_path / "calls"
    programs = {
        "sbatch": SBATCH,
        # noted, and then run in this process: those of a scheduler, above, are processes of their own
        "napari-jnet": f'#!/bin/bash\nprintf "%q " "$@" --device cpu >> {calls}\necho >> {calls}\n',
    }
    for name, content in programs.items():
        (tmp_path / "bin" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(content, encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    jobs = (tmp_path / "sbatch.log").read_text().splitlines()
    assert jobs == ["--parsable --array=1-4 part.sh", "--dependency=afterok:4711 join.sh"]
    monkeypatch.chdir(tmp_path)
    for line in calls.read_text().splitlines():
        assert call(*shlex.split(line)) == 0
    check_same(result(tmp_path / "out"), plain)


def test_the_dask_command_of_the_document_gives_the_same_result(
    model_path: Path, plain: dict[str, object], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    text = DOCUMENT.read_text(encoding="utf-8").split("## Predict by dask.distributed")[1]
    (line,) = re.findall(r"^napari-jnet (predict .*)$", text, re.M)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        places = {
            "MODEL": model_path,
            "STACK": tmp_path / "cells/01",
            "DIR": tmp_path / "out",
            "tcp://HOST:8786": cluster.scheduler_address,
        }
        assert places.keys() <= set(line.split())
        assert call(*(places.get(word, word) for word in line.split()), "--device", "cpu") == 0
    check_same(result(tmp_path / "out"), plain)


def test_a_scheduler_without_dask_distributed_names_what_to_install(
    model: Model, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pip install 'napari-jnet\[distributed\]'"):
        list(predict_scheduled("tcp://127.0.0.1:1", model, stack, tmp_path / "out"))


def test_a_diameter_is_estimated_once_for_all_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine might round to another one, and each frame of a cluster would estimate again."""
    images, _ = touching_cells(2, (160, 160), cells=12, diameter=24.0, seed=5)
    tifffile.imwrite(tmp_path / "film.tif", images, photometric="minisblack")
    stack, starter = open_stack(tmp_path / "film.tif"), load_model("starter", device="cpu")
    quick = starter.config.prediction.changed(tta=1, backend="torch")
    asked = {"prediction": quick}
    list(predict_to_folder(starter, stack, tmp_path / "plain", **asked))
    first = [
        event.text
        for event in predict_part(starter, stack, tmp_path / "parts", 1, 2, **asked)
        if isinstance(event, Message)
    ]
    assert ["estimated" in text for text in first] == [True]
    monkeypatch.setattr(prediction, "estimate_diameter", lambda *_: 100.0)
    list(predict_part(starter, stack, tmp_path / "parts", 2, 2, **asked))
    list(join_parts(starter, stack, tmp_path / "parts", **asked))
    check_same(result(tmp_path / "parts"), result(tmp_path / "plain"))


def test_parts_without_a_cell_are_predicted_as_they_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "film.tif", np.zeros((2, 64, 64), np.uint8))
    stack, starter = open_stack(tmp_path / "film.tif"), load_model("starter", device="cpu")
    for part in (1, 2):
        list(predict_part(starter, stack, tmp_path / "parts", part, 2))
    done = list(join_parts(starter, stack, tmp_path / "parts"))
    assert sum(isinstance(event, FramePrediction) for event in done) == 2


def test_parts_that_begin_together_estimate_the_diameter_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = touching_cells(2, (160, 160), cells=12, diameter=24.0, seed=5)
    tifffile.imwrite(tmp_path / "film.tif", images, photometric="minisblack")
    stack = open_stack(tmp_path / "film.tif")
    both, asked = threading.Barrier(2), []

    def estimate(*_: object) -> float:
        asked.append(24.0 + len(asked))
        with suppress(threading.BrokenBarrierError):  # passes only where both are here
            both.wait(2)
        return asked[-1]

    monkeypatch.setattr(prediction, "estimate_diameter", estimate)

    def run(part: int) -> list[object]:
        starter = load_model("starter", device="cpu")
        quick = starter.config.prediction.changed(tta=1, backend="torch")
        out = tmp_path / "parts"
        return list(predict_part(starter, stack, out, part, 2, prediction=quick))

    with ThreadPoolExecutor(2) as threads:
        events = [event for part in threads.map(run, (1, 2)) for event in part]
    assert asked == [24.0]
    said = [event.text for event in events if isinstance(event, Message)]
    assert said == ["Diameter of the cells, estimated: 24 px."]
    assert sorted(numbers_of(events)) == [0, 1]
