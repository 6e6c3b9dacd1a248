"""Stacks and results on disk, read lazily; knows no project."""
