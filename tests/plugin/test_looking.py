"""What Predict is made of, on a viewer without a window: scopes, layers, copies, texts, recipes."""

import shutil
from functools import partial

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.config import InstanceConfig
from napari_jnet.events import FramePrediction
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.predict import (
    PredictionRequest,
    draw_region,
    make_request,
    region_layer,
)
from napari_jnet.plugin.layers.add import ModelOutputs, add_results
from napari_jnet.plugin.layers.read import image_stack, result_of
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.pages.evaluate import ErrorLayer
from napari_jnet.plugin.pages.predict import (
    Overlays,
    PredictWidget,
    copy_to_annotation,
    describe_model,
    legend_text,
)
from napari_jnet.plugin.workspace import Lifetime, TrainingStatus

SIZE = 40


@pytest.fixture
def viewer():
    """Return a viewer with four frames, numbered 10, 11, 12, 13, in 2 µm pixels."""
    model = ViewerModel()
    model.add_image(
        np.random.default_rng(0).random((4, SIZE, SIZE)),
        name="movie",
        scale=(1, 2, 2),
        translate=(0, 5, 7),
        metadata={"napari-jnet": {"frame_numbers": (10, 11, 12, 13)}},
    )
    model.dims.set_current_step(0, 0)
    return model


@pytest.fixture
def state(viewer):
    return open_workspace(viewer)


def results_of(state, *, classes=None, legend=(), relative=False):
    """Return results with two square cells in every frame."""
    image, outputs = state.image, ModelOutputs(len(legend), True, legend, relative)
    stack = image_stack(image)
    results = add_results(state.viewer, None, image, stack, 5.0, "model", outputs=outputs)
    cells = np.zeros((SIZE, SIZE), np.int32)
    cells[2:10, 2:10], cells[20:30, 20:30] = 1, 2
    for position in range(4):
        probability = (cells > 0).astype(np.float32)
        results.write(
            FramePrediction(
                position, 10 + position, 4, probability, 3 * probability, cells, classes, legend
            ),
            0.5,
        )
    state.prediction = results
    return results


def asked(state, scope):
    return make_request(scope, state, state.image, image_stack(state.image))


