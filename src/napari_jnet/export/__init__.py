"""Results on disk, in files that other tools open."""

from __future__ import annotations

from .files import OutputError
from .results import ResultWriter, result_folder

__all__ = ["OutputError", "ResultWriter", "result_folder"]
