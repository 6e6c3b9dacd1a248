from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from napari_jnet.cli import main
from napari_jnet.plugin.demo import run_demo

command = import_module("napari_jnet.cli.demo")


def demo(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["demo", *map(str, words)])
    return int(left.value.code or 0)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Collect what would be run, and run nothing."""
    collected: list[list[str]] = []

    def call(words: list[str], env: dict[str, str] | None = None) -> int:
        assert env is None or ("WAYLAND_DISPLAY" not in env and env["QT_QPA_PLATFORM"] == "xcb")
        collected.append(words)
        return 7

    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setattr(command.subprocess, "call", call)
    monkeypatch.setattr(command.shutil, "which", lambda name: f"/usr/bin/{name}")
    return collected


def test_it_is_a_process_of_its_own_in_a_window_that_stays(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "has_screen", lambda: True)
    words = ["--output", tmp_path / "out", "--minutes", "0.5"]
    assert demo(*words) == 7
    assert demo(*words, "--no-stay") == 7
    module = [sys.executable, "-m", "napari_jnet.plugin.demo", str(tmp_path / "out"), "0.5"]
    assert commands == [[*module, "stay"], module]


def test_without_a_screen_it_runs_on_a_virtual_one(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["--output", tmp_path / "out", "--minutes", "0.5"]
    monkeypatch.setattr(command, "has_screen", lambda: True)
    assert demo(*words, "--no-window") == 7
    monkeypatch.setattr(command, "has_screen", lambda: False)
    assert demo(*words) == 7
    words, again = commands
    assert words == again
    assert words[:4] == ["/usr/bin/xvfb-run", "-a", "-s", "-screen 0 1600x1000x24"]
    module = [sys.executable, "-m", "napari_jnet.plugin.demo", str(tmp_path / "out"), "0.5"]
    assert words[4:] == module  # and closes its window: nobody sees it


def test_without_xvfb_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "has_screen", lambda: False)
    monkeypatch.setattr(command.shutil, "which", lambda name: None)
    assert demo("--output", tmp_path / "out") == 2
    assert "apt-get install --yes --no-install-recommends xvfb" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_a_display_that_does_not_respond_is_not_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    assert command.has_screen()  # the virtual one of the tests
    monkeypatch.setenv("DISPLAY", ":31999")
    assert not command.has_screen()
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert not command.has_screen()


def test_an_earlier_demo_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "out"
    command.prepare_output(output)
    (output / "run").mkdir()
    (output / "run" / "model.pt").write_bytes(b"old")
    (output / "metrics.json").write_text("old")
    (output / "notes.txt").write_text("mine")
    command.prepare_output(output)
    assert not (output / "run").exists() and not (output / "metrics.json").exists()
    assert (output / "notes.txt").read_text() == "mine"


def test_a_folder_of_somebody_else_is_refused(
    commands: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    assert demo("--output", tmp_path) == 2
    assert "another --output" in capsys.readouterr().err
    assert (tmp_path / "run").is_dir()
    assert not commands


def test_a_time_of_nothing_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert demo("--output", tmp_path / "out", "--minutes", "0") == 2
    assert "more than 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_steps_in_a_real_window(make_napari_viewer, qtbot, tmp_path, capsys) -> None:
    """Every file and every overlay is there; how good the cells are, the demo itself reports."""
    status: list[int] = []
    tiny = {
        "network.resolution_levels": (-2, -1),
        "network.structure": ((2, 8, 3), (1, 4, 3)),
        "training.batches_per_epoch": 2,
        "training.patch_size": 64,
    }
    viewer = make_napari_viewer()
    run_demo(viewer, tmp_path, 0.03, status.append, tiny)
    qtbot.waitUntil(lambda: bool(status), timeout=120_000)
    said = capsys.readouterr()
    assert status == [0], said.err
    assert "SEG" in said.out and "IoU" in said.out
    names = {path.name for path in tmp_path.iterdir()}
    assert {"screenshot.png", "history.csv", "metrics.json", "02_RES"} <= names
    assert names - {"02_RES"} <= {*command.FOLDERS, *command.FILES}
    assert (tmp_path / "02_RES" / "res_track.txt").is_file()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert 0 <= metrics["seg"] <= 1
    assert {"segmentation", "distance", "cells"} <= {layer.name for layer in viewer.layers}
    assert "unseen frames" in viewer.canvas.overlays.text.text


def test_a_step_that_fails_ends_the_demo_with_words(
    make_napari_viewer, monkeypatch, tmp_path, capsys
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("no space left")

    monkeypatch.setattr("napari_jnet.plugin.demo.write_cells_sequence", fail)
    status: list[int] = []
    run_demo(make_napari_viewer(), tmp_path, 1.0, status.append)
    assert status == [1]
    assert "no space left" in capsys.readouterr().err


def test_a_job_that_does_not_begin_ends_the_demo_with_words(
    make_napari_viewer, qtbot, tmp_path, capsys
) -> None:
    status: list[int] = []
    wrong = {"training.patch_size": 7}
    run_demo(make_napari_viewer(), tmp_path, 1.0, status.append, wrong)
    qtbot.waitUntil(lambda: bool(status), timeout=120_000)
    assert status == [1]
    assert "A job has failed" in capsys.readouterr().err
