"""What a model family is: the one contract through which training, evaluation and export reach a network.

A family is a sub-package of ``models`` whose ``__init__`` exposes ``FAMILY``. Adding one touches nothing else. Its loss
maps (output, batch) to named float32 scalars, of which ``loss`` is the one to minimise and the others are its terms
before weighting, for the log. ``batch`` is the collated sample: ``views`` by name, ``label``, and what its task adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError
from core.registry import Registry
from core.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from media.spec import InputSpec
    from models.network import Network


def keep_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` as it is: the mapping of a family that has no older layouts."""
    return state


def any_input(settings: Any, input_spec: InputSpec) -> None:
    """Take every input that has one of the family's views."""


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        name: its name in recipes and checkpoints; that of its sub-package.
        task: name of the task whose questions its networks answer.
        settings: the settings of its network.
        loss_settings: the settings of its loss.
        network: (settings, input specification, class names) to a ``Network`` in training mode on the CPU.
        loss: (settings) to a module that maps (output, batch) to named terms.
        views: the views of which a member reads one; a family that reads several checks them in ``check_input``.
        clips: whether the network takes clips of several frames.
        heatmaps: whether it says where an item looks manipulated.
        reads_several: whether a member may read more than one of the views.
        adapt_state_dict: renames the keys of published or older layouts to the network's; others pass unchanged.
        publish_state: (settings, input specification, state) to the state as the original code's loader takes it, the
            inverse of ``adapt_state_dict``; raises ``MismatchError`` for a network that it cannot build. None where
            there is no such loader.
        memory_keys: settings of the network that decide how much memory a batch takes, the first most.
        replaceable: prefixes of state keys that a base checkpoint may lack, or have in another form, because
            fine-tuning can start them afresh; all others must match.
        check_input: (settings, input specification); raises ``SettingsError`` for what the network cannot take beyond
            what the fields above say.
    """

    name: str
    task: str
    settings: type[Settings]
    loss_settings: type[Settings]
    network: Callable[[Any, InputSpec, tuple[str, ...]], Network]
    loss: Callable[[Any], nn.Module]
    views: tuple[str, ...]
    clips: bool = False
    heatmaps: bool = False
    reads_several: bool = False
    adapt_state_dict: Callable[[dict[str, Tensor]], dict[str, Tensor]] = keep_state_dict
    publish_state: Callable[[Any, InputSpec, dict[str, Tensor]], dict[str, Tensor]] | None = None
    memory_keys: tuple[str, ...] = ()
    replaceable: tuple[str, ...] = ()
    check_input: Callable[[Any, InputSpec], None] = any_input

    def build(
        self, settings: Settings, input_spec: InputSpec, classes: tuple[str, ...], *, pretrained: bool
    ) -> Network:
        """Return a network in training mode on the CPU.

        Args:
            settings: an instance of ``settings``.
            input_spec: what it reads.
            classes: names of the classes, that of label 0 first.
            pretrained: False reads no starting weights, whatever the settings name: a checkpoint follows.

        Raises:
            SettingsError: when the settings name something that does not exist.
            StorageError: when the starting weights cannot be had.
            MismatchError: when they do not fit.
        """
        network = self.network(settings, input_spec, classes)
        if pretrained:
            network.load_starting_weights()
        return network

    def require_input(self, settings: Settings, input_spec: InputSpec) -> None:
        """Refuse an input specification that the network cannot take.

        Raises:
            SettingsError: naming the key, its value and what is allowed.
        """
        unknown = [name for name in input_spec.views if name not in self.views]
        if unknown:
            raise SettingsError(
                f"input.views = {', '.join(input_spec.views)}: family {self.name} reads {' or '.join(self.views)}"
            )
        if len(input_spec.views) > 1 and not self.reads_several:
            raise SettingsError(f"input.views = {', '.join(input_spec.views)}: family {self.name} reads one view")
        if input_spec.frames > 1 and not self.clips:
            raise SettingsError(f"input.frames = {input_spec.frames}: family {self.name} judges single pictures, so 1")
        self.check_input(settings, input_spec)


FAMILIES: Registry[Family] = Registry("models", "FAMILY", "model family", folders=True)
