"""``python -m napari_jnet``: the command line."""

from __future__ import annotations

from napari_jnet.cli import main

if __name__ == "__main__":
    main()
