"""Large frames go block by block: maps and cells are those of the whole, whatever the blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_jnet.config import Config, InstanceConfig
from napari_jnet.events import FramePrediction, Message
from napari_jnet.inference import predict as module
from napari_jnet.inference.instances import count_objects, separate, separate_blocks
from napari_jnet.inference.parts import join_parts, predict_part
from napari_jnet.inference.predict import predict, predict_to_folder
from napari_jnet.io.axes import array_stack
from napari_jnet.io.results import open_result
from napari_jnet.io.stack import Stack
from napari_jnet.io.tiff import tiff_text
from napari_jnet.labels import contingency
from napari_jnet.model import Model
from napari_jnet.networks import build_network


def a_model(**changes: object) -> Model:
    torch.manual_seed(0)
    config = Config().replace(
        {
            "network.channels": 3,
            "network.resolution_levels": (-1, 0),
            "targets.dt_bound": 5.0,
            "prediction.backend": "torch",
            **changes,
        }
    )
    network = build_network(config.network).eval()
    return Model(network, config, Path("model.pt"), torch.device("cpu"))


def cells(height: int, width: int, seed: int, spacing: int = 15) -> np.ndarray:
    """Return the distance to the boundary of round cells, many of which touch."""
    random = np.random.default_rng(seed)
    distance = np.zeros((height, width), np.float32)
    rows, columns = np.mgrid[:height, :width]
    for row in range(0, height, spacing):
        for column in range(0, width, spacing):
            y, x = np.array([row, column]) + random.integers(0, 6, 2)
            distance = np.maximum(distance, random.uniform(5, 9) - np.hypot(rows - y, columns - x))
    return np.clip(distance + random.uniform(0, 0.2, distance.shape), 0, 6).astype(np.float32)


def same_objects(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two frames have the same objects, whatever their numbers."""
    table = contingency(first, second)
    return len(table.row) == len(table.rows) == len(table.columns) and bool(
        ((first > 0) == (second > 0)).all()
    )


def go_by_blocks(patch: pytest.MonkeyPatch, side: int, halo: int = 48) -> None:
    """Let every frame go by blocks of this side."""
    patch.setattr(module, "_HALO", halo)
    patch.setattr(module, "_fit_memory", lambda *_: (side, 1, 0))


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(60, 200),
    width=st.integers(60, 200),
    side=st.integers(30, 130),
    min_size=st.sampled_from([0, 20, 80]),
    seed=st.integers(0, 99),
)
def test_objects_that_fit_a_block_with_its_halo_are_those_of_the_whole(
    height: int, width: int, side: int, min_size: int, seed: int
) -> None:
    distance = cells(height, width, seed)
    probability = (distance > 0.6).astype(np.float32)
    config = InstanceConfig(min_size=min_size)
    whole = separate(probability, distance, config, 6.0)
    found = np.zeros_like(whole)
    apart = separate_blocks(probability, distance, config, 6.0, found, side=side, halo=60)
    assert same_objects(whole, found) and apart == 0
    first = np.unique(found[found > 0], return_index=True)[1]
    assert (np.diff(first) > 0).all(), "numbered by the first pixel"
    assert count_objects(found) == whole.max()


def test_an_object_that_is_larger_than_the_halo_is_joined_at_the_seams() -> None:
    probability = np.zeros((150, 400), np.float32)
    probability[60:90, 10:390] = 1
    distance = np.minimum(ndimage.distance_transform_edt(probability), 6).astype(np.float32)
    found = np.zeros(probability.shape, np.int32)
    separate_blocks(probability, distance, InstanceConfig(), 6.0, found, side=64, halo=32)
    assert np.array_equal(found, separate(probability, distance, InstanceConfig(), 6.0))


