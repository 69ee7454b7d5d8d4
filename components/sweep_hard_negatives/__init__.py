"""Finds the authentic training pictures that a model takes for forged, and sweeps its operating point on val."""
