"""One module for each outside system; a step reaches the outside through these only."""
