"""The symbolic names of the images that steps and the server run in; ``pipelines`` makes pinned references of them."""

EXTRACTOR = "veriframe-extractor"
TRAINER = "veriframe-trainer"
SERVING = "veriframe-serving"
SERVING_CPU = "veriframe-serving-cpu"
ALL = (EXTRACTOR, TRAINER, SERVING, SERVING_CPU)
