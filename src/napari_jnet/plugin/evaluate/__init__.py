"""The steps Evaluate and Measure: scores, errors and numbers of cells."""
