"""One conformance test over all networks, and what is J-Net's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_jnet.checkpoint import MissingModelFacts, Model, load_model
from napari_jnet.config import Config, NetworkConfig
from napari_jnet.inference import predict_image
from napari_jnet.networks import NETWORKS, SegmentationNetwork, build_network
from napari_jnet.normalization import standardized_pyramid

LEVELS = {"jnet": (-2, -1, 0), "unet": (-2, -1, 0)}
STRUCTURE = ((2, 4, 3), (1, 2, 3), (1, 2, 3))


def small(name: str, **changes: object) -> NetworkConfig:
    values = {
        "name": name,
        "structure": STRUCTURE,
        "channels": 4,
        "resolution_levels": LEVELS.get(name, (-2, -1, 0)),
        **changes,
    }
    return NetworkConfig(**values)  # type: ignore[arg-type]


def trained(config: NetworkConfig) -> SegmentationNetwork:
    """A network with weights and statistics that are not those of the start."""
    torch.manual_seed(3)
    network = build_network(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
        elif isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight, a=0.5)
    return network.eval()


def model_of(config: NetworkConfig) -> Model:
    return Model(
        trained(config),
        Config(network=config).replace({"targets.dt_bound": 9.0}),
        Path("model.pt"),
        torch.device("cpu"),
    )


@pytest.mark.parametrize("name", NETWORKS)
class TestEveryNetwork:
    @pytest.mark.parametrize("size", [(32, 32), (33, 47), (37, 64)])
    @pytest.mark.parametrize("top", [0, -1])
    def test_answers_at_the_top_level_for_any_size(
        self, name: str, size: tuple[int, int], top: int
    ) -> None:
        levels = tuple(range(top - 2, top + 1))
        network = trained(small(name, resolution_levels=levels))
        output = network(standardized_pyramid(torch.rand(2, 1, *size), network.levels))
        assert output.shape == (2, 2, size[0] // 2**-top, size[1] // 2**-top)

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize(("classes", "distance"), [(1, True), (4, True), (4, False)])
    def test_heads_and_gradients(
        self, name: str, channels: int, classes: int, distance: bool
    ) -> None:
        network = build_network(
            small(name, in_channels=channels, classes=classes, distance=distance)
        )
        output = network(standardized_pyramid(torch.rand(2, channels, 32, 32), network.levels))
        assert output.shape[1] == classes + distance
        output.square().mean().backward()
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key

    def test_distance_has_the_unit_of_the_configuration(self, name: str) -> None:
        plain, scaled = trained(small(name)), trained(small(name, distance_scale=24.0))
        levels = standardized_pyramid(torch.rand(1, 1, 32, 32), plain.levels)
        logits, distance = plain(levels).split(1, dim=1)
        torch.testing.assert_close(scaled(levels), torch.cat([logits, 24 * distance], dim=1))

    @pytest.mark.parametrize("size", [(160, 224), (165, 227)])
    @pytest.mark.parametrize("top", [0, -1])
    def test_tiled_equals_untiled(self, name: str, size: tuple[int, int], top: int) -> None:
        model = model_of(small(name, resolution_levels=tuple(range(top - 2, top + 1))))
        image = np.random.default_rng(0).integers(0, 4000, size).astype(np.uint16)
        whole = predict_image(model, image, tile=0)
        for expected, found in zip(whole, predict_image(model, image, tile=32), strict=True):
            assert expected.std() > 1e-3, "test invalid: the maps must not be flat"
            np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_what_lies_beyond_the_halo_does_not_matter(self, name: str) -> None:
        network = trained(small(name)).double()
        side = 2 * network.halo + 3 * network.stride
        image = torch.rand(1, 1, side, side, dtype=torch.float64)
        changed = image.clone()
        changed[..., : network.stride, :] += 1
        kept = slice(network.stride + network.halo, None)
        answers = [
            network([torch.nn.functional.avg_pool2d(x, 2**-k) for k in network.levels])
            for x in (image, changed)
        ]
        torch.testing.assert_close(answers[0][..., kept, :], answers[1][..., kept, :])
        assert not torch.equal(answers[0], answers[1])


def test_unknown_network_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no network 'resnet'; there are jnet, unet"):
        build_network(NetworkConfig(name="resnet"))


def test_jnet_of_the_paper_has_its_number_of_parameters() -> None:
    config = NetworkConfig(
        name="jnet",
        structure=((16, 64, 3), (2, 8, 3), (2, 8, 3)),
        resolution_levels=(-2, -1, 0),
    )
    assert build_network(config).parameter_count() == 851_402


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution_levels": (-1, 0)}, "3 segments for 2 resolution levels"),
        ({"structure": ((2, 4, 3), (1, 2, 2), (1, 2, 3))}, "kernel odd"),
        ({"structure": ((0, 4, 3), (1, 2, 3), (1, 2, 3))}, "all at least 1"),
    ],
)
def test_impossible_jnets_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_network(small("jnet", **changes))


@pytest.mark.parametrize("kernel", [1, 5])
def test_jnet_takes_other_kernels_than_the_original(kernel: int) -> None:
    config = small("jnet", structure=((2, 4, kernel), (1, 2, kernel), (1, 2, 3)))
    network = build_network(config)
    levels = standardized_pyramid(torch.rand(1, 1, 48, 48), network.levels)
    assert network(levels).shape == (1, 2, 48, 48)


def test_levels_that_leave_no_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"9 x 9 pixels has 1 pixels left at level -3"):
        standardized_pyramid(torch.rand(1, 1, 9, 9), (-3, -2))


class TestOriginalNetwork:
    """The network that the original J-Net trained, against what the original code computed."""

    def test_maps_equal_the_recorded_ones(self, shared_data: Path) -> None:
        folder = shared_data / "jnet-original-model"
        model = load_model(
            folder / "DIC_model", resolution_levels=[-2, -1, 0], dt_bound=6, device="cpu"
        )
        image = tifffile.imread(shared_data / "DIC-C2DH-HeLa" / "01" / "t002.tif")
        segmentation, distance = predict_image(model, image)
        recorded = np.load(folder / "reference_01_t002.npz")
        np.testing.assert_allclose(segmentation, recorded["seg"], atol=1e-4)
        np.testing.assert_allclose(distance, recorded["dist"], atol=1e-4)

    def test_what_the_file_does_not_hold_is_asked_for(self, shared_data: Path) -> None:
        with pytest.raises(
            MissingModelFacts, match=r"3 resolution levels \(such as \[-2, -1, 0\]\)"
        ) as info:
            load_model(shared_data / "jnet-original-model" / "DIC_model", dt_bound=6)
        assert info.value.missing == ("resolution_levels",)
        assert info.value.structure == ((16, 64, 3), (2, 8, 3), (2, 8, 3))
