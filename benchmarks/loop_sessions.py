"""What happens in one window of `loop.py`: each function is one process, from opening to its end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from qtpy.QtCore import Qt
from scipy.ndimage import distance_transform_edt

from eyes import Point, inside
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.layers.read import placement
from person import Person

__all__ = ["run", "tell", "truth_of"]

SIZE = (1600, 980)
DOCK_WIDTH = 400
QUICK = {
    "network.channels": 4,
    "training.batches_per_epoch": 2,
    "training.batch_size": 2,
}


def tell(name: str, value: Any) -> None:
    """Say a fact to the process that started this one."""
    print("FACT " + json.dumps([name, value]), flush=True)


def truth_of(data: Path, number: int) -> np.ndarray:
    """Read a gold frame of sequence 01, int32 (H, W)."""
    return tifffile.imread(data / "01_GT" / "SEG" / f"man_seg{number:03d}.tif").astype(np.int32)


def open_window(work: Any) -> Person:
    """Open napari with the workbench."""
    import napari
    from qtpy.QtWidgets import QApplication, QDockWidget

    viewer = napari.Viewer(title="napari")
    viewer.window.resize(*SIZE)
    QApplication.processEvents()
    dock, workbench = viewer.window.add_plugin_dock_widget("napari-jnet", "Workbench")
    window = dock.window()
    assert isinstance(dock, QDockWidget)
    person = Person(viewer, workbench, work.options.pictures)
    person.hand.wait(1.0)
    window.resizeDocks([dock], [DOCK_WIDTH], Qt.Orientation.Horizontal)
    person.hand.wait(0.5)
    if workbench.guide.isVisible():
        person.look("guide")
        person.hand.press("Close the guide", workbench)
    return person


def first(work: Any, person: Person) -> None:
    """Round one to its end, and round two until it is killed."""
    options = work.options
    minutes, most, changes = options.minutes, None, None
    if options.quick:
        minutes, most, changes = 0.3, 3, QUICK
    person.look("open")
    person.load(work.images)
    person.look("stack")
    person.new_annotation()
    person.look("annotate-new")
    painted = {}
    for number in options.frames[:2]:
        painted[number] = person.paint(number, truth_of(options.data, number), most)
        person.look(f"annotate-{number:03d}")
    tell("painted", painted)
    tell("first training", person.train("Train", 0.4 * minutes, "train", changes))
    third = options.frames[2]
    person.predict(third)
    person.look("predict")
    person.adopt(third)
    person.look("adopted")
    tell("corrected", person.correct(third, some_cells(truth_of(options.data, third), most)))
    person.look("corrected")
    tell("fine-tuning", person.train("Fine-tune", 0.6 * minutes, "fine-tune"))
    tell("model", str(person.workspace.model))
    person.predict(third)
    evaluate(person, options.data, third)
    wait_saved(person)
    tell("saved", person.workspace.saving.text)
    if options.stop_after == "two":
        second_round(work, person, minutes, most)
    print("KILL", flush=True)
    person.hand.wait(600)


def some_cells(truth: np.ndarray, most: int | None) -> np.ndarray:
    """Return only the first cells of a frame, where that is enough for a quick look."""
    return np.where(np.isin(truth, np.unique(truth[truth > 0])[:most]), truth, 0)


def second_round(work: Any, person: Person, minutes: float, most: int | None) -> None:
    """Paint three more frames, start to fine-tune, and note what must be there after the kill."""
    more = {n: person.paint(n, truth_of(work.options.data, n), most) for n in work.options.more}
    tell("painted for round two", more)
    wait_saved(person)
    page = person.go("train")
    page.set_values(minutes=minutes)
    person.press("Fine-tune")
    enough = 0.25
    person.hand.wait_until(
        lambda: person.workspace.training.progress > enough or not page.running,
        "a quarter of the second round",
        60 * minutes,
    )
    person.look("round-two")
    np.savez_compressed(work.folder / "expected.npz", annotation=person.annotation.data)


def wait_saved(person: Person) -> None:
    """Wait for the mark that everything is saved."""
    person.hand.wait(2.5)
    person.hand.wait_until(lambda: person.workspace.saving.saved, "the strokes are saved", 20)


def evaluate(person: Person, data: Path, number: int) -> None:
    """Score the predicted frame against its truth, opened as a labels layer."""
    truth = np.zeros(person.annotation.data.shape, np.int32)
    truth[person.position(number)] = truth_of(data, number)
    lies = placement(person.workspace.image)
    layer = person.viewer.add_labels(truth, name="truth", visible=False, **lies)
    page = person.go("evaluate")
    page.result_choice.set_layer(person.workspace.prediction.cells)
    page.truth_choice.set_layer(layer)
    ends: list[str] = []
    page.finished.connect(ends.append)
    person.press("Evaluate")
    person.hand.wait_until(lambda: ends, "the evaluation ends", 60)
    person.look("evaluate")
    tell("evaluated in the window", page.message.text)
    person.viewer.layers.selection.active = person.annotation


def go_on(work: Any, person: Person) -> None:
    """Open the images again, and press Resume."""
    person.load(work.images)
    person.hand.wait_until(
        lambda: person.workspace.offer is not None, "earlier work is offered", 20
    )
    person.look("offer")
    person.press("Resume")
    person.hand.wait_until(lambda: person.workspace.annotation is not None, "the labels are back")


def second(work: Any, person: Person) -> None:
    """Go on after the kill: the strokes, the training, a prediction, a score."""
    go_on(work, person)
    expected = np.load(work.folder / "expected.npz")["annotation"]
    tell("pixels lost", int((np.asarray(person.annotation.data) != expected).sum()))
    person.look("back")
    page = person.go("train")
    person.hand.wait(2.0)
    person.look("resume-ready")
    ends: list[str] = []
    page.finished.connect(ends.append)
    person.press("Resume the training")
    person.hand.wait_until(lambda: ends, "the training ends", 60 * work.options.minutes + 300)
    tell("resumed", [*ends, page.message.text])
    person.look("resumed")
    tell("model", str(person.workspace.model))
    third = work.options.frames[2]
    person.predict(third)
    evaluate(person, work.options.data, third)
    person.viewer.close()


def scribbles(work: Any, person: Person) -> None:
    """Strokes on five cells a frame and on background, and one training."""
    options = work.options
    person.load(work.images)
    page = person.go("annotate")
    page.kind_combo.setCurrentIndex(page.kind_combo.findData(LabelKind.SCRIBBLES))
    person.press("New annotation")
    for number in options.frames:
        truth = truth_of(options.data, number)
        person.go("annotate")
        person.to_frame(number)
        cells = [truth == n for n in np.unique(truth[truth > 0])[:5]]
        person.strokes(2, [path for cell in cells for path in stroke(cell)])
        person.strokes(1, [path for part in quarters(truth == 0) for path in stroke(part, 120)])
        plane = person.frame(number)
        tell(f"painted t{number:03d}", {"right": wrong_and_right(plane, truth)})
    person.look("scribbles")
    minutes = 0.3 if options.quick else options.minutes
    tell("training", person.train("Train", minutes, "scribbles-train", None))
    tell("model", str(person.workspace.model))
    person.predict(options.more[0])
    person.look("scribbles-predicted")
    person.viewer.close()


def quarters(mask: np.ndarray) -> list[np.ndarray]:
    """Return a mask four times, each with one quarter of the frame only."""
    parts = []
    for rows in np.array_split(np.arange(mask.shape[0]), 2):
        for columns in np.array_split(np.arange(mask.shape[1]), 2):
            parts.append(np.zeros_like(mask))
            parts[-1][np.ix_(rows, columns)] = mask[np.ix_(rows, columns)]
    return parts


def wrong_and_right(plane: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Say how much is painted, and how much of it is right."""
    known = plane > 0
    right = (plane[known] == 2) == (truth[known] > 0)
    return {"painted": round(float(known.mean()), 4), "right": round(float(right.mean()), 4)}


