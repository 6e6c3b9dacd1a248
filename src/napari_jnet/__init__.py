"""napari-jnet: train J-Net and U-Net on annotated stacks, and separate touching cells.

Importing this package loads neither torch nor napari; a name is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_jnet.config import Config, preset
    from napari_jnet.evaluation.evaluate import evaluate, evaluate_labels
    from napari_jnet.events import (
        BatchEnd,
        ComparisonResult,
        EpochEnd,
        FramePrediction,
        FrameScore,
        FrameSkipped,
        ModelScore,
        NewFrames,
        Notice,
        Preview,
        Scores,
        TrainingEnd,
        TrainingStart,
    )
    from napari_jnet.inference.instances import separate
    from napari_jnet.inference.predict import predict, predict_image
    from napari_jnet.io.axes import array_stack
    from napari_jnet.io.results import ResultWriter
    from napari_jnet.io.stack import AnnotatedFrame, Stack, annotated_frames
    from napari_jnet.measure import measure_frame
    from napari_jnet.model import load_model
    from napari_jnet.project.open import open_stack
    from napari_jnet.project.project import Project
    from napari_jnet.training.loop import train
    from napari_jnet.training.validate import compare_models

__version__ = "0.1.0"

__all__ = [
    "AnnotatedFrame",
    "BatchEnd",
    "ComparisonResult",
    "Config",
    "EpochEnd",
    "FramePrediction",
    "FrameScore",
    "FrameSkipped",
    "ModelScore",
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
    "AnnotatedFrame": "io.stack",
    "BatchEnd": "events",
    "ComparisonResult": "events",
    "Config": "config",
    "EpochEnd": "events",
    "FramePrediction": "events",
    "FrameScore": "events",
    "FrameSkipped": "events",
    "ModelScore": "events",
    "NewFrames": "events",
    "Notice": "events",
    "Preview": "events",
    "Project": "project.project",
    "ResultWriter": "io.results",
    "Scores": "events",
    "Stack": "io.stack",
    "TrainingEnd": "events",
    "TrainingStart": "events",
    "annotated_frames": "io.stack",
    "array_stack": "io.axes",
    "compare_models": "training.validate",
    "evaluate": "evaluation.evaluate",
    "evaluate_labels": "evaluation.evaluate",
    "load_model": "model",
    "measure_frame": "measure",
    "open_stack": "project.open",
    "predict": "inference.predict",
    "predict_image": "inference.predict",
    "preset": "config",
    "separate": "inference.instances",
    "train": "training.loop",
}

_WITH_TORCH = {"model", "inference", "training"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if _HOME[name].split(".")[0] in _WITH_TORCH:
        from napari_jnet.hardware import load_triton_apart

        load_triton_apart()
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
