"""Losses against plain torch, with unknown pixels that must not matter."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from napari_jnet.losses import LOSSES, loss_function
from napari_jnet.targets import Targets


def some_targets(classes: int = 1) -> Targets:
    generator = torch.Generator().manual_seed(1)
    segmentation = torch.randint(0, max(classes, 2), (2, 9, 8), generator=generator)
    known = torch.rand(2, 9, 8, generator=generator) > 0.3
    distance = 6 * torch.rand(2, 9, 8, generator=generator)
    return Targets(segmentation, known, distance, known & (distance < 5))


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


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_unknown_pixels_have_neither_value_nor_gradient(name: str, classes: int) -> None:
    targets, output = some_targets(classes), some_output(classes + 1)
    loss = LOSSES[name](output, targets, classes, 6.0)
    loss.backward()
    assert output.grad is not None
    gradient = output.grad.clone()
    nobody = (~targets.known)[:, None].expand_as(gradient)
    assert nobody.any() and (gradient[nobody] == 0).all()
    assert (gradient[:, 0][targets.known] != 0).any()
    changed = torch.where(nobody, 50.0, output.detach())
    torch.testing.assert_close(LOSSES[name](changed, targets, classes, 6.0), loss.detach())


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
    with pytest.raises(ValueError, match=r"no loss 'dice'; there are bce\+mse"):
        loss_function("dice")
