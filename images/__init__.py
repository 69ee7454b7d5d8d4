"""The container images: how they are built; ``Dockerfile`` says what is in them."""
