"""Evaluates one or several groups of models, side by side, on the test split of any indexed data set."""
