"""How the network runs: torch in float32, or a faster way that gives the same cells."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_jnet.device import has_bfloat16
from napari_jnet.evaluation.objects import seg_frame
from napari_jnet.inference.tiling import Maps, run_network
from napari_jnet.labels import contingency
from napari_jnet.model import Model

Run = Callable[[list[Tensor]], Tensor]
_WORTH_S = 40.0  # a shorter prediction does not pay for a comparison
_FASTER = 1.1
_AGREEMENT = 0.998  # of cells and of pixels with those of float32
_MOST_SHAPES = 2  # that OpenVINO compiles: whole frames, or tiles without those at the edges


def torch_bfloat16(network: nn.Module) -> Run:
    """Return a function that runs the network in bfloat16, with weights in float32."""

    def run(levels: list[Tensor]) -> Tensor:
        with torch.autocast(levels[0].device.type, torch.bfloat16):
            return run_network(network, levels)

    return run


def openvino(network: nn.Module, precision: Literal["f32", "bf16"]) -> Run:
    """Return a function that runs the network by OpenVINO on the CPU.

    It compiles the network for the first shapes that come; others run by torch.  All that is in a thread of
    its own: OpenVINO leaves its thread with a stack for signals that is freed, so that Ctrl-C would crash.
    """
    compiled: dict[tuple[torch.Size, ...], Any] = {}
    threads = torch.get_num_threads()  # of the caller, not of the new thread
    thread = ThreadPoolExecutor(1, "napari-jnet OpenVINO")

    def compute(levels: list[Tensor]) -> Tensor:
        key = tuple(level.shape for level in levels)
        if key not in compiled:
            if len(compiled) == _MOST_SHAPES:
                return run_network(network, levels)
            compiled[key] = _compile(network, levels, precision, threads)
        result = compiled[key]([level.contiguous().numpy() for level in levels])
        return torch.from_numpy(result[0].copy())

    return lambda levels: thread.submit(compute, levels).result()


class _Arguments(nn.Module):
    """A network whose levels are arguments, as tracing needs them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *levels: Tensor) -> Tensor:
        """Run on one (N, C, h, w) a level."""
        output: Tensor = self.network(list(levels))
        return output


def _compile(network: nn.Module, levels: list[Tensor], precision: str, threads: int) -> Any:
    from openvino import Core, PartialShape
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    plain = _Arguments(copy.deepcopy(network).to(memory_format=torch.contiguous_format)).eval()  # type: ignore[call-overload]
    example = tuple(level.contiguous() for level in levels)
    # `openvino.convert_model` does the same, and reports its use over the network.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(plain, example, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # held, as the frontend does not
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(
        {
            given: PartialShape(list(level.shape))
            for given, level in zip(model.inputs, levels, strict=True)
        }
    )
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    return Core().compile_model(model, "CPU", settings)


BACKENDS: dict[str, Callable[[nn.Module], Run]] = {
    "torch": lambda network: partial(run_network, network),
    "torch-bfloat16": torch_bfloat16,
    "openvino": lambda network: openvino(network, "f32"),
    "openvino-bfloat16": lambda network: openvino(network, "bf16"),
}


def use_backend(model: Model, name: str) -> None:
    """Let a model, whose weights stay as they are, run in this way from now on.

    Raises `ValueError` where that is not possible.
    """
    if name.startswith("openvino"):
        if find_spec("openvino") is None:
            raise ValueError(
                f"prediction.backend is {name}, but OpenVINO is not installed. Run pip install "
                "'napari-jnet[openvino]', or choose auto or torch."
            )
        if model.device.type != "cpu":
            raise ValueError(
                f"prediction.backend is {name}, which runs on the CPU; the device is {model.device.type}. "
                "Choose auto or torch, or the device cpu."
            )
    model.run = BACKENDS[name](model.network.folded())


def available_backends(model: Model) -> list[str]:
    """Return the ways besides torch in float32 that may be faster here."""
    if model.device.type != "cpu":
        return []
    half = has_bfloat16(model.device)
    names = ["openvino"] if find_spec("openvino") is not None else []
    return [*names, *(f"{name}-bfloat16" for name in ("torch", *names) if half)]


def choose_backend(
    model: Model, predict: Callable[[], tuple[Maps, NDArray[np.integer]]], times: float
) -> str:
    """Measure on one frame which way is the fastest, and use it for this model.

    Parameters
    ----------
    model
        Its `run` is set, and `measured` unless the measurement is left out.
    predict
        Predicts the frame, by `model.run`, and separates its cells.
    times
        How many such calls the whole work takes; the measurement is left out where that is less than 40 s.

    Returns
    -------
    str
        What was chosen and how it agrees, for the user; "" for torch in float32.

    Notes
    -----
    A way is refused where the cells of the frame have a SEG below 0.998, or its pixels an IoU below that,
    with those of float32 as the reference; so it is where it fails, and on a frame without cells, which
    shows nothing.
    """
    use_backend(model, "torch")
    expected, base = _timed(predict)
    if base * times < _WORTH_S or not expected[1].any():
        return ""
    best, text = base / _FASTER, ""
    chosen = model.run
    for name in available_backends(model):
        try:
            use_backend(model, name)
            predict()  # compiles
            found, seconds = _timed(predict)
        except (
            ValueError,
            RuntimeError,
        ):  # OpenVINO has not every layer; nor is every output finite
            continue
        seg, iou = agreement(expected, found)
        if min(seg, iou) >= _AGREEMENT and seconds < best:
            best, chosen = seconds, model.run
            text = (
                f"Predicts with {name}, {base / seconds:.1f} times as fast as torch in float32; cells "
                f"and pixels of the first frame agree with a SEG of {seg:.4f} and an IoU of {iou:.4f}."
            )
    model.run, model.measured = chosen, True
    return text


def agreement(
    expected: tuple[Maps, NDArray[np.integer]], found: tuple[Maps, NDArray[np.integer]]
) -> tuple[float, float]:
    """Return the SEG of the cells and the IoU of the pixels of a prediction, with another as reference."""
    seg = float(seg_frame(contingency(expected[1], found[1])).mean())
    first, second = (maps.segmentation > 0.5 for maps, _ in (expected, found))
    if expected[0].classes is not None and found[0].classes is not None:
        return seg, float((expected[0].classes == found[0].classes).mean())
    union = int((first | second).sum())
    return seg, int((first & second).sum()) / union if union else 1.0


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started
