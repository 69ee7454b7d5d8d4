"""``python -m manifests``: manifests of one build of the images and one bundle, ready for ``kubectl apply``."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from components import images as names
from core import files
from core.cli import run
from core.errors import SettingsError
from manifests.kubectl import BUILD, kubectl
from pipelines import references

HERE = Path(__file__).resolve().parent
IMAGES = {"cpu": names.SERVING_CPU, "gpu": names.SERVING}


def build(folder: Path) -> str:
    """Render a kustomization.

    Args:
        folder: of the ``kustomization.yaml``.

    Returns:
        The manifests, one YAML stream.

    Raises:
        SettingsError: with kubectl's own message, when it refuses.
    """
    rendered = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    if rendered.returncode:
        raise SettingsError(f"cannot render {folder}: {rendered.stderr.strip()}")
    return rendered.stdout


def render(overlay: str, bundle: str, registry: str | None = None, tag: str | None = None, endpoint: str = "") -> Path:
    """Render an overlay for a build of the images and a bundle, by way of a kustomization above the overlay.

    Args:
        overlay: ``cpu`` or ``gpu``.
        bundle: ``s3://…/releases/<name>/current.json``, or a version's folder beside it.
        registry: host and path before the image's name; None reads ``VERIFRAME_REGISTRY``.
        tag: tag or ``sha256:`` digest; None takes ``VERIFRAME_IMAGE_TAG`` or the git commit.
        endpoint: URL of the S3 server; empty for AWS.

    Returns:
        The file of manifests, ``build/manifests/<overlay>.yaml``; the kustomization lies beside it in a folder.

    Raises:
        SettingsError: when the bundle is in no store, or the tag is ``latest``.
    """
    if not bundle.startswith("s3://"):
        raise SettingsError(f"bundle is {bundle!r}: pods fetch it, so it must begin with s3://")
    if tag == "latest":
        raise SettingsError("tag 'latest' names no fixed build; give a git SHA, a version or a sha256: digest")
    reference = references.reference(IMAGES[overlay], registry, tag)
    digest = "@" in reference
    name, _, version = reference.rpartition("@" if digest else ":")
    settings = {"VERIFRAME_SERVING_BUNDLE": bundle} | ({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})
    above = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../../../manifests/overlays/{overlay}"],
        "images": [{"name": IMAGES[overlay], "newName": name, "digest" if digest else "newTag": version}],
        "configMapGenerator": [
            {
                "name": "veriframe-serving",
                "behavior": "merge",
                "literals": [f"{key}={value}" for key, value in settings.items()],
            }
        ],
    }
    folder = BUILD / "manifests" / overlay
    files.write_text(folder / "kustomization.yaml", json.dumps(above, indent=2) + "\n")  # JSON is YAML
    target = folder.with_suffix(".yaml")
    files.write_text(target, build(folder))
    return target


def _body(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m manifests", description="Render the inference endpoint.")
    parser.add_argument("--overlay", choices=sorted(IMAGES), default="cpu")
    parser.add_argument("--bundle", required=True, help="s3:// URI of a release's current.json or of one version")
    parser.add_argument("--registry", help="where the images are (VERIFRAME_REGISTRY)")
    parser.add_argument("--tag", help="the images' tag or sha256: digest (VERIFRAME_IMAGE_TAG, else git commit)")
    parser.add_argument("--endpoint", default="", help="URL of the S3 server; leave out for AWS")
    given = parser.parse_args(argv)
    print(render(given.overlay, given.bundle, given.registry, given.tag, given.endpoint))


def main(argv: Sequence[str] | None = None) -> int:
    """Write ``build/manifests/<overlay>.yaml`` and print its path."""
    return run(_body, argv)


if __name__ == "__main__":
    sys.exit(main())
