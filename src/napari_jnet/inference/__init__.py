"""Prediction of stacks by a trained network, and separation of cells in its maps."""
