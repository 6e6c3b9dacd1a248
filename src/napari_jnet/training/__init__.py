"""Training: setup, batches, targets, losses, the loop and validation."""
