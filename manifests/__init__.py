"""Kustomize manifests of the inference endpoint, and what renders them for one build and one bundle."""