def stroke(mask: np.ndarray, length: float = 60.0) -> list[list[Point]]:
    """Return a straight stroke through the middle of a mask, as long as it stays well inside."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    middle = np.array(inside(mask))
    best: list[Point] = []
    for angle in np.linspace(0, np.pi, 12, endpoint=False):
        along = np.array([np.sin(angle), np.cos(angle)])
        ends = [middle + s * _reach(depth, middle, s * along, length / 2) * along for s in (-1, 1)]
        path = [tuple(map(float, ends[0] + f * (ends[1] - ends[0]))) for f in np.linspace(0, 1, 20)]
        if not best or np.ptp(path, axis=0).max() > np.ptp(best, axis=0).max():
            best = path
    return [best]


def _reach(depth: np.ndarray, start: np.ndarray, along: np.ndarray, most: float) -> float:
    """Return how far one can go from a point before the border is less than eight pixels away."""
    for step in range(int(most)):
        row, column = np.round(start + step * along).astype(int)
        there = 0 <= row < depth.shape[0] and 0 <= column < depth.shape[1]
        if not there or depth[row, column] < 8:
            return float(max(step - 1, 0))
    return most


def run(name: str, work: Any) -> int:
    """Run one window."""
    import loop_kill
    import loop_responsive

    sessions = {
        "first": first,
        "second": second,
        "scribbles": scribbles,
        "painting": loop_kill.painting,
        "responsive": loop_responsive.responsive,
    }
    start = time.monotonic()
    person = open_window(work)
    tell("window opened in s", round(time.monotonic() - start, 1))
    try:
        sessions[name](work, person)
    except BaseException:
        if work.options.pictures is not None:
            person.hand.picture(work.options.pictures / f"failed-{name}.png")
        raise
    return 0
