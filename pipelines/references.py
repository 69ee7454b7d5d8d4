"""The one place that turns a step's symbolic image into a reference that names exactly one build."""

import os
import subprocess
from pathlib import Path

from core.errors import SettingsError

TAG_VARIABLE = "VERIFRAME_IMAGE_TAG"
REGISTRY_VARIABLE = "VERIFRAME_REGISTRY"


def build_tag() -> str:
    """Return the tag of the images that belong to this source: ``VERIFRAME_IMAGE_TAG``, else the git commit.

    Raises:
        SettingsError: when neither can be had, or the tag is ``latest`` (KFP's cache key holds the image string, so
            a tag that moves would bring back results of other code).
    """
    tag = os.environ.get(TAG_VARIABLE, "")
    if not tag:
        try:
            tag = subprocess.run(
                ["git", "rev-parse", "--short=12", "HEAD"],
                cwd=Path(__file__).parent,
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            raise SettingsError(f"no git commit to tag images with: set {TAG_VARIABLE} to the images' tag") from None
    if tag == "latest":
        raise SettingsError(f"{TAG_VARIABLE}=latest names no fixed build; give a git SHA or a version")
    return tag


def reference(image: str, registry: str | None = None, tag: str | None = None) -> str:
    """Return ``[registry/]image:tag``, or ``[registry/]image@sha256:…`` where ``tag`` is a digest.

    Args:
        image: a name from ``components.images``.
        registry: host and path before the name; None reads ``VERIFRAME_REGISTRY``.
        tag: tag or ``sha256:`` digest; None takes ``build_tag()``.
    """
    registry = os.environ.get(REGISTRY_VARIABLE, "") if registry is None else registry
    tag = tag or build_tag()
    separator = "@" if tag.startswith("sha256:") else ":"
    return f"{registry.rstrip('/') + '/' if registry else ''}{image}{separator}{tag}"
