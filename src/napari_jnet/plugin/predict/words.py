"""A model in words: which run, trained when and on what, how good; read from plain files."""

from __future__ import annotations

from pathlib import Path

from napari_jnet.data.project_runs import RunSummary, read_run

__all__ = ["model_words"]


def model_words(path: Path | None) -> str:
    """Say which model a path means, for the line below it; reads small files only.

    Parameters
    ----------
    path
        A run folder or a model file; None where none is chosen.
    """
    if path is None:
        return "No model yet: train one, or choose a run folder or a model file."
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and not (path / "model.pt").is_file():
        return f"{path.name} holds no model.pt yet; it is written after the first epoch."
    if not path.exists():
        return f"{path} is not there; choose another one."
    run = read_run(folder)
    if (
        not run.epochs
        and (folder / "config.json").is_file()
        and path.name in ("model.pt", run.name)
    ):
        return (
            f"Run {run.name}{_when(run)}, stopped before its first epoch was over: not scored yet."
        )
    if not run.epochs:
        return f"{path.name}: a single model file, without the history of its training."
    return f"Run {run.name}{_when(run)}{_learned(run)}{_scores(run)}"


def _when(run: RunSummary) -> str:
    if run.when is None:
        return ""
    return f", trained {run.when.day} {run.when:%b %H:%M}"  # %-d is unknown on Windows


def _learned(run: RunSummary) -> str:
    time = f"{run.elapsed_s / 60:.0f} min" if run.elapsed_s >= 60 else f"{run.elapsed_s:.0f} s"
    frames = _count(len(run.training_frames), "frame")
    return f", {time} on {frames}." if run.training_frames else f", {time}."


def _scores(run: RunSummary) -> str:
    known = {"SEG": run.seg, "IoU": run.iou}
    words = ", ".join(f"{name} {score:.2f}" for name, score in known.items() if score is not None)
    if not words:
        return " Never scored: no frame was kept for validation."
    return f" {words} on {_count(len(run.validation_frames), 'validation frame')}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
