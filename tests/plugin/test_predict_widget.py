"""Predict, by its buttons: layers, sliders, what was painted, every end."""

import shlex

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QPushButton

from napari_jnet.config import InstanceConfig
from napari_jnet.inference.confidence import cell_confidence
from napari_jnet.inference.instances import separate
from napari_jnet.model import load_model, read_checkpoint, save_checkpoint
from napari_jnet.plugin.pages.predict import PredictWidget
from napari_jnet.plugin.pages.train import TrainWidget
from napari_jnet.project.project import Project

TIMEOUT = 60_000
LEVELS = "network.resolution_levels"


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


@pytest.fixture
def widget(shown, viewer, trained_run):
    widget = shown(PredictWidget(viewer))
    widget.image_combo.set_layer(viewer.layers["movie"])
    widget.set_model(trained_run)
    return widget


def click(qtbot, widget, button):
    assert button.isEnabled()
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        qtbot.mouseClick(button, Qt.LeftButton)
    assert widget.predict_button.isEnabled()
    assert not widget.stop_button.isVisibleTo(widget)
    return signal.args[0]


def predict(qtbot, widget, scope="all"):
    widget.form.set({"scope": scope})
    return click(qtbot, widget, widget.predict_button)


def move(qtbot, widget, name, value):
    """Move a slider and wait until the cells are renewed."""
    told: list[bool] = []
    widget.separation.throttled.connect(lambda: told.append(True))
    widget.separation[f"instances.{name}"].value = value
    qtbot.waitUntil(lambda: bool(told), timeout=TIMEOUT)
    qtbot.waitUntil(lambda: not widget.resegmentation.running, timeout=TIMEOUT)


def test_a_damaged_frame_is_skipped_and_said_at_the_end(qtbot, viewer, widget):
    movie = np.array(viewer.layers["movie"].data)
    movie[2] = np.nan
    widget.image_combo.set_layer(viewer.add_image(movie, name="torn"))
    assert predict(qtbot, widget) == "done"
    assert sorted(widget.results.done) == [0, 1, 3]
    assert "in 3 frames" in widget.message.text
    assert (
        "1 frame skipped (2): torn, frame 2 has 4096 pixel(s) that are NaN" in widget.message.text
    )


def test_all_frames_become_three_layers_that_lie_on_the_image(qtbot, viewer, widget):
    assert predict(qtbot, widget) == "done"
    segmentation, distance, cells = widget.results.layers
    image = viewer.layers["movie"]
    for layer in widget.results.layers:
        assert layer.data.shape == (4, 64, 64)
        assert tuple(layer.scale) == tuple(image.scale)
        assert tuple(layer.axis_labels) == ("t", "y", "x")
        assert [str(u) for u in layer.units] == [str(u) for u in image.units]
    assert [layer.name for layer in widget.results.layers] == ["segmentation", "distance", "cells"]
    assert set(np.unique(segmentation.data)) <= {0, 1}
    assert distance.contrast_limits == [0, 6]
    assert distance.blending == "additive"
    assert cells.data.reshape(4, -1).max(axis=1).min() >= 0
    assert sorted(widget.results.done) == [0, 1, 2, 3]
    count = sum(frame.max() for frame in cells.data)
    assert widget.message.text.startswith(f"{count} cells in 4 frames")


def test_this_frame_is_the_one_that_is_shown(qtbot, viewer, widget):
    viewer.dims.set_current_step(0, 3)
    assert predict(qtbot, widget, "frame") == "done"
    assert list(widget.results.done) == [3]
    layers = widget.results.layers
    viewer.dims.set_current_step(0, 1)
    assert predict(qtbot, widget, "frame") == "done"
    assert sorted(widget.results.done) == [1, 3]  # the same layers go on
    assert all(a is b for a, b in zip(layers, widget.results.layers, strict=True))


