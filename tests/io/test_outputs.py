"""What is written never destroys what was there, and a result folder is of one prediction."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_jnet.cli import main
from napari_jnet.evaluation.evaluate import evaluate
from napari_jnet.events import FramePrediction, Message, Scores
from napari_jnet.files import FolderLock, OutputError
from napari_jnet.io import results as results_module
from napari_jnet.io.axes import array_stack
from napari_jnet.io.results import ResultWriter, open_result
from napari_jnet.io.stack import Stack
from napari_jnet.project.open import open_stack
from napari_jnet.synthetic import write_cells_sequence

SHAPE = (32, 40)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "cells"
    return write_cells_sequence(folder, frames=(4, 3), shape=SHAPE, cells=2, diameter=12)


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "cells"))


def prediction(stack: Stack, number: int, value: int) -> FramePrediction:
    """One object whose place tells of which prediction it is."""
    instances = np.zeros(stack.shape[:2], np.int32)
    instances[value : value + 6, 4:12] = 1
    return FramePrediction(
        position=stack.frame_numbers.index(number),
        number=number,
        count=len(stack),
        segmentation=(instances > 0).astype(np.float32),
        distance=np.full(instances.shape, value, np.float32),
        instances=instances,
    )


def write(folder: Path, stack: Stack, value: int, numbers: Iterable[int] | None = None) -> None:
    with ResultWriter(folder, stack) as writer:
        for number in stack.frame_numbers if numbers is None else numbers:
            writer.write(prediction(stack, number, value))


def shown(folder: Path, stack: Stack) -> dict[str, dict[int, int]]:
    """Return of which prediction each frame is, by file: masks, instances and distance."""
    found: dict[str, dict[int, int]] = {}
    result = open_result(folder, stack)
    found["objects"] = {n: int(np.argmax(result.instances(n).any(1))) for n in result.frame_numbers}
    distance = result.maps["distance"]
    found["distance"] = {n: int(distance.read(n)[0, 0]) for n in distance.frame_numbers}
    result.close()
    with_maps = open_result(folder / "instances.tif", stack)
    found["instances"] = {
        n: int(np.argmax(with_maps.instances(n).any(1))) for n in with_maps.frame_numbers
    }
    with_maps.close()
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


# no output over an input


def images(folder: Path, count: int = 3) -> Path:
    folder.mkdir()
    for number in range(count):
        frame = np.random.default_rng(number).integers(0, 255, SHAPE, np.uint8)
        tifffile.imwrite(folder / f"img{number}.tif", frame, photometric="minisblack")
    return folder


@pytest.mark.parametrize("name", ["instances", "probability", "distance", "classes"])
def test_a_stack_that_has_the_name_of_a_result_is_not_overwritten(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / f"{name}.tif"
    tifffile.imwrite(file, np.ones((3, *SHAPE), np.uint8), photometric="minisblack")
    before = content(tmp_path)
    (tmp_path.parent / f"link-{name}").symlink_to(tmp_path)
    for output in (tmp_path, tmp_path / ".." / tmp_path.name, tmp_path.parent / f"link-{name}"):
        with pytest.raises(OutputError, match=rf"{name}\.tif is there already.*Choose another"):
            ResultWriter(output, open_stack(file))
    assert content(tmp_path) == before


def test_a_result_that_a_stack_is_read_from_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "out", open_stack(images(tmp_path / "images")), 3, [0])
    result = tmp_path / "out/distance.tif"
    (tmp_path / "link.tif").symlink_to(result)
    before = content(tmp_path)
    for read in (result, tmp_path / "link.tif"):
        with pytest.raises(OutputError, match=r"distance\.tif would be overwritten.*is read from"):
            ResultWriter(tmp_path / "out", open_stack(read))
    assert content(tmp_path) == before


def test_a_result_that_frames_of_a_folder_link_to_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "out", open_stack(images(tmp_path / "images")), 3, [0])
    frames = images(tmp_path / "frames", 2)
    (frames / "img2.tif").symlink_to(tmp_path / "out/distance.tif")
    (frames / "gone.txt").symlink_to(tmp_path / "nowhere")
    before = content(tmp_path)
    with pytest.raises(OutputError, match=r"distance\.tif would be overwritten.*is read from"):
        ResultWriter(tmp_path / "out", open_stack(frames))
    assert content(tmp_path) == before


def test_a_result_without_the_name_of_its_prediction_is_not_overwritten(tmp_path: Path) -> None:
    museum = Path(__file__).parents[1] / "museum/files/3c8f135"
    for name, frames in (("volume", 3), ("cells", 5)):
        out = Path(shutil.copytree(museum / "results" / name, tmp_path / name))
        stack = array_stack(np.ones((frames, *SHAPE), np.uint8))
        before = content(out)
        with pytest.raises(OutputError, match=r"is not a result .*first version.*another output"):
            ResultWriter(out, stack)
        assert content(out) == before


def test_masks_and_files_of_others_are_not_overwritten(dataset: Path) -> None:
    masks = dataset / "01_RES"
    masks.mkdir()
    tifffile.imwrite(masks / "mask000.tif", np.ones(SHAPE, np.uint16))
    before = content(dataset)
    with pytest.raises(OutputError, match=r"mask000\.tif is there already and is not a result"):
        ResultWriter(dataset, open_stack(dataset, sequence="01"))
    shutil.rmtree(masks)
    masks.symlink_to(dataset / "01")
    with pytest.raises(OutputError, match="01_RES is a link to another folder"):
        ResultWriter(dataset, open_stack(dataset, sequence="01"))
    masks.unlink()
    masks.mkdir()
    (masks / "notes.txt").write_text("mine")
    write(dataset, open_stack(dataset, sequence="01"), 3)
    write(dataset, open_stack(dataset, sequence="01"), 5)
    assert (masks / "notes.txt").read_text() == "mine"
    after = content(dataset)
    assert all(after[name] == value for name, value in before.items() if "RES" not in name)


def test_links_in_an_output_folder_are_not_followed(tmp_path: Path, dataset: Path) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine")
    (out / "01_RES").mkdir(parents=True)
    for name in ("distance.tif", "01_RES/mask001.tif"):
        (out / name).symlink_to(victim)
        with pytest.raises(OutputError, match="is not a result of napari-jnet"):
            write(out, open_stack(dataset, sequence="01"), 3)
        (out / name).unlink()
    (out / "01_RES/res_track.txt").symlink_to(victim)
    write(out, open_stack(dataset, sequence="01"), 3)
    assert victim.read_text() == "mine"
    assert not [path for path in out.rglob("*") if path.is_symlink() or path.name.startswith(".")]


# no result for data


def test_results_beside_images_are_no_images_and_no_labels(tmp_path: Path) -> None:
    folder = images(tmp_path / "images")
    stack = open_stack(folder)
    write(folder, stack, 3)
    again = open_stack(folder)
    assert (again.frame_numbers, again.shape) == (stack.frame_numbers, stack.shape)
    write(folder, again, 5)  # what is ours may be written anew
    volume = tmp_path / "one" / "raw.tif"
    volume.parent.mkdir()
    tifffile.imwrite(volume, np.ones((3, *SHAPE), np.uint8), photometric="minisblack")
    write(volume.parent, open_stack(volume), 3)
    assert not open_stack(volume).annotations
    write(volume.parent, open_stack(volume), 5)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "one" / "classes.tif")  # which is not waited for
        with pytest.raises(OutputError, match=r"classes\.tif is there already"):
            ResultWriter(tmp_path / "one", open_stack(volume))
    write(tmp_path / "results", stack, 3)
    with pytest.raises(ValueError, match="not a stack that can be opened"):
        open_stack(tmp_path / "results")


def test_a_run_and_results_in_a_dataset_change_nothing_of_it(dataset: Path) -> None:
    stack = open_stack(dataset)
    for place in (dataset, dataset / "01"):
        write(place, open_stack(dataset, sequence="01"), 3)
        for name in ("model.pt", "last.pt", "config.json"):
            (place / name).touch()
    again = open_stack(dataset)
    assert again.frame_numbers == stack.frame_numbers
    assert again.annotations.keys() == stack.annotations.keys()
    assert np.array_equal(again.frame(0), stack.frame(0))


def test_a_part_of_a_folder_gets_no_folder_of_the_challenge(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    images(tmp_path / "d" / "train")
    stack = open_stack(tmp_path / "d", sequence="train")
    write(tmp_path / "out", stack, 3)
    assert sorted(content(tmp_path / "out")) == [
        "distance.tif",
        "instances.tif",
        "probability.tif",
    ]


# one prediction a folder


def test_a_prediction_that_is_stopped_leaves_nothing_of_the_one_before(
    tmp_path: Path, dataset: Path
) -> None:
    stack = open_stack(dataset, sequence="01")
    write(tmp_path, stack, 3)
    write(tmp_path, stack, 5, [0, 1])
    frames = {0: 5, 1: 5}
    assert shown(tmp_path, stack) == {"objects": frames, "distance": frames, "instances": frames}
    assert (tmp_path / "01_RES/res_track.txt").read_text() == "1 0 1 0\n"
    with pytest.raises(FileNotFoundError, match=r"has 2 of the 4 frames.*no result for frames 2-3"):
        list(evaluate(tmp_path, stack))
    for result in (tmp_path, tmp_path / "01_RES", tmp_path / "instances.tif"):
        notice, *_, scores = evaluate(result, stack, frames=[0, 1])
        assert isinstance(notice, Message) and "2 of the 4 frames" in notice.text
        assert isinstance(scores, Scores)
    write(tmp_path, stack, 3)
    assert not [event for event in evaluate(tmp_path, stack) if isinstance(event, Message)]


def test_without_a_frame_the_result_before_stays(tmp_path: Path, dataset: Path) -> None:
    stack = open_stack(dataset, sequence="01")
    write(tmp_path, stack, 3)
    before = content(tmp_path)
    write(tmp_path, stack, 5, [])
    with pytest.raises(KeyboardInterrupt), ResultWriter(tmp_path, stack):
        raise KeyboardInterrupt
    assert content(tmp_path) == before


PREDICTING = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
import importlib.util
spec = importlib.util.spec_from_file_location("outputs", sys.argv[1])
outputs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(outputs)
stack = outputs.open_stack(Path(sys.argv[2]), sequence="01")
writer = outputs.ResultWriter(Path(sys.argv[3]), stack)
for number in (0, 1):
    writer.write(outputs.prediction(stack, number, 5))
print("written", flush=True)
sys.stdin.readline()
"""


