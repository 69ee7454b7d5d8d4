"""What a model family is: the one contract through which training, judging and export reach a network.

A family is a sub-package of ``models`` whose ``__init__`` exposes ``FAMILY``. Adding one touches nothing else:

* In evaluation mode its network maps a normalised float32 input to logits alone. For the task ``segmentation`` that is
  [B, C, S, S] to [B, 1, S, S]; for ``classification`` [B, ...] to [B, len(class_names)], or [B, 1] for two classes.
  What the leading input is (a picture, a clip, a spectrogram) is between the family and its data set.
* In training mode it may return any structure that its own loss understands (auxiliary heads, reconstructions).
* Its loss maps (output, batch) to named float32 scalars, of which ``loss`` is the one to minimise and the others are
  its terms before weighting, for the log. ``batch`` is the collated sample, so a loss may use the input itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from media.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

Task = Literal["segmentation", "classification"]


class Build(Protocol):
    """Builds a family's network."""

    def __call__(self, settings: Any, in_channels: int, *, pretrained: bool = True) -> nn.Module:
        """Return the network in training mode on the CPU.

        Args:
            settings: an instance of the family's ``settings``.
            in_channels: channels of the input.
            pretrained: False reads no starting weights, whatever the settings name: a checkpoint follows.

        Raises:
            SettingsError: when the settings name something that does not exist.
            StorageError: when the starting weights cannot be had.
            MismatchError: when they do not fit.
        """


def keep_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` as it is: the mapping of a family that has no older layouts."""
    return state


@dataclass(frozen=True)
class Family:
    """One model family.

    Args:
        name: its name in recipes and checkpoints; that of its sub-package.
        task: decides how its output is judged and exported.
        class_names: names of the classes, index 0 the authentic or normal one.
        settings: the settings of its network; what ``build`` takes.
        loss_settings: the settings of its loss; what ``build_loss`` takes.
        build: makes the network.
        build_loss: makes the loss, a module that maps (output, batch) to named terms.
        adapt_state_dict: renames the keys of published or older layouts to the network's; others pass unchanged.
        replaceable: prefixes of state keys that a base checkpoint may lack, or have in another form, because
            fine-tuning can start them afresh; all others must match.
    """

    name: str
    task: Task
    class_names: tuple[str, ...]
    settings: type[Settings]
    loss_settings: type[Settings]
    build: Build
    build_loss: Callable[[Any], nn.Module]
    adapt_state_dict: Callable[[dict[str, Tensor]], dict[str, Tensor]] = keep_state_dict
    replaceable: tuple[str, ...] = ()
