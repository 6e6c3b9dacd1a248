"""The frame table: what is painted where, told at once and told right."""

import threading

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.frames import FrameInfo, checksum, count_labels
from napari_jnet.plugin.layers import watch
from napari_jnet.plugin.open_workspace import open_workspace


@pytest.fixture
def viewer(viewer_model):
    """Return a viewer without a window."""
    return viewer_model


@pytest.fixture
def painted(viewer):
    """Return a viewer, an empty annotation in it, and the frames."""
    del viewer.layers["truth"]
    layer = viewer.add_labels(np.zeros((4, 64, 64), np.int32), name="annotation")
    return viewer, layer, open_workspace(viewer).frames


def heard(signal):
    calls = []
    signal.connect(calls.append)
    return calls


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_counts_are_those_of_numpy(dtype):
    random = np.random.default_rng(1)
    labels = random.integers(0, 7, (20, 30)).astype(dtype)
    values, counts = np.unique(labels, return_counts=True)
    found = count_labels(labels)
    assert found.labels == {int(v): int(n) for v, n in zip(values, counts, strict=True)}
    assert count_labels(np.zeros((3, 4), dtype)).labels == {0: 12}


def test_far_apart_labels_are_counted_too():
    labels = np.zeros((10, 10), np.int32)
    labels[0, :3], labels[1, 0], labels[2, :2] = 2_000_000_000, UNKNOWN, 5
    assert count_labels(labels).labels == {UNKNOWN: 1, 0: 94, 5: 2, 2_000_000_000: 3}


def test_facts_follow_strokes_and_their_kind(painted):
    _, layer, frames = painted
    edited = heard(frames.edited)
    assert frames.annotated == ()
    layer.data_setitem((np.full(6, 2), np.arange(6), np.arange(6)), np.array([1, 1, 2, 2, 2, -1]))
    assert edited == [(2,)]
    facts = frames.info(2)
    assert (facts.objects, facts.unknown, facts.pixels) == (2, 1, (4096 - 6, 5))
    assert facts.annotated
    assert frames.annotated == (2,)
    frames.set_kind("scribbles")
    facts = frames.info(2)
    assert (facts.objects, facts.pixels, facts.unknown) == (0, (2, 3), 4096 - 5)
    frames.set_kind("classes")
    assert frames.info(2).pixels == (4096 - 6, 2, 3)
    assert layer.metadata["napari-jnet"]["kind"] == "classes"
    with pytest.raises(ValueError, match="nuclei"):
        frames.set_kind("nuclei")


def test_only_unknown_pixels_are_nothing_to_learn_from(painted):
    _, layer, frames = painted
    frames.set_kind(LabelKind.SCRIBBLES)
    layer.data_setitem((np.array([1]), np.array([3]), np.array([3])), UNKNOWN)
    assert not frames.info(1).annotated
    assert frames.annotated == ()


def test_undo_in_a_frame_out_of_sight_is_seen(painted):
    viewer, layer, frames = painted
    layer.paint((1, 20, 20), 1)
    assert frames.annotated == (1,)
    frames.wait()
    viewer.dims.set_point(0, 3)
    edited = heard(frames.edited)
    layer.undo()
    frames.wait()
    assert edited == [(1,)]
    assert frames.annotated == ()
    layer.redo()
    frames.wait()
    assert frames.annotated == (1,)


@pytest.fixture
def read(painted, monkeypatch):
    """Return a viewer, its annotation with all frames painted, the table, and which frames are read then."""
    viewer, layer, frames = painted
    for position in range(4):
        layer.paint((position, 20, 20), position + 1)
    frames.wait()
    positions = set()

    def counted(labels):
        positions.update(p for p in range(4) if np.shares_memory(labels, layer.data[p]))
        return checksum(labels)

    monkeypatch.setattr(watch, "checksum", counted)
    return viewer, layer, frames, positions


def test_after_a_stroke_only_its_frames_are_read(read):
    viewer, layer, frames, positions = read
    layer.paint((viewer.dims.current_step[0], 40, 40), 9)
    layer.refresh()
    frames.wait()
    assert positions == {viewer.dims.current_step[0]}
    viewer.dims.set_point(0, 3)
    frames.wait()
    positions.clear()
    layer.paint((1, 50, 50), 9)
    layer.refresh()
    frames.wait()
    assert positions == {1, 3}, "and the shown one: scripts write into it"


def test_after_an_undo_only_the_frames_of_its_strokes_are_read(read):
    viewer, layer, frames, positions = read
    viewer.dims.set_point(0, 0)
    frames.wait()
    positions.clear()
    edited = heard(frames.edited)
    layer.undo()
    frames.wait()
    assert (positions, edited, frames.annotated) == ({0, 3}, [(3,)], (0, 1, 2))
    layer.redo()
    frames.wait()
    assert (positions, edited, frames.annotated) == ({0, 3}, [(3,), (3,)], (0, 1, 2, 3))