def test_pixels_that_blocks_see_differently_beside_their_seam_are_counted() -> None:
    """A bar of which the second block sees too little to keep it."""
    probability = np.zeros((64, 128), np.float32)
    probability[20:24, 10:70] = 1
    distance, config = np.zeros_like(probability), InstanceConfig(min_size=100)
    found = np.zeros(probability.shape, np.int32)
    apart = separate_blocks(probability, distance, config, 6.0, found, side=64, halo=16)
    assert np.array_equal(
        found[:, 60:68] > 0, (probability > 0)[:, 60:68] & (np.arange(60, 68) < 64)
    )
    assert apart == 4 * 8, "in the half of the halo before the seam"


def test_what_blocks_see_differently_is_said_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, stack = a_model(), array_stack(padded_image(200, 173)[None])
    model.path = tmp_path / "model.pt"
    model.path.touch()
    (whole,) = predict(model, stack)
    assert isinstance(whole, FramePrediction)
    among = InstanceConfig(segmentation_threshold=float(np.median(whole.segmentation)), min_size=40)
    go_by_blocks(monkeypatch, 48, halo=6)  # smaller than what is separated
    message, event = predict_to_folder(model, stack, tmp_path, instances=among)
    assert isinstance(message, Message) and isinstance(event, FramePrediction)
    assert 0 < event.seam_pixels < event.instances.size
    assert f"differ in {event.seam_pixels} pixel(s) beside their seams" in message.text
    with tifffile.TiffFile(tmp_path / "instances.tif") as file:
        written = json.loads(tiff_text(file.pages.first.description))
    assert written["seam_pixels"] == {"0": event.seam_pixels}
    list(predict_part(model, stack, tmp_path / "parts", 1, 1, instances=among))
    said, joined = join_parts(model, stack, tmp_path / "parts", instances=among)
    assert isinstance(joined, FramePrediction)
    assert (said, joined.seam_pixels) == (message, event.seam_pixels)
    result = open_result(tmp_path, stack)
    np.testing.assert_array_equal(result.instances(0), event.instances)
    result.close()


def test_a_volume_is_separated_in_three_dimensions() -> None:
    distance = np.stack([cells(90, 110, 3)] * 3)
    probability = (distance > 0.6).astype(np.float32)
    whole = separate(probability, distance, InstanceConfig(), 6.0)
    found = np.zeros_like(whole)
    separate_blocks(probability, distance, InstanceConfig(), 6.0, found, side=40, halo=60)
    assert same_objects(whole, found)


def padded_image(height: int, width: int) -> np.ndarray:
    """Return a noisy image of cells with a border of zeros around it."""
    image = cells(height, width, 1) * 1000 + 500
    image = image + np.random.default_rng(2).uniform(0, 300, image.shape)
    image[:19] = image[:, -23:] = 0
    return image.astype(np.uint16)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prediction.tta": 8},
        {"prediction.overlap": 0.5, "prediction.tile": 64},
        {"network.standardization": "plain"},
        {"network.classes": 3},
        {"network.name": "jnet", "network.structure": ((2, 4, 3), (1, 2, 3))},
        {"network.resolution_levels": (-2, -1)},
    ],
    ids=["default", "tta", "overlap", "plain", "classes", "jnet", "pooled"],
)
@pytest.mark.parametrize("side", [48, 101])
def test_maps_by_blocks_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], side: int
) -> None:
    model, stack = a_model(**changes), array_stack(padded_image(173, 149)[None])
    (whole,) = predict(model, stack)
    monkeypatch.setattr("napari_jnet.preprocess._STRIP", 4000)
    go_by_blocks(monkeypatch, side)
    (blocks,) = predict(model, stack)
    assert isinstance(whole, FramePrediction) and isinstance(blocks, FramePrediction)
    np.testing.assert_allclose(blocks.segmentation, whole.segmentation, atol=1e-5)
    np.testing.assert_allclose(blocks.distance, whole.distance, atol=1e-4)
    if whole.classes is not None and blocks.classes is not None:
        assert (blocks.classes == whole.classes).mean() > 0.999
    assert blocks.instances.shape == whole.instances.shape


