"""The one place where models are judged: prediction, statistics, metrics, operating points, overlays and reports."""