def test_a_plane_without_time_is_predicted(qtbot, viewer, widget):
    plane = viewer.add_image(np.asarray(viewer.layers["movie"].data[0]), name="plane")
    widget.image_combo.set_layer(plane)
    assert predict(qtbot, widget) == "done"
    assert widget.results.layers[2].data.shape == (64, 64)


def test_sliders_renew_the_cells_from_the_stored_maps(qtbot, viewer, widget):
    assert predict(qtbot, widget) == "done"
    move(qtbot, widget, "segmentation_threshold", 0.31)
    move(qtbot, widget, "seed_threshold", 0.25)
    move(qtbot, widget, "min_size", 12)
    move(qtbot, widget, "min_confidence", 0.2)
    config = widget.separation.config.instances
    assert config == InstanceConfig(
        segmentation_threshold=0.31,
        seed_threshold=0.25,
        min_size=12,
        fill_holes=True,
        min_confidence=0.2,
    )
    for position in range(4):
        maps = widget.results.maps(position)
        expected = separate(*maps, config, widget.results.dt_bound)
        np.testing.assert_array_equal(widget.results.layers[2].data[position], expected)
        sure = cell_confidence(*maps, expected, widget.results.dt_bound)
        np.testing.assert_array_equal(widget.results.confidence[position], sure)
        np.testing.assert_array_equal(widget.results.layers[0].data[position], maps[0] > 0.31)
    move(qtbot, widget, "segmentation_threshold", 1.0)
    assert not widget.results.layers[2].data.any()


def test_what_was_painted_is_kept(qtbot, viewer, widget):
    assert predict(qtbot, widget) == "done"
    cells = widget.results.layers[2]
    cells.data_setitem((np.array([2]), np.array([5]), np.array([5])), 77)
    painted = cells.data[2].copy()
    move(qtbot, widget, "segmentation_threshold", 1.0)
    np.testing.assert_array_equal(cells.data[2], painted)
    assert not cells.data[[0, 1, 3]].any()
    assert predict(qtbot, widget) == "done"
    assert widget.results.layers[2] is not cells
    assert cells.name == "cells (earlier)"
    np.testing.assert_array_equal(cells.data[2], painted)
    assert "kept" in widget.message.text


def test_the_thresholds_of_the_training_are_the_first(qtbot, viewer, widget, trained_run):
    assert predict(qtbot, widget, "frame") == "done"
    assert widget.separation.config.instances == load_model(trained_run).config.instances


def test_only_the_sliders_that_were_moved_stay_with_another_model(
    qtbot, viewer, widget, trained_run, tmp_path
):
    content = read_checkpoint(trained_run / "model.pt")
    content["config"]["instances"] |= {"seed_threshold": 0.55, "smoothing": 0.2, "min_size": 7}
    save_checkpoint(tmp_path / "other.pt", content)
    assert predict(qtbot, widget) == "done"
    move(qtbot, widget, "segmentation_threshold", 0.31)
    widget.set_model(tmp_path / "other.pt")
    assert predict(qtbot, widget, "frame") == "done"
    expected = load_model(tmp_path / "other.pt").config.instances.changed(
        segmentation_threshold=0.31
    )
    assert widget.separation.config.instances == expected
    maps = widget.results.maps(0)
    cells = separate(*maps, expected, widget.results.dt_bound)
    np.testing.assert_array_equal(widget.results.layers[2].data[0], cells)
    project = Project.create(tmp_path / "project", widget.results.stack, "instances")
    widget._workspace.project = project
    widget._workspace.autosave.queue.wait()
    assert project.instances.given() == {"segmentation_threshold": 0.31}
    words = shlex.split(widget.command())
    assert words[words.index("--segmentation-threshold") + 1] == "0.31"
    assert not {"--seed-threshold", "--min-size", "--min-confidence", "--fill-holes"} & {*words}


