"""What a model family is: the one contract through which training, judging and export reach a network.

A family is a sub-package of ``models`` whose ``__init__`` exposes ``FAMILY``. Adding one touches nothing else:

* In evaluation mode its network maps a normalised float32 input to logits alone. For the task ``segmentation`` that is
  [B, C, S, S] to [B, 1, S, S]; for ``classification`` [B, C, S, S] to [B, 1], the logit of being manipulated.
* A family of clips (``clips``) is also called with ``lengths``, int64 [B]: its input is then [N, C, S, S], the frames
  of B clips one after the other with N the sum of the lengths, and its output [B, 1]. Without lengths each picture is
  a clip of its own.
* In training mode it may return any structure that its own loss understands (auxiliary heads, reconstructions).
* Its loss maps (output, batch) to named float32 scalars, of which ``loss`` is the one to minimise and the others are
  its terms before weighting, for the log. ``batch`` is the collated sample, so a loss may use the input itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from core.settings import Settings
from media.spec import InputSpec

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


class CheckInput(Protocol):
    """Refuses an input that a family's network cannot take."""

    def __call__(self, settings: Any, input_spec: InputSpec) -> None:
        """Check.

        Raises:
            SettingsError: naming the key, its value and what is allowed.
        """


def any_input(settings: Any, input_spec: InputSpec) -> None:
    """Take every input."""


FrameOutput = Literal["logits", "vectors", "heatmap"]


@dataclass(frozen=True)
class FaceParts:
    """A classifier taken apart as it is exported and served: frames by themselves, then a clip of their vectors.

    Attributes:
        frames: float32 [B, C, S, S], normalised, to a tuple of tensors called ``outputs``, all float32: ``logits``
            [B, 1] of each frame alone; ``vectors`` [B, D], what ``clip`` reads; ``heatmap`` [B, 1, h, w] in 0..1, where
            each frame looks manipulated.
        outputs: names of what ``frames`` returns; ``logits`` comes first.
        clip: ``vectors`` float32 [B, T, D], padded at the end to the T of the input specification's ``frames``, and
            ``lengths`` int64 [B] in 1..T, to logits [B, 1]; padding has no influence. None where a medium is judged by
            the mean of its frames.
    """

    frames: nn.Module
    outputs: tuple[FrameOutput, ...]
    clip: nn.Module | None = None


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
        clips: whether the network takes clips of several frames (see above).
        check_input: refuses an input specification that the network cannot take.
        face_parts: takes a classifier in evaluation mode apart for export, sharing its weights; None where the network
            is exported as it is.
        heatmaps: (network in evaluation mode, normalised [B, C, S, S]) to maps [B, 1, h, w] in 0..1 by name, of which
            the first is the one that is served and the others are baselines; None where a family has none.
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
    clips: bool = False
    check_input: CheckInput = any_input
    face_parts: Callable[[nn.Module], FaceParts] | None = None
    heatmaps: Callable[[nn.Module, Tensor], Mapping[str, Tensor]] | None = None
