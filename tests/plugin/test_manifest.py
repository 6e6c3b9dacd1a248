"""The manifest: valid, complete, and opening the docks imports no torch."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("napari")

from npe2 import PluginManifest

WIDGETS = {"Workbench", "Load stack", "Annotate", "Train", "Predict", "Evaluate", "Measure"}


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_distribution("napari-jnet")


def test_every_command_can_be_imported(manifest):
    manifest.validate_imports()


def test_every_widget_is_in_the_segment_menu(manifest):
    widgets = {widget.display_name: widget.command for widget in manifest.contributions.widgets}
    assert set(widgets) == WIDGETS
    menu = {item.command for item in manifest.contributions.menus["napari/layers/segment"]}
    assert menu == set(widgets.values())


def test_readers_and_samples_are_declared(manifest):
    (reader,) = manifest.contributions.readers
    assert reader.filename_patterns == ["*project.json"] and not reader.accepts_directories
    keys = {sample.key for sample in manifest.contributions.sample_data}
    assert keys == {"cells", "nuclei", "tissue", "hela", "u373"}


def test_opening_the_docks_imports_no_torch():
    code = """
import sys
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari.components import ViewerModel
from napari_jnet.plugin.pages.stack import LoadWidget
from napari_jnet.plugin.pages.predict import PredictWidget
from napari_jnet.plugin.pages.train import TrainWidget
viewer = ViewerModel()
widgets = [kind(viewer) for kind in (LoadWidget, TrainWidget, PredictWidget)]
assert "torch" not in sys.modules
for widget in widgets:  # before the application, as napari does: Qt may crash at the end
    widget.deleteLater()
app.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
"""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert ended.returncode == 0, ended.stderr