class TestScopes:
    def test_this_frame_and_all_frames(self, viewer, state):
        viewer.dims.set_current_step(0, 2)
        assert asked(state, "frame") == PredictionRequest((12,))
        assert asked(state, "all") == PredictionRequest(None)
        assert PredictionRequest(None).positions(image_stack(state.image)) == (0, 1, 2, 3)
        assert PredictionRequest((12,)).positions(image_stack(state.image)) == (2,)

    def test_the_annotated_frames_are_those_of_the_book(self, viewer, state):
        with pytest.raises(ValueError, match="No frame is annotated"):
            asked(state, "annotated")
        layer = state.new_annotation()
        layer.data_setitem((np.array([1, 3]), np.array([4, 4]), np.array([4, 4])), 1)
        state.frames.wait()
        assert asked(state, "annotated").numbers == (11, 13)

    def test_what_is_visible_lies_between_the_corners(self, state):
        state.image.corner_pixels = np.array([[0, 3, 8], [0, 20, 39]])
        assert asked(state, "visible") == PredictionRequest((10,), (slice(3, 21), slice(8, 40)))

    def test_a_pyramid_shows_pixels_of_its_finest_level(self, viewer, state):
        fine = np.zeros((4, 80, 80))
        layer = viewer.add_image([fine, fine[:, ::2, ::2]], multiscale=True, name="pyramid")
        state.choose("image", layer)
        layer.data_level = 1
        layer.corner_pixels = np.array([[0, 5, 10], [0, 20, 39]])
        found = asked(state, "visible").region
        assert found == (slice(10, 41), slice(20, 79))

    def test_nothing_visible_is_said(self, viewer, state):
        state.image.corner_pixels = np.array([[0, 0, 0], [0, 0, 0]])
        with pytest.raises(ValueError, match="Nothing of 'movie' is visible"):
            asked(state, "visible")
        viewer.dims.ndisplay = 3
        with pytest.raises(ValueError, match="3-D"):
            asked(state, "visible")

    def test_a_region_is_the_box_of_what_is_drawn_in_this_frame(self, viewer, state):
        viewer.dims.set_current_step(0, 1)
        with pytest.raises(ValueError, match="Nothing is drawn in frame 11; press Draw a region"):
            asked(state, "region")
        layer = draw_region(viewer, state.image)
        assert layer.mode == "add_rectangle"
        assert tuple(layer.scale) == tuple(state.image.scale)
        for (top, left), (bottom, right) in (((4, 6), (9, 12)), ((8, 20), (15, 24))):
            layer.add_rectangles(
                [[[1, top, left], [1, top, right], [1, bottom, right], [1, bottom, left]]]
            )
        layer.add_rectangles([[[2, 0, 0], [2, 0, 39], [2, 39, 39], [2, 39, 0]]])
        found = asked(state, "region")
        assert found == PredictionRequest((11,), (slice(4, 16), slice(6, 25)))
        viewer.dims.set_current_step(0, 3)
        with pytest.raises(ValueError, match="Nothing is drawn in frame 13"):
            asked(state, "region")

    def test_other_shapes_are_no_region(self, viewer, state):
        viewer.add_shapes([[[-9, 17], [-9, 31], [25, 31], [25, 17]]], name="mine")
        with pytest.raises(ValueError, match="press Draw a region"):
            asked(state, "region")

    def test_a_region_ends_at_the_image_and_lies_on_another_one_too(self, viewer, state):
        layer = draw_region(viewer, state.image)
        layer.add_rectangles([[[0, -9, 5], [0, -9, 12], [0, 10, 12], [0, 10, 5]]])
        assert asked(state, "region").region == (slice(0, 11), slice(5, 13))
        other = viewer.add_image(np.zeros((4, 9, 9)), scale=(1, 4, 4), translate=(0, 5, 7))
        state.choose("image", other)
        assert asked(state, "region").region == (slice(0, 6), slice(3, 7))
        plane = viewer.add_image(np.zeros((9, 9)))
        state.choose("image", plane)
        with pytest.raises(ValueError, match="Nothing is drawn"):
            asked(state, "region")
        assert draw_region(viewer, plane) is not layer

    def test_drawing_again_uses_the_same_layer(self, viewer, state):
        image = state.image
        first = draw_region(viewer, image)
        viewer.add_image(np.zeros((SIZE, SIZE)), name="above")
        assert draw_region(viewer, image) is first is region_layer(viewer)
        assert viewer.layers[-1] is first
        assert viewer.layers.selection.active is first


