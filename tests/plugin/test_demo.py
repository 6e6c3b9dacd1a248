from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from napari_jnet.plugin import demo, virtual_screen


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Collect what would be run under a virtual screen, and run nothing."""
    collected: list[list[str]] = []

    def call(command: list[str], env: dict[str, str]) -> int:
        assert "WAYLAND_DISPLAY" not in env
        collected.append(command)
        return 0

    monkeypatch.setattr(virtual_screen.subprocess, "call", call)
    monkeypatch.setattr(virtual_screen.shutil, "which", lambda name: f"/usr/bin/{name}")
    return collected


def test_without_a_screen_it_starts_again_under_a_virtual_one(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "has_screen", lambda: False)
    assert demo.main(["--output", str(tmp_path / "out"), "--minutes", "0.5"]) == 0
    (command,) = commands
    assert command[:4] == ["/usr/bin/xvfb-run", "-a", "-s", "-screen 0 1600x1000x24"]
    assert command[4:7] == [sys.executable, "-m", "napari_jnet.plugin.demo"]
    assert "--no-stay" in command
    assert command[-4:] == ["--output", str(tmp_path / "out"), "--minutes", "0.5"]


def test_no_window_takes_a_virtual_screen_even_where_there_is_one(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "has_screen", lambda: True)
    assert demo.main(["--output", str(tmp_path / "out"), "--no-window"]) == 0
    assert len(commands) == 1


def test_without_xvfb_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "has_screen", lambda: False)
    monkeypatch.setattr(virtual_screen.shutil, "which", lambda name: None)
    assert demo.main(["--output", str(tmp_path / "out")]) == 2
    assert "apt-get install --yes --no-install-recommends xvfb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("platform", "environ", "answers", "expected"),
    [
        ("linux", {}, True, False),
        ("linux", {"DISPLAY": ":0"}, True, True),
        ("linux", {"DISPLAY": ":0"}, False, False),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, False, True),
        ("darwin", {}, False, True),
        ("win32", {}, False, True),
    ],
)
def test_has_screen(
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    environ: dict[str, str],
    answers: bool,
    expected: bool,
) -> None:
    monkeypatch.setattr(virtual_screen, "_display_answers", lambda: answers)
    assert virtual_screen.has_screen(platform, environ) is expected


def test_an_earlier_demo_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "out"
    demo.prepare_output(output)
    (output / "run").mkdir()
    (output / "run" / "model.pt").write_bytes(b"old")
    (output / "notes.txt").write_text("mine")
    demo.prepare_output(output)
    assert not (output / "run").exists()
    assert (output / "notes.txt").read_text() == "mine"


def test_a_folder_of_somebody_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "has_screen", lambda: True)
    (tmp_path / "run").mkdir()
    assert demo.main(["--output", str(tmp_path)]) == 2
    assert "another --output" in capsys.readouterr().err
    assert (tmp_path / "run").is_dir()


def test_a_time_of_nothing_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert demo.main(["--output", str(tmp_path / "out"), "--minutes", "0"]) == 2
    assert "more than 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_steps_in_a_real_window(make_napari_viewer, qtbot, tmp_path, capsys) -> None:
    """Every file and every overlay is there; how good the cells are, the demo itself tells."""
    output = tmp_path / "out"
    demo.prepare_output(output)
    status: list[int] = []
    tiny = {
        "network.resolution_levels": (-2, -1),
        "network.structure": ((2, 8, 3), (1, 4, 3)),
        "training.batches_per_epoch": 2,
        "training.patch_size": 64,
    }
    viewer = make_napari_viewer()
    run = demo.Demo(viewer, output, 0.03, status.append, changes=tiny)
    run.start()
    qtbot.waitUntil(lambda: bool(status), timeout=120_000)
    said = capsys.readouterr()
    assert status == [0], said.err
    assert "SEG" in said.out and "IoU" in said.out
    names = {path.name for path in output.iterdir()}
    assert {"screenshot.png", "history.csv", "metrics.json", "02_RES"} <= names
    assert (output / "02_RES" / "res_track.txt").is_file()
    metrics = json.loads((output / "metrics.json").read_text())
    assert 0 <= metrics["seg"] <= 1
    assert {"segmentation", "distance", "cells"} <= {layer.name for layer in viewer.layers}


def test_a_step_that_fails_ends_the_demo_with_words(
    make_napari_viewer, monkeypatch, tmp_path, capsys
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("no space left")

    monkeypatch.setattr("napari_jnet.synthetic.write_cells_sequence", fail)
    status: list[int] = []
    demo.Demo(make_napari_viewer(), tmp_path, 1.0, status.append).start()
    assert status == [1]
    assert "no space left" in capsys.readouterr().err
