"""The Python of the README runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def python_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


def test_ten_lines_or_so_of_python() -> None:
    (block,) = python_blocks()
    assert len(block.splitlines()) <= 12


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_jnet.synthetic import write_cells_sequence

    monkeypatch.chdir(tmp_path)
    small = {"frames": (3, 1), "shape": (128, 128), "cells": 6}
    assert write_cells_sequence(tmp_path / "cells", **small).exists()
    (block,) = python_blocks()
    # One short epoch: the test is about the names, not about the cells.
    quick = (
        '{"training.epochs": 1, "training.batches_per_epoch": 2, "training.patch_size": 64, '
        '"training.threads": 1, "network.structure": ((2, 8, 3), (1, 4, 3), (1, 4, 3))}'
    )
    changed = block.replace('{"training.epochs": 1}', quick)
    assert changed != block
    exec(compile(changed, str(README), "exec"), {})
    assert (tmp_path / "run" / "model.pt").is_file()
    assert "FramePrediction" in capsys.readouterr().out
