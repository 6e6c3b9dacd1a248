"""The command line: ``napari-jnet train | predict | evaluate | info | demo | jnet``.

A command imports what it needs when it runs, so that ``--help`` is there at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from napari_jnet import __version__

from .demo import demo
from .evaluate import evaluate
from .info import info
from .jnet import jnet
from .predict import predict
from .relocate import relocate
from .report import fail, words_of
from .train import train

__all__ = ["app", "main"]

app = typer.Typer(
    name="napari-jnet",
    help="Train J-Net and U-Net on annotated stacks, and separate touching cells.",
    no_args_is_help=True,
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


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-jnet {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


_FULL = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch says so: on a GPU, and on the CPU of Linux and of Windows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the program with its exit status.

    Exit status 0 is success, 2 an error of use (one line on stderr), 130 a stop by Ctrl-C.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="napari-jnet")
    except KeyboardInterrupt:
        fail("Stopped.", status=130)
    except (ValueError, OSError, ArithmeticError) as error:
        fail(f"Error: {words_of(error)}")
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in _FULL):
            raise
        fail("Error: The memory of the device is full. Use --tile to predict in smaller tiles, "
             "--set training.batch_size=1 or a smaller network to train, or --device cpu.")  # fmt: skip
    sys.exit(0)
