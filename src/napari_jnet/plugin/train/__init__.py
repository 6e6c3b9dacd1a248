"""The step Train: forms, checks before, curves and preview while, the round's end after."""
