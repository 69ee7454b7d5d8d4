"""What the network of every family is: views in, logits out, and how it is taken apart for export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from core.errors import SettingsError
from media.tensors import TensorSpec
from media.view import PRESENT


@dataclass(frozen=True)
class Part:
    """One network as it is exported.

    Attributes:
        network: in evaluation mode; called with a mapping of ``inputs`` and returning a tuple of ``outputs``.
        inputs: its input arrays by name, in order; those of the first part are the member's views.
        outputs: its output tensors by name, in order.
    """

    network: nn.Module
    inputs: Mapping[str, TensorSpec]
    outputs: tuple[str, ...] = ("logits",)


class Network(nn.Module):
    """The base of every family's network, which is made from (settings, input specification, class names).

    In evaluation mode it maps normalised float32 views, a mapping by name of [N, ...], to logits alone; in training
    mode it may return any structure that its family's loss understands. A network of clips is also called with
    ``lengths``, int64 [B]: its views then hold the N frames of B clips one after the other, and its logits are [B, 1].
    Without lengths each item is a clip of its own.
    """

    def load_starting_weights(self) -> None:
        """Fill the network with what its settings name as starting weights; nothing where they name none.

        Raises:
            StorageError: when the weights cannot be had; says how to give a file.
            SettingsError: when there is no such package of weights.
            BadInputError: when a file holds no weights.
            MismatchError: when they do not fit.
        """

    def clip_part(self, frames: int) -> Part | None:
        """Return the network that judges clips of at most ``frames`` frames from the vectors of their frames.

        Its inputs are ``vectors`` float32 [T, D], padded at the end, and ``lengths`` int64 in 1..T; its output is
        ``logits`` [1], on which padding has no influence. None where a medium is judged by the mean of its frames. The
        frame part (``frame_part``) then has the output ``vectors``.
        """
        del frames
        return None

    def frame_part(self) -> tuple[nn.Module, tuple[str, ...]]:
        """Return what judges single items, and the names of its outputs; ``logits`` [1, ...] come first.

        The others are ``vectors`` [D], which the clip part reads, and ``heatmap`` [1, h, w] in 0..1: where an item
        looks manipulated. The module shares this network's weights, takes the views by name, and returns a tuple; it is
        in evaluation mode, in which it puts this network too.
        """
        return _Tuple(self).eval(), ("logits",)

    def heatmaps(self, views: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return maps [B, 1, h, w] in 0..1 by name; the first is the one that is served, the others are baselines."""
        del views
        return {}


class _Tuple(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, views: Mapping[str, Tensor]) -> tuple[Tensor]:
        return (self.network(views),)


def only(views: Mapping[str, Tensor]) -> Tensor:
    """Return the array of the one view that a network reads, whatever its name."""
    (tensor,) = (array for name, array in views.items() if not name.endswith(PRESENT))
    return tensor


def require_two(classes: Sequence[str], family: str) -> None:
    """Refuse classes that one logit cannot tell apart.

    Raises:
        SettingsError: when there are not two.
    """
    if len(classes) != 2:
        raise SettingsError(f"family {family} tells two classes apart, not {len(classes)}: {', '.join(classes)}")
