import io
import os
import pickle
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import BadInputError, MismatchError, SettingsError, StorageError
from media.extraction import ExtractionSpec
from media.spec import InputSpec, PreprocessingSpec
from models.checkpoint import (
    CHECKPOINT_KEYS,
    Checkpoint,
    checkpoint_name,
    find_base,
    load_network,
    load_state,
    read_checkpoint,
    save_checkpoint,
)
from models.family import FAMILIES
from models.forgery.settings import ForgerySettings

FAMILY = FAMILIES.get("forgery")
SETTINGS = ForgerySettings(
    encoder="tu-tf_efficientnet_lite0", weights="random", pyramid_channels=32, segmentation_channels=32
)
CLASSES = ("authentic", "forged")
SPEC = PreprocessingSpec(
    extraction=ExtractionSpec(), input=InputSpec.model_validate({"views": {"tiles": {"size": 64, "overlap": 0}}})
)
INPUT = {"tiles": torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))}


def build(seed: int = 0, **settings: object) -> nn.Module:
    torch.manual_seed(seed)
    return FAMILY.build(SETTINGS.model_copy(update=settings), SPEC.input, CLASSES, pretrained=False).eval()


def output(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = network(INPUT)
    return result


def described(network: nn.Module, settings: ForgerySettings = SETTINGS, **changes: Any) -> Checkpoint:
    values: dict[str, Any] = {
        "epoch": 3,
        "model_state_dict": network.state_dict(),
        "loss": 0.25,
        "model_type": "forgery",
        "model_settings": settings.to_json(),
        "class_names": list(CLASSES),
        "spec": SPEC.to_json(),
        "spec_sha256": SPEC.digest,
        "metrics": {"f1": 0.5},
        "member": "high_recall",
        "stage": "v4",
    }
    return Checkpoint(**(values | changes))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build()


def trained(network: nn.Module) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=25)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule.step()
    return optimizer, schedule