def test_stop_keeps_what_is_done(qtbot, viewer, widget):
    many = viewer.add_image(np.zeros((400, 64, 64), np.float32), name="many")
    many.data[:] = np.asarray(viewer.layers["movie"].data[0])
    widget.image_combo.set_layer(many)
    widget.form.set({"scope": "all"})
    qtbot.mouseClick(widget.predict_button, Qt.LeftButton)
    qtbot.waitUntil(lambda: bool(widget.results and widget.results.done), timeout=TIMEOUT)
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        qtbot.mouseClick(widget.stop_button, Qt.LeftButton)
    assert signal.args == ["stopped"]
    assert 0 < len(widget.results.done) < 400


def test_closing_the_viewer_while_predicting_leaves_no_thread(
    qtbot, make_napari_viewer, trained_run
):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-jnet", "Predict")
    widget.set_model(trained_run)
    many = viewer.add_image(np.ones((400, 64, 64), np.float32), name="many")
    widget.image_combo.set_layer(many)
    widget.form.set({"scope": "all"})
    qtbot.mouseClick(widget.predict_button, Qt.LeftButton)
    assert widget.running
    viewer.close()
    assert QThreadPool.globalInstance().waitForDone(5000)


@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_a_file_that_is_no_model_is_said(qtbot, viewer, widget, tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    widget.set_model(tmp_path / "model.pt")
    assert predict(qtbot, widget) == "failed"
    assert widget.message.is_error
    assert "model.pt" in widget.message.text


def test_no_image_is_said(qtbot, viewer, widget):
    viewer.layers.clear()
    assert predict(qtbot, widget, "frame") == "failed"
    assert "no image" in widget.message.text


def test_an_original_file_asks_for_what_it_does_not_hold(qtbot, viewer, widget, shared_data):
    levels, bound = widget.form[LEVELS].native, widget.form["targets.dt_bound"].native
    widget.set_model(shared_data / "jnet-original-model" / "DIC_model")
    assert predict(qtbot, widget, "frame") == "failed"
    assert "fill in Resolution levels and Truncation distance" in widget.message.text
    assert widget.form.description.text() == widget.message.text
    assert levels.isVisibleTo(widget) and bound.isVisibleTo(widget)
    assert levels.placeholderText() == "3 levels, such as -2, -1, 0"
    levels.setText("-2, -1, 0")
    bound.setText("6")
    assert predict(qtbot, widget, "frame") == "done"


def test_levels_that_are_no_numbers_are_said(qtbot, viewer, widget):
    widget.form[LEVELS].native.setText("low, high")
    assert predict(qtbot, widget, "frame") == "failed"
    assert "resolution_levels is 'low, high'" in widget.message.text


def test_results_are_written(qtbot, viewer, widget, tmp_path, monkeypatch):
    import tifffile
    from qtpy.QtWidgets import QFileDialog

    with pytest.raises(ValueError, match="Nothing is predicted"):
        widget.export(tmp_path)
    assert predict(qtbot, widget) == "done"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "out"))
    assert click(qtbot, widget, widget.export_button) == "done"
    written = tifffile.imread(tmp_path / "out" / "instances.tif")
    np.testing.assert_array_equal(written, widget.results.layers[2].data)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "file"))
    assert click(qtbot, widget, widget.export_button) == "failed"
    assert "file" in widget.message.text


def test_corrected_cells_can_be_learned_from(qtbot, shown, viewer, widget):
    assert predict(qtbot, widget) == "done"
    train = shown(TrainWidget(viewer))
    assert train.labels_combo.currentText() == "truth"  # not what is active, but what was painted
    train.labels_combo.set_layer(widget.results.layers[2])
    assert train.labels_combo.currentText() == "cells"
    for result in widget.results.layers[:2]:
        with pytest.raises(ValueError, match="add it to the viewer"):
            train.labels_combo.set_layer(result)


def test_many_notices_become_a_few_lines(qtbot, viewer, widget):
    flat = viewer.add_image(np.ones((9, 64, 64), np.float32), name="flat")
    widget.image_combo.set_layer(flat)
    assert predict(qtbot, widget) == "done"
    assert not widget.results.layers[2].data.any()
    assert widget.message.text.count("\n") == 4
    assert widget.message.text.endswith("… and 6 more")


