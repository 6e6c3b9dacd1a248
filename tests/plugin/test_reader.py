from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.layers import Image as ImageLayer
from napari.layers import Labels
from npe2 import PluginManager, PluginManifest
from PIL import Image

from napari_jnet.labels import UNKNOWN
from napari_jnet.plugin.layers.stack_layers import path_layers
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.reader import get_reader
from napari_jnet.project.open import open_stack
from napari_jnet.project.project import Project
from napari_jnet.synthetic import write_cells_sequence


@pytest.fixture(scope="module")
def stacks(tmp_path_factory, color_classes):
    folder = tmp_path_factory.mktemp("stacks")
    root = write_cells_sequence(
        folder / "CELLS", frames=(3, 2), shape=(64, 80), cells=3, diameter=20
    )
    (root / "01_GT/SEG/man_seg001.tif").unlink()
    for part in ("01_RES", "res"):
        (root / part).mkdir()
        tifffile.imwrite(root / part / "mask000.tif", np.zeros((64, 80), np.uint16))
    (folder / "em").mkdir()
    sections = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)
    inside = np.where(np.arange(64) % 9 > 1, np.uint8(255), np.uint8(0))
    for name, array in (("train-volume", sections), ("train-labels", inside + 0 * sections)):
        tifffile.imwrite(folder / f"em/{name}.tif", array, photometric="minisblack")
    color_classes(folder / "shapes")
    tifffile.imwrite(folder / "plain.tif", np.zeros((5, 8, 8), np.uint8))
    (folder / "pictures").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "pictures/a.png")
    (folder / "notes.txt").write_text("hello")
    return folder


def read(path):
    return path_layers(path)


OTHERS = [
    "CELLS", "CELLS/01", "CELLS/01_GT/SEG", "CELLS/01_RES", "CELLS/01/t000.tif", "em/train-volume.tif",
    "em/train-labels.tif", "em", "plain.tif", "stack.ome.tif", "shapes", "pictures", "pictures/a.png",
    "notes.txt", "settings.json",
]  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_everything_but_projects_is_left_to_other_readers(stacks, name):
    """npe2 asks every reader whose pattern fits, and napari asks the user where several do."""
    path = str(stacks / name)
    manifest = PluginManifest.from_distribution("napari-jnet")
    alone = PluginManager()
    alone.register(manifest)
    assert not [*alone.iter_compatible_readers([path])]
    assert get_reader(path) is None


@pytest.mark.parametrize("name", ["plain.tif", "pictures/a.png", "em/train-volume.tif"])
def test_a_plain_image_opens_as_without_this_plugin(stacks, make_napari_viewer, name):
    viewer = make_napari_viewer(show=False)
    (layer,) = viewer.open(str(stacks / name))  # raises where several readers could
    assert layer.source.reader_plugin == "napari"


@pytest.mark.parametrize("path", [["a.tif", "b.tif"], [], None, "\0", "http://example.org/a.tif"])
def test_never_raises(path):
    assert get_reader(path) is None


@pytest.mark.parametrize("name", ["CELLS", "CELLS/01", "CELLS/01_GT", "CELLS/01_GT/SEG"])
def test_sequence_as_layers(stacks, name):
    (image, image_options, kind), (labels, options, labels_kind) = read(stacks / name)
    assert (kind, labels_kind) == ("image", "labels")
    assert image.shape == labels.shape == (3, 64, 80)
    assert image.chunks[0] == (1, 1, 1)
    assert image_options["name"] == "CELLS 01"
    assert options["name"] == "CELLS 01 gold"
    for each in (image_options, options):
        assert each["axis_labels"] == ("t", "y", "x")
        assert len(each["scale"]) == len(each["units"]) == 3
    told = options["metadata"]["napari-jnet"]
    assert told["frame_numbers"] == [0, 1, 2]
    assert (told["sequence"], told["annotation"], told["kind"]) == ("01", "gold", "instances")
    assert told["path"] == str(stacks / "CELLS")
    assert labels.dtype == np.int32
    assert [bool(frame.any()) for frame in labels] == [True, False, True]


def test_images_are_read_when_shown(stacks, tmp_path):
    root = write_cells_sequence(tmp_path, frames=(2, 1), shape=(64, 64), cells=2, diameter=20)
    image = read(root)[0][0]
    (root / "01/t001.tif").write_bytes(b"rubbish")
    assert np.asarray(image[0]).shape == (64, 64)
    with pytest.raises(ValueError, match=r"t001\.tif cannot be read"):
        np.asarray(image[1])


def test_the_window_reads_no_frame_for_the_contrast(tmp_path):
    root = write_cells_sequence(tmp_path, frames=(3, 1), shape=(64, 64), cells=2, diameter=20)
    data, options, _ = read(root)[0]
    first = tifffile.imread(root / "01/t000.tif")
    assert options["contrast_limits"] == (first.min(), first.max())
    for name in ("t001.tif", "t002.tif"):
        (root / "01" / name).write_bytes(b"rubbish")
    ImageLayer(data, **options)  # reads the frame that it shows, and no other