def test_what_is_undone_in_a_hidden_layer_is_seen_when_it_is_shown(read):
    _, layer, frames, _ = read
    layer.visible = False
    layer.undo()
    layer.undo()
    layer.paint((0, 5, 5), 7)  # nothing can be redone now
    layer.visible = True
    frames.wait()
    assert frames.annotated == (0, 1)


def test_moving_the_slider_changes_nothing(painted):
    viewer, layer, frames = painted
    layer.paint((1, 20, 20), 1)
    edited = heard(frames.edited)
    for position in (0, 1, 2, 1, 3):
        viewer.dims.set_point(0, position)
    frames.wait()
    assert edited == []


def test_replaced_pixels_are_told_where_they_differ(painted):
    _, layer, frames = painted
    layer.paint((1, 20, 20), 1)
    new = layer.data.copy()
    new[3, :2] = 4
    edited = heard(frames.edited)
    layer.data = new
    frames.wait()
    assert {p for told in edited for p in told} == {3}
    assert frames.annotated == (1, 3)


def test_pixels_that_are_replaced_before_they_are_counted_are_those_that_count(
    painted, monkeypatch
):
    _, layer, frames = painted
    for name, value in {"_LAYER_AT_ONCE": 0, "_FRAME_AT_ONCE": 0, "_CHUNK": 1}.items():
        monkeypatch.setattr(watch, name, value)
    go = threading.Event()
    monkeypatch.setattr(watch, "checksum", lambda labels: go.wait(10) and checksum(labels))
    first, second = np.zeros((2, 4, 64, 64), np.int32)
    first[2, :2], second[3, :2] = 1, 2
    layer.data = first
    layer.data = second
    go.set()
    frames.wait()
    assert frames.annotated == (3,)


def test_scores_and_roles_are_facts(painted):
    viewer, layer, frames = painted
    changed = heard(frames.changed)
    frames.set_scores({1: 0.75}, name="AP50")
    frames.set_uncertainty({1: 0.25, 2: 0.5})
    frames.set_roles({1: "validation"})
    assert changed == [(1,), (1, 2), (1,)]
    facts = frames.info(1)
    assert (facts.score, facts.score_name, facts.uncertainty) == (0.75, "AP50", 0.25)
    assert facts.role == "validation"
    other = viewer.add_labels(np.zeros((4, 64, 64), np.int32), name="other")
    assert frames.layer is not layer
    assert frames.info(1).score == 0.75, "scores belong to the image"
    assert frames.info(1).role == "", "roles belong to the annotation"
    viewer.layers.remove(other)
    assert frames.info(1).role == "validation"
    with pytest.raises(ValueError, match="spectator"):
        frames.set_roles({1: "spectator"})
    with pytest.raises(ValueError, match="4 frames"):
        frames.set_roles({4: "training"})


def test_numbers_are_those_of_the_files(viewer):
    frames = open_workspace(viewer).frames
    assert frames.numbers == (0, 1, 2, 3)
    viewer.layers["movie"].metadata["napari-jnet"] = {"frame_numbers": [2, 5, 9, 21]}
    assert frames.info(3) == FrameInfo(
        position=3,
        number=21,
        annotated=True,
        objects=5,
        pixels=frames.info(3).pixels,
        size=64 * 64,
    )


def test_labels_on_disk_are_read_outside_the_window_and_partial_frames_known(viewer):
    import dask.array as da

    threads = set()

    def block(block_id):
        threads.add(threading.current_thread())
        return np.full((1, 64, 64), block_id[0] % 2, np.int32)

    chunks = ((1,) * 4, (64,), (64,))
    labels = da.map_blocks(block, chunks=chunks, dtype=np.int32, meta=np.empty((0, 0, 0), np.int32))
    layer = viewer.add_labels(
        labels,
        name="computed",
        visible=False,
        metadata={"napari-jnet": {"kind": "instances", "partial": [3]}},
    )
    threads.clear()
    frames = open_workspace(viewer).frames
    assert frames.layer is layer
    frames.wait()
    assert frames.annotated == (1, 3)
    assert threading.main_thread() not in threads
    assert frames.info(3).pixels == (0, 4096)
    assert frames.is_partial(3)


def test_without_layers_the_table_is_empty(qapp):
    viewer = ViewerModel()
    frames = open_workspace(viewer).frames
    assert frames
    assert (len(frames), frames.annotated, frames.classes) == (0, (), ())
    with pytest.raises(ValueError, match="New annotation"):
        frames.set_kind("classes")
    viewer.add_image(np.zeros((5, 8, 8), np.uint8))
    assert len(frames) == 5
    assert frames.info(4).number == 4
