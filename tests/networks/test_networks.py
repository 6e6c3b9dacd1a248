"""One conformance test over all networks, and what is J-Net's own."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile
import torch

from napari_jnet.config import Config, NetworkConfig
from napari_jnet.inference.image import predict_image
from napari_jnet.model import (
    IncompleteCheckpoint,
    Model,
    describe_model,
    load_model,
    save_checkpoint,
)
from napari_jnet.networks import NETWORKS, build_network
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.networks.fcn import bilinear_upsampling
from napari_jnet.networks.unet import UNet, mirrored
from napari_jnet.preprocess import standardized_pyramid

STRUCTURE = ((2, 4, 3), (1, 2, 3), (1, 2, 3))
EXAMPLE = Path(__file__).parents[2] / "docs" / "adding-a-network.md"
VARIANTS: dict[str, dict[str, object]] = {
    **{name: {} for name in NETWORKS},
    "jnet, as the original": {
        "name": "jnet",
        "halve_channels": False,
        "deep_supervision": False,
    },
    "unet, as in the paper": {"name": "unet", "padding": "valid", "batch_norm": False},
    "unet, bilinear": {"name": "unet", "upsampling": "bilinear"},
    "unet, valid and bilinear": {"name": "unet", "padding": "valid", "upsampling": "bilinear"},
    "fcn8, without batch norm": {"name": "fcn8", "batch_norm": False},
    "dilated": {},
}


@pytest.fixture(autouse=True)
def sixth_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the network that the documentation shows as an example, as it stands there."""
    block = re.search(r"```python\n(.*?)```", EXAMPLE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    module = ModuleType("dilated")
    exec(compile(block[1], EXAMPLE, "exec"), module.__dict__)
    monkeypatch.setitem(NETWORKS, "dilated", module.Dilated)


def small(variant: str, **changes: object) -> NetworkConfig:
    values = {
        "name": variant,
        "structure": STRUCTURE,
        "channels": 4,
        "resolution_levels": (-2, -1, 0),
        **({"width": 1 / 32} if variant.startswith("fcn") else {}),
        **VARIANTS[variant],
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
            torch.nn.init.kaiming_normal_(module.weight)
    return network.eval()


def telling(network: SegmentationNetwork) -> SegmentationNetwork:
    """Scale the output of a random network, so that no map is flat or cut at 0."""
    noise = standardized_pyramid(torch.rand(1, network.config.in_channels, 96, 96), network.levels)
    with torch.no_grad():
        spread, mean = torch.std_mean(network(noise), dim=(0, 2, 3), keepdim=True)
    network.register_forward_hook(lambda _module, _given, output: 4 + (output - mean) / spread)
    return network


def model_of(config: NetworkConfig) -> Model:
    return Model(
        telling(trained(config)),
        Config(network=config).replace({"targets.dt_bound": 9.0}),
        Path("model.pt"),
        torch.device("cpu"),
    )


@pytest.mark.parametrize("name", VARIANTS)
class TestEveryNetwork:
    @pytest.mark.parametrize("size", [(32, 32), (33, 47), (37, 64)])
    @pytest.mark.parametrize("top", [0, -1])
    def test_outputs_at_the_top_level_for_any_size(
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

    def test_it_begins_with_the_logits_it_is_given(self, name: str) -> None:
        network = build_network(small(name, classes=3)).eval()
        levels = standardized_pyramid(torch.rand(1, 1, 96, 96), network.levels)
        outputs = []
        for logits in ([0.0, 0.0, 0.0], [2.0, -1.0, -3.0]):
            network.set_initial_logits(torch.tensor(logits))
            outputs.append(network(levels)[..., 32:64, 32:64])
        shift = torch.tensor([2.0, -1.0, -3.0, 0.0])[:, None, None].expand(1, 4, 32, 32)
        torch.testing.assert_close(outputs[1] - outputs[0], shift, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("across", [True, False])
    @pytest.mark.parametrize("top", [0, -1])
    def test_tiled_equals_untiled(self, name: str, top: int, across: bool) -> None:
        model = model_of(small(name, resolution_levels=tuple(range(top - 2, top + 1))))
        network = model.network
        if network.halo > 200:  # each of many tiles is read with most of the frame
            model.config = model.config.replace({"prediction.tta": 1})
        tile = max(32, network.stride)
        # Long enough that no tile is read with all of the frame; odd, so that the last one is cut.
        size = (network.halo + 3 * tile + 5, tile + 3)
        image = np.random.default_rng(0).integers(0, 4000, size if across else size[::-1])
        whole = predict_image(model, image, tile=0)
        for expected, found in zip(whole, predict_image(model, image, tile=tile), strict=True):
            assert expected.std() > 1e-3, "test invalid: the maps must not be flat"
            np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_comes_back_from_a_checkpoint(self, name: str, tmp_path: Path) -> None:
        network = trained(small(name, classes=3))
        config = Config(network=network.config).replace({"targets.dt_bound": 9.0})
        content = {"config": config.to_dict(), "network": network.state_dict()}
        save_checkpoint(tmp_path / "model.pt", content)
        again = load_model(tmp_path, device="cpu").network
        levels = standardized_pyramid(torch.rand(1, 1, 33, 40), network.levels)
        torch.testing.assert_close(again(levels), network(levels), rtol=1e-4, atol=1e-4)
        assert describe_model(tmp_path)["network"] == network.config.name

    def test_what_lies_beyond_the_halo_does_not_matter(self, name: str) -> None:
        network = trained(small(name)).double()
        side = 2 * network.halo + 3 * network.stride
        image = torch.rand(1, 1, side, side, dtype=torch.float64)
        changed = image.clone()
        changed[..., : network.stride, :] += 1
        kept = slice(network.stride + network.halo, None)
        outputs = [
            network([torch.nn.functional.avg_pool2d(x, 2**-k) for k in network.levels])
            for x in (image, changed)
        ]
        torch.testing.assert_close(outputs[0][..., kept, :], outputs[1][..., kept, :])
        assert not torch.equal(outputs[0], outputs[1])


def test_unknown_network_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no network 'resnet'; there are jnet, unet, fcn32"):
        build_network(NetworkConfig(name="resnet"))


@pytest.mark.parametrize("name", NETWORKS)
def test_no_levels_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"resolution_levels is empty.*at least one"):
        build_network(NetworkConfig(name=name))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("jnet", {"dropout": 0.5}),
        ("jnet", {"batch_norm": False}),
        ("jnet", {"padding": "valid"}),
        ("unet", {"width": 0.5}),
        ("fcn8", {"upsampling": "bilinear"}),
        ("fcn32", {"padding": "valid"}),
        ("dilated", {"width": 0.5}),
    ],
)
def test_options_of_other_networks_are_refused(name: str, option: dict[str, object]) -> None:
    (key, value), *_ = option.items()
    with pytest.raises(ValueError, match=f"{key} is {value!r}, but the network {name} has no such"):
        build_network(small(name, **option))


@pytest.mark.parametrize(
    ("name", "most", "depth"),
    [("jnet", 2, 3), ("unet", 9, 5), ("unet", 2, 2), ("fcn8", 9, 1), ("dilated", 9, 1)],
)
def test_how_many_levels_suit(name: str, most: int, depth: int) -> None:
    assert NETWORKS[name].depth(small(name), most) == depth


@pytest.mark.parametrize("name", ["unet", "fcn8", "dilated"])
def test_dropout_acts_in_training_only(name: str) -> None:
    network = trained(small(name, dropout=0.5))
    levels = standardized_pyramid(torch.rand(1, 1, 64, 64), network.levels)
    assert torch.equal(network(levels), network(levels))
    for module in network.modules():
        module.train(isinstance(module, torch.nn.Dropout))
    assert not torch.equal(network(levels), network(levels))


class TestUNet:
    @pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
    @pytest.mark.parametrize(("depth", "before", "after"), [(5, 572, 388), (4, 140, 52), (1, 9, 5)])
    def test_valid_convolutions_trim_as_in_the_paper(
        self, upsampling: str, depth: int, before: int, after: int
    ) -> None:
        network = build_network(
            small(
                "unet",
                channels=1,
                padding="valid",
                upsampling=upsampling,
                resolution_levels=tuple(range(1 - depth, 1)),
            )
        )
        assert isinstance(network, UNet)
        assert network.convolve(torch.zeros(1, 1, before, before)).shape[-2:] == (after, after)
        assert before - after == 2 * network.margin

    def test_only_mirrored_pixels_replace_what_is_trimmed(self) -> None:
        network = trained(small("unet", padding="valid", resolution_levels=(-4, -3, -2, -1, 0)))
        assert isinstance(network, UNet)
        image = torch.randn(1, 1, 388, 388)
        enlarged = torch.from_numpy(np.pad(image, ((0, 0), (0, 0), (92, 92), (92, 92)), "reflect"))
        torch.testing.assert_close(network([image]), network.convolve(enlarged))

    def test_depth_and_width_of_the_paper(self) -> None:
        config = small(
            "unet",
            channels=64,
            batch_norm=False,
            classes=2,
            distance=False,
            deep_supervision=False,
            resolution_levels=(-4, -3, -2, -1, 0),
        )
        widths = (64, 128, 256, 512, 1024)
        convolutions = [(a, b) for a, b in pairwise((1, *widths))] + [(b, b) for b in widths]
        convolutions += [(2 * b, b) for b in widths[:-1]] + [(b, b) for b in widths[:-1]]
        expected = sum(9 * a * b + b for a, b in convolutions)
        expected += sum(4 * 2 * b * b + b for b in widths[:-1]) + 64 * 2 + 2
        assert build_network(config).parameter_count() == expected == 31_030_658

    def test_names_of_the_weights_stay(self) -> None:
        """Checkpoints of earlier versions have these."""
        network = build_network(small("unet", deep_supervision=False))
        names = {re.sub(r"\d+", "#", name) for name in network.state_dict()}
        normalisation = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        assert names == {
            *(f"{part}.#.#.{value}" for part in ("down", "merge") for value in normalisation),
            *(f"{part}.{value}" for part in ("up.#", "head") for value in ("weight", "bias")),
        }
        kept = network.state_dict()
        assert kept["down.0.0.weight"].shape == (4, 1, 3, 3) and "down.0.0.bias" not in kept
        assert kept["merge.1.3.weight"].shape == (8, 8, 3, 3)


@pytest.mark.parametrize("border", [(0, (0, 0)), (1, (1, 2)), (7, (9, 11))])
def test_mirrored_continues_beyond_the_far_side(border: tuple[int, tuple[int, int]]) -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    before, (below, right) = border
    expected = np.pad(image[0, 0], ((before, below), (before, right)), mode="reflect")
    np.testing.assert_array_equal(mirrored(image, *border)[0, 0], expected)
    assert mirrored(torch.ones(1, 1, 1, 1), *border).eq(1).all()


class TestFCN:
    @pytest.mark.parametrize("factor", [2, 8, 16, 32])
    def test_upsampling_begins_bilinear(self, factor: int) -> None:
        image = torch.rand(1, 3, 7, 6)
        with torch.no_grad():
            found = bilinear_upsampling(3, factor)(image)
        expected = torch.nn.functional.interpolate(image, scale_factor=factor, mode="bilinear")
        assert found.shape == expected.shape
        inner = (..., slice(factor, -factor), slice(factor, -factor))
        torch.testing.assert_close(found[inner], expected[inner])

    @pytest.mark.parametrize(
        ("name", "skips", "kernels"),
        [("fcn32", (), [64]), ("fcn16", (512,), [4, 32]), ("fcn8", (512, 256), [4, 4, 16])],
    )
    def test_skips_and_upsamplings(
        self, name: str, skips: tuple[int, ...], kernels: list[int]
    ) -> None:
        state = build_network(small(name)).state_dict()
        assert [state[f"up.{n}.weight"].shape[-1] for n in range(len(kernels))] == kernels
        for place, channels in enumerate(skips):
            assert state[f"skip_scores.{place}.weight"].shape[1] == channels // 32
        assert f"skip_scores.{len(skips)}.weight" not in state
        assert f"up.{len(kernels)}.weight" not in state

    @pytest.mark.parametrize("pooling", [3, 4])
    def test_the_scores_of_a_pooling_reach_the_output(self, pooling: int) -> None:
        network = build_network(small("fcn8")).eval()
        for score in (network.score, *network.skip_scores):
            torch.nn.init.zeros_(score.weight)
            torch.nn.init.zeros_(score.bias)
        image = torch.rand(1, 1, 64, 96)
        assert network([image]).eq(0).all()
        torch.nn.init.ones_(network.skip_scores[4 - pooling].bias)
        # Skips of ones come out as ones, but for the border, where upsampling meets nothing.
        inner = network([image])[..., 24:-24, 24:-24]
        torch.testing.assert_close(inner, torch.ones_like(inner))

    def test_vgg16_has_its_number_of_parameters(self) -> None:
        with torch.device("meta"):
            network = build_network(
                NetworkConfig(
                    name="fcn8",
                    in_channels=3,
                    classes=21,
                    distance=False,
                    batch_norm=False,
                    resolution_levels=(0,),
                )
            )
        # torchvision's vgg16 has 138,357,544, of which 4,097,000 are its third dense layer.
        assert sum(p.numel() for p in network.vgg.parameters()) == 138_357_544 - 4_097_000


def test_jnet_of_the_paper_has_its_number_of_parameters() -> None:
    config = NetworkConfig(
        name="jnet",
        structure=((16, 64, 3), (2, 8, 3), (2, 8, 3)),
        halve_channels=False,
        deep_supervision=False,
        resolution_levels=(-2, -1, 0),
    )
    assert build_network(config).parameter_count() == 851_402


def test_jnet_keeps_half_of_the_channels_at_each_upsampling() -> None:
    config = small("jnet", structure=((2, 9, 3), (1, 2, 3), (1, 3, 3)), in_channels=2)
    convolved = [
        9,
        5 + 2 * 2,
        5 + 3 * 2,
    ]  # 9 and 9 channels leave 5; copies of two channels are added
    state = build_network(config).state_dict()
    widths = [state[f"segments.{n}.0.1.weight"].shape[0] for n in range(3)]
    assert widths == convolved
    assert [state[f"segments.{n}.{at}.0.weight"].shape[1] for n, at in ((0, 2), (1, 1))] == [5, 5]


@pytest.mark.parametrize(
    ("name", "changes", "count"),
    [
        ("jnet", {}, 3),
        ("unet", {"resolution_levels": (-3, -2, -1, 0)}, 3),  # no output of the lowest
        ("unet", {"resolution_levels": (-3, -2, -1, 0), "padding": "valid"}, 3),
        ("unet", {"resolution_levels": (-1, 0)}, 1),
    ],
)
def test_levels_have_outputs_while_a_network_is_trained(
    name: str, changes: dict[str, object], count: int
) -> None:
    network = build_network(small(name, classes=3, **changes))
    network.set_initial_logits(torch.tensor([2.0, -1.0, -3.0]))
    levels = standardized_pyramid(torch.rand(2, 1, 96, 80), network.levels)
    outputs = torch.split(network(levels), 2)
    assert [output.shape for output in outputs] == [(2, 4, 96, 80)] * count
    for output in outputs[1:]:  # which see the image less than their bias
        assert (output[:, 0] > output[:, 2]).float().mean() > 0.9
    assert network.eval()(levels).shape == (2, 4, 96, 80)
    assert len(build_network(small(name, deep_supervision=False, **changes))(levels)) == 2


def test_the_outputs_of_levels_lie_where_the_output_lies() -> None:
    """Also with valid convolutions: each head sees a bright pixel where it is."""
    for padding in ("same", "valid"):
        network = trained(small("unet", resolution_levels=(-3, -2, -1, 0), padding=padding))
        network.train()
        for module in network.modules():  # each convolution takes the mean of what it sees
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                torch.nn.init.constant_(module.weight, 1)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
                module.reset_parameters()
                module.reset_running_stats()
        image = torch.zeros(1, 1, 160, 160)
        image[..., 73:87, 33:47] = 1.0
        for output in torch.split(network([image]).detach().double(), 1):
            weights = (output[0, 0] - output[0, 0].min()) ** 4
            rows, columns = torch.meshgrid(torch.arange(160), torch.arange(160), indexing="ij")
            middle = [float((weights * at).sum() / weights.sum()) for at in (rows, columns)]
            assert middle == pytest.approx([79.5, 39.5], abs=2.5)


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
    network = build_network(config).eval()
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
            IncompleteCheckpoint, match=r"3 resolution levels \(such as \[-2, -1, 0\]\)"
        ) as info:
            load_model(shared_data / "jnet-original-model" / "DIC_model", dt_bound=6)
        assert info.value.missing == ("resolution_levels",)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(64, 96), (67, 101)], ids=["even", "odd"])
def test_a_folded_network_gives_the_same(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = build_network(small(name))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean):
                values.data.normal_()
            module.running_var.uniform_(0.1, 3)
    network.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pyramid = [torch.randn(2, 1, *(side // 2**-level for side in size)) for level in network.levels]
    with torch.no_grad():
        expected, folded = network(pyramid), network.folded()
        torch.testing.assert_close(
            folded(pyramid), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item()
        )
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    norms, left = (
        sum(isinstance(module, torch.nn.BatchNorm2d) for module in made.modules())
        for made in (network, folded)
    )
    assert left < norms or not norms


@pytest.mark.parametrize("scale", [0.0, 1e-42])
def test_a_channel_that_training_has_switched_off_is_not_folded(scale: float) -> None:
    network = build_network(small("jnet")).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data[0], module.bias.data[0] = scale, 2.0
    pyramid = [torch.randn(1, 1, *(side // 2**-n for side in (67, 101))) for n in network.levels]
    with torch.no_grad():
        torch.testing.assert_close(network.folded()(pyramid), network(pyramid))