class TestRegionsInResults:
    def region(self, region, cells, position=1):
        rows, columns = region
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        plane = np.zeros(shape, np.int32)
        for number, box in enumerate(cells, start=1):
            plane[box] = number
        probability = (plane > 0).astype(np.float32)
        return FramePrediction(position, 11, 1, probability, 5 * probability, plane, region=region)

    def test_cells_of_regions_have_numbers_of_their_own(self, state):
        image = state.image
        results = add_results(state.viewer, None, image, image_stack(image), 5.0, "model")
        whole = np.s_[0:6, 0:6]
        first, second = (slice(0, 10), slice(0, 10)), (slice(20, 30), slice(5, 20))
        results.write(self.region(first, [whole]), 0.5)
        results.write(self.region(second, [whole, np.s_[8:10, 8:10]]), 0.5)
        cells = results.cells.data[1]
        assert sorted(np.unique(cells)) == [0, 1, 2, 3]
        assert cells[3, 3] == 1 and cells[21, 6] == 2 and cells[29, 14] == 3
        assert results.regions == {1: [first, second]}
        assert not results.whole(1)
        assert results.box(1) == (..., slice(0, 30), slice(0, 20))
        assert results.maps(1)[0].shape == (30, 20)
        # again the same place: replaced, not doubled
        results.write(self.region(second, [whole]), 0.5)
        assert len(np.unique(results.cells.data[1])) == 3
        assert results.cells.data[1, 29, 14] == 0

    def test_a_region_of_a_whole_frame_changes_only_that_region(self, state):
        results = results_of(state)
        before = results.cells.data[1].copy()
        region = (slice(0, 15), slice(0, 15))
        results.write(self.region(region, [np.s_[1:5, 1:5]]), 0.5)
        assert results.whole(1)
        assert results.box(1) is ...
        after = results.cells.data[1]
        np.testing.assert_array_equal(after[15:], before[15:])
        assert len(np.unique(after)) == 3 and after[2, 2] not in (0, after[25, 25])

    def test_a_region_of_all_pixels_is_a_whole_frame(self, state):
        image = state.image
        results = add_results(state.viewer, None, image, image_stack(image), 5.0, "model")
        results.write(self.region((slice(0, SIZE), slice(0, SIZE)), [np.s_[1:5, 1:5]]), 0.5)
        assert results.whole(1)

    def test_only_frames_that_were_corrected_are_set_aside(self, state):
        results = results_of(state)
        results.cells.data_setitem((np.array([2]), np.array([5]), np.array([5])), 9)
        image = state.image
        again = add_results(state.viewer, results, image, image_stack(image), 5.0, "model", (1, 3))
        assert again is results
        new = add_results(state.viewer, results, image, image_stack(image), 5.0, "model", (1, 2))
        assert new is not results
        assert results.cells.name == "cells (earlier)"

    def test_predicted_cells_are_no_annotation_unless_somebody_says_so(self, state):
        results = results_of(state)
        assert state.annotation is None and not state.frames.annotated
        state.choose("annotation", results.cells)
        assert state.annotation is results.cells

    def test_the_brush_stays_on_the_annotation(self, viewer, state):
        layer = state.new_annotation()
        results_of(state)
        assert viewer.layers.selection.active is layer
        assert state.annotation is layer


def eye(state, kind):
    """Show or hide a result as in the list of layers."""
    layer = next(layer for layer in state.viewer.layers if result_of(layer) == kind)
    layer.visible = not layer.visible


