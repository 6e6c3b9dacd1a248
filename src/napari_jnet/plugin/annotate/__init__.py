"""The step Annotate: painting, kinds of labels, classes, the table of frames."""
