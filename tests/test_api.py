"""The public names, and that asking for one loads no more than it needs."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

import napari_jnet


def test_every_public_name_is_there():
    for name in napari_jnet.__all__:
        assert getattr(napari_jnet, name) is not None
        assert name in dir(napari_jnet)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        napari_jnet.trian  # noqa: B018


OPENING = """
import sys
import numpy as np, tifffile
import napari_jnet
assert "numpy" in sys.modules
heavy = {"torch", "napari", "qtpy", "dask", "skimage"} & set(sys.modules)
assert not heavy, ("import", heavy)
tifffile.imwrite(sys.argv[1], np.zeros((5, 16, 16), np.uint8))
stack = napari_jnet.open_stack(sys.argv[1])
assert len(stack) == 5
napari_jnet.Config, napari_jnet.preset("jnet"), napari_jnet.AnnotatedFrame
napari_jnet.BatchEnd, napari_jnet.FramePrediction, napari_jnet.Scores
heavy = {"torch", "napari", "qtpy", "dask"} & set(sys.modules)
assert not heavy, ("open_stack", heavy)
"""


def test_opening_a_stack_loads_neither_torch_nor_napari(tmp_path):
    file = str(tmp_path / "volume.tif")
    done = subprocess.run(
        [sys.executable, "-c", OPENING, file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "job",
    [napari_jnet.train, napari_jnet.predict, napari_jnet.evaluate, napari_jnet.compare_models],
)
def test_the_events_of_a_job_are_public(job):
    for part in get_args(get_type_hints(job)["return"]):  # what is yielded, sent and returned
        for event in get_args(part) or {part} - {None}:
            assert getattr(napari_jnet, event.__name__) is event


def test_the_path_of_the_readme(tmp_path):
    """Ten lines from a stack to a score."""
    from napari_jnet.synthetic import write_cells_sequence

    root = write_cells_sequence(
        tmp_path / "cells", frames=(3, 2), shape=(128, 128), cells=6, diameter=24.0
    )
    stack = napari_jnet.open_stack(root, sequence="01")
    numbers = stack.annotation().frame_numbers[:2]
    config = napari_jnet.preset("jnet").replace(
        {
            "training.epochs": 1,
            "training.batches_per_epoch": 2,
            "training.patch_size": 32,
            "training.threads": 1,
        }
    )
    frames = napari_jnet.annotated_frames(stack, frames=numbers)
    for _ in napari_jnet.train(frames, tmp_path / "run", config):
        pass
    model = napari_jnet.load_model(tmp_path / "run", device="cpu")
    held_out = napari_jnet.open_stack(root, sequence="02")
    with napari_jnet.ResultWriter(tmp_path / "out", held_out) as writer:
        for frame in napari_jnet.predict(model, held_out):
            if hasattr(frame, "instances"):
                writer.write(frame)
    *_, scores = napari_jnet.evaluate(tmp_path / "out", held_out)
    assert 0 <= scores.seg <= 1
    assert scores.objects > 0
