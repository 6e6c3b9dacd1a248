"""napari-jnet: train J-Net and U-Net on annotated stacks, and separate touching cells.

Importing this package loads neither torch nor napari; a name is loaded when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_jnet.config import Config as Config
    from napari_jnet.config import preset as preset
    from napari_jnet.evaluation.evaluate import evaluate as evaluate
    from napari_jnet.evaluation.evaluate import evaluate_labels as evaluate_labels
    from napari_jnet.events import BatchEnd as BatchEnd
    from napari_jnet.events import ComparisonResult as ComparisonResult
    from napari_jnet.events import EpochEnd as EpochEnd
    from napari_jnet.events import FramePrediction as FramePrediction
    from napari_jnet.events import FrameScore as FrameScore
    from napari_jnet.events import FrameSkipped as FrameSkipped
    from napari_jnet.events import Message as Message
    from napari_jnet.events import ModelScore as ModelScore
    from napari_jnet.events import NewFrames as NewFrames
    from napari_jnet.events import Preview as Preview
    from napari_jnet.events import Scores as Scores
    from napari_jnet.events import TrainingEnd as TrainingEnd
    from napari_jnet.events import TrainingStart as TrainingStart
    from napari_jnet.inference.confidence import cell_confidence as cell_confidence
    from napari_jnet.inference.image import predict_image as predict_image
    from napari_jnet.inference.instances import separate as separate
    from napari_jnet.inference.predict import predict as predict
    from napari_jnet.io.axes import array_stack as array_stack
    from napari_jnet.io.results import ResultWriter as ResultWriter
    from napari_jnet.io.stack import AnnotatedFrame as AnnotatedFrame
    from napari_jnet.io.stack import Stack as Stack
    from napari_jnet.io.stack import annotated_frames as annotated_frames
    from napari_jnet.measure import measure_frame as measure_frame
    from napari_jnet.model import load_model as load_model
    from napari_jnet.project.open import open_stack as open_stack
    from napari_jnet.project.project import Project as Project
    from napari_jnet.training.loop import train as train
    from napari_jnet.training.validate import compare_models as compare_models

__version__ = "0.1.0"

_NAMES: dict[str, tuple[str, ...]] = {
    "config": ("Config", "preset"),
    "evaluation.evaluate": ("evaluate", "evaluate_labels"),
    "events": (
        "BatchEnd",
        "ComparisonResult",
        "EpochEnd",
        "FramePrediction",
        "FrameScore",
        "FrameSkipped",
        "ModelScore",
        "NewFrames",
        "Message",
        "Preview",
        "Scores",
        "TrainingEnd",
        "TrainingStart",
    ),
    "inference.confidence": ("cell_confidence",),
    "inference.image": ("predict_image",),
    "inference.instances": ("separate",),
    "inference.predict": ("predict",),
    "io.axes": ("array_stack",),
    "io.results": ("ResultWriter",),
    "io.stack": ("AnnotatedFrame", "Stack", "annotated_frames"),
    "measure": ("measure_frame",),
    "model": ("load_model",),
    "project.open": ("open_stack",),
    "project.project": ("Project",),
    "training.loop": ("train",),
    "training.validate": ("compare_models",),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted([*_HOME, "__version__"])
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