class TestOverlays:
    @pytest.fixture
    def overlays(self, state):
        lifetime = Lifetime()
        yield Overlays(state, lifetime)
        lifetime.end()

    def test_the_cells_are_seen_first_and_the_newest_of_each_kind_counts(self, state, overlays):
        assert overlays.layers() == {}
        results = results_of(state)
        assert list(overlays.layers()) == ["segmentation", "distance", "cells"]
        # the cells alone: else their colours and that of the segmentation mix
        assert [layer.visible for layer in results.layers] == [False, False, True]
        state.viewer.layers.remove(results.distance)
        assert list(overlays.layers()) == ["segmentation", "cells"]

    def test_the_colours_are_explained(self, state):
        assert "appear when predicted" in legend_text(None)
        text = legend_text(results_of(state, relative=True))
        assert "depth in each cell, 0 at its boundary to 1 at its deepest" in text
        text = legend_text(results_of(state))
        assert "to the nearest boundary, 0 to 5 px" in text
        assert "0 to 5 px" in text and "classes" not in text
        legend = (("background", "#000000"), ("line", "#00ff00"), ("ellipse", "#ff0000"))
        classes = np.zeros((SIZE, SIZE), np.uint8)
        text = legend_text(results_of(state, classes=classes, legend=legend))
        assert '<span style="color:#ff0000">■</span> ellipse' in text

    def test_what_evaluate_hides_comes_back_with_the_next_prediction(self, state, overlays):
        first = results_of(state)
        lifetime = Lifetime()
        errors = ErrorLayer(state, lifetime)
        errors.begin(first.cells)
        assert not first.cells.visible and errors.layer.visible
        image = state.image
        second = add_results(state.viewer, first, image, image_stack(image), 5.0, "another")
        state.prediction = second
        assert second.cells.visible and "errors" not in state.viewer.layers
        errors.begin(second.cells)
        assert not second.cells.visible and errors.layer.visible
        state.prediction_changed.emit(second)  # predicted anew, into the same layers
        assert second.cells.visible and "errors" not in state.viewer.layers
        lifetime.end()

    def test_errors_are_seen_alone_and_all_labels_come_back(self, viewer, state, overlays):
        results = results_of(state)
        annotation = state.new_annotation()
        hidden = viewer.add_labels(np.zeros((4, SIZE, SIZE), int), name="hidden", visible=False)
        silver = viewer.add_labels(np.zeros((4, SIZE, SIZE), int), name="silver")
        viewer.layers.selection.active = state.image
        lifetime = Lifetime()
        errors = ErrorLayer(state, lifetime)

        def seen():
            return {layer.name for layer in viewer.layers if layer.visible}

        before = seen()
        errors.begin(results.cells)
        assert seen() == {"movie", "errors"}
        overlays.hide_in(0)
        viewer.dims.set_current_step(0, 1)  # where the cells are not hidden
        assert seen() == {"movie", "errors"}
        errors.layer.visible = False  # in the list of layers
        assert seen() == before
        errors.layer.visible = True
        assert seen() == {"movie", "errors"}
        viewer.layers.remove(errors.layer)
        assert seen() == before
        assert not hidden.visible and silver.visible and annotation.visible
        lifetime.end()

    def test_toggle_hides_all_and_brings_back_what_was_there(self, state, overlays):
        results = results_of(state)
        assert overlays.toggle() is False
        assert not any(layer.visible for layer in results.layers)
        assert overlays.toggle() is True
        assert [layer.visible for layer in results.layers] == [False, False, True]

    def test_cells_that_became_annotation_are_hidden_in_their_frame_only(
        self, viewer, state, overlays
    ):
        results = results_of(state)
        viewer.dims.set_current_step(0, 1)
        overlays.hide_in(1)
        assert not results.cells.visible
        viewer.dims.set_current_step(0, 2)
        assert results.cells.visible
        viewer.dims.set_current_step(0, 1)
        assert not results.cells.visible
        eye(state, "cells")  # the user looks at them all the same
        state.frames.changed.emit((2,))
        assert results.cells.visible
        viewer.dims.set_current_step(0, 0)
        assert results.cells.visible
        viewer.dims.set_current_step(0, 1)
        assert not results.cells.visible

    def test_nothing_that_was_predicted_lies_over_its_copy(self, viewer, state, overlays):
        results = results_of(state)
        eye(state, "distance")
        eye(state, "segmentation")
        overlays.hide_in(0)
        everything = results.layers
        assert not any(layer.visible for layer in everything)
        viewer.dims.set_current_step(0, 1)
        assert all(layer.visible for layer in everything)
        viewer.dims.set_current_step(0, 0)
        assert not any(layer.visible for layer in everything)
        overlays.show_in([0])  # predicted anew
        assert all(layer.visible for layer in everything)

    def test_the_key_brings_back_what_lies_over_the_copy(self, viewer, state, overlays):
        results = results_of(state)
        overlays.hide_in(0)
        assert overlays.toggle() is True
        assert [layer.visible for layer in results.layers] == [False, False, True]
        viewer.dims.set_current_step(0, 1)
        viewer.dims.set_current_step(0, 0)
        assert [layer.visible for layer in results.layers] == [False, False, True]

    def test_the_preview_goes_when_a_prediction_comes(self, viewer, state, overlays):
        options = {"metadata": {"napari-jnet": {"result": "preview"}}}
        preview = viewer.add_image(np.zeros((1, SIZE, SIZE)), **options)
        state.training = TrainingStatus("running")
        overlays.remove_preview()
        assert preview in viewer.layers  # the training goes on
        state.training = TrainingStatus("idle", outcome="done")
        overlays.remove_preview()
        assert preview not in viewer.layers

    def test_taking_the_copy_back_shows_the_cells_again(self, viewer, state, overlays):
        results = results_of(state)
        copy_to_annotation(state, results)
        overlays.hide_in(0)
        state.annotation.data_setitem((np.array([0]), np.array([39]), np.array([39])), 8)
        assert not results.cells.visible
        state.annotation.undo()
        state.annotation.undo()
        assert not state.annotation.data.any()
        assert results.cells.visible

    def test_cells_that_are_switched_off_stay_off(self, viewer, state, overlays):
        results = results_of(state)
        eye(state, "cells")
        overlays.hide_in(results.shown())
        viewer.dims.set_current_step(0, 0)
        assert not results.cells.visible


