"""VGG16 weights of torchvision and of Caffe against plain layers that read them as they are."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_jnet.config import NetworkConfig
from napari_jnet.networks import build_network
from napari_jnet.networks.fcn import VGG16, load_vgg16

WIDTH = 1 / 64  # 1, 2, 4, 8, 8 channels, 64 hidden
STEPS = (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M")
CAFFE = [f"conv{group}_{n}" for group in range(1, 6) for n in range(1, 4 if group > 2 else 3)]
CAFFE += ["fc6", "fc7"]
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Published(nn.Module):
    """VGG16 as torchvision lays it out, in narrow."""

    def __init__(self, batch_norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for step in STEPS:
            if isinstance(step, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(nn.Conv2d(inputs, step, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(step))
            layers.append(nn.ReLU())
            inputs = step
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(8 * 49, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(),
            nn.Dropout(), nn.Linear(64, 10),
        )  # fmt: skip

    def fc7(self, image: Tensor) -> Tensor:
        return self.classifier[:5](self.features(image).flatten(1))


def published(batch_norm: bool = False) -> Published:
    torch.manual_seed(0)
    network = Published(batch_norm)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.uniform_(module.bias, -0.1, 0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
    return network.eval()


def narrow(channels: int = 3, batch_norm: bool = False) -> VGG16:
    config = NetworkConfig(
        name="fcn8",
        in_channels=channels,
        width=WIDTH,
        batch_norm=batch_norm,
        resolution_levels=(0,),
    )
    return VGG16(config).eval()


def caffe_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers as Caffe has them: its names, and blue before red."""
    layers = list(dict.fromkeys(name.rsplit(".", 1)[0] for name in state))[:15]
    renamed = {
        f"{caffe}.{part}": state[f"{name}.{part}"]
        for caffe, name in zip(CAFFE, layers, strict=True)
        for part in ("weight", "bias")
    }
    renamed["conv1_1.weight"] = renamed["conv1_1.weight"].flip(1)
    return renamed


def both_views(channels: int = 3) -> tuple[Tensor, Tensor]:
    """An image as torchvision takes it, and as our networks see it: the statistics are ImageNet's."""
    image = torch.randn(1, channels, 224, 224)
    return image.expand(1, 3, 224, 224), image / 3


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_torchvision_weights_give_its_output(
    tmp_path: Path, channels: int, batch_norm: bool
) -> None:
    reference, vgg = published(batch_norm), narrow(channels, batch_norm)
    torch.save(reference.state_dict(), tmp_path / "vgg16.pth")
    load_vgg16(vgg, tmp_path / "vgg16.pth")
    theirs, ours = both_views(channels)
    expected = reference.fc7(theirs)[0]
    assert expected.std() > 1e-2, "test invalid: the output must not be flat"
    # Of 7 x 7 places of fc7, the middle one sees what the dense layer sees.
    torch.testing.assert_close(vgg(ours)[1][0, :, 3, 3], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("suffix", [".pt", ".npz"])
@pytest.mark.parametrize("dense", [True, False])
def test_caffe_weights_give_its_output(tmp_path: Path, suffix: str, dense: bool) -> None:
    reference, vgg, file = published(), narrow(), tmp_path / f"vgg16{suffix}"
    state = caffe_names(reference.state_dict())
    if not dense:  # as in FCN's own files
        state["fc6.weight"] = state["fc6.weight"].reshape(64, 8, 7, 7)
        state["fc7.weight"] = state["fc7.weight"].reshape(64, 64, 1, 1)
    if suffix == ".npz":
        np.savez(file, **{name: value.numpy() for name, value in state.items()})
    else:
        torch.save(state, file)
    load_vgg16(vgg, file)
    # Caffe's images are blue, green, red from 0 to 255, less their means.
    theirs, ours = both_views()
    raw = 255 * (theirs * DEVIATION.view(-1, 1, 1) + MEAN.view(-1, 1, 1))
    caffe = raw.flip(1) - 255 * MEAN.flip(0).view(-1, 1, 1)
    with torch.no_grad():
        reference.features[0].weight.copy_(state["conv1_1.weight"])
    expected = reference.fc7(caffe)[0].detach()
    assert expected.std() > 1e-2, "test invalid: the output must not be flat"
    found = vgg(ours)[1][0, :, 3, 3]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state = {**published().state_dict(), **{k.replace("__", "."): v for k, v in changes.items()}}
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            changed(classifier__0__weight=None),
            r"has no classifier\.0\.weight\. Choose a complete VGG16",
        ),
        (
            changed(features__2__bias=torch.zeros(9)),
            r"features\.2 has shape \(9,\), .* needs \(1,\)",
        ),
        (
            changed(features__28__weight=None),
            r"has no features\.28\.weight\. Choose a complete VGG16",
        ),
        (
            published(batch_norm=True).state_dict(),
            r"features\.2\.weight.*batch_norm.*true for vgg16_bn",
        ),
        ({"weight": torch.zeros(3)}, r"has no features\.0\.weight"),
        (torch.zeros(3), r"does not map names to arrays"),
        ({"features": [1]}, r"does not map names to arrays"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "vgg16.pth")
    with pytest.raises(ValueError, match=message):
        load_vgg16(narrow(), tmp_path / "vgg16.pth")


def test_a_network_with_batch_normalisation_refuses_a_file_without(tmp_path: Path) -> None:
    torch.save(published().state_dict(), tmp_path / "vgg16.pth")
    with pytest.raises(ValueError, match=r"batch_norm as it has it.*false for vgg16"):
        load_vgg16(narrow(batch_norm=True), tmp_path / "vgg16.pth")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("vgg.pt", b"no weights"),
        ("vgg.npz", b"no weights"),
        ("vgg.pt", pickle.dumps({"x": Path("x")})),
        ("vgg.pt", b""),
    ],
)
def test_damaged_files_and_files_with_code_are_refused(
    tmp_path: Path, name: str, written: bytes
) -> None:
    (tmp_path / name).write_bytes(written)
    with pytest.raises(ValueError, match=r"is damaged, or has more than names and arrays"):
        load_vgg16(narrow(), tmp_path / name)


def test_an_archive_of_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "vgg.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"more than names and arrays"):
        load_vgg16(narrow(), tmp_path / "vgg.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*vgg\.pth of pretrained weights"):
        load_vgg16(narrow(), tmp_path / "vgg.pth")


def test_networks_that_the_weights_do_not_fit(tmp_path: Path) -> None:
    torch.save(published().state_dict(), tmp_path / "vgg16.pth")
    with pytest.raises(ValueError, match=r"\(1, 3, 3, 3\).*needs \(1, 4, 3, 3\).*1 or 3 channels"):
        load_vgg16(narrow(channels=4), tmp_path / "vgg16.pth")
    with pytest.raises(
        ValueError, match=r"the network unet does not start from weights of another"
    ):
        build_network(NetworkConfig(resolution_levels=(0,))).load_pretrained(Path("vgg16.pth"))
