"""The inference server: the bundle that export wrote, behind HTTP, with Prometheus metrics.

``server`` runs it, ``service`` holds its state and what it serves with, ``app`` and ``routes`` are HTTP, ``dataplane``
is the Open Inference Protocol whatever carries it, ``batcher`` shares forward passes between requests, and ``intake``
decides what gets in. What is made of a medium is the bundle's task's: see ``bundle.analyzers``.
"""