def test_everything_a_trainer_keeps_survives_the_file(tmp_path: Path) -> None:
    small = nn.Linear(2, 1)
    optimizer, schedule = trained(small)
    kept = Checkpoint(
        epoch=4,
        model_state_dict=small.state_dict(),
        optimizer_state_dict=optimizer.state_dict(),
        loss=0.125,
        scheduler_state_dict=schedule.state_dict(),
        scaler_state_dict={"scale": 65536.0},
        ema_state_dict=small.state_dict(),
        random_states={"python": [3, [1, 2], None]},
        sampler_position={"epoch": 4, "step": 17},
        recipe='{"seed":1}',
        model_type="forgery",
        model_settings="{}",
        class_names=["authentic", "forged"],
        spec="{}",
        spec_sha256="ab",
        dataset_sha256="cd",
        metrics={"f1": 0.5, "strata": {"small": [0.1, 0.2]}},
        git_sha="ef",
        member="high_recall",
        stage="v3",
    )
    save_checkpoint(tmp_path / "new" / "a.pth", kept)
    read = read_checkpoint(tmp_path / "new" / "a.pth")
    for name in CHECKPOINT_KEYS:
        assert same(getattr(read, name), getattr(kept, name)), name
    optimizer.load_state_dict(read.optimizer_state_dict or {})
    schedule.load_state_dict(read.scheduler_state_dict)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def test_the_files_first_keys_are_those_of_the_published_layout(tmp_path: Path, network: nn.Module) -> None:
    save_checkpoint(tmp_path / "a.pth", described(network))
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert tuple(content) == CHECKPOINT_KEYS
    assert CHECKPOINT_KEYS[:4] == ("epoch", "model_state_dict", "optimizer_state_dict", "loss")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, Checkpoint(epoch=1, model_state_dict={"w": torch.zeros(1)}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # what a full disk does: a short write, then an error
    try:
        with pytest.raises(StorageError, match=r"cannot write .*a\.pth: .*free space or choose another place"):
            save_checkpoint(path, Checkpoint(epoch=2, model_state_dict={"w": torch.zeros(1_000_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pth"]
    assert read_checkpoint(path).epoch == 1


@pytest.mark.parametrize("loss", [0.25, np.float64(0.25), np.float32(0.25)])
def test_a_published_file_is_read_whichever_number_its_loss_is(tmp_path: Path, loss: object) -> None:
    content = {"epoch": 24, "model_state_dict": {"w": torch.zeros(1)}, "optimizer_state_dict": {}, "loss": loss}
    torch.save(content, tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    assert (read.epoch, read.loss, read.member, read.metrics) == (24, 0.25, None, {})
    assert type(read.loss) is float


class Malice:
    """Runs code when it is unpickled."""

    def __init__(self, call: Callable[..., Any], trace: Path) -> None:
        self.call, self.argument = call, f"touch {trace}" if call is os.system else trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.call, (self.argument,))


def saved(content: object, **how: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **how)
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return stream.getvalue()


GOOD = saved({"epoch": 1, "model_state_dict": {"w": torch.ones(1000)}})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "checkpoint-unreadable"),
        (b"no checkpoint at all, but text", "checkpoint-unreadable"),
        (GOOD[:1000], "checkpoint-unreadable"),
        (GOOD[:-1], "checkpoint-unreadable"),
        (GOOD[:2000] + bytes(100) + GOOD[2100:], "checkpoint-unreadable"),
        (zipped(), "checkpoint-unreadable"),
        (saved([1, 2]), "checkpoint-incomplete"),
        (saved({"w": torch.zeros(1)}), "checkpoint-incomplete"),
        (saved({"epoch": "one", "model_state_dict": {}}), "checkpoint-incomplete"),
        (saved({"epoch": 1, "model_state_dict": {"w": 1}}), "checkpoint-incomplete"),
        (saved({"epoch": 1, "model_state_dict": {}, "extra": Path("a")}), "checkpoint-unsafe"),
    ],
    ids=["empty", "text", "cut", "cut-by-one", "damaged", "zip", "list", "bare-state", "epoch", "no-tensor", "object"],
)
def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"a\.pth") as raised:
        read_checkpoint(path)
    assert raised.value.reason == reason
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("zipped_form", [True, False])
@pytest.mark.parametrize("call", [os.system, os.mkdir], ids=["system", "mkdir"])
def test_code_in_a_checkpoint_is_refused_and_never_run(
    tmp_path: Path, zipped_form: bool, call: Callable[..., Any]
) -> None:
    content = {"epoch": 1, "model_state_dict": Malice(call, tmp_path / "ran")}
    path = tmp_path / "a.pth"
    path.write_bytes(saved(content, _use_new_zipfile_serialization=zipped_form))
    with pytest.raises(BadInputError) as raised:
        read_checkpoint(path)
    assert raised.value.reason == "checkpoint-unsafe"
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Malice(call, tmp_path / "ran")))
    assert (tmp_path / "ran").exists()  # it would have run


def test_a_missing_checkpoint_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no checkpoint at .*/absent\.pth"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(StorageError, match="cannot be opened"):
        read_checkpoint(tmp_path)


def test_a_missing_base_says_where_it_was_looked_for_and_how_to_train_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as raised:
        find_base(tmp_path, "high_recall", "v3")
    assert str(tmp_path / "high_recall_v3_best.pth") in str(raised.value)
    assert "python -m components.train" in str(raised.value)
    path = tmp_path / checkpoint_name("high_recall", "v3")
    path.touch()
    assert find_base(tmp_path, "high_recall", "v3") == path


