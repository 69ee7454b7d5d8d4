"""Which commit of this project is running: for checkpoints and bundles to carry."""

import os
import subprocess
from pathlib import Path

GIT_SHA_VARIABLE = "VERIFRAME_GIT_SHA"
UNKNOWN = "unknown"


def git_sha() -> str:
    """Return the full commit id: ``VERIFRAME_GIT_SHA`` (set in images, which hold no repository), else git's answer.

    Returns:
        40 hex digits, or ``unknown`` where neither can be had.
    """
    given = os.environ.get(GIT_SHA_VARIABLE, "")
    if given:
        return given
    command = ["git", "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return answer.stdout.strip()
