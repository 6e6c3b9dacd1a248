"""``napari-jnet predict``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

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


def predict(
    model: Annotated[
        Path, typer.Argument(help="Run folder, model.pt, project, or original J-Net file.")
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
    tile: Annotated[int | None, config_option("prediction.tile")] = None,
    overlap: Annotated[float | None, config_option("prediction.overlap")] = None,
    tta: Annotated[int | None, config_option("prediction.tta")] = None,
    device: Annotated[str, config_option("training.device")] = "auto",
    resolution_levels: Annotated[
        str | None,
        typer.Option(metavar="[-2,-1,0]", help="Of an original J-Net file, which lacks them."),
    ] = None,
    dt_bound: Annotated[
        float | None, typer.Option(help="Of an original J-Net file, which lacks it, in pixels.")
    ] = None,
) -> None:
    """Segment a stack with a trained network and separate its objects.

    Writes probability.tif, distance.tif and instances.tif into DIR, and for a CTC sequence a result
    folder such as 02_RES with masks and res_track.txt.  Ctrl-C stops after the frame; what is
    written stays.  A frame that cannot be read is skipped; the others are written, and the exit
    status is 2.
    """
    levels = _read_levels(resolution_levels)
    stack = _own_stack(model) if stack is None else stack
    numbers = choose_frames(frames, stack)
    model = find_model(model)

    opened = open_with_notes(stack, sequence=sequence, axes=axes, series=series)
    for number in set(numbers or ()) - set(opened.frame_numbers):
        opened.frame(number)  # raises

    from napari_jnet.device import describe_device
    from napari_jnet.events import FrameSkipped, Message, summarize_skipped
    from napari_jnet.inference.instances import count_objects
    from napari_jnet.inference.predict import predict_to_folder
    from napari_jnet.model import IncompleteCheckpoint, load_model

    try:
        loaded = load_model(model, resolution_levels=levels, dt_bound=dt_bound, device=device)
    except IncompleteCheckpoint as error:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in error.missing)
        raise ValueError(f"{error} The options are {names}.") from error
    thresholds = {
        "segmentation_threshold": segmentation_threshold,
        "seed_threshold": seed_threshold,
        "min_size": min_size,
    }
    tiles = {"tile": tile, "overlap": overlap, "tta": tta}
    out = console()
    out.print(f"Device: {describe_device(loaded.device)}")
    predicted, objects = 0, 0
    skipped: list[FrameSkipped] = []
    total = len(opened if numbers is None else numbers)
    events = predict_to_folder(
        loaded,
        opened,
        output,
        frames=numbers,
        instances=loaded.config.instances.changed(**_given(thresholds)),
        prediction=loaded.config.prediction.changed(**_given(tiles)),
    )
    with stop_signal() as stop, closing(events), progress_bar(out) as bar:
        task = bar.add_task("first frame", total=total)
        for event in events:
            if isinstance(event, Message):
                out.print(f"Note: {event.text}")
                continue
            if isinstance(event, FrameSkipped):
                skipped.append(event)
            else:
                predicted += 1
                objects += count_objects(event.instances)
            done = predicted + len(skipped)
            bar.update(task, completed=done, description=f"frame {event.number}")
            if stop.requested and done < total:
                break
    if predicted:
        out.print(f"{objects} objects in {predicted} of {total} frames: {output!s}")
    else:
        out.print(f"No frame was predicted; {output!s} is as it was.")
    if stop.requested and predicted + len(skipped) < total:
        raise typer.Exit(stop.status)
    if skipped:
        fail(f"Error: {' '.join(summarize_skipped(skipped))}")


def _given(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


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
