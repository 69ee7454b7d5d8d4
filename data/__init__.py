"""Data sets: their layouts, the sample index, shards, groups, splits, and the torch data sets over them."""
