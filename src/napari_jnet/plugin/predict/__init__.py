"""The step Predict: scopes, result layers, sliders, handing cells over to the annotation."""