class TestCopyToAnnotation:
    def test_an_annotation_is_made_and_one_undo_takes_the_cells_back(self, viewer, state):
        results = results_of(state)
        viewer.dims.set_current_step(0, 2)
        _, said = copy_to_annotation(state, results)
        layer = state.annotation
        assert layer.name == "annotation" and not result_of(layer)
        assert said == "2 cells copied into 'annotation' (t012); undo with Ctrl+Z."
        np.testing.assert_array_equal(layer.data[2] > 0, results.cells.data[2] > 0)
        assert not layer.data[[0, 1, 3]].any()
        assert viewer.layers.selection.active is layer
        layer.undo()
        assert not layer.data.any()

    def test_what_is_painted_stays_unless_asked(self, viewer, state):
        layer = state.new_annotation()
        viewer.dims.set_current_step(0, 0)
        layer.data[0, 2:10, 2:8] = 7
        results = results_of(state)
        _, said = copy_to_annotation(state, results)
        assert "1 cell copied" in said and "1 skipped: their place is painted" in said
        assert (layer.data[0, 2:10, 2:8] == 7).all()
        assert "Nothing is copied" in copy_to_annotation(state, results)[1]
        assert "2 cells copied" in copy_to_annotation(state, results, overwrite=True)[1]
        assert not (layer.data[0] == 7).any()

    def test_classes_and_scribbles_take_classes(self, viewer, state):
        classes = np.zeros((SIZE, SIZE), np.uint8)
        classes[5:9, 5:9], classes[20:22, 20:22] = 1, 2
        layer = state.new_annotation(LabelKind.SCRIBBLES)
        legend = (("background", "#000000"), ("line", "#00ff00"), ("ellipse", "#ff0000"))
        results = results_of(state, classes=classes, legend=legend)
        assert "1600 pixels copied" in copy_to_annotation(state, results)[1]
        np.testing.assert_array_equal(layer.data[0], classes + 1)

    def test_classes_make_an_annotation_with_their_names(self, state):
        classes = np.ones((SIZE, SIZE), np.uint8)
        legend = (("background", "#000000"), ("line", "#00ff00"), ("ellipse", "#ff0000"))
        copy_to_annotation(state, results_of(state, classes=classes, legend=legend))
        assert list(state.annotation.features["class"]) == ["background", "line", "ellipse"]

    def test_only_what_is_predicted_becomes_background(self, state):
        layer = state.new_annotation(LabelKind.SCRIBBLES)
        image = state.image
        results = add_results(state.viewer, None, image, image_stack(image), 5.0, "model")
        zeros = np.zeros((10, 10), np.float32)
        region = (slice(5, 15), slice(20, 30))
        results.write(
            FramePrediction(0, 10, 1, zeros, zeros, zeros.astype(np.int32), region=region), 0.5
        )
        assert "100 pixels copied" in copy_to_annotation(state, results)[1]
        assert (layer.data[0][region] == 1).all() and layer.data.sum() == 100

    def test_a_frame_without_prediction_or_of_another_image_is_said(self, viewer, state):
        results = results_of(state)
        del results.done[3]
        viewer.dims.set_current_step(0, 3)
        with pytest.raises(ValueError, match="t013 is not predicted yet"):
            copy_to_annotation(state, results)
        viewer.dims.set_current_step(0, 0)
        state.choose("annotation", viewer.add_labels(np.zeros((4, 9, 9), int), name="small"))
        with pytest.raises(ValueError, match="'small' has shape"):
            copy_to_annotation(state, results)


