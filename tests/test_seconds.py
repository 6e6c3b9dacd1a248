"""The simulated person of benchmarks/seconds.py: its hand, its time, and what it makes of a frame."""

from __future__ import annotations

import importlib
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(FOLDER)
    return {name: importlib.import_module(name) for name in ("eyes", "painter", "seconds")}


@pytest.fixture
def painter(modules: dict[str, Any]) -> Any:
    return modules["painter"]


@pytest.fixture
def eyes(modules: dict[str, Any]) -> Any:
    return modules["eyes"]


def cells(side: int = 160, radius: int = 16, seed: int = 0) -> np.ndarray:
    """Return nine cells of different shapes, some of which touch."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((side, side), np.int32)
    y, x = np.indices(truth.shape)
    for number in range(9):
        row, column = (side * (1 + 2 * place) / 6 for place in divmod(number, 3))
        a, b = radius * rng.uniform(0.8, 1.6, 2)
        truth[((y - row) / a) ** 2 + ((x - column) / b) ** 2 < 1] = number + 1
    return truth


def blank(painter: Any, truth: np.ndarray, seed: int = 0, **pace: float) -> Any:
    return painter.Painter(np.zeros_like(truth), np.random.default_rng(seed), painter.Pace(**pace))


def test_a_circle_follows_the_border_but_not_exactly(painter: Any, eyes: Any):
    truth = cells()
    hand = blank(painter, truth)
    for number in range(1, 10):
        assert hand.circle(truth == number) == number
    found = [eyes.best_iou(truth == number, hand.plane) for number in range(1, 10)]
    assert all(0.85 < iou < 0.995 for iou in found), found
    exact = blank(painter, truth, jitter=1e-6)
    exact.circle(truth == 5)
    assert eyes.best_iou(truth == 5, exact.plane) > 0.97


@pytest.mark.parametrize("seed", range(5))
def test_strokes_stay_inside(painter: Any, seed: int):
    truth = cells(seed=seed)
    cell = truth == 5
    hand = blank(painter, truth, seed)
    hand.brush(cell, cell, 7)
    painted = hand.plane == 7
    assert not (painted & ~cell).any()
    assert painted.sum() > 0.8 * cell.sum()

    spilt = painter.Painter(
        np.where(ndimage.binary_dilation(cell, iterations=10), 7, 0), np.random.default_rng(seed)
    )
    before = spilt.plane == 7
    spilt.erase(before & ~cell, ~cell, 7)
    assert (spilt.plane[cell] == 7).all()
    assert ((spilt.plane == 7) & ~cell).sum() < 0.3 * (before & ~cell).sum()


def test_a_split_gives_both_cells(painter: Any, eyes: Any):
    y, x = np.indices((120, 120))
    one, other = (y - 60) ** 2 + (x - 42) ** 2 < 400, (y - 60) ** 2 + (x - 78) ** 2 < 400
    truth = np.where(one, 1, np.where(other, 2, 0)).astype(np.int32)
    hand = painter.Painter((truth > 0).astype(np.int32), np.random.default_rng(0))
    assert hand.split(1, truth == 1, truth == 2)
    assert eyes.problems(hand.plane, truth) == []
    assert [action.kind for action in hand.actions] == ["split"]


def test_merge_and_delete(painter: Any, eyes: Any):
    truth = cells()
    plane = truth.copy()
    plane[:28][plane[:28] == 1] = 20  # cell 1 in two halves
    plane[70:90, 0:8] = 30  # no cell
    hand = painter.Painter(plane, np.random.default_rng(0))
    painter.correct(hand, truth)
    assert eyes.agreement(hand.plane, truth)["mean_cell_iou"] > 0.99
    assert not hand.plane[truth == 0].any()
    assert sorted(action.kind for action in hand.actions) == ["delete", "judge", "merge"]


def test_problems_are_named_and_the_largest_comes_first(eyes: Any):
    truth = cells()
    plane = truth.copy()
    plane[plane == 1] = 0
    plane[plane == 3] = 2
    plane[70:90, 0:6] = 30
    shrunk = ndimage.binary_erosion(truth == 9, iterations=4)
    plane[(truth == 9) & ~shrunk] = 0
    found = eyes.problems(plane, truth)
    assert {(p.kind, tuple(sorted(p.truth))) for p in found} == {
        ("missing", (1,)),
        ("split", (2, 3)),
        ("delete", ()),
        ("redraw", (9,)),
    }
    assert [p.pixels for p in found] == sorted((p.pixels for p in found), reverse=True)
    assert eyes.problems(truth, truth) == []


def test_time_adds_up(painter: Any):
    truth = np.zeros((900, 900), np.int32)  # one pixel of the frame is one of the screen
    truth[400:500, 650:750] = 1
    hand = blank(painter, truth, jitter=0.04)
    hand.plane = truth.copy()
    hand.delete(1)
    (action,) = hand.actions
    middle = np.argwhere(ndimage.distance_transform_edt(truth) == 50)[0]
    travel = math.dist(middle, (450, 450)) / 800
    assert action.seconds == pytest.approx(0.2 + travel + 2 * 0.2)
    assert action.presses == 2

    hand = blank(painter, truth)
    hand.circle(truth == 1)
    hand.judge()
    pace = painter.Pace()
    speed = 0.02 * math.sqrt(4 * 100 * 100 / math.pi) / 0.04
    assert pace.tracing(math.sqrt(4 * 100 * 100 / math.pi)) == pytest.approx(speed)
    assert hand.actions[0].seconds == pytest.approx(400 / speed + 0.2 + 0.2 + 0.2, rel=0.15)
    assert hand.seconds == pytest.approx(sum(action.seconds for action in hand.actions))
    assert pace.tracing(1) == 30
    assert pace.filling(1e6) == 400


def test_a_frame_is_finished_the_quicker_way(painter: Any, eyes: Any):
    truth = cells()
    outlined = painter.annotate(blank(painter, truth), truth, None)
    kinds = [action.kind for action in outlined.actions]
    assert kinds == ["circle"] * 9 + ["judge"]
    rubbish = np.kron(np.arange(1, 401).reshape(20, 20), np.ones((8, 8), int)).astype(np.int32)
    assert painter.annotate(blank(painter, truth), truth, rubbish).seconds == outlined.seconds
    nearly = np.where(truth == 4, 0, truth)
    corrected = painter.annotate(blank(painter, truth), truth, nearly)
    assert [action.kind for action in corrected.actions] == ["copy", "circle", "judge"]
    assert eyes.problems(corrected.plane, truth) == []


def small_data(seconds: Any) -> Any:
    frames = []
    for number in range(6):
        truth = cells(side=64, radius=6, seed=number)
        truth[truth > 9 - number] = 0
        noise = np.random.default_rng(number).normal(0, 10, truth.shape)
        image = (100 * (truth > 0) + 50 + noise).clip(0, 255).astype(np.uint8)
        frames.append(seconds.Frame(f"f{number}", image, truth))
    return seconds.Data("small", tuple(frames[:4]), tuple(frames[4:]), 3)


SMALL = {
    "network.channels": 2,
    "network.resolution_levels": [-2, -1, 0],
    "training.batches_per_epoch": 2,
    "training.batch_size": 1,
    "training.patch_size": 32,
}


def test_a_run_is_repeatable_and_counts_what_was_done(modules: dict[str, Any], tmp_path: Path):
    seconds = modules["seconds"]
    data = small_data(seconds)
    rates = seconds.Rates(0.05, 1.0, "float32")

    def lines(name: str, seed: int = 0, way: str = "scratch", **options: Any) -> list[Any]:
        options = {"minutes": 4, "every": 60, "settings": SMALL, **options}
        return list(seconds.simulate(data, way, seed, rates, tmp_path / name, **options))

    first = lines("a")
    assert first == lines("b") != lines("c", seed=1)
    assert [line["minutes"] for line in first] == [0, 1, 2, 3, 4]
    assert first[0]["seg"] == first[0]["presses"] == 0
    last = first[-1]
    assert last["frames"] == 3
    assert 0 < last["steps"] <= 0.05 * 240
    assert last["actions"]["circle"] >= last["cells"] > 0
    for before, after in pairwise(first):
        assert before["presses"] <= after["presses"]
        assert before["steps"] <= after["steps"]

    model = tmp_path / "a" / "model.pt"
    proposed = lines("d", way="proposals", starter=model)
    assert proposed[-1]["actions"]["propose"] == 3
    assert lines("e", way="starter", starter=model, minutes=0)[0] == proposed[0]
    with pytest.raises(ValueError, match="needs a starter"):
        lines("f", way="starter")


def test_the_table_says_what_was_not_reached(modules: dict[str, Any], tmp_path: Path):
    seconds = modules["seconds"]
    for seed, top in enumerate((0.7, 0.8, 0.9)):
        line = {"minutes": 2.0, "seg": top, "presses": 9, "cells": 5, "ap50": 0.0}
        end = {"finished": True, "data": "small", "way": "scratch", "seed": seed}
        text = "\n".join(map(json.dumps, (line, end)))
        (tmp_path / f"small-scratch-{seed}.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "small-starter-0.jsonl").write_text(json.dumps(line), encoding="utf-8")  # stopped
    runs = seconds.read_runs(tmp_path)
    assert list(runs) == [("small", "scratch")]
    row = seconds.table(runs).splitlines()[-1]
    assert "0.80 (0.70 to 0.90)" in row
    assert "2.0 (2.0 to not reached)" in row
    pytest.importorskip("matplotlib")
    seconds.draw(runs, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_nobody_annotates_what_is_scored(modules: dict[str, Any], shared_data: Path):
    data = modules["seconds"].read_hela(shared_data)
    annotated, scored = (
        [int(frame.name[1:]) for frame in part] for part in (data.pool, data.scored)
    )
    assert len(scored) == 8
    assert min(abs(a - b) for a in annotated for b in scored) == 4
    assert all(frame.truth.max() > 5 for frame in (*data.pool, *data.scored))


def test_synthetic_cells_need_no_folder(modules: dict[str, Any]):
    nowhere = Path("does-not-exist")
    data = modules["seconds"].read_data("synthetic", nowhere, nowhere)
    names = [{frame.name for frame in part} for part in (data.pool, data.scored)]
    assert [len(part) for part in names] == [12, 12] and not names[0] & names[1]
    assert all(frame.truth.max() > 5 for frame in (*data.pool, *data.scored))
    with pytest.raises(ValueError, match="'tissue'; they are one of hela, nuclei, synthetic"):
        modules["seconds"].read_data("tissue", nowhere, nowhere)
