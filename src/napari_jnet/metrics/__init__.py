"""Scores: of pixels, of the Cell Tracking Challenge and of ISBI-2012."""
