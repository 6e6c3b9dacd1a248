"""The demo, which ``napari-jnet demo`` runs: a small J-Net learns to separate touching cells.

It does what a user does, through the public methods of the pages.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication

from napari_jnet.evaluation.evaluate import evaluate
from napari_jnet.plugin.layers.stack_layers import path_layers
from napari_jnet.project.open import open_stack
from napari_jnet.synthetic import write_cells_sequence

# Small enough for a minute on one core, beside the window; the cells are about 30 pixels wide.
SMALL_JNET = {
    "network.resolution_levels": (-3, -2, -1),
    "network.structure": ((6, 24, 3), (2, 8, 3), (2, 8, 3)),
    "training.patch_size": 96,
    "training.batches_per_epoch": 16,
}


def run_demo(
    viewer: napari.Viewer,
    output: Path,
    minutes: float,
    on_end: Callable[[int], None],
    changes: Mapping[str, Any] = SMALL_JNET,
) -> None:
    """Start the demo, which writes to ``output``; ``on_end`` is called with the exit status."""
    steps = _steps(viewer, output, minutes, changes)
    running: Any = None

    def next_step(page: Any, outcome: str) -> None:
        nonlocal running
        if page is not running:
            return  # a job that the user has started
        try:
            if outcome != "done":
                raise ValueError(f"A job has {outcome}. {page.message.text}")
            running, start = next(steps)
            running.finished.connect(partial(next_step, running))
            start()
        except StopIteration:
            running = None
            on_end(0)
        except Exception as error:  # noqa: BLE001 - napari would show it, and the demo never end
            running = None
            print(f"The demo failed: {error}", file=sys.stderr, flush=True)
            on_end(1)

    next_step(None, "done")


def _steps(
    viewer: napari.Viewer, output: Path, minutes: float, changes: Mapping[str, Any]
) -> Iterator[tuple[Any, Callable[[], object]]]:
    """Train, predict and score; yield each page and what starts its job."""
    cells, run = write_cells_sequence(output / "cells"), output / "run"
    image, labels = _open(viewer, cells / "01")
    labels.contour = 1  # the preview appears inside the outlines
    _, train = viewer.window.add_plugin_dock_widget("napari-jnet", "Train")
    train.image_combo.set_layer(image)
    train.labels_combo.set_layer(labels)
    train.set_values(network="jnet", minutes=minutes, changes=dict(changes))
    print(f"Training a small J-Net for {minutes:g} min ...", flush=True)
    yield train, partial(train.start, run=run)

    shutil.copyfile(run / "history.csv", output / "history.csv")
    for layer in viewer.layers:
        layer.visible = False
    image, labels = _open(viewer, cells / "02")
    labels.visible = False
    _, predict = viewer.window.add_plugin_dock_widget("napari-jnet", "Predict", tabify=True)
    predict.image_combo.set_layer(image)
    predict.set_model(run)
    print("Predicting every frame of sequence 02 ...", flush=True)
    yield predict, partial(predict.run, "all")

    predict.export(output)
    summary = _score(output, cells)
    segmentation, distance, instances = predict.results.layers
    segmentation.contour = 1
    distance.opacity, distance.visible = 0.4, True
    instances.opacity = 0.5
    viewer.dims.set_current_step(0, 0)
    overlay = viewer.canvas.overlays.text
    overlay.text, overlay.position, overlay.visible = summary, "top_left", True
    QGuiApplication.processEvents()  # the page is laid out again after its job
    viewer.screenshot(str(output / "screenshot.png"), canvas_only=False, flash=False)
    print(f"{summary}\nEverything is in {output}.", flush=True)


def _open(viewer: napari.Viewer, sequence: Path) -> list[Layer]:
    return [viewer.add_layer(Layer.create(*layer)) for layer in path_layers(sequence)]


def _score(output: Path, cells: Path) -> str:
    """Write ``metrics.json`` and return two lines: scores, and of what."""
    *_, scores = map(asdict, evaluate(output / "02_RES", open_stack(cells, sequence="02")))
    (output / "metrics.json").write_text(json.dumps(scores, indent=2), encoding="utf-8")
    values = "SEG {seg:.3f}   DET {det:.3f}   AP50 {ap50:.3f}   IoU {iou:.3f}   (1 is perfect)"
    cells_scored = f"{scores['objects']} cells in {len(scores['frames'])} unseen frames"
    return f"{values.format(**scores)}\n{cells_scored}"


def main(output: Path, minutes: float, stay: bool) -> int:
    """Run the demo in a new window; return 0 if it came to its end, else 1."""
    viewer = napari.Viewer(title="napari-jnet demo")
    viewer.window.set_geometry(*QGuiApplication.primaryScreen().availableGeometry().getRect())
    status = []

    def end(code: int) -> None:
        status.append(code)
        if stay:
            print("Close the window to end the demo.", flush=True)
        else:
            QTimer.singleShot(0, viewer.close)

    QTimer.singleShot(0, lambda: run_demo(viewer, output, minutes, end))
    napari.run()
    if not status:
        print("The window was closed before the demo was done.", file=sys.stderr)
    return status[0] if status else 1


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), float(sys.argv[2]), "stay" in sys.argv[3:]))
