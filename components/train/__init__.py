"""The training step: one loop for every model family, stage and data set; what differs is data in a recipe."""
