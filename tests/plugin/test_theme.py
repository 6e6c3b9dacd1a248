"""Colours follow napari's theme, and can be read on it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.utils.theme import get_theme, register_theme, unregister_theme
from pyqtgraph import PlotWidget
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel

import napari_jnet.plugin
from napari_jnet.events import EpochEnd
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.ui.plots import TrainingPlots
from napari_jnet.plugin.ui.theme import color, palette, set_style, use_theme
from napari_jnet.plugin.ui.widgets import MessageLine
from napari_jnet.plugin.workbench import Workbench

TEXT = ("text", "muted", "error", "warning", "success", "accent")
LINES = ("pointer", "batch", "training", "validation", "iou", "seg", "rate")


def luminance(colour: str) -> float:
    parts = (QColor(colour).redF(), QColor(colour).greenF(), QColor(colour).blueF())
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours, 1 (none) to 21 (black on white), by WCAG 2."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture
def themes():
    """Register a theme of black on white and one of yellow on blue."""
    base = get_theme("dark")
    for name, background, text in (
        ("paper", "#ffffff", "#000000"),
        ("night", "#000060", "#ffff00"),
    ):
        changes = {"background": background, "foreground": background, "text": text, "id": name}
        register_theme(name, base.model_copy(update=changes).model_dump(), "tests")
    yield ("dark", "light", "system", "paper", "night")
    for name in ("paper", "night"):
        unregister_theme(name)
    use_theme("dark")


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#ff0000", "#ff0000") == 1


def test_every_text_can_be_read_in_every_theme(qapp, themes):
    texts = set()
    for theme in themes:
        use_theme(theme)
        colours = palette()
        texts.add(colours["text"])
        for behind in (colours["background"], colours["card"]):
            assert all(contrast(colours[role], behind) >= 4.5 for role in TEXT), theme
            assert all(contrast(colours[role], behind) >= 3 for role in LINES), theme
    assert len(texts) >= 4, "test invalid"


def test_a_style_changes_with_the_theme_of_the_viewer(qtbot, themes):
    viewer, label = ViewerModel(), QLabel("text")
    qtbot.addWidget(label)
    open_workspace(viewer)
    set_style(label, "color: @muted;")
    dark = label.styleSheet()
    assert dark == f"color: {palette()['muted']};"
    viewer.theme = "light"
    assert label.styleSheet() == f"color: {palette()['muted']};" != dark
    viewer.theme = "dark"
    assert label.styleSheet() == dark
    set_style(label, "")
    viewer.theme = "light"
    assert label.styleSheet() == ""


def test_a_theme_that_is_not_there_any_more_is_taken_for_the_dark_one(qapp):
    use_theme("dark")
    dark = palette()
    use_theme("gone")
    assert palette() == dark


def test_errors_curves_and_marks_follow(qtbot, themes):
    line, plots, workbench = MessageLine(), TrainingPlots(), Workbench(ViewerModel())
    for widget in (line, plots, workbench):
        qtbot.addWidget(widget)
    line.say("wrong", is_error=True)
    plots.add_epoch(EpochEnd(1, 1.0, 0.5, 0.4, 0.3, 1e-3, 10.0, 60.0, False))
    plots.draw()
    marks = []
    for theme in ("dark", "light"):
        use_theme(theme)
        assert color("error") in line.findChild(QLabel).styleSheet()
        curves = [c for view in plots.findChildren(PlotWidget) for c in view.listDataItems()]
        (seg,) = (curve for curve in curves if curve.name() == "SEG")
        assert seg.opts["pen"].color().name() == color("seg")
        button = workbench.steps_row.buttons["stack"]
        marks.append(button.icon().pixmap(20, 20).toImage())
    assert marks[0] != marks[1]
    line.say("right")
    assert not line.is_error and line.findChild(QLabel).styleSheet() == ""


def test_no_other_file_writes_a_colour_into_a_style():
    """Colours of layers are no part of the window's look; those of style sheets all come from here."""
    found = []
    for path in Path(napari_jnet.plugin.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("setStyleSheet", "set_style")
            ):
                texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
                if any(re.search(r"#[0-9a-f]{3,8}\b|white|black|rgb", str(t)) for t in texts):
                    found.append(f"{path.name}:{node.lineno}")
    assert not found
