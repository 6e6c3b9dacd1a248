"""napari-jnet: train J-Net and U-Net on annotated stacks, and separate touching cells.

Importing this package loads neither torch nor napari; a name is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_jnet.checkpoint import load_model
    from napari_jnet.config import Config, preset
    from napari_jnet.data import (
        AnnotatedFrame,
        Project,
        Stack,
        annotated_frames,
        array_stack,
        open_stack,
    )
    from napari_jnet.evaluation import evaluate, evaluate_labels
    from napari_jnet.events import (
        BatchEnd,
        EpochEnd,
        FramePrediction,
        FrameScore,
        NewFrames,
        Notice,
        Preview,
        Scores,
        TrainingEnd,
        TrainingStart,
    )
    from napari_jnet.export import ResultWriter
    from napari_jnet.inference import predict, predict_image
    from napari_jnet.instances import separate
    from napari_jnet.measurements import measure_frame
    from napari_jnet.rounds import compare_models
    from napari_jnet.training import train

__version__ = "0.1.0"

__all__ = [
    "AnnotatedFrame",
    "BatchEnd",
    "Config",
    "EpochEnd",
    "FramePrediction",
    "FrameScore",
    "NewFrames",
    "Notice",
    "Preview",
    "Project",
    "ResultWriter",
    "Scores",
    "Stack",
    "TrainingEnd",
    "TrainingStart",
    "__version__",
    "annotated_frames",
    "array_stack",
    "compare_models",
    "evaluate",
    "evaluate_labels",
    "load_model",
    "measure_frame",
    "open_stack",
    "predict",
    "predict_image",
    "preset",
    "separate",
    "train",
]

_HOME = {
    "AnnotatedFrame": "data",
    "BatchEnd": "events",
    "Config": "config",
    "EpochEnd": "events",
    "FramePrediction": "events",
    "FrameScore": "events",
    "NewFrames": "events",
    "Notice": "events",
    "Preview": "events",
    "Project": "data",
    "ResultWriter": "export",
    "Scores": "events",
    "Stack": "data",
    "TrainingEnd": "events",
    "TrainingStart": "events",
    "annotated_frames": "data",
    "array_stack": "data",
    "compare_models": "rounds",
    "evaluate": "evaluation",
    "evaluate_labels": "evaluation",
    "load_model": "checkpoint",
    "measure_frame": "measurements",
    "open_stack": "data",
    "predict": "inference",
    "predict_image": "inference",
    "preset": "config",
    "separate": "instances",
    "train": "training",
}

_WITH_TORCH = {"checkpoint", "inference", "rounds", "training"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if _HOME[name] in _WITH_TORCH:
        from napari_jnet.shared_libraries import load_triton_apart

        load_triton_apart()
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