def test_while_one_predicts_another_is_refused_and_a_kill_leaves_what_was_there(
    tmp_path: Path, dataset: Path
) -> None:
    stack, out = open_stack(dataset, sequence="01"), tmp_path / "out"
    write(out, stack, 3)
    before = content(out)
    with subprocess.Popen(
        [sys.executable, "-c", PREDICTING, __file__, str(dataset), str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "written\n"
        with pytest.raises(OutputError, match=f"in use: process {child.pid} on .* is writing"):
            ResultWriter(out, stack)
        child.kill()
    frames = dict.fromkeys(range(4), 3)
    assert shown(out, stack) == {"objects": frames, "distance": frames, "instances": frames}
    assert {k: v for k, v in content(out).items() if not k.startswith(".")} == before
    write(out, stack, 3)
    assert sorted(content(out)) == sorted(before)


@pytest.mark.parametrize("count", range(1, 6))
def test_a_kill_while_the_files_take_their_names_mixes_nothing(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    stack, out, copy = open_stack(dataset, sequence="01"), tmp_path / "out", tmp_path / "copy"
    write(out, stack, 3)
    (out / "01_RES" / "notes.txt").write_text("mine")  # so that masks are moved one by one
    rename, seen = os.rename, 0

    def renaming(source: Path, target: Path) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            shutil.copytree(out, copy)
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(results_module.os, "rename", renaming)
    with pytest.raises(KeyboardInterrupt):
        write(out, stack, 5)
    monkeypatch.undo()
    for path in copy.glob("01_RES/mask*.tif"):
        assert int(np.argmax(tifffile.imread(path).any(1))) == 5
    assert not list(copy.glob("*.tif"))
    assert (copy / "01_RES/notes.txt").read_text() == "mine"
    write(copy, stack, 7)
    frames = dict.fromkeys(range(4), 7)
    assert shown(copy, stack) == {"objects": frames, "distance": frames, "instances": frames}
    assert not list(copy.glob(".*"))


@pytest.mark.parametrize("name", ["probability", "instances"])
def test_a_disk_that_is_full_before_the_first_frame_leaves_the_former_result(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stack = open_stack(dataset, sequence="01")
    write(tmp_path, stack, 3)
    before, real = content(tmp_path), tifffile.TiffWriter.write

    def full(self: tifffile.TiffWriter, *arguments: object, **more: object) -> object:
        if name in self.filehandle.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *arguments, **more)

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    with (
        pytest.raises(OutputError, match=f"{name}.tif cannot be written: the disk is full"),
        ResultWriter(tmp_path, stack) as writer,
    ):
        writer.write(prediction(stack, 0, 5))
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", ["distance", "mask"])
def test_a_full_disk_leaves_the_same_frames_in_all_files(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stack = open_stack(dataset, sequence="01")
    write(tmp_path, stack, 3)
    real, count = tifffile.TiffWriter.write, 0

    def full(self: tifffile.TiffWriter, *arguments: object, **more: object) -> object:
        nonlocal count
        if name in self.filehandle.name:
            count += 1
            if count == 3:
                real(self, *arguments, **more)
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *arguments, **more)

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    with ResultWriter(tmp_path, stack) as writer:
        for number in (0, 1):
            writer.write(prediction(stack, number, 5))
        with pytest.raises(OutputError, match="disk is full"):
            writer.write(prediction(stack, 2, 5))
        with pytest.raises(OutputError, match="no more frames: frame 2 could not be written"):
            writer.write(prediction(stack, 3, 5))
    frames = {0: 5, 1: 5}
    assert shown(tmp_path, stack) == {"objects": frames, "distance": frames, "instances": frames}
    assert (tmp_path / "01_RES/res_track.txt").read_text() == "1 0 1 0\n"


def test_a_full_disk_at_the_tracks_leaves_no_half_file_and_tells_the_first_failure(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, real = open_stack(dataset, sequence="01"), Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if "res_track.txt" in self.name:
            real(self, content[:2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"res_track\.txt cannot be written: the disk is full"):
        write(tmp_path, stack, 5)
    assert not (tmp_path / "01_RES/res_track.txt").exists()
    assert sorted(shown(tmp_path, stack)["objects"]) == [0, 1, 2, 3]
    with pytest.raises(OutputError, match="the first"), ResultWriter(tmp_path, stack) as writer:
        writer.write(prediction(stack, 0, 7))
        raise OutputError("the first")


def test_the_result_of_another_sequence_is_not_mixed_in(tmp_path: Path, dataset: Path) -> None:
    first, second = (open_stack(dataset, sequence=name) for name in ("01", "02"))
    write(tmp_path, first, 3)
    before = content(tmp_path)
    with pytest.raises(OutputError, match=r"result of another sequence, 01_RES.*one prediction"):
        ResultWriter(tmp_path, second)
    with pytest.raises(OutputError, match="result of another sequence, 01_RES"):
        ResultWriter(tmp_path, open_stack(images(tmp_path.parent / "images")))
    assert content(tmp_path) == before


def test_files_that_were_put_together_are_not_scored(tmp_path: Path, dataset: Path) -> None:
    stack = open_stack(dataset, sequence="01")
    write(tmp_path / "a", stack, 3)
    write(tmp_path / "b", stack, 5)
    shutil.copy(tmp_path / "b/01_RES/mask002.tif", tmp_path / "a/01_RES/mask002.tif")
    with pytest.raises(ValueError, match=r"mask002\.tif is of another prediction"):
        list(evaluate(tmp_path / "a", stack))
    shutil.copy(tmp_path / "a/01_RES/mask002.tif", tmp_path / "b/01_RES/mask002.tif")
    shutil.copy(tmp_path / "a/distance.tif", tmp_path / "b/distance.tif")
    for result in (tmp_path / "b", tmp_path / "b/instances.tif"):
        with pytest.raises(ValueError, match=r"distance\.tif is of another prediction"):
            open_result(result, stack)


def test_damaged_results_are_said_in_words(tmp_path: Path, dataset: Path) -> None:
    stack = open_stack(dataset, sequence="01")
    write(tmp_path / "whole", stack, 3)
    rng = np.random.default_rng(0)
    for name in ("01_RES/mask002.tif", "instances.tif"):
        before = (tmp_path / "whole" / name).read_bytes()
        for _ in range(40):
            damaged = bytearray(before)
            for place in rng.integers(0, len(before), 3):
                damaged[place] ^= 1 << int(rng.integers(8))
            folder = tmp_path / "damaged"
            shutil.copytree(tmp_path / "whole", folder)
            (folder / name).write_bytes(damaged)
            if name == "instances.tif":
                shutil.rmtree(folder / "01_RES")
            try:
                list(evaluate(folder, stack))
            except (ValueError, OSError) as error:
                assert str(folder) in str(error) or "frame" in str(error)
            shutil.rmtree(folder)


# the other commands


def test_scores_are_written_over_no_other_file(dataset: Path, tmp_path: Path) -> None:
    write(tmp_path / "out", open_stack(dataset, sequence="01"), 3)
    words = ("evaluate", tmp_path / "out", dataset, "--sequence", "01", "--output")
    for text in ('{"training": {}}', "[1]", "half"):
        (tmp_path / "config.json").write_text(text)
        assert call(*words, tmp_path / "config.json") == 2
        assert (tmp_path / "config.json").read_text() == text
    for _ in range(2):
        assert call(*words, tmp_path / "scores.json") == 0
    assert json.loads((tmp_path / "scores.json").read_text())["frames"]


def test_the_command_line_says_all_this_in_one_line(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--network", "jnet", "--device", "cpu", "--epochs", "1", "--frames", "0-2"]
    for setting in ("batches_per_epoch=1", "patch_size=16", "batch_size=1", "threads=1"):
        quick += ["--set", f"training.{setting}"]
    run, data = tmp_path / "run", tmp_path / "d"
    assert call("train", dataset, "--sequence", "01", "--output", run, *quick) == 0
    (tmp_path / "used").mkdir()
    config = tmp_path / "used/config.json"
    shutil.copy(run / "config.json", config)
    data.mkdir()
    tifffile.imwrite(
        data / "instances.tif", np.ones((2, *SHAPE), np.uint8), photometric="minisblack"
    )
    before = content(tmp_path)
    with FolderLock(tmp_path / "used"):
        for words, said in (
            (
                ("predict", run, data / "instances.tif", "-o", data),
                "is not a result of napari-jnet",
            ),
            (("predict", run, dataset, "-o", tmp_path / "used"), "in use: this program"),
            (("train", dataset, "-o", config.parent, "--config", config), "would be overwritten"),
        ):
            capsys.readouterr()
            assert call(*words) == 2
            error = capsys.readouterr().err
            assert error.count("\n") == 1 and said in error
    assert content(tmp_path) == before