def test_the_original_network_gives_its_recorded_maps(qtbot, viewer, widget, shared_data):
    from napari_jnet.plugin.layers.stack_layers import stack_layers
    from napari_jnet.project.open import open_stack

    stack = open_stack(shared_data / "DIC-C2DH-HeLa", sequence="01")
    data, options, _ = stack_layers(stack)[0]
    widget.image_combo.set_layer(viewer.add_image(data, **options))
    widget.set_model(
        shared_data / "jnet-original-model" / "DIC_model", resolution_levels=(-2, -1, 0), dt_bound=6
    )
    viewer.dims.set_current_step(0, 2)
    assert predict(qtbot, widget, "frame") == "done"
    assert list(widget.results.done) == [2]
    reference = np.load(shared_data / "jnet-original-model" / "reference_01_t002.npz")
    for name, shown in zip(("seg", "dist"), widget.results.maps(2), strict=True):
        np.testing.assert_allclose(shown, reference[name], rtol=0, atol=1e-4)
    assert widget.results.layers[1].contrast_limits == [0, 6]


def test_a_drawn_region_is_predicted_and_grows_to_the_whole(qtbot, viewer, widget):
    viewer.dims.set_current_step(0, 1)
    assert predict(qtbot, widget, "region") == "failed"
    assert "Nothing is drawn" in widget.message.text
    qtbot.mouseClick(widget.form.draw_button, Qt.LeftButton)
    layer = viewer.layers["region to predict"]
    layer.add_rectangles([[[1, 8, 4], [1, 8, 39], [1, 39, 39], [1, 39, 4]]])
    assert predict(qtbot, widget, "region") == "done"
    region = (slice(8, 40), slice(4, 40))
    assert widget.results.regions == {1: [region]}
    probability = widget.results.probability[1].copy()
    cells = widget.results.layers[2].data[1]
    assert not probability[:8].any() and not cells[:8].any()
    move(qtbot, widget, "segmentation_threshold", 0.3)
    expected = separate(
        *widget.results.maps(1), widget.separation.config.instances, widget.results.dt_bound
    )
    np.testing.assert_array_equal(widget.results.layers[2].data[1][region], expected)
    assert predict(qtbot, widget, "frame") == "done"
    assert widget.results.regions == {}
    np.testing.assert_allclose(
        widget.results.probability[1][region], probability[region], atol=1e-5
    )


def test_regions_that_meet_are_separated_as_one(qtbot, viewer, widget):
    viewer.dims.set_current_step(0, 0)
    widget.draw_region()
    layer = viewer.layers["region to predict"]
    for left, right in ((0, 31), (31, 63)):
        layer.data = []
        layer.add_rectangles([[[0, 0, left], [0, 0, right], [0, 63, right], [0, 63, left]]])
        assert predict(qtbot, widget, "region") == "done"
        qtbot.waitUntil(lambda: not widget.resegmentation.running, timeout=TIMEOUT)
    in_parts = widget.results.layers[2].data[0].copy()
    assert len(widget.results.regions[0]) == 2
    assert predict(qtbot, widget, "frame") == "done"
    np.testing.assert_array_equal(in_parts > 0, widget.results.layers[2].data[0] > 0)
    assert len(np.unique(in_parts)) == len(np.unique(widget.results.layers[2].data[0]))


def test_annotated_frames_only_and_how_unsure_the_network_is(qtbot, viewer, widget):
    truth = viewer.layers["truth"]
    truth.data[[0, 2]] = 0
    widget._workspace.choose("annotation", viewer.add_labels(truth.data.copy(), name="mine"))
    widget._workspace.frames.wait()
    assert predict(qtbot, widget, "annotated") == "done"
    assert sorted(widget.results.done) == [1, 3]
    frames = widget._workspace.frames
    assert [frames.info(p).uncertainty is not None for p in range(4)] == [False, True, False, True]
    assert widget._workspace.prediction is widget.results


