"""Losses against plain torch, with unknown pixels that must not matter."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from napari_jnet.config import Config
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.training.losses import (
    LOSSES,
    check_loss,
    class_weights,
    dice_loss,
    dice_sums,
    initial_logits,
    loss_function,
    pixel_weights,
)
from napari_jnet.training.targets import Targets


def some_targets(classes: int = 1, weighted: bool = False) -> Targets:
    generator = torch.Generator().manual_seed(1)
    segmentation = torch.randint(0, max(classes, 2), (2, 9, 8), generator=generator)
    known = torch.rand(2, 9, 8, generator=generator) > 0.3
    distance = 6 * torch.rand(2, 9, 8, generator=generator)
    weight = 3 * torch.rand(2, 9, 8, generator=generator) if weighted else None
    return Targets(segmentation, known, distance, known & (distance < 5), weight)


def some_output(channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, channels, 9, 8, generator=generator).requires_grad_()


def test_bce_and_mse_are_those_of_torch_over_the_known_pixels() -> None:
    targets, output = some_targets(), some_output(2)
    bce = F.binary_cross_entropy(
        output[:, 0].sigmoid()[targets.known], targets.segmentation[targets.known].float()
    )
    mse = F.mse_loss(
        output[:, 1].relu()[targets.distance_known], targets.distance[targets.distance_known]
    )
    torch.testing.assert_close(LOSSES["bce+mse"](output, targets, 1, 6.0), bce + mse)


def test_many_classes_are_a_cross_entropy() -> None:
    targets, output = some_targets(3), some_output(3)
    expected = F.cross_entropy(
        output.permute(0, 2, 3, 1)[targets.known], targets.segmentation[targets.known]
    )
    torch.testing.assert_close(LOSSES["bce+mse"](output, targets, 3, 6.0), expected)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_weights_are_those_of_torch(classes: int) -> None:
    targets, output = some_targets(classes, weighted=True), some_output(classes)
    logits, truth = output.permute(0, 2, 3, 1)[targets.known], targets.segmentation[targets.known]
    each = (
        F.binary_cross_entropy_with_logits(logits[:, 0], truth.float(), reduction="none")
        if classes == 1
        else F.cross_entropy(logits, truth, reduction="none")
    )
    assert targets.weight is not None
    expected = (each * targets.weight[targets.known]).mean()
    torch.testing.assert_close(LOSSES["bce"](output, targets, classes, 6.0), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_one_change_nothing_and_those_of_zero_are_unknown(name: str) -> None:
    targets, output = some_targets(3), some_output(3)
    ones = dataclasses.replace(targets, weight=torch.ones(2, 9, 8))
    plain = LOSSES[name](output, targets, 3, 6.0)
    torch.testing.assert_close(LOSSES[name](output, ones, 3, 6.0), plain)
    zeros = dataclasses.replace(targets, weight=torch.zeros(2, 9, 8))
    assert LOSSES[name](output, zeros, 3, 6.0).item() == 0


def test_two_classes_by_softmax_are_one_by_sigmoid() -> None:
    """The softmax of two logits is the sigmoid of their difference."""
    targets, output = some_targets(2, weighted=True), some_output(2)
    difference = output[:, 1:] - output[:, :1]
    for name in ("bce", "dice"):
        two, one = (LOSSES[name](o, targets, o.shape[1], 6.0) for o in (output, difference))
        torch.testing.assert_close(two, one)


def test_dice_is_that_of_the_masks_when_the_network_is_sure() -> None:
    targets, guess = some_targets(3), torch.randint(0, 3, (2, 9, 8))
    logits = 60.0 * F.one_hot(guess, 3).permute(0, 3, 1, 2)
    coefficients = []
    for number in (1, 2):
        found, there = guess[targets.known] == number, targets.segmentation[targets.known] == number
        coefficients.append((2 * (found & there).sum() + 1) / (found.sum() + there.sum() + 1))
    torch.testing.assert_close(dice_loss(logits, targets), 1 - torch.stack(coefficients).mean())
    right = 60.0 * F.one_hot(targets.segmentation, 3).permute(0, 3, 1, 2)
    assert dice_loss(right, targets).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_unknown_pixels_have_neither_value_nor_gradient(name: str, classes: int) -> None:
    targets, output = some_targets(classes, weighted=True), some_output(classes + 1)
    loss = LOSSES[name](output, targets, classes, 6.0)
    loss.backward()
    assert output.grad is not None
    gradient = output.grad.clone()
    unknown = (~targets.known)[:, None].expand_as(gradient)
    assert unknown.any() and (gradient[unknown] == 0).all()
    assert (gradient[:, 0][targets.known] != 0).any()
    changed = torch.where(unknown, 50.0, output.detach())
    torch.testing.assert_close(LOSSES[name](changed, targets, classes, 6.0), loss.detach())


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_of_lower_levels_are_learned_from_but_not_counted(name: str) -> None:
    targets, output = some_targets(3), some_output(4)
    lower = (output.detach() + 0.5).requires_grad_()
    both = LOSSES[name](torch.cat([output, lower]), targets, 3, 6.0)
    both.backward()
    alone, below = (x.detach().clone().requires_grad_() for x in (output, lower))
    expected = [LOSSES[name](x, targets, 3, 6.0) for x in (alone, below)]
    torch.testing.assert_close(both, expected[0])
    for loss in expected:
        loss.backward()
    assert output.grad is not None and lower.grad is not None and below.grad is not None
    torch.testing.assert_close(output.grad, alone.grad)
    assert below.grad.any()
    torch.testing.assert_close(lower.grad, 0.4 * below.grad)


@pytest.mark.parametrize("name", LOSSES)
def test_parts_of_a_batch_add_up_at_each_level(name: str) -> None:
    targets, output = some_targets(3), some_output(4)
    lower = (output.detach() + 0.5).requires_grad_()
    whole = LOSSES[name](torch.cat([output, lower]), targets, 3, 6.0)
    gradients = torch.autograd.grad(whole, [output, lower])
    sums = torch.stack([dice_sums(level[:, :3], targets) for level in (output, lower)])
    parts = [
        LOSSES[name](
            torch.cat([output[image], lower[image]]), targets.part(image, sums.detach()), 3, 6.0
        )
        for image in (slice(0, 1), slice(1, 2))
    ]
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(torch.autograd.grad(sum(parts), [output, lower]), gradients)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    targets = some_targets()
    output = some_output(2).detach().double().requires_grad_()
    doubled = Targets(
        targets.segmentation, targets.known, targets.distance.double(), targets.distance_known
    )
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, doubled, 1, 6.0), (output,))


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_known_is_a_loss_of_zero(name: str) -> None:
    none = torch.zeros(2, 9, 8, dtype=torch.bool)
    targets = Targets(none.long(), none, none.float(), none)
    assert LOSSES[name](some_output(2), targets, 1, 6.0).item() == 0


def test_unknown_loss_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no loss 'focal'; there are bce\+mse"):
        loss_function("focal")


@pytest.mark.parametrize("name", ["bce", "dice"])
def test_a_head_that_the_loss_does_not_teach_is_refused(name: str) -> None:
    config = Config().replace({"training.loss": name})
    with pytest.raises(
        ValueError, match=rf"{name!r} has no term for the distance.*{name}\+smooth_l1"
    ):
        check_loss(config)
    check_loss(config.replace({"network.distance": False}))


def frame(labels: list[list[int]], kind: LabelKind = LabelKind.CLASSES) -> AnnotatedFrame:
    array = np.array(labels, np.int32)
    return AnnotatedFrame("t0", array.astype(np.float32), array, kind)


def test_classes_count_the_same_whatever_their_size() -> None:
    frames = [frame([[0, 0, 0, 1], [0, 0, 0, UNKNOWN]]), frame([[0, 0, 3, 1]])]
    weights = class_weights(frames, 4)
    # 8 pixels of class 0, 2 of 1, none of 2, 1 of 3; 11 known pixels, three classes that occur.
    torch.testing.assert_close(weights, torch.tensor([11 / 24, 11 / 6, 1, 11 / 3]))
    assert weights.dtype == torch.float32


@pytest.mark.parametrize("classes", [1, 2])
def test_objects_are_one_class_in_the_balance(classes: int) -> None:
    frames = [frame([[0, 0, 0, 9, 0, 0, 700, UNKNOWN]], LabelKind.INSTANCES)]
    torch.testing.assert_close(class_weights(frames, classes), torch.tensor([7 / 10, 7 / 4]))


@pytest.mark.parametrize("balance", [False, True])
def test_a_network_begins_with_the_classes_as_often_as_they_are_annotated(balance: bool) -> None:
    changes = {"network.classes": 3, "training.class_balance": balance}
    pixels = [[0] * 6 + [1, 1], [2, 2, UNKNOWN, UNKNOWN, 0, 0, 0, 0]]
    logits = initial_logits([frame(pixels)], Config().replace(changes))
    expected = [1 / 3, 1 / 3, 1 / 3] if balance else [10 / 14, 2 / 14, 2 / 14]
    torch.testing.assert_close(logits.softmax(dim=0), torch.tensor(expected))
    cells = frame([[0, 0, 0, 9, 0, 0, 700, UNKNOWN]], LabelKind.INSTANCES)
    of_cell = initial_logits([cells], Config().replace({"training.class_balance": balance}))
    torch.testing.assert_close(of_cell.sigmoid(), torch.tensor([0.5 if balance else 2 / 7]))


def test_no_class_is_so_rare_at_the_beginning_that_it_is_not_learned() -> None:
    whole = np.zeros((1200, 1000), np.int32)
    whole[0, 0] = 1
    logits = initial_logits([AnnotatedFrame("t0", whole, whole, LabelKind.CLASSES)], Config())
    torch.testing.assert_close(logits.sigmoid(), torch.tensor([0.01]), atol=1e-3, rtol=0)
    only_cell = initial_logits([frame([[1, 1, UNKNOWN]])], Config())
    assert 0.9 < float(only_cell.sigmoid()) < 0.995


def test_weights_of_class_and_border_are_added() -> None:
    segmentation, of_class = torch.tensor([[[0, 1, 1]]]), torch.tensor([0.5, 2.0])
    border = torch.tensor([[[4.0, 0.0, 0.0]]])
    assert pixel_weights(segmentation, None, None) is None
    for given, expected in (
        ((of_class, None), [0.5, 2, 2]),
        ((None, border), [5.0, 1, 1]),
        ((of_class, border), [4.5, 2, 2]),
    ):
        weights = pixel_weights(segmentation, *given)
        assert weights is not None and weights[0, 0].tolist() == expected