def test_a_region_of_a_large_volume_is_that_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.stack([padded_image(120, 140), np.zeros((120, 140), np.uint16)])[None]
    stack, region = array_stack(image, axes="TZYX"), (slice(10, 101), slice(33, 140))
    _, whole = predict(a_model(), stack, region=region)
    go_by_blocks(monkeypatch, 48)
    message, blocks = predict(a_model(), stack, region=region)
    assert isinstance(whole, FramePrediction) and isinstance(blocks, FramePrediction)
    assert "1 plane(s) have one value" in getattr(message, "text", "")
    np.testing.assert_allclose(blocks.segmentation, whole.segmentation, atol=1e-5)
    assert blocks.region == region


def test_a_frame_that_cannot_be_predicted_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = padded_image(100, 120).astype(np.float32)
    image[50, 50] = np.nan
    go_by_blocks(monkeypatch, 48)
    with pytest.raises(ValueError, match="has 1 pixel"):
        list(predict(a_model(), array_stack(image[None])))


def test_a_result_by_blocks_is_written_and_read_as_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stack: Stack = array_stack(padded_image(200, 173)[None])
    monkeypatch.setattr("napari_jnet.io.results._TILE", 64)
    go_by_blocks(monkeypatch, 96)
    (event,) = predict_to_folder(a_model(), stack, tmp_path)
    assert isinstance(event, FramePrediction)
    result = open_result(tmp_path, stack)
    np.testing.assert_array_equal(result.instances(0), event.instances)
    np.testing.assert_array_equal(result.map("probability", 0), event.segmentation)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "distance.tif"), event.distance)
    result.close()


def test_a_thin_large_frame_is_not_padded_to_many_times_its_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stack = array_stack(padded_image(40, 1000)[None])
    go_by_blocks(monkeypatch, 48)
    (event,) = predict_to_folder(a_model(), stack, tmp_path)
    assert isinstance(event, FramePrediction)
    file = tmp_path / "probability.tif"
    assert file.stat().st_size < 1.6 * event.segmentation.nbytes
    np.testing.assert_array_equal(tifffile.imread(file), event.segmentation)


def test_the_size_of_the_frame_decides_whether_it_goes_by_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_HALO", 16)
    for at_once, by_blocks in ((1 << 30, False), (1 << 20, True)):
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        (event,) = predict(a_model(), array_stack(padded_image(100, 140)[None]))
        assert isinstance(event, FramePrediction)
        assert isinstance(event.instances, np.memmap) is by_blocks


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_the_network_sees_no_more_of_a_block_than_a_tile(
    monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    """What it computes takes more memory than the block itself."""
    model, seen = a_model(**{"network.scale": scale}), []

    def watch(_: torch.nn.Module, levels: tuple[list[torch.Tensor]]) -> None:
        seen.append(max(levels[0][-1].shape[-2:]))

    model.network.register_forward_pre_hook(watch)
    monkeypatch.setattr(module, "_BLOCK_TILE", 64)
    go_by_blocks(monkeypatch, 160)
    list(predict(model, array_stack(padded_image(200, 240)[None])))
    assert 64 < max(seen) <= 64 + 2 * model.network.halo + 8  # rescaled, with the pixels around


def test_windows_that_overlap_run_no_more_often_for_a_smaller_tile_of_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, seen = a_model(**{"prediction.overlap": 0.5, "prediction.tile": 96}), []
    model.network.register_forward_pre_hook(lambda *_: seen.append(1))
    go_by_blocks(monkeypatch, 160)
    runs = []
    for tile in (32, 768):
        monkeypatch.setattr(module, "_BLOCK_TILE", tile)
        seen.clear()
        list(predict(model, array_stack(padded_image(200, 240)[None])))
        runs.append(len(seen))
    assert runs[0] == runs[1] > 1


def test_too_little_space_for_temporary_files_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    go_by_blocks(monkeypatch, 48)
    with pytest.raises(OSError, match=r"temporary files.*No space left on device.*set TMPDIR"):
        list(predict(a_model(), array_stack(padded_image(100, 120)[None])))
