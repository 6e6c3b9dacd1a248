"""The program of the command line: its commands, and how each of them may end.

A command imports what it needs when it runs, so that ``--help`` is there at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from napari_jnet import __version__
from napari_jnet.cli.console import fail, message_of
from napari_jnet.cli.demo import demo
from napari_jnet.cli.evaluate import evaluate
from napari_jnet.cli.info import info
from napari_jnet.cli.jnet import jnet
from napari_jnet.cli.predict import predict
from napari_jnet.cli.relocate import relocate
from napari_jnet.cli.train import train
from napari_jnet.hardware import MEMORY_FULL, is_memory_full

app = typer.Typer(
    name="napari-jnet",
    help="Train J-Net and U-Net on annotated stacks, and separate touching cells.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


for command in (train, predict, evaluate, info, relocate, demo):
    app.command()(command)


# Its flags are those of the original's script, which it reads itself.
app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(jnet)


# What typer raises for words that no command takes; one of its kinds is public.
_USAGE: Any = typer.BadParameter.__base__


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"napari-jnet {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the program with its exit status; see `napari_jnet.cli.main`."""
    # The error of a command says what is wrong with a file; tifffile would log it as well.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    notes = logging.StreamHandler(sys.stdout)
    notes.setFormatter(logging.Formatter("Note: %(message)s"))
    ours = logging.getLogger("napari_jnet")
    ours.addHandler(notes)
    try:
        _run(arguments)
    finally:
        ours.removeHandler(notes)


def _run(arguments: Sequence[str] | None) -> NoReturn:
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        left = app(args=words, prog_name="napari-jnet", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        fail("Stopped.", status=130)
    except _USAGE as error:
        fail(f"Error: {error.format_message()} See napari-jnet --help.")
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.exit(1)
    except (ValueError, OSError, ArithmeticError) as error:
        fail(f"Error: {message_of(error)}")
    except (MemoryError, RuntimeError) as error:
        if not is_memory_full(error):
            raise
        fail(f"Error: {MEMORY_FULL}")
    sys.exit(left if isinstance(left, int) else 0)