def test_large_truth_is_read_when_shown(stacks, monkeypatch):
    monkeypatch.setattr("napari_jnet.plugin.layers.stack_layers._PAINTABLE", 1000)
    labels = read(stacks / "CELLS")[1][0]
    assert labels.chunks[0] == (1, 1, 1)
    truth = tifffile.imread(stacks / "CELLS/01_GT/SEG/man_seg002.tif")
    assert np.array_equal(np.asarray(labels[2]), truth)
    assert not np.asarray(labels[1]).any()


def test_partial_frames_are_told_and_unknown_is_not_shown(tmp_path):
    root = write_cells_sequence(tmp_path, frames=(2, 1), shape=(96, 96), cells=4, diameter=24)
    path = root / "01_GT/SEG/man_seg001.tif"
    truth = tifffile.imread(path)
    tifffile.imwrite(path, np.where(truth == 1, truth, 0))
    labels, options, _ = read(root)[1]
    assert [n for n in range(9) if n in options["metadata"]["napari-jnet"]["partial"]] == [1]
    assert np.unique(labels[1]).tolist() == [0, 1]


def test_first_annotation_is_on_top_and_the_only_visible(tmp_path):
    root = write_cells_sequence(tmp_path, frames=(1, 1), shape=(64, 64), cells=2, diameter=20)
    (root / "01_ST/SEG").mkdir(parents=True)
    truth = (root / "01_GT/SEG/man_seg000.tif").read_bytes()
    (root / "01_ST/SEG/man_seg000.tif").write_bytes(truth)
    layers = read(root)
    assert [options["name"].split()[-1] for _, options, _ in layers] == ["01", "silver", "gold"]
    assert [options.get("visible") for _, options, _ in layers[1:]] == [False, True]


def test_volume_as_layers(stacks):
    (image, options, _), (labels, labels_options, _) = read(stacks / "em/train-volume.tif")
    assert image.shape == labels.shape == (3, 64, 64)
    assert options["axis_labels"] == ("z", "y", "x")
    assert options["scale"] == (1.0, 1.0, 1.0)
    assert labels_options["metadata"]["napari-jnet"]["kind"] == "classes"
    assert set(np.unique(labels)) == {0, 1}


def test_folder_as_colour_layers(stacks):
    (image, options, _), (labels, _, _) = read(stacks / "shapes")
    assert image.shape == (2, 64, 96, 3)
    assert options["rgb"]
    assert len(options["scale"]) == 3
    assert labels.shape == (2, 64, 96)


def test_images_of_different_sizes_are_filled_up(tmp_path):
    for name, rows in (("a", 20), ("b", 30)):
        for part in ("images", "masks"):
            (tmp_path / part).mkdir(exist_ok=True)
            array = np.full((rows, 24), 255, np.uint8)
            array[0, 0] = 0
            Image.fromarray(array).save(tmp_path / part / f"{name}.png")
    (image, _, _), (labels, _, _) = read(tmp_path)
    assert image.shape == labels.shape == (2, 30, 24)
    assert (np.asarray(image[0])[20:] == 0).all()
    assert (labels[0, 20:] == UNKNOWN).all()
    assert (labels[1] != UNKNOWN).all()


def test_classes_have_their_colours_and_names(stacks):
    _, (labels, options, _) = read(stacks / "shapes")
    layer = Labels(labels, **options)
    assert layer.colormap.map(1).tolist() == pytest.approx([0, 1, 0, 1])
    assert layer.colormap.map(2).tolist() == pytest.approx([1, 0, 0, 1])
    assert layer.colormap.map(0)[3] == 0
    assert list(layer.features["class"]) == ["background", "green", "red"]
    layer.data[0, 0, 0] = 2
    layer.refresh()
    assert "red" in layer.get_status((0, 0, 0))["value"] + str(layer.get_status((0, 0, 0)))


def test_a_folder_of_train_and_valid_alone_is_ours(tmp_path):
    for part in ("train", "valid"):
        for kind in ("images", "masks"):
            (tmp_path / "set" / part / kind).mkdir(parents=True)
            mask = np.zeros((8, 8), np.uint8)
            mask[:4] = 255 * (kind == "masks")
            Image.fromarray(mask).save(tmp_path / "set" / part / kind / "a.png")
    image, labels = read(tmp_path / "set")
    assert image[1]["metadata"]["napari-jnet"]["sequence"] == "train"
    assert labels[2] == "labels"


def test_a_dropped_project_is_opened_and_saved_to(stacks, tmp_path, make_napari_viewer):
    stack = open_stack(stacks / "CELLS", sequence="01")
    project = Project.create(tmp_path / "work", stack, "instances")
    labels = np.zeros(stack.shape, np.int32)
    labels[10:20, 10:20], labels[30:40, 10:20] = 7, UNKNOWN
    project.write_frame(2, labels)
    viewer = make_napari_viewer()
    viewer.open(str(project.path / "project.json"), plugin="napari-jnet")
    image, annotation = viewer.layers
    assert np.array_equal(annotation.data[2], labels)
    assert annotation.data.dtype == np.int32
    assert tuple(annotation.scale) == tuple(image.scale)
    state = open_workspace(viewer)
    state.autosave.wait()
    assert state.project.path == project.path
    annotation.paint((0, 20, 20), 1)
    assert state.autosave.flush()
    assert Project.open(project.path).annotated == (0, 2)
