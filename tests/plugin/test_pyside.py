"""The window with PySide6, in a process of its own: two bindings cannot live in one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

pytest.importorskip("napari")

WORK = """
import sys
from pathlib import Path

import napari
from qtpy import API_NAME
from qtpy.QtCore import QTimer

from napari_jnet.plugin.sample_data import cells
from napari_jnet.plugin.workbench import STEPS, Workbench

assert API_NAME == "PySide6", API_NAME
viewer = napari.Viewer()
workbench = Workbench(viewer)
viewer.window.add_dock_widget(workbench)
for data, options, kind in cells():
    getattr(viewer, f"add_{kind}")(data[:3, :96, :96].copy(), **options)
pages = {step: workbench.show_step(step) for step in STEPS}
small = {
    "network.channels": 2, "training.batches_per_epoch": 1, "training.batch_size": 1,
    "training.patch_size": 48, "training.minutes": None,
}
train, predict = pages["train"], pages["predict"]
train.set_values(epochs=1, changes=small)

def trained(outcome):
    assert outcome == "done", (outcome, train.message.text)
    predict.run()

def predicted(outcome):
    assert outcome == "done", (outcome, predict.message.text)
    print("layers", *(layer.name for layer in viewer.layers), sep="|")
    viewer.close()

train.finished.connect(trained)
predict.finished.connect(predicted)
QTimer.singleShot(0, lambda: train.start(run=Path(sys.argv[1])))
napari.run()
"""


def test_a_stack_is_trained_and_predicted(tmp_path):
    if importlib.util.find_spec("PySide6") is None:  # of the extra "test"
        pytest.skip("PySide6 is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WORK, str(tmp_path / "run")],
        env={**os.environ, "QT_API": "pyside6", "NAPARI_JNET_PROJECTS": str(tmp_path / "projects")},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (layers,) = (line for line in done.stdout.splitlines() if line.startswith("layers|"))
    assert layers.split("|")[1:3] == ["touching cells", "touching cells ground truth"]
    assert len(layers.split("|")) > 4, layers
