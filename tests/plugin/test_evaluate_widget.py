"""Evaluate: scores, errors and where a click leads, truth on disk, every refusal."""

import csv
import threading

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_jnet.evaluation.errors import ErrorKind
from napari_jnet.evaluation.evaluate import evaluate_labels
from napari_jnet.evaluation.rand import best_scores, section_sums
from napari_jnet.events import FramePrediction
from napari_jnet.plugin.jobs.evaluate import LayerLabels
from napari_jnet.plugin.layers.add import Prediction
from napari_jnet.plugin.layers.read import image_stack
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.evaluate import EvaluateWidget

TIMEOUT = 30_000
LIES = {"scale": (1, 3, 3), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x")}


def wrong(truth: np.ndarray) -> np.ndarray:
    """Return a result with one missed and one false cell in frame 1, and two merged in frame 2."""
    found = truth.copy()
    first = np.unique(truth[1])[1]
    found[1][truth[1] == first] = 0
    corner = np.zeros((64, 64), bool)
    corner[0:5, 0:5] = True
    found[1][corner & (truth[1] == 0)] = 90
    labels = np.unique(truth[2])[1:]
    found[2][truth[2] == labels[1]] = labels[0]
    return found


def seg_of(truth, found) -> float:
    *_, scores = evaluate_labels(
        (n, *frame) for n, frame in enumerate(zip(truth, found, strict=True))
    )
    return scores.seg


@pytest.fixture
def viewer(viewer_model):
    """Return a viewer without a window, which is faster."""
    return viewer_model


@pytest.fixture
def shown(qtbot):
    """Return a function that shows a page, which is closed at the end."""

    def show(page):
        qtbot.addWidget(page)
        page.resize(410, 1400)
        page.show()
        return page

    return show


def page_of(viewer):
    """Return Evaluate for a viewer that has got a result with errors."""
    truth = np.asarray(viewer.layers["truth"].data)
    viewer.add_labels(wrong(truth), name="found", **LIES)
    open_workspace(viewer).choose("annotation", viewer.layers["truth"])
    page = EvaluateWidget(viewer)
    page.result_choice.set_layer(viewer.layers["found"])
    return page


@pytest.fixture
def widget(shown, viewer):
    return shown(page_of(viewer))


def evaluate(qtbot, widget):
    assert widget.evaluate_button.isEnabled()
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        qtbot.mouseClick(widget.evaluate_button, Qt.LeftButton)
    assert widget.evaluate_button.isEnabled()
    return signal.args[0]


def kinds(widget):
    return {(position, error.kind) for position, error in widget.errors}


def test_scores_and_errors(qtbot, viewer, widget):
    assert widget.truth_choice.currentText() == "truth"
    assert evaluate(qtbot, widget) == "done"
    truth, found = (np.asarray(viewer.layers[name].data) for name in ("truth", "found"))
    assert widget.scores.seg == pytest.approx(seg_of(truth, found))
    assert f"SEG {widget.scores.seg:.3f} on 4 frames" in widget.message.text
    assert "1 missed, 1 false, 1 merged." in widget.message.text
    assert "Annotated or for training: 0-3. Scores on frames" in widget.message.text
    table = widget.score_table
    assert [row[0] for row in table.rows] == [0, 1, 2, 3, "all"]
    assert table.rows[0][1:9] == (1.0,) * 8
    assert not widget.message.is_error
    assert {(1, ErrorKind.MISSED), (1, ErrorKind.FALSE), (2, ErrorKind.MERGED)} <= kinds(widget)
    assert {position for position, _ in widget.errors} == {1, 2}
    errors = viewer.layers["errors"]
    assert not errors.data[0].any() and not errors.data[3].any()
    assert set(np.unique(errors.data[1])) == {0, 1, 2}
    assert tuple(errors.scale) == (1, 3, 3)
    facts = open_workspace(viewer).frames.info(1)
    assert facts.score == pytest.approx(widget.scores.frames[1].seg)


def test_a_click_leads_to_the_frame_and_to_the_place(qtbot, viewer, widget):
    evaluate(qtbot, widget)
    table = widget.score_table
    where = table.visualRect(table.model().index(3, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.LeftButton, pos=where)
    assert viewer.dims.current_step[0] == 3
    row = next(n for n, (p, e) in enumerate(widget.errors) if p == 1 and e.kind is ErrorKind.FALSE)
    widget.error_table.choose(row)
    assert viewer.dims.current_step[0] == 1
    centre = np.array(widget.errors[row][1].centroid) * 3
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre)
    assert viewer.scene.camera.zoom >= 600 / (8 * 6 * 3)


def test_the_annotation_stays_chosen_and_is_not_painted_on_unseen(qtbot, viewer, widget):
    viewer.layers.selection.active = viewer.layers["truth"]
    viewer.layers["truth"].mode = "paint"
    evaluate(qtbot, widget)
    assert viewer.layers.selection.active.name == "truth"
    assert open_workspace(viewer).annotation.name == "truth"
    assert not viewer.layers["truth"].visible
    assert viewer.layers["truth"].mode == "pan_zoom"
    assert not viewer.layers["errors"].editable
    names = [widget.result_choice.itemText(n) for n in range(widget.result_choice.count())]
    assert "errors" not in names


def test_errors_are_switched_and_not_doubled(qtbot, viewer, widget):
    viewer.layers["movie"].visible = True
    viewer.layers["truth"].visible = False
    evaluate(qtbot, widget)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["movie", "errors"]
    viewer.layers["errors"].visible = False
    assert [layer.name for layer in viewer.layers if layer.visible] == ["movie", "found"]
    viewer.layers["errors"].visible = True
    assert [layer.name for layer in viewer.layers if layer.visible] == ["movie", "errors"]
    viewer.layers["found"].data = np.asarray(viewer.layers["truth"].data).copy()
    evaluate(qtbot, widget)
    assert "no errors." in widget.message.text
    assert [layer.name for layer in viewer.layers].count("errors") == 1
    assert not viewer.layers["errors"].data.any() and widget.errors == []
    viewer.layers.remove("errors")
    assert evaluate(qtbot, widget) == "done"
    assert "errors" in viewer.layers


def test_hidden_labels_come_back(qtbot, viewer):
    widget = page_of(viewer)
    widget.show()
    truth, found = viewer.layers["truth"], viewer.layers["found"]
    viewer.layers.selection.active = viewer.layers["movie"]
    evaluate(qtbot, widget)
    assert not truth.visible and not found.visible
    truth.visible = True
    assert not found.visible
    open_workspace(viewer).page = "annotate"
    assert found.visible and not viewer.layers["errors"].visible
    open_workspace(viewer).page = "evaluate"
    assert [layer.name for layer in viewer.layers if layer.visible] == ["movie", "errors"]
    open_workspace(viewer).page = "train"
    assert truth.visible and found.visible
    open_workspace(viewer).page = "evaluate"
    assert not found.visible
    widget.close()
    widget.deleteLater()
    qtbot.waitUntil(lambda: found.visible, timeout=TIMEOUT)


def test_frames_by_their_role(qtbot, viewer, widget):
    frames = open_workspace(viewer).frames
    for position, role in enumerate(("training", "validation", "unused", "training")):
        frames.set_roles({position: role})
    evaluate(qtbot, widget)
    assert "for training: 0, 3." in widget.message.text
    assert [row[-1] for row in widget.score_table.rows] == [
        "training", "validation", "unused", "training", "",
    ]  # fmt: skip
    for which, number in (("validation", 1), ("unused", 2)):
        widget.form.set({"frames": which})
        assert evaluate(qtbot, widget) == "done"
        assert [frame.number for frame in widget.scores.frames] == [number]
        assert "training" not in widget.message.text
    frames.set_roles({1: "training"})
    widget.form.set({"frames": "validation"})
    assert evaluate(qtbot, widget) == "failed"
    assert "give frames the role validation" in widget.message.text
    with pytest.raises(ValueError, match="must be one of all, validation, unused"):
        widget.form.set({"frames": "some"})


def test_what_is_missing_is_said_and_not_scored_as_0(qtbot, viewer, widget):
    viewer.layers["truth"].data[0] = 0
    viewer.layers["found"].data[3] = 0
    viewer.dims.set_current_step(0, 3)
    assert evaluate(qtbot, widget) == "done"
    # an unmarked frame looks right: one that is scored is shown, the worst
    worst = min(widget.scores.frames, key=lambda frame: frame.seg)
    assert viewer.dims.current_step[0] == worst.number
    assert [frame.number for frame in widget.scores.frames] == [1, 2]
    assert (
        "Not scored, because 'found' has nothing there (or a part only): 3." in widget.message.text
    )
    viewer.layers["found"].data[:] = 0
    evaluate(qtbot, widget)
    assert widget.message.is_error and widget.scores is None
    assert "No chosen frame has both 'truth' and 'found'" in widget.message.text


def test_other_sizes_scribbles_and_nothing_are_refused_in_words(qtbot, viewer, widget):
    plane = viewer.add_labels(np.ones((64, 64), int), name="plane")
    widget.truth_choice.set_layer(plane)
    assert evaluate(qtbot, widget) == "failed"
    assert "layer 'plane' has (64, 64) pixels, the layer 'found' (4, 64, 64)" in widget.message.text
    widget.truth_choice.set_layer(viewer.layers["truth"])
    viewer.layers["found"].metadata["napari-jnet"] = {"kind": "scribbles"}
    assert evaluate(qtbot, widget) == "failed"
    assert "scribbles" in widget.message.text
    viewer.layers.clear()
    assert evaluate(qtbot, widget) == "failed"
    assert "no labels layer" in widget.message.text
    with pytest.raises(ValueError, match="cannot be chosen"):
        widget.truth_choice.set_layer(plane)


def test_classes_are_scored_by_pixels(qtbot, viewer, widget):
    truth = np.asarray(viewer.layers["truth"].data)
    classes = (truth > 0).astype(np.int32) + (truth > 2)
    said = {"napari-jnet": {"kind": "classes"}}
    viewer.add_labels(classes, name="classes", metadata=said, **LIES)
    viewer.add_labels(np.minimum(classes, 1), name="one class", metadata=said, **LIES)
    widget.result_choice.set_layer(viewer.layers["one class"])
    widget.truth_choice.set_layer(viewer.layers["classes"])
    assert evaluate(qtbot, widget) == "done"
    assert widget.scores.seg is None and widget.scores.iou == 1.0
    assert widget.scores.pixel_accuracy == pytest.approx((classes < 2).mean())
    assert "pixel by pixel" in widget.message.text
    marked = viewer.layers["errors"].data
    assert (marked == np.where(classes == 2, int(ErrorKind.WRONG_CLASS), 0)).all()
    assert not widget.error_table.isVisibleTo(widget)
    assert widget.score_table.isColumnHidden(1)
    assert not widget.score_table.isColumnHidden(widget.score_table.columns.index("IoU"))


def test_sections_of_membranes_have_v_rand(qtbot, shown, viewer):
    viewer.layers.clear()
    inside = np.ones((3, 24, 25), np.int32)
    inside[:, :, 11:14] = 0
    lies = {"axis_labels": ("z", "y", "x")}
    viewer.add_image(inside.astype(np.float32), name="em", **lies)
    said = {"napari-jnet": {"kind": "classes"}}
    viewer.add_labels(inside, name="membranes", metadata=said, **lies)
    viewer.add_labels(np.ones_like(inside), name="one", metadata=said, **lies)
    widget = shown(EvaluateWidget(viewer))
    widget.result_choice.set_layer(viewer.layers["one"])
    widget.truth_choice.set_layer(viewer.layers["membranes"])
    assert evaluate(qtbot, widget) == "done"
    v_rand, _ = best_scores(sum(section_sums(plane, np.ones_like(plane)) for plane in inside))
    assert widget.scores.v_rand == pytest.approx(v_rand)
    assert not widget.score_table.isColumnHidden(widget.score_table.columns.index("V_rand"))


def test_stopped_keeps_what_is_scored(qtbot, viewer, widget, monkeypatch):
    stopped, read = threading.Event(), LayerLabels.read
    monkeypatch.setattr(
        LayerLabels, "read", lambda labels, *frame: stopped.wait(9) and read(labels, *frame)
    )
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        widget.evaluate()
        widget.stop()
        stopped.set()
    assert signal.args == ["stopped"]
    assert "Stopped after" in widget.message.text and not widget.message.is_error
    assert "all" not in [row[0] for row in widget.score_table.rows]
    assert evaluate(qtbot, widget) == "done"
    assert len(widget.score_table.rows) == 5


@pytest.fixture
def dataset(tmp_path, viewer):
    """The movie as a CTC dataset with gold truth of one frame, loaded without it."""
    root = tmp_path / "cells"
    truth = np.asarray(viewer.layers["truth"].data)
    (root / "01").mkdir(parents=True)
    (root / "01_GT" / "SEG").mkdir(parents=True)
    for number, image in enumerate(viewer.layers["movie"].data, start=5):
        tifffile.imwrite(root / "01" / f"t{number:03d}.tif", np.asarray(image))
    tifffile.imwrite(root / "01_GT" / "SEG" / "man_seg006.tif", truth[1].astype(np.uint16))
    told = {"path": str(root), "sequence": "01", "format": "ctc", "frame_numbers": [5, 6, 7, 8]}
    viewer.layers["movie"].metadata["napari-jnet"] = told
    return root


def test_truth_on_disk(qtbot, shown, viewer, dataset):
    truth = np.asarray(viewer.layers["truth"].data)
    viewer.add_labels(wrong(truth), name="found", **LIES)
    viewer.layers.remove("truth")
    widget = shown(EvaluateWidget(viewer))
    qtbot.waitUntil(lambda: widget.truth_choice.count() == 1, timeout=TIMEOUT)
    assert widget.truth_choice.currentText() == "gold on disk"
    assert evaluate(qtbot, widget) == "done"
    assert [frame.number for frame in widget.scores.frames] == [6]
    assert widget.scores.seg == pytest.approx(seg_of(truth[1:2], wrong(truth)[1:2]))
    assert kinds(widget) == {(1, ErrorKind.MISSED), (1, ErrorKind.FALSE)}
    widget.score_table.choose(0)
    assert viewer.dims.current_step[0] == 1


def test_saved_with_its_errors(qtbot, tmp_path, viewer, widget):
    assert not widget.save_button.isEnabled()
    evaluate(qtbot, widget)
    assert widget.save_button.isEnabled()
    widget.save(tmp_path / "scores")
    with (tmp_path / "scores.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3", "all"]
    assert float(rows[-1]["SEG"]) == pytest.approx(widget.scores.seg, rel=1e-6)
    with (tmp_path / "scores_errors.csv").open(encoding="utf-8-sig", newline="") as file:
        errors = list(csv.DictReader(file))
    assert len(errors) == len(widget.errors)
    assert {(int(e["frame"]), e["error"]) for e in errors} >= {(1, "missed"), (2, "merged")}


def predicted(truth: np.ndarray, position: int) -> FramePrediction:
    inside = (truth > 0).astype(np.float32)
    return FramePrediction(position, position, 1, inside, inside, truth.astype(np.int32))


def test_the_cells_of_a_prediction_are_chosen(qtbot, shown, viewer):
    state = open_workspace(viewer)
    truth = np.asarray(viewer.layers["truth"].data).copy()
    widget = shown(EvaluateWidget(viewer))
    assert widget.result_choice.currentText() == "truth"
    image = viewer.layers["movie"]
    results = Prediction(viewer, image, image_stack(image), 6.0)
    results.write(predicted(truth[2], 2), 0.5)
    results.write(predicted(np.zeros((64, 64)), 3), 0.5)
    state.prediction = results
    assert widget.result_choice.currentText() == "cells"
    assert widget.truth_choice.currentText() == "truth"
    assert evaluate(qtbot, widget) == "done"
    # an empty frame that was predicted says that there is no cell; one that was not, nothing
    assert [(f.number, f.seg) for f in widget.scores.frames] == [(2, 1.0), (3, 0.0)]
    assert "(or a part only): 0-1." in widget.message.text
    # nothing that belongs to the cells lies over the errors
    assert not results.cells.visible
    viewer.layers["errors"].visible = False
    assert results.cells.visible


def test_closing_the_dock_while_scoring(qtbot, make_napari_viewer):
    viewer = make_napari_viewer()
    labels = np.tile(np.eye(64, dtype=np.int32), (40, 1, 1))
    for name in ("truth", "found"):
        viewer.add_labels(labels, name=name)
    _, widget = viewer.window.add_plugin_dock_widget("napari-jnet", "Evaluate")
    widget.evaluate()
    viewer.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: not widget.running, timeout=TIMEOUT)