def test_the_keys_predict_copy_and_hide(qtbot, viewer, widget):
    keys = widget._workspace.commands
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT):
        assert keys.run("predict")
    widget.results.write_cells(widget.results.shown(), np.eye(64, dtype=np.int32) * 3, 0.5)
    assert keys.run("use_as_annotation")
    assert "into 'truth'" in widget.message.text
    assert not any(layer.visible for layer in widget.results.layers)  # they would hide the copy
    assert keys.run("toggle_overlays")
    assert any(layer.visible for layer in widget.results.layers)
    assert keys.run("toggle_overlays")
    assert not any(layer.visible for layer in widget.results.layers)


def test_cells_that_are_not_copied_stay_to_be_seen(qtbot, viewer, widget):
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT):
        widget.run("frame")
    shown = widget.results.shown()
    widget.results.write_cells(shown, viewer.layers["truth"].data[shown].astype(np.int32), 0.5)
    widget.copy_to_annotation()
    assert "Nothing is copied" in widget.message.text
    assert widget.results.cells.visible
    viewer.layers["truth"].data[shown] = -1
    widget.copy_to_annotation()
    assert "press Mark unpainted as background" in widget.message.text


def test_cells_are_used_only_when_there_are_some(qtbot, viewer, widget):
    widget.copy_to_annotation()
    assert "Nothing is predicted yet" in widget.message.text
    assert widget.message.is_error


def choose(widget, folder, output):
    widget.form.set({"scope": "folder", "folder": folder, "output": output})


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path, viewer):
        import tifffile

        folder = tmp_path / "plate"
        (folder / "series").mkdir(parents=True)
        movie = np.asarray(viewer.layers["movie"].data)
        tifffile.imwrite(folder / "a.tif", movie[:2], photometric="minisblack")
        (folder / "b.tif").write_bytes(b"no picture")
        for number in range(3):
            tifffile.imwrite(folder / "series" / f"t{number}.tif", movie[number])
        (folder / "series" / "t1.tif").write_bytes(b"torn")
        return folder

    def test_every_stack_is_predicted_and_what_is_damaged_is_said(
        self, qtbot, widget, folder, tmp_path
    ):
        import tifffile

        choose(widget, folder, tmp_path / "out")
        assert click(qtbot, widget, widget.predict_button) == "done"
        said = widget.message.text
        assert said.startswith("2 stacks predicted, ")
        assert "1 stack skipped" in said
        assert "b.tif is skipped" in said
        assert "series: 1 frame skipped (1): " in said
        assert tifffile.imread(tmp_path / "out" / "a" / "instances.tif").shape == (2, 64, 64)
        assert tifffile.imread(tmp_path / "out" / "series" / "instances.tif").shape == (2, 64, 64)
        assert widget.results is None  # files, not layers

    def test_the_folder_of_the_results_is_named_though_the_form_is_changed_meanwhile(
        self, qtbot, widget, folder, tmp_path
    ):
        choose(widget, folder, tmp_path / "out")
        with qtbot.waitSignal(widget.finished, timeout=TIMEOUT):
            widget.run()
            widget.form.set({"folder": None, "output": None})
        assert f"The results are in {tmp_path / 'out'}." in widget.message.text
        assert not widget.running

    def test_what_cannot_be_is_said(self, qtbot, widget, folder, tmp_path):
        widget.form.set({"scope": "folder"})
        assert click(qtbot, widget, widget.predict_button) == "failed"
        assert "no folder of the stacks" in widget.message.text
        for source, output, words in (
            (tmp_path / "gone", tmp_path / "out", "does not exist"),
            (folder, folder, "choose another folder"),
        ):
            choose(widget, source, output)
            assert click(qtbot, widget, widget.predict_button) == "failed"
            assert words in widget.message.text

    def test_results_lie_beside_the_stacks_unless_a_folder_is_chosen(self, widget, folder):
        widget.form["folder"].value = folder
        assert widget.form.folders() == (folder, folder.with_name("plate cells"))
        widget.form["output"].value = folder / "mine"
        assert widget.form.folders() == (folder, folder / "mine")


