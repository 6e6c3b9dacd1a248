"""Rounds of training: is the new model better than the one before?  Both answer for the same frames."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from napari_jnet.adaptation import check_fit
from napari_jnet.checkpoint import Model, load_model
from napari_jnet.data.stack import AnnotatedFrame
from napari_jnet.events import ModelScore, RoundEnd
from napari_jnet.validation import Validation, ValidationScores

__all__ = ["compare_models"]

_TITLES = {"seg": "SEG", "mean_iou": "mean IoU", "iou": "IoU"}
_EQUAL = 5e-4  # half of the last digit that is written


def compare_models(
    models: Mapping[str, Path | str], frames: Sequence[AnnotatedFrame], *, device: str = "auto"
) -> Generator[ModelScore, None, RoundEnd]:
    """Score models on the same validation frames, and say which one to keep.

    Parameters
    ----------
    models
        Run folders or model files by their names, the older first; of equal ones the later is kept,
        since it has seen more.
    frames
        Annotated frames that no model should have learned from.
    device
        Where to compute.

    Yields
    ------
    ModelScore
        For each model.

    Returns
    -------
    RoundEnd
        The model to keep, and in words how they compare.

    Raises
    ------
    ValueError
        Before anything is scored, if there is no model or no frame, a file is not a model, or a model
        has other channels or classes than the frames.

    Notes
    -----
    SEG decides where labels are objects, the mean IoU of all classes where they are classes, and
    where a frame has no object the IoU of cell.
    """
    if not models:
        raise ValueError("There is no model to compare; give at least one.")
    if not frames:
        raise ValueError(
            "There is no validation frame, so the models cannot be compared. Give one annotated frame "
            "the role validation."
        )
    loaded = {name: load_model(path, device=device) for name, path in models.items()}
    for name, model in loaded.items():
        check_fit(model.config.network, frames, f"the {name} model {models[name]}")
    scores = []
    for name, model in loaded.items():
        scores.append(_score(name, Path(models[name]), model, frames))
        yield scores[-1]
    return _decide(scores, len(frames))


def _score(name: str, path: Path, model: Model, frames: Sequence[AnnotatedFrame]) -> ModelScore:
    found: ValidationScores = Validation(frames, model.config, model.device).run(model)
    return ModelScore(name, path, found.seg, found.iou, found.mean_iou, found.loss)


def _decide(scores: Sequence[ModelScore], frames: int) -> RoundEnd:
    where = f"on {frames} validation frame{'s' if frames > 1 else ''}"
    by = _deciding(scores)
    if by is None:
        words = f"The models cannot be told apart {where}: no score applies to all of them."
        return RoundEnd(scores[-1].path, None, words, tuple(scores))
    old, *new = scores
    before = float(getattr(old, by))
    if not new:
        return RoundEnd(old.path, None, f"{_TITLES[by]} {before:.3f} {where}.", tuple(scores))
    best = max(reversed(new), key=lambda score: float(getattr(score, by)))
    after = float(getattr(best, by))
    same = abs(after - before) < _EQUAL
    verdict = "The same" if same else "Better" if after > before else "Worse"
    return RoundEnd(
        kept=old.path if verdict == "Worse" else best.path,
        better=None if same else after > before,
        words=f"{verdict}: {_TITLES[by]} {before:.3f} → {after:.3f} {where}.",
        scores=tuple(scores),
    )


def _deciding(scores: Sequence[ModelScore]) -> str | None:
    """Return the score that all models have: the one that says most."""
    for name in ("seg", "mean_iou", "iou"):
        if all(getattr(score, name) is not None for score in scores):
            return name
    return None
