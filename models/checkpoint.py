"""Checkpoints: the one writer and the one reader of a trained network's file."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import BadInputError, MismatchError, StorageError
from core.files import atomic_write, sha256_file
from core.settings import Settings, parse
from media.spec import PreprocessingSpec
from models.family import FAMILIES, Family
from models.network import Network

# What data parallelism and torch.compile put before the keys of the module they wrap.
WRAPPER_PREFIXES = ("module.", "_orig_mod.")

# Older trainers wrote the loss as a NumPy scalar, which is data but needs these to be read back.
# NumPy moved the function that rebuilds them; both names stand for the present one.
_SCALAR: Callable[..., Any] = np.float64(0).__reduce__()[0]  # type: ignore[assignment]
NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds: a dictionary of these names.

    Files of the published layout have the first four alone. Every value is a tensor, a number, a string, None, or a
    dictionary or list of these, so that a file is read without running code.

    Args:
        epoch: epochs finished.
        model_state_dict: the network's state; in a best checkpoint the one that was validated (the averaged weights,
            where the recipe asks for an average).
        optimizer_state_dict: the optimizer's state.
        loss: mean training loss of the last epoch.
        scheduler_state_dict: the schedule's state.
        scaler_state_dict: the state of the fp16 gradient scaler.
        ema_state_dict: the state of the averaged network.
        random_states: what ``models.randomness.capture`` returns, by rank or not, as the trainer likes.
        sampler_position: how far the sampler is.
        recipe: the training recipe, JSON.
        model_type: the family's name.
        model_settings: the family's settings, JSON.
        class_names: names of the labels 0, 1 and so on, as the data set has them.
        spec: the preprocessing specification, JSON.
        spec_sha256: its digest.
        dataset_sha256: hash of the sample index trained on.
        metrics: what was measured on val.
        git_sha: the code's commit.
        member: the variant's name, such as ``high_recall``.
        stage: such as ``v3``.
    """

    epoch: int
    model_state_dict: dict[str, Tensor]
    optimizer_state_dict: dict[str, Any] | None = None
    loss: float | None = None
    scheduler_state_dict: dict[str, Any] | None = None
    scaler_state_dict: dict[str, Any] | None = None
    ema_state_dict: dict[str, Any] | None = None
    random_states: Any = None
    sampler_position: Any = None
    recipe: str | None = None
    model_type: str | None = None
    model_settings: str | None = None
    class_names: list[str] | None = None
    spec: str | None = None
    spec_sha256: str | None = None
    dataset_sha256: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    git_sha: str | None = None
    member: str | None = None
    stage: str | None = None


# What torch's errors hold when it declines to call or build something; other messages mean a file of another kind.
REFUSALS = ("Unsupported global", "unsupported GLOBAL", "unrecognized function", "Can only build", "Can only create")