def test_what_would_be_done_is_copied(qtbot, viewer, widget):
    from qtpy.QtWidgets import QApplication, QPushButton

    button = next(b for b in widget.findChildren(QPushButton) if b.text() == "Copy as command")
    qtbot.mouseClick(button, Qt.LeftButton)
    assert "is in no file" in widget.message.text
    viewer.layers["movie"].metadata["napari-jnet"] = {"path": "/data/movie.tif"}
    qtbot.mouseClick(button, Qt.LeftButton)
    copied = QApplication.clipboard().text()
    assert copied.startswith("napari-jnet predict ")
    assert "/data/movie.tif" in copied and "--frames" in copied
    widget.form.set({"scope": "folder"})
    qtbot.mouseClick(button, Qt.LeftButton)
    assert widget.message.is_error


@pytest.fixture
def alone(qapp, qtbot):
    """Return Predict for a film of three frames, without a window."""
    viewer = ViewerModel()
    viewer.add_image(np.random.default_rng(0).random((3, 64, 64)).astype(np.float32), name="film")
    made = PredictWidget(viewer)
    qtbot.addWidget(made)
    return made


def run(qtbot, widget, scope):
    with qtbot.waitSignal(widget.finished, timeout=TIMEOUT) as signal:
        widget.run(scope)
    return signal.args[0]


def test_another_model_is_not_asked_for_what_the_original_lacks(qtbot, alone, tmp_path):
    form = alone.form
    alone.set_model(tmp_path / "DIC_model", resolution_levels=(-1, 0), dt_bound=6)
    assert form.model_options == {"resolution_levels": (-1, 0), "dt_bound": 6}
    form.ask(2)
    assert form[LEVELS].native.isVisibleTo(alone)
    alone.set_model(tmp_path / "another")
    assert not form[LEVELS].native.isVisibleTo(alone)
    assert form.model_options == {"resolution_levels": None, "dt_bound": None}


def test_a_frame_that_cannot_be_predicted_makes_no_layers_and_leaves_those_before(
    qtbot, alone, trained_run
):
    viewer = alone._viewer
    alone.set_model(trained_run)
    film = viewer.layers["film"]
    film.data[1, 3, 3] = np.nan
    viewer.dims.set_current_step(0, 1)
    assert run(qtbot, alone, "frame") == "failed"
    assert "NaN" in alone.message.text
    assert [layer.name for layer in viewer.layers] == ["film"]
    assert run(qtbot, alone, "all") == "done"
    assert sorted(alone.results.done) == [0, 2]
    before = alone.results
    assert run(qtbot, alone, "frame") == "failed"
    assert alone.results is before
    assert all(layer in viewer.layers for layer in before.layers)


def test_what_is_copied_is_not_printed(qtbot, alone, trained_run, tmp_path):
    alone.set_model(trained_run)
    alone._viewer.layers["film"].metadata["napari-jnet"] = {"path": str(tmp_path / "film.tif")}
    button = next(b for b in alone.findChildren(QPushButton) if b.text() == "Copy as command")
    button.click()
    assert alone.message.text == "Command copied."


def test_what_to_do_with_the_first_result_is_brought_into_sight_once(qtbot, alone, trained_run):
    alone.set_model(trained_run)
    alone.resize(380, 300)
    alone.show()
    use, bar = alone.use_button, alone._area.verticalScrollBar()
    assert use.visibleRegion().isEmpty()
    assert run(qtbot, alone, "frame") == "done"
    qtbot.waitUntil(lambda: not use.visibleRegion().isEmpty(), timeout=TIMEOUT)
    bar.setValue(0)
    assert run(qtbot, alone, "all") == "done"
    assert bar.value() == 0