def test_a_model_in_words(trained_run, tmp_path):
    said = describe_model(trained_run)
    assert said.startswith("run: epochs: ")
    shutil.copytree(trained_run, tmp_path / "002")
    assert describe_model(tmp_path / "002").startswith("002: epochs: ")
    assert "training frames: " in said and "on validation" in said
    assert "No model yet" in describe_model(None)
    assert "does not exist" in describe_model(tmp_path / "gone")
    assert "no model.pt yet" in describe_model(tmp_path)
    (tmp_path / "DIC_model").touch()
    assert "without the history" in describe_model(tmp_path / "DIC_model")


class TestCopying:
    def test_a_project_is_the_stack_that_is_predicted(self, state, qtbot, tmp_path):
        from types import SimpleNamespace

        page = PredictWidget(state.viewer)
        qtbot.addWidget(page)
        page.set_model("runs/001")
        with pytest.raises(ValueError, match="'movie' is in no file"):
            page.command()
        facts = {"model": None, "instances": None, "diameter": None, "looked_at": ()}
        state.project = SimpleNamespace(path=tmp_path / "my project", **facts)
        project = tmp_path / "my project"
        assert f"'{project}' --output '{project / 'predictions'}'" in page.command()


class TestResegmentation:
    @pytest.fixture
    def resegmentation(self, qtbot):
        from napari_jnet.plugin.jobs.predict import Resegmentation

        errors = []
        resegmentation = Resegmentation(errors.append)
        yield resegmentation
        resegmentation.close()
        assert not errors

    def test_the_shown_frame_comes_first_and_what_is_corrected_stays(
        self, viewer, state, qtbot, resegmentation, monkeypatch
    ):
        results = results_of(state)
        viewer.dims.set_current_step(0, 2)
        results.cells.data_setitem((np.array([1]), np.array([5]), np.array([5])), 9)
        order, write = [], results.write_cells
        monkeypatch.setattr(
            results, "write_cells", lambda p, *rest: (order.append(p), write(p, *rest))
        )
        resegmentation.request(results, InstanceConfig(min_size=80))
        qtbot.waitUntil(lambda: not resegmentation.running, timeout=60_000)
        assert order == [2, 0, 3]
        assert [len(np.unique(frame)) - 1 for frame in results.cells.data] == [1, 3, 1, 1]

    def test_the_latest_request_counts(self, state, qtbot, resegmentation):
        results = results_of(state)
        for size in (80, 200, 3):
            resegmentation.request(results, InstanceConfig(min_size=size))
        qtbot.waitUntil(lambda: not resegmentation.running, timeout=60_000)
        assert [len(np.unique(frame)) - 1 for frame in results.cells.data] == [2, 2, 2, 2]

    def test_single_frames_can_be_separated_again(self, state, qtbot, resegmentation):
        results = results_of(state)
        resegmentation.request(results, InstanceConfig(min_size=80), [0, 3])
        qtbot.waitUntil(lambda: not resegmentation.running, timeout=60_000)
        assert [len(np.unique(frame)) - 1 for frame in results.cells.data] == [1, 2, 2, 1]