CHECKPOINT_KEYS = tuple(entry.name for entry in fields(Checkpoint))
PUBLISHED_KEYS = CHECKPOINT_KEYS[:4]


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in evaluation mode, and what its checkpoint says of it.

    Attributes:
        network: on the device that was asked for.
        family: its family.
        model_settings: an instance of the family's settings.
        spec: how the samples that it learned from came to be, and what it reads.
        classes: names of the labels 0, 1 and so on.
        member: the variant's name.
        stage: such as ``v3``; "" where the file does not say.
        metrics: what was measured on val.
        checkpoint_sha256: of the file.
    """

    network: Network
    family: Family
    model_settings: Settings
    spec: PreprocessingSpec
    classes: tuple[str, ...]
    member: str
    stage: str
    metrics: dict[str, Any]
    checkpoint_sha256: str


def save_checkpoint(path: Path, checkpoint: Checkpoint, names: Sequence[str] = CHECKPOINT_KEYS) -> None:
    """Write ``checkpoint`` to a temporary file, sync it and rename it to ``path``.

    Args:
        path: where to.
        checkpoint: what to write.
        names: entries of it that the file gets; ``PUBLISHED_KEYS`` for the published layout.

    Raises:
        StorageError: when it cannot be written, for example on a full disk; nothing is left behind, and a file that
            was at ``path`` is still there.
    """
    content = {name: getattr(checkpoint, name) for name in names}
    with atomic_write(path) as stream:
        try:
            torch.save(content, stream)
        except RuntimeError as error:  # torch's writer hides the system's error
            raise OSError(_first_line(error)) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU, without running code that the file may carry.

    Entries of other names, which some trainers add, are not kept.

    Raises:
        StorageError: when there is no file at ``path`` or it cannot be opened.
        BadInputError: ``checkpoint-unreadable`` when the file is cut off or something else altogether;
            ``checkpoint-unsafe`` when it holds objects other than data; ``checkpoint-incomplete`` when it is no
            dictionary with ``epoch`` and ``model_state_dict``.
    """
    try:
        _require_sound_archive(path)
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise StorageError(f"no checkpoint at {path.absolute()}") from error
    except OSError as error:
        raise StorageError(f"checkpoint {path} cannot be opened: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        if not any(sign in str(error) for sign in REFUSALS):
            raise _unreadable(path, error) from error
        raise BadInputError(
            "checkpoint-unsafe",
            f"{path} holds objects other than tensors, numbers and text, which could run code when loaded; it is "
            "refused. Save it again with state dictionaries and plain values alone.",
        ) from error
    except (BadZipFile, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise _unreadable(path, error) from error
    return _checkpoint(content, path)


def _require_sound_archive(path: Path) -> None:
    # torch reads an archive without comparing its checksums, and so takes damaged weights for good ones.
    with path.open("rb") as stream:
        if stream.read(2) != b"PK":  # the form that torch wrote before 1.6 is no archive
            return
        with ZipFile(stream) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise BadZipFile(f"{damaged} does not have its checksum")


def _checkpoint(content: object, path: Path) -> Checkpoint:
    state = content.get("model_state_dict") if isinstance(content, dict) else None
    if (
        not isinstance(content, dict)
        or not isinstance(state, dict)
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
        or not isinstance(content.get("epoch"), int)
    ):
        raise BadInputError(
            "checkpoint-incomplete", f"{path} is no checkpoint: it lacks a number `epoch` or tensors `model_state_dict`"
        )
    known = {name: content[name] for name in CHECKPOINT_KEYS if name in content}
    if known.get("loss") is not None:
        known["loss"] = float(known["loss"])
    return Checkpoint(**known)


def _unreadable(path: Path, error: BaseException) -> BadInputError:
    return BadInputError(
        "checkpoint-unreadable", f"{path} is cut off, damaged or no checkpoint at all ({_first_line(error)})"
    )


def load_state(network: nn.Module, state_dict: Mapping[str, Tensor], family: Family, *, strict: bool) -> list[str]:
    """Load ``state_dict`` into ``network``, after the family's mapping of older layouts.

    Args:
        network: a network that ``family`` built.
        state_dict: the state, in the present or a published layout.
        family: the network's family.
        strict: True: everything must match (resuming, prediction). False: the keys under the family's ``replaceable``
            prefixes may be absent, too many or of another shape (fine-tuning from a base); all others must match.

    Returns:
        A line for each key that did not match and why; empty when all did.

    Raises:
        MismatchError: listing what does not match and must; the network is unchanged.
    """
    given = family.adapt_state_dict(unwrapped(state_dict))
    own = network.state_dict()
    problems = {key: "not in the checkpoint; stays as it starts" for key in own if key not in given}
    problems |= {key: "in the checkpoint, not in the network; not loaded" for key in given if key not in own}
    problems |= {
        key: f"shape {tuple(given[key].shape)} in the checkpoint, {tuple(own[key].shape)} in the network; not loaded"
        for key in own
        if key in given and given[key].shape != own[key].shape
    }
    lines = [f"{key}: {problem}" for key, problem in problems.items()]
    fatal = [
        line
        for key, line in zip(problems, lines, strict=True)
        if strict or not key.startswith(family.replaceable or ("\0",))
    ]
    if fatal:
        shown = "\n".join(f"  {line}" for line in fatal[:20])
        more = f"\n  and {len(fatal) - 20} more" if len(fatal) > 20 else ""
        raise MismatchError(
            f"the checkpoint does not fit the {family.name} network that the recipe describes "
            f"({len(fatal)} keys differ); is the encoder, the gate or the number of channels another?\n{shown}{more}"
        )
    network.load_state_dict(own | {key: value for key, value in given.items() if key not in problems})
    return lines


def unwrapped(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state_dict`` without what data parallelism and torch.compile put before its keys."""
    found = {}
    for key, value in state_dict.items():
        while key.startswith(WRAPPER_PREFIXES):
            key = key.partition(".")[2]
        found[key] = value
    return found


def load_network(path: Path, *, device: str | torch.device = "cpu") -> LoadedNetwork:
    """Build the network that a checkpoint describes and load its weights.

    Raises:
        StorageError, BadInputError: as ``read_checkpoint``.
        MismatchError, SettingsError: as ``network_of``.
    """
    return network_of(read_checkpoint(path), path, device=device)


def network_of(checkpoint: Checkpoint, path: Path, *, device: str | torch.device = "cpu") -> LoadedNetwork:
    """Build the network that ``checkpoint``, read from ``path``, describes, and load its weights.

    Raises:
        MismatchError: when the checkpoint does not describe its network (the published layout does not), when
            its specification is not what its hash says, or when its weights do not fit.
        SettingsError: when its settings or its family are unknown to this version, or its input or classes are not
            what the family takes.
    """
    described = (checkpoint.model_type, checkpoint.model_settings, checkpoint.spec, checkpoint.class_names)
    if (
        checkpoint.model_type is None
        or checkpoint.model_settings is None
        or checkpoint.spec is None
        or checkpoint.class_names is None
    ):
        raise MismatchError(
            f"{path} does not say which network it holds ({sum(part is None for part in described)} of model_type, "
            "model_settings, spec, class_names are missing), as checkpoints of the published layout do not; "
            "use it as a base: python -m components.train --base"
        )
    spec = parse(PreprocessingSpec, checkpoint.spec, f"{path}: spec")
    if checkpoint.spec_sha256 != spec.digest:
        raise MismatchError(
            f"{path} says its specification has sha256 {checkpoint.spec_sha256}, it hashes to {spec.digest}"
        )
    family, classes = FAMILIES.get(checkpoint.model_type), tuple(checkpoint.class_names)
    settings = parse(family.settings, checkpoint.model_settings, f"{path}: model_settings")
    family.require_input(settings, spec.input)
    network = family.build(settings, spec.input, classes, pretrained=False)
    load_state(network, checkpoint.model_state_dict, family, strict=True)
    return LoadedNetwork(
        network=network.to(device).eval(),
        family=family,
        model_settings=settings,
        spec=spec,
        classes=classes,
        member=checkpoint.member or path.stem,
        stage=checkpoint.stage or "",
        metrics=checkpoint.metrics,
        checkpoint_sha256=sha256_file(path),
    )


def checkpoint_name(member: str, stage: str) -> str:
    """Return the file name of a member's best checkpoint, ``<member>_<stage>_best.pth``."""
    return f"{member}_{stage}_best.pth"


def find_base(folder: Path, member: str, stage: str) -> Path:
    """Return the path of a member's best checkpoint in ``folder``.

    Raises:
        StorageError: when it is not there, saying which path was looked at and how to train it.
    """
    path = folder / checkpoint_name(member, stage)
    if not path.is_file():
        raise StorageError(
            f"no base checkpoint at {path.absolute()}; train it with python -m components.train and a recipe with "
            f"member {member} and stage {stage}, or copy a published {path.name} there"
        )
    return path


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