def test_a_saved_network_is_built_again_from_its_file_alone(tmp_path: Path, network: nn.Module) -> None:
    settings = SETTINGS.model_copy(update={"weights": "/nowhere/weights.pth"})  # starting weights are not looked for
    save_checkpoint(tmp_path / "a.pth", described(network, settings))
    loaded = load_network(tmp_path / "a.pth")
    assert not loaded.network.training
    assert torch.equal(output(loaded.network), output(network))
    assert (loaded.member, loaded.stage, loaded.metrics) == ("high_recall", "v4", {"f1": 0.5})
    assert loaded.spec == SPEC
    assert loaded.classes == CLASSES
    assert loaded.family is FAMILY
    assert loaded.model_settings == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": None}, "does not say which network it holds"),
        ({"spec_sha256": "0" * 64}, "says its specification has sha256 000000"),
        ({"class_names": None}, r"does not say which network it holds \(1 of"),
        ({"class_names": ["a", "b", "c"]}, "forgery tells two classes apart, not 3: a, b, c"),
        ({"model_type": "spotter", "model_settings": "{}"}, r"input\.views = tiles: family spotter reads face"),
        (
            {"model_settings": SETTINGS.model_copy(update={"gate": "none"}).to_json()},
            "does not fit the forgery network",
        ),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(
    tmp_path: Path, network: nn.Module, changes: dict[str, Any], message: str
) -> None:
    save_checkpoint(tmp_path / "a.pth", described(network, **changes))
    with pytest.raises((MismatchError, SettingsError), match=message):
        load_network(tmp_path / "a.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_keys_of_a_wrapped_network_are_understood(network: nn.Module, prefix: str) -> None:
    state = {prefix + key: value for key, value in network.state_dict().items()}
    other = build(seed=1)
    assert load_state(other, state, FAMILY, strict=True) == []
    assert torch.equal(output(other), output(network))


def test_a_base_without_gate_gives_identical_output_under_a_feature_gate() -> None:
    base, gated = build(gate="none"), build(seed=1, gate="features")
    lines = load_state(gated, base.state_dict(), FAMILY, strict=False)
    assert torch.equal(output(gated), output(base))
    assert sorted(line.partition(":")[0] for line in lines) == sorted(k for k in gated.state_dict() if "gate." in k)
    assert "gate.gamma: not in the checkpoint; stays as it starts" in lines


def test_a_base_with_another_gate_loads_and_what_is_left_out_is_listed(network: nn.Module) -> None:
    gated = build(seed=1, gate="features")
    lines = load_state(gated, network.state_dict(), FAMILY, strict=False)
    assert "gate.layers.0.weight: in the checkpoint, not in the network; not loaded" in lines
    assert "gate.gamma: not in the checkpoint; stays as it starts" in lines
    assert all(line.startswith("gate.") for line in lines)
    plain = build(gate="none")
    load_state(plain, network.state_dict(), FAMILY, strict=False)
    assert torch.equal(output(gated), output(plain))


def test_a_gate_of_another_width_starts_afresh(network: nn.Module) -> None:
    wide = build(seed=1, gate_width=16)
    lines = load_state(wide, network.state_dict(), FAMILY, strict=False)
    shape = "shape (8, 1, 1, 1) in the checkpoint, (16, 1, 1, 1) in the network; not loaded"
    assert f"gate.layers.0.weight: {shape}" in lines


@pytest.mark.parametrize("settings", [{"gate": "features"}, {"gate": "none"}, {"gate_width": 16}])
def test_strict_loading_refuses_another_gate(network: nn.Module, settings: dict[str, object]) -> None:
    with pytest.raises(MismatchError, match="is the encoder, the gate"):
        load_state(build(**settings), network.state_dict(), FAMILY, strict=True)


@pytest.mark.parametrize("strict", [True, False])
def test_another_decoder_is_refused_and_the_network_stays_as_it_was(network: nn.Module, strict: bool) -> None:
    other = build(seed=1, segmentation_channels=64)
    before = output(other)
    with pytest.raises(
        MismatchError, match=r"block\.0\.weight: shape \(32, 32, 3, 3\) in the checkpoint, \(64, 32, 3, 3\)"
    ):
        load_state(other, network.state_dict(), FAMILY, strict=strict)
    assert torch.equal(output(other), before)
