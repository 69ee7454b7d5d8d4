"""Writing a checkpoint as the original code's loader takes it: ``python -m models.published CHECKPOINT OUTPUT``."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core import cli
from core.errors import MismatchError
from models.checkpoint import PUBLISHED_KEYS, network_of, read_checkpoint, save_checkpoint


def write_published(source: Path, target: Path) -> None:
    """Write a checkpoint of ours in the published layout of its family.

    The file holds ``epoch``, ``model_state_dict`` under the original names, ``optimizer_state_dict`` as it is, and
    ``loss``. What the original code makes of pictures before its network sees them is its own: it scales them whole, as
    the view ``whole`` does.

    Args:
        source: a checkpoint that training wrote.
        target: the file to write.

    Raises:
        StorageError, BadInputError, SettingsError: as ``models.checkpoint.load_network``.
        MismatchError: likewise, or when the family has no such layout, or the original loader builds another network.
    """
    checkpoint = read_checkpoint(source)
    loaded = network_of(checkpoint, source)
    publish = loaded.family.publish_state
    if publish is None:
        raise MismatchError(f"{source} is of family {loaded.family.name}, of which no original loader is known")
    state = publish(loaded.model_settings, loaded.spec.input, loaded.network.state_dict())
    save_checkpoint(target, replace(checkpoint, model_state_dict=state), PUBLISHED_KEYS)


def _body(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m models.published", description=main.__doc__)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint that training wrote, <member>_<stage>_best.pth")
    parser.add_argument("output", type=Path, help="the file to write")
    given = parser.parse_args(argv)
    write_published(given.checkpoint, given.output)
    sys.stdout.write(f"{given.output}: {given.checkpoint} in the published layout\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Write a checkpoint in the published layout of its family, for the original code to load."""
    return cli.run(_body, argv)


if __name__ == "__main__":
    sys.exit(main())
