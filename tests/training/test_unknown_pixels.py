"""The central promise: what an unknown pixel would have been changes no target, loss, gradient or score."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_jnet.config import Config
from napari_jnet.evaluation.objects import det_frame, seg_frame
from napari_jnet.evaluation.pixels import confusion
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind, contingency
from napari_jnet.networks import build_network
from napari_jnet.training.losses import LOSSES
from napari_jnet.training.sampler import draw_batch, load_frames
from napari_jnet.training.targets import Targets

BOUND = 5.0
CONFIG = Config().replace(
    {
        "network.channels": 4,
        "network.resolution_levels": (-1, 0),
        "training.patch_size": 48,
        "training.batch_size": 4,
        "training.class_balance": True,
        "training.border_weight": 5.0,
        "targets.dt_bound": BOUND,
    }
)


def truth(hidden: NDArray[np.bool_], seed: int | None) -> NDArray[np.int32]:
    """Cells of one frame; where they are hidden they are unknown, or other cells of a seed."""
    rows, columns = np.mgrid[:72, :80]
    labels = np.where((rows % 12 < 9) & (columns % 12 < 9), 1 + rows // 12 + 7 * (columns // 12), 0)
    if seed is None:
        return np.where(hidden, UNKNOWN, labels).astype(np.int32)
    others = np.random.default_rng(seed).integers(0, 4, (72, 80)) * 100
    return np.where(hidden, others, labels).astype(np.int32)


HIDDEN = np.zeros((72, 80), bool)
HIDDEN[:, 36:60] = True  # ends between two columns of cells, as the cells of a partial frame do
HIDDEN[24:36, :36] = True


def drawn(seed: int | None, kind: LabelKind) -> tuple[list[torch.Tensor], Targets]:
    image = np.random.default_rng(0).normal(size=HIDDEN.shape)
    labels = truth(HIDDEN, seed)
    if kind is LabelKind.CLASSES:
        labels = np.minimum(labels, 1)
    frame = AnnotatedFrame("t0", image, labels, kind)
    store = load_frames([frame], CONFIG.network.resolution_levels, torch.device("cpu"), CONFIG)
    return draw_batch(store, CONFIG, BOUND, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", [LabelKind.INSTANCES, LabelKind.CLASSES])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_target_that_counts_depends_on_them(seed: int, kind: LabelKind) -> None:
    """Also after the warp: what is called known is the same whatever lies under the unknown pixels."""
    _, partial = drawn(None, kind)
    _, whole = drawn(seed, kind)
    assert 0.2 < partial.known.float().mean() < 0.9
    assert 0.02 < partial.distance_known.float().mean() < partial.known.float().mean()
    known = partial.known
    assert torch.equal(partial.segmentation[known], whole.segmentation[known])
    sure = partial.distance_known
    assert torch.equal(partial.distance[sure], whole.distance[sure])


def changed(targets: Targets) -> Targets:
    """Put other values wherever a target is not known."""
    assert targets.weight is not None
    return dataclasses.replace(
        targets,
        segmentation=torch.where(targets.known, targets.segmentation, 1 - targets.segmentation),
        distance=torch.where(
            targets.distance_known, targets.distance, BOUND - targets.distance + 1
        ),
        weight=torch.where(targets.known, targets.weight, 7.0),
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [1, 2])
def test_no_loss_and_no_gradient_depends_on_them(loss: str, classes: int) -> None:
    config = CONFIG.replace({"network.classes": classes, "network.distance": "l1" in loss})
    levels, targets = drawn(None, LabelKind.INSTANCES)
    torch.manual_seed(0)
    network = build_network(config.network).eval()
    found = []
    for made in (targets, changed(targets)):
        network.zero_grad()
        output = network(levels)
        output.retain_grad()
        value = LOSSES[loss](output, made, classes, BOUND)
        value.backward()
        found.append([value.detach(), output.grad, *(w.grad for w in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    pull = found[0][1]
    assert pull is not None and pull.abs().sum() > 0
    assert (pull[:, :classes].abs().sum(dim=1)[~targets.known] == 0).all()
    assert (pull[:, classes:].abs().sum(dim=1)[~targets.distance_known] == 0).all()


def test_no_weight_of_a_class_or_border_depends_on_them() -> None:
    """Weights are of what is known: a frame of unknown pixels beside changes nothing."""
    labels = truth(HIDDEN, None)
    image = np.random.default_rng(0).normal(size=labels.shape)
    frame = AnnotatedFrame("t0", image, labels)
    more = AnnotatedFrame(
        "t0",
        np.pad(image, ((0, 0), (0, 40)), mode="reflect"),
        np.pad(labels, ((0, 0), (0, 40)), constant_values=UNKNOWN),
    )
    stores = [load_frames([one], (0,), torch.device("cpu"), CONFIG) for one in (frame, more)]
    assert torch.equal(stores[0].class_weights, stores[1].class_weights)
    assert torch.equal(stores[0].borders[0], stores[1].borders[0][:, :80])


@pytest.mark.parametrize("seed", [1, 2])
def test_no_score_depends_on_what_is_found_there(seed: int) -> None:
    reference, result = truth(HIDDEN, None), truth(np.zeros_like(HIDDEN), None)
    result[:, 70:] = 0
    other = truth(HIDDEN, seed)
    other[:, 70:] = 0
    assert (other != result).any()
    clipped = np.minimum(reference, 1)
    assert np.array_equal(confusion(clipped, result > 0), confusion(clipped, other > 0))
    table, same = contingency(reference, result), contingency(reference, other)
    assert np.array_equal(seg_frame(table), seg_frame(same))
    assert np.array_equal(det_frame(table), det_frame(same))
