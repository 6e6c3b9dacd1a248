"""Each network in a training: it steps, adapts to the data, and what it begins with and drops."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_jnet.config import Config
from napari_jnet.events import EpochEnd, Message
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import LabelKind
from napari_jnet.model import load_model, read_checkpoint
from napari_jnet.networks import NETWORKS
from napari_jnet.networks.fcn import FCN32
from napari_jnet.training.estimate import adapt
from napari_jnet.training.loop import train

TINY = Config().replace(
    {
        "network.channels": 2,
        "network.structure": ((1, 2, 3), (1, 1, 3)),
        "training.patch_size": 32,
        "training.batch_size": 2,
        "training.batches_per_epoch": 2,
        "training.epochs": 1,
        "training.device": "cpu",
        "training.threads": 1,
        "training.precision": "float32",
    }
)


def frames(count: int = 2, channels: int = 1, classes: int = 1) -> list[AnnotatedFrame]:
    rng = np.random.default_rng(0)
    labels = np.zeros((48, 57), np.int32)
    for value in range(3):
        labels[8 : 8 + 30, 3 + 18 * value : 17 + 18 * value] = value % classes + 1
    kind = LabelKind.INSTANCES if classes == 1 else LabelKind.CLASSES
    if classes == 1:
        labels[labels > 0] = np.repeat([1, 2, 3], 14)[None].repeat(30, 0).ravel()
    noise = rng.normal(0, 5, (count, *labels.shape, channels))
    images = (20 + 50 * (labels > 0)[..., None] + noise).squeeze().astype(np.float32)
    return [AnnotatedFrame(f"t{n}", image, labels, kind=kind) for n, image in enumerate(images)]


def of(name: str, **changes: object) -> Config:
    narrow = {"network.width": 1 / 64} if name.startswith("fcn") else {}
    named = {key.replace("__", "."): value for key, value in changes.items()}
    return TINY.replace({"network.name": name, **narrow, **named})


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("channels", "classes", "loss"),
    [(1, 1, "bce+mse"), (3, 1, "bce+smooth_l1"), (1, 2, "bce+smooth_l1")],
)
def test_every_network_trains_on_every_kind_of_label(
    tmp_path: Path, name: str, channels: int, classes: int, loss: str
) -> None:
    events = list(
        train(frames(2, channels, classes), tmp_path / "run", of(name, training__loss=loss))
    )
    (epoch,) = (event for event in events if isinstance(event, EpochEnd))
    assert np.isfinite([epoch.train_loss, epoch.validation_loss]).all()
    network = load_model(tmp_path / "run", device="cpu").network
    assert network.outputs == (2 if classes == 1 else 4)


@pytest.mark.parametrize(
    ("name", "levels"), [("jnet", (-1, 0)), ("unet", (-2, -1, 0)), ("fcn8", (0,)), ("fcn32", (0,))]
)
def test_levels_come_from_the_network_and_the_data(name: str, levels: tuple[int, ...]) -> None:
    assert adapt(of(name), frames()).network.resolution_levels == levels


@pytest.mark.parametrize("name", ["unet", "fcn8"])
def test_dropout_resumes_as_if_never_stopped(tmp_path: Path, name: str) -> None:
    config = of(name, network__dropout=0.5, training__epochs=2, training__schedule="constant")
    for run in ("whole", "again"):
        list(train(frames(), tmp_path / run, config))
        torch.rand(7)  # what others draw must not matter
    list(train(frames(), tmp_path / "parts", config.replace({"training.epochs": 1})))
    list(train(frames(), tmp_path / "parts", config, resume=True))
    whole = read_checkpoint(tmp_path / "whole" / "last.pt")["network"]
    for run in ("again", "parts"):
        other = read_checkpoint(tmp_path / run / "last.pt")["network"]
        for key, value in whole.items():
            torch.testing.assert_close(other[key], value, rtol=0, atol=0, msg=f"{run}: {key}")


def squares(*sides: int) -> list[AnnotatedFrame]:
    """Two frames with one square of each side, far apart."""
    labels = np.zeros((128, 128), np.int32)
    for n, side in enumerate(sides):
        top, left = 2 + 42 * (n // 3), 2 + 42 * (n % 3)
        labels[top : top + side, left : left + side] = n + 1
    rng = np.random.default_rng(0)
    images = [50.0 * (labels > 0) + rng.normal(0, 5, labels.shape) for _ in range(2)]
    return [AnnotatedFrame(f"t{n}", image, labels) for n, image in enumerate(images)]


class TestObjectsThatDifferInSize:
    """Each has its own unit of depth then, as one truncation distance fits neither."""

    mixed = squares(6, 6, 7, 20, 30, 40)
    alike = squares(20, 21, 22, 24, 26, 40)

    def test_the_default_follows_from_the_annotation(self) -> None:
        of_mixed, of_alike = adapt(Config(), self.mixed), adapt(Config(), self.alike)
        assert of_mixed.targets.relative is True and of_mixed.instances.relative
        assert of_alike.targets.relative is False and not of_alike.instances.relative

    @pytest.mark.parametrize(
        "given",
        [
            {"targets.relative": False},
            {"targets.dt_bound": 5.0},  # a distance in pixels is asked for
            {"network.distance": False, "training.loss": "bce"},
            {"augmentation.original": {"aug_rotation": 1}, "training.loss": "bce+mse"},
        ],
    )
    def test_what_is_given_stays(self, given: dict[str, object]) -> None:
        assert adapt(Config().replace(given), self.mixed).targets.relative is False

    def test_classes_have_no_depth(self) -> None:
        classes = [
            dataclasses.replace(f, kind=LabelKind.CLASSES, labels=np.minimum(f.labels, 1))
            for f in self.mixed
        ]
        assert adapt(Config(), classes).targets.relative is False

    def test_a_training_says_so(self, tmp_path: Path) -> None:
        for name in ("mixed", "alike"):
            start, *events = train(getattr(self, name), tmp_path / name, TINY)
            said = [event.text for event in events if isinstance(event, Message)]
            assert any("relative to the depth" in text for text in said) is (name == "mixed")
            truncated = f"distance truncated at {start.dt_bound:g} px"
            mixed = "distance relative to each object"
            assert start.distance == (mixed if name == "mixed" else truncated)

    def test_a_training_without_distance_does_not_name_one(self, tmp_path: Path) -> None:
        config = TINY.replace({"network.distance": False, "training.loss": "bce"})
        with closing(train(self.alike, tmp_path / "run", config)) as events:
            assert next(events).distance == "no distance"

    @pytest.mark.parametrize(("first", "then"), [("alike", "mixed"), ("mixed", "alike")])
    def test_a_fine_tuned_model_keeps_its_unit(self, tmp_path: Path, first: str, then: str) -> None:
        list(train(getattr(self, first), tmp_path / "first", TINY))
        list(train(getattr(self, then), tmp_path / "then", TINY, start_from=tmp_path / "first"))
        before, after = (load_model(tmp_path / name).config for name in ("first", "then"))
        assert before.targets.relative is (first == "mixed")
        assert after.targets.relative is before.targets.relative
        assert after.instances.relative is before.instances.relative
        longer = TINY.replace({"training.epochs": 2})
        list(train(getattr(self, first), tmp_path / "first", longer, resume=True))
        assert load_model(tmp_path / "first").config.targets == before.targets


def convolutions(network: FCN32) -> list[torch.nn.Conv2d]:
    return [module for module in network.vgg.modules() if isinstance(module, torch.nn.Conv2d)]


class TestPretrained:
    @pytest.fixture
    def loaded(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Stand in for a file of half a gigabyte: all biases of VGG16 become 7."""
        paths: list[Path] = []

        def load(network: FCN32, path: Path) -> None:
            paths.append(path)
            for convolution in convolutions(network):
                torch.nn.init.constant_(convolution.bias, 7)

        monkeypatch.setattr(FCN32, "load_pretrained", load)
        return paths

    def test_the_training_begins_with_them_and_reads_them_once(
        self, tmp_path: Path, loaded: list[Path]
    ) -> None:
        config = of("fcn8", training__pretrained="vgg16.pth", training__learning_rate=1e-6)
        list(train(frames(), tmp_path / "run", config))
        network = load_model(tmp_path / "run", device="cpu").network
        assert isinstance(network, FCN32)
        for convolution in convolutions(network):
            torch.testing.assert_close(
                convolution.bias, torch.full_like(convolution.bias, 7), rtol=0, atol=1e-4
            )
        list(
            train(frames(), tmp_path / "run", Config().replace({"training.epochs": 2}), resume=True)
        )
        assert loaded == [Path("vgg16.pth")]

    def test_networks_without_pretrained_weights_refuse_them(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"pretrained is vgg16\.pth, but the network unet"):
            list(train(frames(), tmp_path / "run", of("unet", training__pretrained="vgg16.pth")))

    def test_one_start_only(self, tmp_path: Path, loaded: list[Path]) -> None:
        list(train(frames(), tmp_path / "first", of("fcn8")))
        config = of("fcn8", training__pretrained="vgg16.pth")
        with pytest.raises(ValueError, match=r"it can start from one of them\. Leave one out"):
            list(train(frames(), tmp_path / "run", config, start_from=tmp_path / "first"))
        assert not loaded
