"""A project on disk: what is saved comes back, and nothing else can get in."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_jnet import files as storing_module
from napari_jnet.files import FolderLock
from napari_jnet.io.axes import array_stack
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.project.manifest import project_folder
from napari_jnet.project.open import open_stack, training_frames
from napari_jnet.project.places import (
    list_projects,
    new_project_folder,
    project_summary,
    projects_folder,
)
from napari_jnet.project.project import Project
from napari_jnet.project.source import StackMissing

NUMBERS = (0, 2, 7, 8, 11)


def image(number: int, shape: tuple[int, ...] = (24, 32)) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 200, shape, dtype=np.uint8)


def painted(number: int = 1, shape: tuple[int, ...] = (24, 32)) -> np.ndarray:
    labels = np.zeros(shape, np.int32)
    labels[..., 4:9, 5:11] = number
    labels[..., 15:20, 5:11] = UNKNOWN
    return labels


def write_sequence(root: Path, seed: int = 0) -> Path:
    for number in NUMBERS:
        path = root / "01" / f"t{number:03d}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, image(number + seed))
    return root


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_sequence(tmp_path / "lab" / "CELLS")


@pytest.fixture
def project(tmp_path: Path, dataset: Path) -> Project:
    return Project.create(tmp_path / "lab" / "work", open_stack(dataset), LabelKind.INSTANCES)


# what is saved comes back


def test_a_copy_without_the_empty_folder_is_a_project_and_another_program_s_file_is_none(project):
    (project.path / "annotations").rmdir()
    assert project_folder(project.path) == project.path
    opened = Project.open(project.path)
    opened.write_frame(2, painted())
    assert Project.open(project.path).annotated == (2,)
    other = project.path.parent / "other"
    other.mkdir()
    (other / "project.json").write_text('{"format": "a game"}')
    assert project_folder(other) is None
    assert project_folder(Path("a\0b")) is None


def test_a_frame_comes_back_as_painted(project):
    project.write_frame(7, painted(3))
    again = Project.open(project.path)
    assert again.annotated == (7,)
    read = again.read_frame(7)
    assert read.dtype == np.int32
    assert (read == painted(3)).all()
    assert (again.read_frame(2) == 0).all()
    assert (tifffile.imread(project.path / "annotations" / "t007.tif") == painted(3)).all()
    assert again.last_saved is not None


def test_a_frame_of_zeros_has_no_file(project):
    project.write_frame(2, painted())
    project.write_frame(2, np.zeros((24, 32), np.int32))
    project.write_frame(7, np.zeros((24, 32), np.int32))
    assert project.annotated == ()
    assert list((project.path / "annotations").iterdir()) == []


def test_a_frame_that_is_said_to_be_empty_is_annotated(project):
    nothing = np.zeros((24, 32), np.int32)
    project.write_frame(2, painted())
    project.write_frame(7, nothing, empty=True)
    assert project.assign_role(7) == "training"
    again = Project.open(project.path)
    assert again.annotated == (2, 7)
    assert again.empty == {7}
    truth = again.open_stack().annotation()
    assert truth.empty == {7}
    assert "without objects: 1 (7)" in truth.summary()
    assert [frame.labels.any() for frame in again.frames()] == [True, False]
    again.write_frame(7, nothing)
    assert again.annotated == (2,)


def test_zeros_do_not_say_that_scribbles_are_empty(project):
    project.set_kind(LabelKind.SCRIBBLES)
    with pytest.raises(ValueError, match="in scribbles 0 is unknown"):
        project.write_frame(7, np.zeros((24, 32), np.int32), empty=True)
    project.write_frame(7, np.ones((24, 32), np.int32), empty=True)
    assert project.empty == frozenset()


def test_labels_are_compressed_in_one_strip(project):
    project.write_frame(7, painted(3))
    with tifffile.TiffFile(project.path / "annotations" / "t007.tif") as file:
        page = file.pages[0]
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert len(page.dataoffsets) == 1


@pytest.mark.parametrize(
    ("number", "labels", "words"),
    [
        (3, painted(), "has no frame 3"),
        (2, painted(shape=(24, 30)), "must cover the same pixels"),
        (2, painted().astype(float), "labels are integers"),
        (2, painted() - 1, "from -2 to"),
        (2, painted().astype(np.int64) + 2**31, "labels are integers from"),
    ],
)
def test_labels_that_do_not_fit_are_refused(project, number, labels, words):
    with pytest.raises(ValueError, match=words):
        project.write_frame(number, labels)
    assert project.annotated == ()


def test_volumes_are_one_file_a_frame(tmp_path):
    stack = array_stack(np.stack([image(n, (3, 24, 32)) for n in range(4)]), axes="TZYX")
    project = Project.create(tmp_path / "p", stack, "instances")
    labels = painted(2, (3, 24, 32))
    labels[1] = UNKNOWN
    project.write_frame(3, labels)
    project.set_role(3, "validation")
    again = Project.open(tmp_path / "p")
    assert (again.read_frame(3) == labels).all()
    assert (again.open_stack().frame(3) == stack.frame(3)).all()
    frames = again.frames()
    assert [frame.name for frame in frames] == ["image/t003 z00", "image/t003 z02"]
    assert {frame.role for frame in frames} == {"validation"}


def test_sections_are_named_so_and_one_section_keeps_its_axis(tmp_path):
    stack = array_stack(np.stack([image(n, (1, 24, 32)) for n in range(2)]), axes="TZYX")
    project = Project.create(tmp_path / "one", stack, "instances")
    project.write_frame(1, painted(2, (1, 24, 32)))
    assert project.read_frame(1).shape == (1, 24, 32)
    sections = Project.create(
        tmp_path / "z", array_stack(np.stack([image(n) for n in range(2)]), axes="ZYX"), "classes"
    )
    sections.write_frame(1, painted(2))
    assert (sections.path / "annotations" / "z001.tif").is_file()


def test_a_single_image_in_memory(tmp_path):
    project = Project.create(tmp_path / "p", array_stack(image(0), axes="YX"), "instances")
    project.write_frame(0, painted())
    assert (Project.open(tmp_path / "p").open_stack().frame(0) == image(0)).all()
    assert len(project.frames()) == 1


# kinds, roles, settings


def test_scribbles_become_classes_with_unknown_pixels(project):
    project.set_kind(
        "scribbles", [("unlabelled", "#000000"), ("no", "#111111"), ("yes", "#ff0000")]
    )
    labels = np.zeros((24, 32), np.int32)
    labels[2:5], labels[10:15] = 1, 2
    project.write_frame(8, labels)
    assert (Project.open(project.path).read_frame(8) == labels).all()
    (frame,) = Project.open(project.path).frames()
    assert frame.kind is LabelKind.CLASSES
    assert frame.classes == (("no", "#111111"), ("yes", "#ff0000"))
    assert set(np.unique(frame.labels)) == {UNKNOWN, 0, 1}
    assert (frame.labels == 1).sum() == 5 * 32


def test_classes_and_instances_keep_unknown_pixels(project):
    project.write_frame(8, painted(2))
    (frame,) = project.frames()
    assert (frame.labels == painted(2)).all() and frame.kind is LabelKind.INSTANCES
    project.set_kind(LabelKind.CLASSES, [("a", "#000000"), ("b", "#00ff00"), ("c", "#0000ff")])
    (frame,) = project.frames()
    assert frame.kind is LabelKind.CLASSES and len(frame.classes) == 3


def test_unpainted_pixels_of_partial_frames_are_unknown(tmp_path, dataset):
    project = Project.create(tmp_path / "p", open_stack(dataset), "instances", partial=[2])
    for number in (2, 7):
        project.write_frame(number, painted())
    partial, whole = Project.open(tmp_path / "p").frames()
    assert set(np.unique(partial.labels)) == {UNKNOWN, 1}
    assert set(np.unique(whole.labels)) == {UNKNOWN, 0, 1}
    project.set_partial([])
    assert (project.frames()[0].labels == 0).any()


def test_names_are_those_of_the_stack_and_roles_are_kept(project, dataset):
    for number, role in ((0, "training"), (2, "validation"), (7, "unused"), (8, "")):
        project.write_frame(number, painted())
        project.set_role(number, role)
    for frames in (Project.open(project.path).frames(), training_frames(project.path)):
        assert [(f.name, f.role) for f in frames] == [
            ("01/t000", "training"),
            ("01/t002", "validation"),
            ("01/t008", ""),
        ]
        assert (frames[1].image == image(2)).all()
    assert [f.name for f in training_frames(project.path, frames=[7])] == ["01/t007"]
    assert project.numbers("unused") == (7,)
    project.set_roles({0: "validation", 2: ""})
    assert Project.open(project.path).roles == {0: "validation", 7: "unused"}


def test_roles_go_five_to_one_and_stay(tmp_path):
    stack = array_stack(np.zeros((20, 8, 8), np.uint8))
    project = Project.create(tmp_path / "p", stack, "instances", store=False)
    given = []
    for number in range(13):
        given.append(project.assign_role(number)[0])
        project.write_frame(number, np.ones((8, 8), np.int32))
    assert "".join(given) == "ttvtttvtttttv"
    project.set_role(0, "unused")
    assert project.assign_role(0) == "unused"


@pytest.mark.parametrize("kind", ["scribbles", "instances"])
def test_a_frame_with_unknown_pixels_is_checked_on_only_where_many_are_learned_from(tmp_path, kind):
    project = Project.create(
        tmp_path / "p", array_stack(np.zeros((8, 8, 8), np.uint8)), kind, store=False
    )
    labels = np.ones((8, 8), np.int32)
    labels[0] = 0 if kind == "scribbles" else UNKNOWN
    given = []
    for number in range(8):
        project.write_frame(number, labels)
        given.append(project.assign_role(number)[0])
    assert "".join(given) == "tttttvtt"


@pytest.mark.parametrize(("number", "role"), [(2, "test"), (3, "training")])
def test_roles_and_frames_that_do_not_exist_are_refused(project, number, role):
    with pytest.raises(ValueError, match=r"is not a role|has no frame"):
        project.set_role(number, role)
    assert project.roles == {}


def test_nothing_to_train_on_is_said(project):
    with pytest.raises(ValueError, match="no annotated frame to train on; paint"):
        project.frames()
    project.write_frame(2, painted())
    project.set_role(2, "unused")
    with pytest.raises(ValueError, match=r"\(1 annotated frames are unused\)"):
        project.frames()
    with pytest.raises(ValueError, match="Frame 7 is not annotated"):
        project.frames([7])


def test_the_model_is_kept(project):
    run = project.new_run()
    run.mkdir(parents=True)
    project.set_model(run)
    again = Project.open(project.path)
    assert again.model == run
    assert json.loads((project.path / "project.json").read_text())["model"] == "runs/001"
    shutil.rmtree(run)
    assert again.model is None
    project.set_model(None)
    assert json.loads((project.path / "project.json").read_text())["model"] is None


def test_a_run_that_a_killed_window_left_is_the_model(project):
    for name in ("001", "002", "003"):
        (project.path / "runs" / name).mkdir(parents=True)
    for name in ("001", "002"):
        (project.path / "runs" / name / "model.pt").touch()
    assert Project.open(project.path).model == project.path / "runs/002"
    project.set_model(project.path / "runs/001")
    assert Project.open(project.path).model == project.path / "runs/001"


def test_two_programs_do_not_undo_each_other(project):
    window, terminal = Project.open(project.path), Project.open(project.path)
    window.set_role(2, "training")
    terminal.set_partial([8])
    window.set_role(7, "unused")
    assert Project.open(project.path).partial == {8}
    assert Project.open(project.path).roles == {2: "training", 7: "unused"}
    terminal = Project.open(terminal.path)
    assert terminal.roles == {2: "training", 7: "unused"}


def test_threads_do_not_undo_each_other(project):
    threads = [
        threading.Thread(target=project.set_role, args=(number, "training")) for number in NUMBERS
    ]
    threads += [
        threading.Thread(target=project.write_frame, args=(number, painted())) for number in NUMBERS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = Project.open(project.path)
    assert again.roles == dict.fromkeys(NUMBERS, "training")
    assert again.annotated == NUMBERS


# runs


def write_run(path: Path, rows: int, minutes: float | None, **config: object) -> None:
    path.mkdir(parents=True)
    training = {"minutes": minutes, "epochs": None, "patience": 0, **config}
    (path / "config.json").write_text(json.dumps({"training": training}))
    (path / "split.json").write_text('{"training": ["01/t002"], "validation": ["01/t005"]}')
    lines = [f"{n},0.5,{n / 10},{n / 5},{n * 60.0},{n < 3}" for n in range(1, rows + 1)]
    head = "epoch,validation_loss,seg,iou,elapsed_s,best"
    (path / "history.csv").write_text("\n".join([head, *lines]) + "\n")
    for name in ("last.pt", "model.pt"):
        (path / name).touch()


def test_runs_are_read_without_their_networks(project):
    assert project.runs() == () and project.last_run is None
    write_run(project.new_run(), 4, 4)
    write_run(project.new_run(), 4, 10)
    write_run(project.new_run(), 4, 10, patience=2)
    write_run(project.new_run(), 4, None, epochs=4)
    (project.path / "runs" / "notes").mkdir()
    runs = project.runs()
    assert [run.name for run in runs] == ["001", "002", "003", "004"]
    assert [run.finished for run in runs] == [True, False, True, True]
    assert [run.resumable for run in runs] == [False, True, False, False]
    assert project.new_run().name == "005" and not project.new_run().exists()
    taken = [project.reserve_run(), Project.open(project.path).reserve_run()]
    assert [run.name for run in taken] == ["005", "006"]
    assert project.new_run().name == "007" and len(project.runs()) == 4
    for run in taken:
        run.rmdir()
    second = runs[1]
    assert (second.epochs, second.best_epoch, second.seg, second.iou) == (4, 2, 0.2, 0.4)
    assert (second.elapsed_s, second.budget, runs[3].budget) == (240, "10 min", "4 epochs")
    assert second.training_frames == ("01/t002",) and second.when is not None
    assert project.last_run is not None and project.last_run.name == "004"


def test_a_run_that_ended_just_before_its_time_is_finished(project):
    for rows, minutes in ((4, 4.02), (9, 9.95), (9, 10.5), (1, 1.9), (9, 9.0)):
        write_run(project.new_run(), rows, minutes)
    # an epoch took a minute: what is left is no epoch, a tenth of the time at most
    assert [run.finished for run in project.runs()] == [True, True, False, False, True]
    write_run(project.new_run(), 20, 21.01)
    assert project.last_run.resumable


def test_a_run_killed_at_once_or_damaged_tells_what_it_can(project):
    first, second = project.new_run(), project.path / "runs" / "002"
    first.mkdir(parents=True)
    (first / "config.json").write_text("{ half")
    write_run(second, 2, 10)
    (second / "history.csv").write_bytes(b"\xff\xfe\x00")
    killed, damaged = project.runs()
    assert (killed.epochs, killed.finished, killed.resumable) == (0, False, False)
    assert (damaged.epochs, damaged.resumable, damaged.seg) == (0, True, None)


# where the images are


def test_the_project_opens_as_a_stack(project):
    assert open_stack(project.path).annotations == {}
    project.write_frame(7, painted(4))
    for path in (project.path, project.path / "project.json", project.path / "annotations"):
        stack = open_stack(path)
        assert (stack.format, stack.name, stack.sequence) == ("ctc", "CELLS 01", "01")
        assert stack.annotation().name == "painted"
        assert (stack.annotation().frame(7) == painted(4)).all()
        assert (stack.frame(8) == image(8)).all()
    with pytest.raises(ValueError, match="project of one sequence"):
        open_stack(project.path, sequence="02")


def test_truth_of_the_stack_is_still_there(tmp_path, dataset):
    truth = dataset / "01_GT" / "SEG" / "man_seg002.tif"
    truth.parent.mkdir(parents=True)
    tifffile.imwrite(truth, np.maximum(painted(), 0).astype(np.uint16))
    project = Project.create(tmp_path / "p", open_stack(dataset), "instances")
    project.write_frame(7, painted())
    assert list(open_stack(project.path).annotations) == ["painted", "gold"]
    assert [f.name for f in training_frames(project.path, annotation="gold")] == ["01/t002"]


def test_project_and_stack_may_move_together(tmp_path, project):
    project.write_frame(7, painted())
    (tmp_path / "lab").rename(tmp_path / "cluster")
    moved = Project.open(tmp_path / "cluster" / "work")
    assert (moved.open_stack().frame(2) == image(2)).all()
    assert [frame.name for frame in moved.frames()] == ["01/t007"]


def test_a_moved_stack_is_said_and_found_again(tmp_path, dataset, project):
    project.write_frame(7, painted())
    dataset.rename(tmp_path / "elsewhere")
    with pytest.raises(StackMissing, match="napari-jnet relocate"):
        project.open_stack()
    assert (project.read_frame(7) == painted()).all()
    with pytest.raises(FileNotFoundError):
        project.relocate(tmp_path / "nowhere")
    project.relocate(tmp_path / "elsewhere")
    assert (Project.open(project.path).open_stack().frame(2) == image(2)).all()


def test_other_images_are_refused(tmp_path, dataset, project):
    others = write_sequence(tmp_path / "others", seed=100)
    with pytest.raises(ValueError, match=r"another stack .* has other pixels"):
        project.relocate(others)
    (others / "01" / "t011.tif").unlink()
    with pytest.raises(ValueError, match=r"it has the frames 4 \(.*, not 5 \("):
        project.relocate(others)
    tifffile.imwrite(others / "01" / "t012.tif", image(12))
    with pytest.raises(ValueError, match=r"it has the frames 5 .*12\), not 5"):
        project.relocate(others)
    shutil.rmtree(dataset)
    for number in NUMBERS:
        path = dataset / "01" / f"t{number:03d}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, image(number, (24, 30)))
    with pytest.raises(ValueError, match=r"24 × 30, not 24 × 32"):
        project.open_stack()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.uint16, bool])
def test_an_image_in_no_file_is_stored(tmp_path, dtype):
    array = np.stack([image(n) for n in range(5)]).astype(dtype)
    stack = array_stack(array, name="from memory")
    project = Project.create(tmp_path / "p", stack, "instances", store=False)
    assert not project.stack.has_file
    with pytest.raises(StackMissing, match="in no file"):
        project.open_stack()
    project.store_stack(stack)
    project.store_stack(stack)
    opened = Project.open(tmp_path / "p").open_stack()
    assert opened.dtype == array.dtype and opened.name == "from memory"
    for number in range(5):
        assert (opened.frame(number) == array[number]).all()


def test_colours_are_stored(tmp_path):
    array = np.stack([image(n, (24, 32, 3)) for n in range(3)])
    project = Project.create(tmp_path / "p", array_stack(array), "classes")
    assert (project.open_stack().frame(1) == array[1]).all()
    project.write_frame(1, painted(1))
    (frame,) = project.frames()
    assert frame.image.shape == (24, 32, 3)


def test_storing_that_fails_leaves_nothing_half(tmp_path):
    array = np.stack([image(n) for n in range(5)])
    stack = array_stack(array)

    def read(number):
        if number == 3:
            raise OSError("the disk is gone")
        return array[number]

    project = Project.create(tmp_path / "p", stack, "instances", store=False)
    with pytest.raises(OSError, match="the disk is gone"):
        project.store_stack(replace(stack, read=read))
    names = ["annotations", "project.json"]
    assert sorted(p.name for p in project.path.iterdir()) == names
    assert not Project.open(project.path).stack.stored
    with pytest.raises(ValueError, match="another one"):
        project.store_stack(array_stack(np.stack([image(n + 9) for n in range(5)])))
    project.store_stack(stack)
    assert Project.open(project.path).stack.stored


def test_a_lost_or_damaged_copy_is_said(tmp_path):
    array = np.stack([image(n) for n in range(5)])
    project = Project.create(tmp_path / "p", array_stack(array), "instances")
    stored = project.path / "stack.tif"
    stored.write_bytes(stored.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"damaged.*annotations are safe"):
        project.open_stack().frame(4)
    stored.unlink()
    with pytest.raises(StackMissing, match="is missing"):
        project.open_stack()
    tifffile.imwrite(tmp_path / "copy.tif", array, photometric="minisblack")
    project.relocate(tmp_path / "copy.tif")
    assert (Project.open(project.path).open_stack().frame(4) == array[4]).all()


def test_too_large_an_image_is_refused_before_anything_is_made(tmp_path):
    huge = array_stack(np.broadcast_to(np.uint8(0), (9000, 1000, 1000)))
    with pytest.raises(ValueError, match=r"8\.4 GiB; .* up to 8 GiB"):
        Project.create(tmp_path / "p", huge, "instances")
    assert not (tmp_path / "p").exists()
    project = Project.create(tmp_path / "p", huge, "instances", store=False)
    with pytest.raises(ValueError, match="Save it as TIFF"):
        project.store_stack(huge)


def test_what_napari_opened_is_referred_to_if_it_shows_the_same(tmp_path):
    array = np.stack([image(n) for n in range(4)])
    tifffile.imwrite(tmp_path / "plain.tif", array, photometric="minisblack")
    told = array_stack(array, name="plain")
    same = type(told)(**{**vars(told), "path": tmp_path / "plain.tif"})
    assert Project.create(tmp_path / "a", same, "instances").stack.path == tmp_path / "plain.tif"
    other = array_stack(array[:, ::-1], name="turned")
    turned = type(told)(**{**vars(other), "path": tmp_path / "plain.tif"})
    project = Project.create(tmp_path / "b", turned, "instances")
    assert project.stack.stored and project.stack.path is None


def test_images_of_different_sizes_keep_their_own(tmp_path):
    from napari_jnet.io.folder import read_image

    folder = tmp_path / "images"
    folder.mkdir()
    sizes = {1: (20, 32), 2: (24, 30)}
    for number, shape in sizes.items():
        tifffile.imwrite(folder / f"a{number}.tif", image(number, shape))
    opened = open_stack(folder)

    def filled(number: int) -> np.ndarray:
        whole = np.zeros((24, 32), np.uint8)
        frame = opened.frame(number)
        whole[: frame.shape[0], : frame.shape[1]] = frame
        return whole

    shown = type(opened)(**{**vars(opened), "shape": (24, 32), "read": filled})
    project = Project.create(tmp_path / "p", shown, "instances")
    assert project.stack.path == folder
    for number in sizes:
        project.write_frame(number, painted())
    frames = project.frames()
    assert [frame.image.shape for frame in frames] == list(sizes.values())
    assert (frames[0].image == read_image(folder / "a1.tif")).all()


# which project belongs to a stack


def find_project(stack, folder=None) -> Path | None:
    """Return the newest project of a stack that can be opened."""
    return next(
        (one.path for one in list_projects(stack, folder and [folder]) if not one.problem), None
    )


def test_the_newest_project_of_a_stack_is_found(tmp_path, dataset, monkeypatch):
    monkeypatch.setenv("NAPARI_JNET_PROJECTS", str(tmp_path / "projects"))
    stack = open_stack(dataset)
    assert projects_folder() == tmp_path / "projects"
    assert find_project(stack) is None
    first = Project.create(new_project_folder(stack), stack, "instances")
    second = Project.create(new_project_folder(stack), stack, "instances")
    assert (first.path.name, second.path.name) == ("CELLS-01", "CELLS-01-2")
    for name in ("project.json", "annotations"):
        os.utime(first.path / name, (1, 1))
    assert find_project(stack) == second.path
    os.utime(first.path / "project.json", (2e9, 2e9))
    assert find_project(stack) == first.path
    (first.path / "project.json").write_text("{")
    assert find_project(stack) == second.path


def test_all_projects_of_a_stack_are_listed(tmp_path, dataset, monkeypatch):
    monkeypatch.setenv("NAPARI_JNET_PROJECTS", str(tmp_path / "projects"))
    stack = open_stack(dataset)
    made = [Project.create(new_project_folder(stack), stack, "instances") for _ in range(4)]
    for age, project in enumerate(made[:2]):
        project.write_frame(7, painted())
        os.utime(project.path / "annotations" / "t007.tif", (1e9 - age, 1e9 - age))
        for name in ("project.json", "annotations"):
            os.utime(project.path / name, (1e9 - age, 1e9 - age))
    (made[3].path / "project.json").write_text("{")
    listed = list_projects(stack)
    assert [one.path for one in listed] == [made[n].path for n in (2, 0, 1, 3)]
    assert [bool(one.summary) for one in listed] == [False, True, True, False]
    assert [bool(one.problem) for one in listed] == [False, False, False, True]
    assert "1 frame annotated" in listed[1].summary


def test_a_run_that_somebody_trains_cannot_go_on(project):
    project.write_frame(7, painted())
    run = project.path / "runs" / "001"
    run.mkdir(parents=True)
    (run / "config.json").write_text('{"training": {"minutes": 15}}')
    (run / "last.pt").write_bytes(b"")
    assert project.last_run.resumable
    with FolderLock(run):
        assert not project.last_run.resumable
        assert project.last_run.trained_by
        assert "being trained" in project_summary(project)
    assert project.last_run.resumable
    assert "training stopped" in project_summary(project)


def test_copied_and_renamed_images_find_their_project(tmp_path, dataset):
    root = tmp_path / "projects"
    project = Project.create(root / "one", open_stack(dataset), "instances")
    copied = tmp_path / "backup" / dataset.name
    shutil.copytree(dataset, copied)
    assert find_project(open_stack(copied), root) == project.path


def test_a_project_of_other_images_is_not_found(tmp_path, dataset):
    root = tmp_path / "projects"
    project = Project.create(root / "one", open_stack(dataset), "instances")
    others = write_sequence(tmp_path / "others", seed=100)
    assert find_project(open_stack(others), root) is None
    dataset.rename(tmp_path / "moved")
    assert find_project(open_stack(others), root) is None
    assert find_project(open_stack(tmp_path / "moved"), root) == project.path


def test_a_blank_middle_frame_does_not_make_two_stacks_one(tmp_path):
    array = np.stack([image(n) for n in range(3)])
    array[1] = 0
    Project.create(tmp_path / "p", array_stack(array, name="one"), "instances")
    assert find_project(array_stack(array + (array > 0), name="two"), tmp_path) is None
    assert find_project(array_stack(array, name="one"), tmp_path) == tmp_path / "p"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read anywhere")
def test_a_folder_without_permission_hides_no_project(tmp_path, dataset):
    project = Project.create(tmp_path / "root" / "one", open_stack(dataset), "instances")
    (tmp_path / "root" / "secret").mkdir(mode=0)
    assert find_project(open_stack(dataset), tmp_path / "root") == project.path


def test_a_project_of_an_image_in_memory_is_found_by_its_pixels(tmp_path):
    array = np.stack([image(n) for n in range(3)])
    for name, store in (("stored", True), ("waiting", False)):
        root = tmp_path / name
        Project.create(root / "p", array_stack(array), "instances", store=store)
        assert find_project(array_stack(array.copy(), name="other name"), root) == root / "p"
        assert find_project(array_stack(array + 1), root) is None


def test_programs_wait_for_each_other(project):
    """The child holds the folder until it hears from us, so that our change must come after its."""
    code = (
        "import sys; from pathlib import Path; from napari_jnet.project.project import Project\n"
        "from napari_jnet.files import file_lock\n"
        "with file_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(project.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "held\n"
        change = threading.Thread(target=project.set_role, args=(2, "unused"), daemon=True)
        change.start()
        assert Project.open(project.path).role(2) == ""
        child.kill()  # a killed program holds nothing
        change.join(timeout=60)
    assert Project.open(project.path).role(2) == "unused"


# damage, and what a killed process leaves


def test_a_damaged_project_file_is_said_and_nothing_is_changed(project):
    project.write_frame(7, painted())
    file = project.path / "project.json"
    for text, words in (
        ("{ half", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": "x"}', "another program"),
        ('{"format": "napari-jnet project", "version": 9}', "version 9.*Update"),
        ('{"format": "napari-jnet project", "version": 1}', "is missing"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            Project.open(project.path)
        with pytest.raises(ValueError, match=words):
            open_stack(project.path)
        with pytest.raises(ValueError, match=words):
            project.set_role(7, "training")
        assert file.read_text() == text
    assert (project.read_frame(7) == painted()).all()


def test_a_newer_project_file_is_not_replaced(project):
    file = project.path / "project.json"
    newer = file.read_text().replace('"version": 1', '"version": 9')
    file.write_text(newer)
    with pytest.raises(ValueError, match="version 9"):
        Project.open(project.path)
    assert file.read_text() == newer


def test_a_project_that_cannot_be_read_is_told_with_the_stack(tmp_path, dataset):
    stack, other = open_stack(dataset), array_stack(np.zeros((5, 9, 9), np.uint8))
    root = tmp_path / "projects"
    named = Project.create(new_project_folder(stack, root), stack, "instances")
    moved = Project.create(new_project_folder(stack, root), stack, "instances")
    moved.write_frame(7, painted())
    assert not any(one.problem for one in list_projects(stack, [root]))
    for path in (named.path, moved.path):
        (path / "project.json").write_text("")
    assert find_project(stack, root) is None
    told = [one.problem for one in list_projects(stack, [root])]
    assert [str(p.path) in words for p, words in zip((named, moved), told, strict=True)] == [
        True
    ] * 2
    assert all("put back a copy" in words for words in told)
    assert list_projects(other, [root]) == ()
    (moved.path / "project.json").unlink()
    assert "has no project.json. The painted frames" in list_projects(stack, [root])[1].problem


def test_a_lost_project_file_is_written_again_by_who_knows_it(project):
    (project.path / "project.json").unlink()
    with pytest.raises(FileNotFoundError, match="is not a project"):
        Project.open(project.path)
    project.set_role(7, "unused")
    assert Project.open(project.path).role(7) == "unused"


def test_a_damaged_annotation_is_said_and_others_are_read(project):
    for number in (2, 7):
        project.write_frame(number, painted())
    file = project.path / "annotations" / "t007.tif"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"t007\.tif is damaged.*Other frames are not affected"):
        project.read_frame(7)
    assert (project.read_frame(2) == painted()).all()
    assert file.read_bytes() == whole[: len(whole) // 2]
    tifffile.imwrite(file, np.zeros((9, 9), np.int32))
    with pytest.raises(ValueError, match=r"of shape \(9, 9\)"):
        project.read_frame(7)


def test_painting_a_damaged_frame_anew_keeps_the_damaged_file(project):
    file = project.path / "annotations" / "t007.tif"
    for broken, new in ((b"one", painted()), (b"two", np.zeros((24, 32), np.int32))):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=r"t007\.tif is damaged"):
            project.read_frame(7)
        project.write_frame(7, new)
        assert (project.read_frame(7) == new).all()
    assert project.annotated == ()
    names = ("t007.tif.damaged", "t007.tif.damaged-2")
    assert [file.with_name(name).read_bytes() for name in names] == [b"one", b"two"]


def test_files_of_others_are_no_annotations(project):
    for name in ("t099.tif", "t2.tif", "z002.tif", "notes.txt", ".t002.tif.part", "cells.tif"):
        (project.path / "annotations" / name).touch()
    assert project.annotated == ()


def refuse(number: int):
    def call(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        ("fsync", errno.ENOSPC, "the disk is full"),
        ("replace", errno.EACCES, "no permission to write there"),
        ("replace", errno.EROFS, "no permission to write there"),
        ("fsync", errno.EIO, "Check the disk"),
    ],
)
def test_a_write_that_fails_keeps_the_old_file(project, monkeypatch, call, number, words):
    project.write_frame(7, painted(1))
    monkeypatch.setattr(storing_module.os, call, refuse(number))
    with pytest.raises(OSError, match=f"{words}.*saved before is unchanged"):
        project.write_frame(7, painted(2))
    with pytest.raises(OSError, match=words):
        project.set_role(7, "training")
    monkeypatch.undo()
    assert (project.read_frame(7) == painted(1)).all()
    assert project.role(7) == Project.open(project.path).role(7) == ""
    assert [p.name for p in (project.path / "annotations").iterdir()] == ["t007.tif"]


def test_a_project_that_cannot_be_made_leaves_nothing(tmp_path, dataset, monkeypatch):
    stack = open_stack(dataset)
    monkeypatch.setattr(storing_module.os, "fsync", refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="the disk is full"):
        Project.create(tmp_path / "projects" / "p", stack, "instances")
    assert list((tmp_path / "projects").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be made"):
        Project.create(tmp_path / "file" / "p", stack, "instances")


def test_a_folder_that_is_gone_is_said(project):
    shutil.rmtree(project.path)
    with pytest.raises(OSError, match="its folder does not exist"):
        project.write_frame(7, painted())


def test_a_folder_that_holds_something_is_refused(tmp_path, dataset):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="is not empty"):
        Project.create(tmp_path / "full", open_stack(dataset), "instances")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.txt"]


PAINTING = """
import sys
import numpy as np
from napari_jnet.project.project import Project

