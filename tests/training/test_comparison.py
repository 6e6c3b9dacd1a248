"""Old model against new: the better one is kept, in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_jnet.config import Config
from napari_jnet.events import ComparisonResult, ModelScore
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import LabelKind
from napari_jnet.synthetic import varied_cells
from napari_jnet.training.loop import train
from napari_jnet.training.validate import compare_models

CONFIG = Config().replace(
    {
        "network.channels": 4,
        "network.resolution_levels": (-2, -1, 0),
        "targets.dt_bound": 5.0,
        "training.patch_size": 32,
        "training.batch_size": 2,
        "training.batches_per_epoch": 80,
        "training.learning_rate": 2e-2,
        "training.epochs": 1,
        "training.device": "cpu",
        "training.threads": 1,
    }
)


def cells(count: int, seed: int) -> list[AnnotatedFrame]:
    """Bright discs on a dark ground."""
    random = np.random.default_rng(seed)
    rows, columns = np.ogrid[:48, :48]
    frames = []
    for index in range(count):
        labels = np.zeros((48, 48), np.int32)
        for value, (y, x) in enumerate(((12, 12), (12, 36), (36, 12), (36, 36)), start=1):
            radius = random.integers(5, 9)
            labels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = value
        image = 20 + 100 * (labels > 0) + random.normal(0, 8, labels.shape)
        frames.append(AnnotatedFrame(f"{seed}/t{index}", image.astype(np.float32), labels))
    return frames


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a run that has hardly learned anything and one that knows its discs."""
    folder = tmp_path_factory.mktemp("runs")
    poor = CONFIG.replace({"training.batches_per_epoch": 1, "training.learning_rate": 1e-8})
    for name, config in (("poor", poor), ("good", CONFIG)):
        list(train(cells(2, 0), folder / name, config))
    return {"poor": folder / "poor", "good": folder / "good"}


def compared(
    models: dict[str, Path], frames: list[AnnotatedFrame]
) -> tuple[list, ComparisonResult]:
    events = []
    rounds = compare_models(models, frames, device="cpu")
    while True:
        try:
            events.append(next(rounds))
        except StopIteration as end:
            return events, end.value


def test_the_better_one_is_kept_whichever_came_first(runs: dict[str, Path]) -> None:
    events, end = compared({"old": runs["poor"], "new": runs["good"]}, cells(2, 1))
    assert [event.name for event in events] == ["old", "new"]
    assert all(isinstance(event, ModelScore) for event in events)
    assert end.kept == runs["good"] and end.better is True
    assert end.summary.startswith("Better: SEG 0.") and "2 validation frames" in end.summary
    _, end = compared({"old": runs["good"], "new": runs["poor"]}, cells(2, 1))
    assert end.kept == runs["good"] and end.better is False
    assert end.summary.startswith("Worse: SEG")


def test_of_equals_the_new_one_is_kept(runs: dict[str, Path]) -> None:
    models = {"old": runs["good"], "new": runs["good"] / "last.pt"}
    _, end = compared(models, cells(1, 1))
    assert end.kept == runs["good"] / "last.pt" and end.better is None
    assert end.summary.startswith("The same: SEG") and "1 validation frame." in end.summary


def test_without_objects_the_overlap_decides(runs: dict[str, Path]) -> None:
    frames = [
        AnnotatedFrame(f.name, f.image, np.minimum(f.labels, 1), LabelKind.CLASSES)
        for f in cells(2, 1)
    ]
    _, end = compared({"old": runs["poor"], "new": runs["good"]}, frames)
    assert "IoU" in end.summary and "SEG" not in end.summary
    assert end.better is True


def test_one_model_is_only_scored(runs: dict[str, Path]) -> None:
    events, end = compared({"new": runs["good"]}, cells(1, 1))
    assert len(events) == 1
    assert end.better is None and end.kept == runs["good"] and end.summary.startswith("SEG 0.")


class TestBadInput:
    def test_no_frame(self, runs: dict[str, Path]) -> None:
        with pytest.raises(ValueError, match=r"no validation frame.*role validation"):
            compared({"new": runs["good"]}, [])

    def test_no_model(self) -> None:
        with pytest.raises(ValueError, match=r"no model to compare"):
            compared({}, cells(1, 1))

    def test_a_file_that_is_no_model(self, runs: dict[str, Path], tmp_path: Path) -> None:
        (tmp_path / "model.pt").write_bytes(b"no model")
        with pytest.raises(ValueError, match=r"model\.pt"):
            compared({"old": tmp_path, "new": runs["good"]}, cells(1, 1))


def test_a_model_for_cells_of_any_size_is_scored_at_the_size_of_these() -> None:
    """Cells of 90 px are far from the 24 px that the starter sees."""
    image, labels = varied_cells((400, 400), diameter=90.0, seed=3)
    frame = AnnotatedFrame("t0", image, labels.astype(np.int32))
    (score,), _ = compared({"starter": Path("starter")}, [frame])
    assert score.seg is not None and score.seg > 0.5
