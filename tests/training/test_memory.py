"""Memory of a training: no frame is held twice, and a batch that does not fit is computed in parts."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_jnet.config import Config
from napari_jnet.events import BatchEnd, Message, TrainEvent, TrainingStart
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN
from napari_jnet.model import read_checkpoint
from napari_jnet.training import run as run_module
from napari_jnet.training.loop import train
from napari_jnet.training.sampler import FrameStore, load_frames

BATCH = 5
CONFIG = Config().replace(
    {
        "network.channels": 4,
        "network.resolution_levels": (-1, 0),
        "network.batch_norm": False,  # which sees the part, not the batch
        "training.patch_size": 32,
        "training.batch_size": BATCH,
        "training.batches_per_epoch": 2,
        "training.epochs": 2,
        "training.device": "cpu",
        "training.threads": 1,
        "training.precision": "float32",
        "targets.dt_bound": 5.0,
    }
)


def cells() -> list[AnnotatedFrame]:
    """Bright squares; a part of each frame is unknown, so that patches differ in known pixels."""
    frames = []
    for index in range(3):
        labels = np.zeros((64, 48), np.int32)
        labels[4 + 9 * index : 20 + 9 * index, 6:22] = 1
        labels[8:24, 26:42] = 2
        image = 20.0 + 100 * (labels > 0) + np.random.default_rng(index).normal(0, 8, labels.shape)
        labels[30 + 8 * index :, : 30 - 9 * index] = UNKNOWN
        frames.append(AnnotatedFrame(f"t{index}", image.astype(np.float32), labels))
    return frames


def test_no_frame_is_held_twice_or_padded(tmp_path: Path) -> None:
    """Images of training frames are let go once they are on the device; labels are shared."""
    frames = [
        replace(frame, image=frame.image[: 64 - n], labels=frame.labels[: 64 - n], role=role)
        for n, (frame, role) in enumerate(
            zip(cells(), ["training", "training", "validation"], strict=True)
        )
    ]
    store = load_frames(frames[:2], (-1, 0), torch.device("cpu"))
    assert isinstance(store, FrameStore)
    assert [tuple(image.shape) for image in store.images] == [(1, 64, 48), (1, 63, 48)]
    for labels, frame in zip(store.labels, frames[:2], strict=True):
        assert np.shares_memory(labels.numpy(), frame.labels)
    del store, labels, frame
    images = [weakref.ref(frame.image) for frame in frames]
    job = train(frames, tmp_path / "run", CONFIG)
    del frames
    assert isinstance(next(job), TrainingStart)
    gc.collect()
    assert [image() is None for image in images] == [True, True, False]
    job.close()


def limit(patch: pytest.MonkeyPatch, most: int, error: Exception, sizes: list[int]) -> None:
    """Let the network fail for more patches than these at once; list how many it computed."""
    real = run_module.run_step

    def run_step(
        network: torch.nn.Module, levels: Sequence[torch.Tensor], *, bfloat16: bool
    ) -> torch.Tensor:
        output = real(network, levels, bfloat16=bfloat16)
        if len(output) > most:
            raise error
        sizes.append(len(output))
        return output

    patch.setattr(run_module, "run_step", run_step)


def said(events: Sequence[TrainEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Message) and "memory" in event.text]


@pytest.mark.parametrize("loss", ["bce+smooth_l1", "bce+mse", "dice+smooth_l1"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("could not create a primitive"),
    ],
    ids=["cuda", "python", "cpu", "onednn"],
)
def test_a_batch_that_does_not_fit_is_computed_in_parts_and_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, loss: str
) -> None:
    config = CONFIG.replace({"training.loss": loss, "network.dropout": 0.0})
    whole = list(train(cells(), tmp_path / "whole", config))
    sizes: list[int] = []
    limit(monkeypatch, 1, error, sizes)
    events = list(train(cells(), tmp_path / "parts", config))
    runs = 2 if "dice" in loss else 1  # first for the sums of the whole batch
    assert sizes == [1] * BATCH * 4 * runs
    assert said(events) == [
        "The memory does not hold a batch of 5 patches; from now on 1 are computed at a time, and their "
        "gradients added."
    ]
    first, second = (
        [event.loss for event in run if isinstance(event, BatchEnd)] for run in (whole, events)
    )
    assert second == pytest.approx(first, rel=1e-5)
    expected = read_checkpoint(tmp_path / "whole/last.pt")["training"]["network"]
    for name, value in read_checkpoint(tmp_path / "parts/last.pt")["training"]["network"].items():
        torch.testing.assert_close(value, expected[name], atol=2e-5, rtol=1e-4, msg=name)


def test_a_resumed_training_begins_with_what_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.replace({"network.batch_norm": True, "network.dropout": 0.2})
    sizes: list[int] = []
    limit(monkeypatch, 3, MemoryError(), sizes)
    list(train(cells(), tmp_path / "whole", config))
    assert sizes == [2, 2, 1] * 4
    job = train(cells(), tmp_path / "run", config)
    while not isinstance(next(job), BatchEnd):
        pass
    job.close()
    sizes.clear()
    events = list(train(cells(), tmp_path / "run", config, resume=True))
    assert sizes == [2, 2, 1] * 3 and said(events) == []
    expected = read_checkpoint(tmp_path / "whole/last.pt")["network"]
    for name, value in read_checkpoint(tmp_path / "run/last.pt")["network"].items():
        torch.testing.assert_close(value, expected[name], atol=0, rtol=0, msg=name)


def test_dice_in_parts_changes_statistics_and_random_state_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts run twice, but batch normalization and dropout are as those of a loss that needs one run."""
    limit(monkeypatch, 2, MemoryError(), [])
    saved = []
    for loss in ("bce+smooth_l1", "dice+smooth_l1"):
        config = CONFIG.replace(
            {
                "training.loss": loss,
                "training.learning_rate": 1e-8,  # so that weights stay what they are
                "network.batch_norm": True,
                "network.dropout": 0.2,
            }
        )
        list(train(cells(), tmp_path / loss, config))
        saved.append(read_checkpoint(tmp_path / loss / "last.pt")["training"])
    one, two = saved
    assert torch.equal(one["generator"], two["generator"])
    for name, value in one["network"].items():
        if "running" in name or "tracked" in name:
            torch.testing.assert_close(value, two["network"][name], msg=name)


def test_one_patch_that_does_not_fit_names_what_to_change_and_keeps_what_was_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = train(cells(), tmp_path / "run", CONFIG)
    while not isinstance(next(job), BatchEnd):
        pass
    limit(monkeypatch, 0, MemoryError(), [])
    with pytest.raises(
        ValueError, match=r"single patch of 32 x 32.*smaller training\.patch_size, such as 16"
    ):
        list(job)
    assert read_checkpoint(tmp_path / "run/last.pt")["training"]["step"] == 1


def test_another_error_of_the_network_is_not_taken_for_a_full_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 0, RuntimeError("shapes differ"), [])
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(train(cells(), tmp_path / "run", CONFIG))
