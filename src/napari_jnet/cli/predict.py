"""``napari-jnet predict``."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_jnet.cli.common import (
    AxesOption,
    SequenceOption,
    SeriesOption,
    choose_frames,
    config_option,
    find_model,
    find_project,
    open_with_notes,
)
from napari_jnet.cli.console import console, fail, progress_bar, stop_signal
from napari_jnet.config import NetworkConfig, read_literal

if TYPE_CHECKING:
    from napari_jnet.events import FrameSkipped
    from napari_jnet.model import Model


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            help="Run folder, model.pt, project, original J-Net file, or starter, for cells of any size."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")],
    stack: Annotated[
        Path | None, typer.Argument(help="Stack to segment; of a project's model, its own stack.")
    ] = None,
    sequence: SequenceOption = None,
    axes: AxesOption = None,
    series: SeriesOption = None,
    frames: Annotated[
        str | None, typer.Option(help="Frames to predict, such as 2,5,21 or 0-20; default all.")
    ] = None,
    segmentation_threshold: Annotated[
        float | None, config_option("instances.segmentation_threshold")
    ] = None,
    seed_threshold: Annotated[float | None, config_option("instances.seed_threshold")] = None,
    min_size: Annotated[int | None, config_option("instances.min_size")] = None,
    min_confidence: Annotated[float | None, config_option("instances.min_confidence")] = None,
    fill_holes: Annotated[bool | None, config_option("instances.fill_holes")] = None,
    diameter: Annotated[float | None, config_option("prediction.diameter")] = None,
    tile: Annotated[int | None, config_option("prediction.tile")] = None,
    overlap: Annotated[float | None, config_option("prediction.overlap")] = None,
    tta: Annotated[int | None, config_option("prediction.tta")] = None,
    backend: Annotated[str | None, config_option("prediction.backend")] = None,
    device: Annotated[str, config_option("training.device")] = "auto",
    resolution_levels: Annotated[
        str | None,
        typer.Option(metavar="[-2,-1,0]", help="Of an original J-Net file, which lacks them."),
    ] = None,
    dt_bound: Annotated[
        float | None, typer.Option(help="Of an original J-Net file, which lacks it, in pixels.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Predict only this part, such as 2/8; --join follows."),
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="Write the result of all parts; no network runs.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Predict by the workers of a dask.distributed cluster."
        ),
    ] = None,
) -> None:
    """Segment a stack with a trained network and separate its objects.

    Writes probability.tif, distance.tif, instances.tif and confidence.csv (how sure each object is) into
    DIR, and for a CTC sequence a result folder such as 02_RES with masks and res_track.txt.  Ctrl-C
    stops after the frame; what is written stays.  A frame that cannot be read is skipped; the others
    are written, and the exit status is 2.  --part 1/8 to --part 8/8 on several machines, then --join
    with the same other options, give the same result; a part that runs again does what is missing.
    A project gives its model, and the sliders and the diameter of its window; options go before.
    """
    if (part is not None) + join + (scheduler is not None) > 1:
        raise ValueError("--part, --join and --scheduler exclude each other; give one of them.")
    place = None if part is None else _read_part(part)
    levels = _read_levels(resolution_levels)
    stack = _own_stack(model) if stack is None else stack
    numbers = choose_frames(frames, stack)
    model, project = find_model(model)

    opened = open_with_notes(stack, sequence=sequence, axes=axes, series=series)
    for number in set(numbers or ()) - set(opened.frame_numbers):
        opened.frame(number)  # raises

    from napari_jnet.device import describe_device
    from napari_jnet.inference.parts import join_parts, predict_part, predict_scheduled
    from napari_jnet.inference.predict import predict_to_folder

    here = not join and scheduler is None  # where the network runs
    loaded = _open_model(model, levels, dt_bound, device if here else "cpu")
    instances, prediction = loaded.config.instances, loaded.config.prediction
    if project is not None:
        if project.instances is not None:
            instances = instances.changed(**project.instances.given())
        if prediction.diameter == 0 and project.diameter is not None:
            prediction = prediction.changed(diameter=project.diameter)
    thresholds = {
        "segmentation_threshold": segmentation_threshold,
        "seed_threshold": seed_threshold,
        "min_size": min_size,
        "min_confidence": min_confidence,
        "fill_holes": fill_holes,
    }
    tiles = {
        "diameter": diameter,
        "tile": tile,
        "overlap": overlap,
        "tta": tta,
        "backend": backend,
    }
    job: dict[str, Any] = {
        "model": loaded,
        "stack": opened,
        "folder": output,
        "frames": numbers,
        "instances": instances.changed(**_given(thresholds)),
        "prediction": prediction.changed(**_given(tiles)),
    }
    if here:
        console().print(f"Device: {describe_device(loaded.device)}")
    if place is not None:
        _follow_part(predict_part(**job, part=place[0], parts=place[1]), str(part))
    elif scheduler is not None:
        _follow_result(predict_scheduled(scheduler, **job, device=device), output)
    else:
        _follow_result(join_parts(**job) if join else predict_to_folder(**job), output)


def _follow_result(events: Generator[Any, None, None], output: Path) -> None:
    """Show a prediction, and say at its end what is in the folder; exits if it is incomplete."""
    from napari_jnet.events import summarize_skipped

    seen = _follow(events)
    if seen.predicted:
        console().print(
            f"{seen.objects} objects in {seen.predicted} of {seen.count} frames: {output!s}"
        )
    else:
        console().print(f"No frame was predicted; {output!s} is as it was.")
    if seen.status:
        raise typer.Exit(seen.status)
    if seen.skipped:
        fail(f"Error: {' '.join(summarize_skipped(seen.skipped))}")


def _follow_part(events: Generator[Any, None, None], part: str) -> None:
    """Show a part; frames that it skips are an error of --join, which a batch system shall not leave out."""
    from napari_jnet.events import summarize_skipped

    seen = _follow(events)
    for sentence in summarize_skipped(seen.skipped):
        console().print(f"Note: {sentence}")
    state = "was stopped" if seen.status else "is done; --join follows when all are"
    console().print(f"{seen.predicted} frames predicted now: part {part} {state}.")
    if seen.status:
        raise typer.Exit(seen.status)


@dataclass
class _Seen:
    """What a prediction has told, and the exit status if it was stopped."""

    predicted: int = 0
    objects: int = 0
    count: int = 0
    skipped: list[FrameSkipped] = field(default_factory=list)
    status: int = 0


def _follow(events: Generator[Any, None, None]) -> _Seen:
    """Show the events of a prediction until its end, or until a stop is requested."""
    from napari_jnet.events import ClusterProgress, FrameSkipped, Message
    from napari_jnet.inference.instances import count_objects

    seen, out = _Seen(), console()
    with stop_signal() as stop, closing(events), progress_bar(out) as bar:
        task = bar.add_task("first frame", total=None)
        for event in events:
            if isinstance(event, Message):
                out.print(f"Note: {event.text}")
                continue
            if isinstance(event, ClusterProgress):
                done, what, more = event.done, "on the cluster", True
            else:
                if isinstance(event, FrameSkipped):
                    seen.skipped.append(event)
                else:
                    seen.predicted += 1
                    seen.objects += count_objects(event.instances)
                seen.count = event.count
                done, what = seen.predicted + len(seen.skipped), f"frame {event.number}"
                more = done < event.count
            bar.update(task, completed=done, total=event.count, description=what)
            if stop.requested and more:
                seen.status = stop.status
                break
    return seen


def _open_model(
    path: Path, levels: tuple[int, ...] | None, dt_bound: float | None, device: str
) -> Model:
    from napari_jnet.model import IncompleteCheckpoint, load_model

    try:
        return load_model(path, resolution_levels=levels, dt_bound=dt_bound, device=device)
    except IncompleteCheckpoint as error:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in error.missing)
        raise ValueError(f"{error} The options are {names}.") from error


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _read_part(text: str) -> tuple[int, int]:
    """Read "2/8"; raises `ValueError`."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    if match is None:
        raise ValueError(f"--part is {text!r}; parts are written as 2/8, the second of eight.")
    return int(match[1]), int(match[2])


def _read_levels(text: str | None) -> tuple[int, ...] | None:
    """Read "[-2,-1,0]" as resolution levels; raises `ValueError`."""
    if text is None:
        return None
    levels = read_literal(text.strip())
    return NetworkConfig.from_dict({"resolution_levels": levels}, "--").resolution_levels


def _own_stack(model: Path) -> Path:
    """Return the project whose model or run a path is; its stack is what to predict by default."""
    for folder in (model, *model.absolute().parents[:3]):
        if find_project(folder) is not None:
            return folder
    raise ValueError(
        f"Name the stack to segment after the model; {model} does not belong to a project."
    )
