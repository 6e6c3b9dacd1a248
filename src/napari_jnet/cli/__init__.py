"""The command line: ``napari-jnet train | predict | evaluate | info | demo | jnet``.

The program is loaded when it runs: the window takes texts from modules beside it, without the commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the program with its exit status.

    Exit status 0 is success, 2 an error of use (one line on stderr), 130 a stop by Ctrl-C.
    """
    from napari_jnet.cli.program import run

    run(arguments)
