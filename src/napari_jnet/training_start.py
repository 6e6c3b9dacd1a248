"""Everything that a training needs before its first batch; what is wrong is said here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_jnet.adaptation import check_fit
from napari_jnet.batches import load_frames
from napari_jnet.checkpoint import model_file, read_checkpoint
from napari_jnet.config import Config
from napari_jnet.data.stack import AnnotatedFrame
from napari_jnet.device import choose_device, use_threads
from napari_jnet.run_folder import RunFolder
from napari_jnet.training_board import Board
from napari_jnet.training_given import resumed_config
from napari_jnet.training_job import Job
from napari_jnet.training_setup import (
    cautions,
    check_resumed,
    settle_config,
    split_annotated,
    usable_frames,
)
from napari_jnet.training_state import new_state
from napari_jnet.training_update import new_validation, revalidate

__all__ = ["prepare"]


def prepare(
    folder: RunFolder,
    frames: Sequence[AnnotatedFrame],
    budget: Config,
    resume: bool,
    start_from: Path | str | None,
) -> tuple[Job, list[str]]:
    """Load data and network, and write what the run is of; the folder stays empty until all is well.

    Parameters
    ----------
    folder
        Of the run.
    frames, resume, start_from
        See `train`.
    budget
        The configuration as asked for.

    Returns
    -------
    job, notices
        The training, and what its user should know of the data.

    Raises
    ------
    ValueError, FileNotFoundError, OSError
        If frames, configuration, model or folder cannot be used.
    """
    checkpoint = read_checkpoint(folder.last) if resume else None
    before = None if checkpoint is None else checkpoint["split"]
    if before is not None:
        check_resumed(frames, before)
    frames, skipped = usable_frames(frames)
    training, validation = split_annotated(frames, budget, before)
    if checkpoint is None:
        settings = settle_config(budget, training, validation, start_from)
    else:
        network = Config.from_saved(checkpoint["config"]).network
        check_fit(network, [*training, *validation], f"the run {folder.path}")
        settings = resumed_config(budget, checkpoint, training, str(folder.path))
    use_threads(settings.training.threads)
    device = choose_device(settings.training.device)
    state = new_state(settings, device)
    store = load_frames(training, state.network.levels, device, settings)
    if checkpoint is not None:
        state.restore(checkpoint, folder.last)
    elif start_from is not None:
        state.start_from(model_file(Path(start_from)))
    elif settings.training.pretrained:
        state.start_pretrained(Path(settings.training.pretrained))
    split = {"training": [f.name for f in training], "validation": [f.name for f in validation]}
    checked = new_validation(validation, settings, store)
    board = Board(folder.path) if settings.training.tensorboard else None
    kept = folder.keep_leftover([start_from, settings.training.pretrained])
    folder.write_start(settings, split)
    job = Job(folder, settings, device, state, store, checked, split, board)
    if checkpoint is not None:
        job.complete_files()
    if checkpoint is not None and checkpoint["training"].get("scored") != checked.names:
        revalidate(job, validation)
    state.scored = checked.names
    origins = dict.fromkeys(f"Labels: {frame.origin}" for frame in frames if frame.origin)
    levels = state.network.levels
    notices = [*([kept] if kept else []), *origins, *skipped]
    notices += [*cautions(training, validation, settings, levels), *checked.notes()]
    if job.progress() >= 1:
        notices.append(_used_up(settings))
    return job, notices


def _used_up(config: Config) -> str:
    parts = {"minutes": config.training.minutes, "epochs": config.training.epochs}
    budget = " or ".join(f"{value:g} {name}" for name, value in parts.items() if value is not None)
    return (
        f"The training has used its {budget}, so nothing is left to do. Give it more epochs or minutes "
        "to go on."
    )