project = Project.open(sys.argv[1])
for count in range(1, 100000):
    project.write_frame(7, np.full((24, 32), count, np.int32))
    project.set_kind("classes", [(str(count), "#000000")])
    print(count, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_a_killed_process_leaves_every_file_old_or_new(project):
    for stop in (1, 4, 9):
        with subprocess.Popen(
            [sys.executable, "-c", PAINTING, str(project.path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            said = [int(child.stdout.readline()) for _ in range(stop)]
            child.kill()
            said += [int(line) for line in child.stdout if line.endswith("\n")]
        again = Project.open(project.path)
        kept = again.read_frame(7)
        assert (kept == kept[0, 0]).all()
        assert kept[0, 0] in (said[-1], said[-1] + 1)
        assert int(again.classes[0][0]) in (said[-1], said[-1] + 1)
        for path in again.path.rglob("*.part"):  # an hour later
            os.utime(path, (0, 0))
        Project.open(project.path)
        assert [p.name for p in again.path.rglob("*.part")] == []


def test_unfinished_files_of_a_living_process_are_left_alone(project):
    folder = project.path / "annotations"
    with storing_module.atomic_write(folder / "t007.tif") as mine:
        mine.touch()
        Project.open(project.path)
        assert mine.exists()
    assert project.path.joinpath("annotations", "t007.tif").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_nothing_is_written_outside_the_project(project, tmp_path):
    project.write_frame(2, painted())
    for name in ("annotations", "runs"):
        folder = project.path / name
        if folder.exists():
            folder.rename(tmp_path / name)
        else:
            (tmp_path / name).mkdir()
        folder.symlink_to(tmp_path / name)
    np.testing.assert_array_equal(project.read_frame(2), painted())
    before = sorted(path.name for path in tmp_path.rglob("*"))
    for write in (lambda: project.write_frame(2, 0 * painted()), project.reserve_run):
        with pytest.raises(OSError, match=r"is a link to .* outside the project\. Put"):
            write()
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("digits", 2_000_000_000), ("digits", 0), ("relative", 3), ("shape", [24, -1]),
        ("frame_numbers", [1e400]), ("shape", None), ("dtype", [["a", 3]]), ("scale", [None]),
    ],
)  # fmt: skip
def test_a_project_of_hostile_values_is_damaged(project, field, value):
    file = project.path / "project.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["stack"][field] = value
    (project.path / "project.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"project\.json is damaged"):
        Project.open(project.path)


def test_a_deep_project_file_does_not_hide_the_others(project, dataset, monkeypatch):
    monkeypatch.setenv("NAPARI_JNET_PROJECTS", str(project.path.parent))
    other = project.path.parent / "deep"
    (other / "annotations").mkdir(parents=True)
    (other / "project.json").write_text("[" * 200_000, encoding="utf-8")
    assert find_project(open_stack(dataset)) == project.path
    with pytest.raises(ValueError, match=r"project\.json cannot be read .*deeply"):
        Project.open(other)
