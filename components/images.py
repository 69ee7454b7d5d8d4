"""The symbolic names of the images that steps run in; ``pipelines`` replaces them with pinned references."""

EXTRACTOR = "veriframe-extractor"
TRAINER = "veriframe-trainer"
