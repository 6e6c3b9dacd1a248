"""The benchmarks run: their rows on a small frame, and the page that is written from them."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("bench")
    monkeypatch.setattr(module, "SIDE", 64)
    monkeypatch.setattr(module, "TIMES", 1)
    monkeypatch.setattr(module, "CELLS", 9)
    monkeypatch.setattr(module, "available_backends", lambda model: [])
    return module


def test_rows_and_page(bench: Any, tmp_path: Path):
    measured = bench.Bench(torch.device("cpu"), repeats=1)
    rows = [
        row for topic in ("predict", "step", "objects") for row in bench.TOPICS[topic](measured)
    ]
    assert {row.topic for row in rows} == {"predict", "sample", "step", "borders", "instances"}
    assert all(row.ours > 0 for row in rows)
    networks = [row for row in rows if row.topic in ("predict", "step")]
    assert all(row.gflop > 0 and row.mbyte > 0 and row.limit > 0 for row in networks)
    assert {row.ratio is not None for row in networks} == {True}

    page = tmp_path / "benchmarks.md"
    page.write_text("before\n" + "\nold\n".join(bench.MARKS) + "\nafter\n", encoding="utf-8")
    result = {"machine": bench.machine(measured, 1), "rows": [asdict(row) for row in rows]}
    bench.fill(page, bench.MARKS, bench.tables([json.loads(json.dumps(result))]))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    assert all(f"| {row.title} |" in text for row in rows)
    assert "A GPU: not measured" in text


def test_two_processes_are_compared_with_the_spread_of_seeds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    verdict = importlib.import_module("processes").verdict
    assert "0.0200 in SEG: within the spread of the seeds, 0.0300" in verdict([0.5, 0.53], 0.48)
    assert "0.0400 in SEG: NOT within" in verdict([0.5, 0.53], 0.54)
    assert "no cell" in verdict([0.0, 0.0], 0.0)
