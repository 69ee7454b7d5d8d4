"""The inference server: the bundle that export wrote, behind HTTP, with Prometheus metrics.

``server`` runs it, ``service`` holds its state and what it serves with, ``app`` has the routes, ``analysis`` judges a
picture whatever the transport, ``batcher`` shares forward passes between requests, ``intake`` decides what gets in.
"""
