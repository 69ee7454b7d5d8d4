"""The guard in front of every function that chooses: it may look at the val split and at nothing else."""

from collections import Counter
from collections.abc import Iterable

from core.errors import VeriframeError


class SplitLeakError(VeriframeError):
    """Something was to be chosen on samples that are not of the val split."""


def require_val(splits: Iterable[str], what: str) -> None:
    """Check that every sample is of the val split.

    Args:
        splits: the split of each sample, as the index has it.
        what: what is to be chosen, for the message.

    Raises:
        SplitLeakError: naming the other splits and how many samples each has.
    """
    others = Counter(str(split) for split in splits if split != "val")
    if others:
        found = ", ".join(f"{count} of {split}" for split, count in sorted(others.items()))
        raise SplitLeakError(f"{what} is chosen on the val split alone, but was given {found}; pass only val rows")