class TestFoldersWithoutAWindow:
    def test_what_is_written_before_a_stop_is_kept(self, tmp_path, trained_run):
        import tifffile

        from napari_jnet.plugin.jobs.predict import ModelCache, predicting_folder

        movie = np.random.default_rng(0).random((3, 64, 64)).astype(np.float32)
        (tmp_path / "in").mkdir()
        tifffile.imwrite(tmp_path / "in" / "a.tif", movie, photometric="minisblack")
        out = tmp_path / "out"
        open_model = partial(ModelCache().open, trained_run, {})
        job = predicting_folder(open_model, tmp_path / "in", out, InstanceConfig())()
        while not isinstance(event := next(job), FramePrediction):
            pass
        event = next(job)
        assert (event.done, event.count) == (1, 3)
        job.close()
        assert tifffile.imread(out / "a" / "probability.tif").shape == (64, 64)

    def test_every_sequence_of_a_dataset_has_a_folder(self, tmp_path):
        import tifffile

        from napari_jnet.plugin.jobs.predict import stacks_in

        for sequence in ("01", "02"):
            (tmp_path / "cells" / sequence).mkdir(parents=True)
            for number in range(2):
                picture = np.zeros((9, 9), np.uint8)
                tifffile.imwrite(tmp_path / "cells" / sequence / f"t{number:03d}.tif", picture)
        stacks, problems = stacks_in(tmp_path / "cells")
        assert [stack.sequence for stack in stacks] == ["01", "02"]
        assert not problems

    def test_the_images_of_a_file_that_are_not_predicted_are_said(self, tmp_path, trained_run):
        import tifffile

        from napari_jnet.plugin.jobs.predict import ModelCache, predicting_folder

        with tifffile.TiffWriter(tmp_path / "in.tif", ome=True) as writer:
            for _ in range(2):
                writer.write(np.zeros((1, 64, 64), np.uint8), metadata={"axes": "TYX"})
        open_model = partial(ModelCache().open, trained_run, {})
        job = predicting_folder(
            open_model, tmp_path / "in.tif", tmp_path / "out", InstanceConfig()
        )()
        assert any("1 of 2" in getattr(event, "text", "") for event in job)

    def test_results_inside_the_folder_are_no_stacks(self, tmp_path):
        import tifffile

        from napari_jnet.plugin.jobs.predict import stacks_in

        (tmp_path / "out").mkdir()
        for path in (tmp_path / "a.tif", tmp_path / "out" / "b.tif"):
            tifffile.imwrite(path, np.zeros((3, 9, 9), np.uint8), photometric="minisblack")
        stacks, _ = stacks_in(tmp_path, tmp_path / "out")
        assert [stack.path.name for stack in stacks] == ["a.tif"]
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="holds no stack"):
            stacks_in(tmp_path / "empty")

    def test_stacks_of_one_name_have_folders_of_their_own(self, tmp_path):
        import tifffile

        from napari_jnet.plugin.jobs.predict import _named, stacks_in

        (tmp_path / "a").mkdir()
        tifffile.imwrite(tmp_path / "a" / "0.tif", np.zeros((9, 9), np.uint8))
        for name in ("a.tif", "a.tiff", "b.tif"):
            tifffile.imwrite(
                tmp_path / name, np.zeros((3, 9, 9), np.uint8), photometric="minisblack"
            )
        named = _named(stacks_in(tmp_path)[0])
        assert list(named) == ["a", "a.tif", "a.tiff", "b"]
        assert [stack.path.name for stack in named.values()] == ["a", "a.tif", "a.tiff", "b.tif"]


class TestVolumes:
    def test_a_region_of_a_volume_becomes_annotation_plane_by_plane(self):
        viewer = ViewerModel()
        image = viewer.add_image(
            np.random.default_rng(0).random((2, 3, SIZE, SIZE)),
            name="volume",
            axis_labels=("t", "z", "y", "x"),
        )
        state = open_workspace(viewer)
        viewer.dims.set_current_step(0, 1)
        viewer.dims.set_current_step(1, 2)
        results = add_results(viewer, None, image, image_stack(image), 5.0, "model")
        cells = np.zeros((3, 10, 12), np.int32)
        cells[1:, 2:8, 2:8] = 1
        probability = (cells > 0).astype(np.float32)
        region = (slice(5, 15), slice(20, 32))
        for position in (0, 1):
            results.write(
                FramePrediction(
                    position, position, 2, probability, probability, cells, region=region
                ),
                0.5,
            )
        assert results.maps(1)[0].shape == (3, 10, 12)
        assert results.cells.data.sum() == 2 * 2 * 36
        _, said = copy_to_annotation(state, results)
        assert said.startswith("1 cell copied into 'annotation' (t001 z02)")
        assert state.annotation.data.sum() == 36
        assert state.annotation.data[1, 2, 7:13, 22:28].all()
