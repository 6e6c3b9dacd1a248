"""Prediction: a trained network on stacks, and separate cells from its maps."""
