"""The four walks of CONTRIBUTING.md, taken: each step in its order, called by no file off its walk."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")

import napari_jnet
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.predict import PredictWidget
from napari_jnet.plugin.pages.train import TrainWidget

TIMEOUT = 60_000
PACKAGE = Path(napari_jnet.__file__).parent
ROOT = f"{PACKAGE}{os.sep}"
PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


class Step(NamedTuple):
    """A step as the page has it."""

    file: str
    functions: tuple[str, ...]
    back: bool

    @property
    def window(self) -> bool:
        return self.file.startswith("plugin/")


class Call(NamedTuple):
    """A call of a function that is a step of some walk, and the window's files that have led to it."""

    file: str
    function: str
    callers: frozenset[str]


class Walk(NamedTuple):
    """A walk as the page has it."""

    count: int  # of the window's files, as the page has it
    parts: list[list[Step]]  # a stroke has two

    @property
    def steps(self) -> list[Step]:
        return [step for part in self.parts for step in part]


def read_walks() -> dict[str, Walk]:
    text = PAGE.read_text(encoding="utf-8").split("## Four walks")[1].split("\n## ")[0]
    walks = {}
    for title, count, body in re.findall(
        r"\*\*([^*]+)\*\* \((\d) files of the window\)(.*?)(?=\n\*\*|\Z)", text, re.DOTALL
    ):
        parts: list[list[Step]] = []
        for number, where, names in re.findall(
            r"^(\d+)\. (back in |core |)((?:`[^`]+`(?:, )?)+): ", body, re.MULTILINE
        ):
            file, *functions = re.findall(r"`([^`]+)`", names)
            file = file if where == "core " else f"plugin/{file}"
            if number == "1":
                parts.append([])
            parts[-1].append(Step(file, tuple(functions), where == "back in "))
        walks[title.split(",")[0]] = Walk(int(count), parts)
    return walks


WALKS = read_walks()
WANTED = {
    (step.file, name) for walk in WALKS.values() for step in walk.steps for name in step.functions
}


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """Record the calls of steps, in this thread and in those that begin meanwhile."""
    calls: list[Call] = []

    def record(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and (file := own_file(frame)):
            function = frame.f_code.co_qualname.replace(".<locals>", "")
            if (file, function) in WANTED:
                calls.append(Call(file, function, frozenset(window_files(frame))))

    sys.setprofile(record)
    threading.setprofile(record)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def own_file(frame: FrameType) -> str:
    name = frame.f_code.co_filename
    return name.removeprefix(ROOT).replace(os.sep, "/") if name.startswith(ROOT) else ""


def window_files(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        passes_on = frame.f_code.co_qualname.startswith("push_button.")  # a click
        if (file := own_file(frame)).startswith("plugin/") and not passes_on:
            yield file
        frame = frame.f_back


def faults(steps: list[Step], files: set[str], calls: list[Call]) -> list[str]:
    """Follow the steps through the calls; return what is missing, or called by a file off the walk."""
    found, left = [], iter(calls)
    for step in steps:
        for name in step.functions:
            call = next((c for c in left if c[:2] == (step.file, name)), None)
            if call is None:
                return [*found, f"{step.file}: {name} is not called after the steps before it"]
            if strangers := call.callers - files:
                found.append(f"{step.file}: {name} is called by {', '.join(sorted(strangers))}")
    return found


def taken(title: str, calls: list[Call]) -> list[str]:
    walk = WALKS[title]
    files = {step.file for step in walk.steps if step.window}
    return [f"{title}: {text}" for part in walk.parts for text in faults(part, files, calls)]


def test_every_walk_is_taken_as_the_page_says(qtbot, viewer_model, small):
    layer, workspace = viewer_model.layers["truth"], open_workspace(viewer_model)
    labels = layer.data.copy()
    labels[3] = 0
    layer.data = labels
    found: list[str] = []
    with recorded() as calls:
        train = TrainWidget(viewer_model)
        qtbot.addWidget(train)
        train.set_values(epochs=100_000, changes=small)
        train.start()
        qtbot.waitUntil(lambda: len(train.plot.points("training")[0]) >= 1, timeout=TIMEOUT)
        qtbot.waitUntil(lambda: workspace.saving.saved, timeout=TIMEOUT)

        calls.clear()
        rows, columns = (side.ravel() + 20 for side in np.mgrid[:16, :16])
        layer.data_setitem((np.full(256, 3), rows, columns), 7)
        qtbot.waitUntil(lambda: "with t003" in train.message.text, timeout=TIMEOUT)
        qtbot.waitUntil(lambda: workspace.saving.saved, timeout=TIMEOUT)
        found += taken("A stroke", list(calls))

        calls.clear()
        with qtbot.waitSignal(train.finished, timeout=TIMEOUT):
            train.stop_button.click()
        found += taken("Stop", list(calls))

        predict = PredictWidget(viewer_model)
        qtbot.addWidget(predict)
        calls.clear()
        with qtbot.waitSignal(predict.finished, timeout=TIMEOUT) as ended:
            predict.predict_button.click()
        assert ended.args == ["done"]
        found += taken("Predict", list(calls))

        calls.clear()
        predict.separation["instances.segmentation_threshold"].value = 0.31
        qtbot.waitUntil(lambda: any("write_cells" in c.function for c in calls), timeout=TIMEOUT)
        found += taken("A slider", list(calls))
    assert found == []


@pytest.mark.parametrize("title", ["A stroke", "Stop", "Predict", "A slider"])
def test_a_walk_has_six_files_at_most_and_returns_only_where_the_page_says_so(title):
    walk = WALKS[title]
    assert len({step.file for step in walk.steps if step.window}) == walk.count <= 6
    for part in walk.parts:
        seen: list[str] = []
        for step in part:
            assert (PACKAGE / step.file).is_file(), step.file
            assert step.functions, step.file
            assert step.back == (step.file in seen), step.file
            seen.append(step.file)


def test_a_step_out_of_order_and_a_file_off_the_walk_are_noticed():
    steps = [Step("plugin/a.py", ("f",), False), Step("plugin/b.py", ("C.g",), False)]
    files = {"plugin/a.py", "plugin/b.py"}
    first = Call("plugin/a.py", "f", frozenset({"plugin/a.py"}))
    second = Call("plugin/b.py", "C.g", frozenset(files))
    stranger = second._replace(callers=frozenset({*files, "plugin/c.py"}))
    assert faults(steps, files, [first, second]) == []
    assert "not called" in faults(steps, files, [second, first])[0]
    assert "plugin/c.py" in faults(steps, files, [first, stranger])[0]