@pytest.fixture
def bordered(qapp, qtbot):
    """Return Evaluate where only a cell in the border is missed, and another there is false."""
    viewer = ViewerModel()
    truth = np.zeros((64, 64), np.int32)
    truth[30:40, 30:40], truth[0:6, 20:30] = 1, 2
    found = np.where(truth == 1, 5, 0)
    found[58:, 50:] = 7
    viewer.add_labels(truth, name="truth")
    viewer.add_labels(found, name="found")
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    widget.result_choice.set_layer(viewer.layers["found"])
    widget.truth_choice.set_layer(viewer.layers["truth"])
    return widget


def score(qtbot, widget):
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        widget.evaluate()
    return signal.args[0]


def test_cells_in_the_border_count_nowhere_and_the_table_and_the_file_say_so(
    qtbot, tmp_path, bordered
):
    widget, viewer = bordered, bordered._viewer
    assert score(qtbot, widget) == "done"
    assert widget.scores.seg == 0.5
    assert len(widget.errors) == 2
    border = widget.score_table.columns.index("border (px)")
    assert widget.score_table.isColumnHidden(border)
    widget.form["border"].value = 10
    assert score(qtbot, widget) == "done"
    assert (widget.scores.seg, widget.scores.border) == (1.0, 10)
    assert widget.errors == []
    assert not np.asarray(viewer.layers["errors"].data).any()
    assert not widget.score_table.isColumnHidden(border)
    widget.save(tmp_path / "scores")
    with (tmp_path / "scores.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["border (px)"] for row in csv.DictReader(file)] == ["10", "10"]
    widget.form["border"].value = 32
    assert score(qtbot, widget) == "failed"
    assert "smaller border" in widget.message.text
    viewer.layers["truth"].metadata["napari-jnet"] = {"kind": "classes"}
    assert score(qtbot, widget) == "done"
    assert widget.scores.border == 0
    assert widget.score_table.isColumnHidden(border)


def test_truth_that_is_loaded_comes_before_that_on_disk(qtbot, viewer, dataset):
    layer = viewer.layers["truth"]
    viewer.add_labels(wrong(np.asarray(layer.data)), name="found", **LIES)
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    widget.result_choice.set_layer(viewer.layers["found"])
    combo = widget.truth_choice
    qtbot.waitUntil(lambda: combo.count() == 2, timeout=TIMEOUT)
    assert [combo.itemText(n) for n in range(combo.count())] == ["gold on disk", "truth"]
    layer.metadata["napari-jnet"] = {"path": str(dataset), "annotation": "gold"}
    layer.name = "loaded"
    assert [combo.itemText(n) for n in range(combo.count())] == ["loaded", "gold on disk"]
    assert combo.layer is layer  # nobody has chosen
