"""What every family's network must do; a new family adds a subclass with its input and batch."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from components.export.formats import Exported, write_onnx, write_torchscript
from components.export.recipe import ExportRecipe
from media.spec import ElaSpec, InputSpec
from models.checkpoint import load_state
from models.family import FaceParts
from models.inputs import Normalize
from models.parameters import count_parameters
from models.registry import family_names, get_family

SIZE = 64
PARITY = 1e-4  # largest difference of logits between eager and an exported graph


class FamilyContract:
    """Subclasses set ``family``, ``settings`` and ``channels``; the networks have random weights."""

    family: ClassVar[str]
    settings: ClassVar[dict[str, Any]]
    channels: ClassVar[int] = 3

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls) -> nn.Module:
        torch.manual_seed(0)
        family = get_family(cls.family)
        return family.build(family.settings(**cls.settings), cls.channels)

    @pytest.fixture
    def network(self, built: nn.Module) -> nn.Module:
        torch.manual_seed(1)
        return copy.deepcopy(built)

    def inputs(self, batch: int) -> Tensor:
        return torch.randn(batch, self.channels, SIZE, SIZE, generator=torch.Generator().manual_seed(batch))

    def batch(self, batch: int) -> dict[str, Tensor]:
        mask = torch.zeros(batch, 1, SIZE, SIZE, dtype=torch.uint8)
        mask[0, :, 8:24, 8:24] = 1
        return {"image": self.pixels(batch), "mask": mask, "label": mask.flatten(1).amax(1).long()}

    def output_shape(self, batch: int) -> tuple[int, ...]:
        family = get_family(self.family)
        if family.task == "segmentation":
            return (batch, 1, SIZE, SIZE)
        classes = len(family.class_names)
        return (batch, classes if classes > 2 else 1)

    def loss(self, network: nn.Module, batch: int) -> dict[str, Tensor]:
        family = get_family(self.family)
        terms = family.build_loss(family.loss_settings())(network(self.inputs(batch)), self.batch(batch))
        assert isinstance(terms, dict)
        return terms

    @pytest.mark.parametrize("batch", [1, 3])
    def test_evaluation_gives_finite_float_logits_of_the_task(self, network: nn.Module, batch: int) -> None:
        with torch.no_grad():
            output = network.eval()(self.inputs(batch))
        assert output.shape == self.output_shape(batch)
        assert output.dtype == torch.float32
        assert output.isfinite().all()

    def test_a_sample_is_judged_alike_whatever_else_is_in_the_batch(self, network: nn.Module) -> None:
        network.eval()
        inputs = self.inputs(3)
        with torch.no_grad():
            torch.testing.assert_close(network(inputs)[1:2], network(inputs[1:2]), rtol=1e-4, atol=1e-4)

    def test_evaluation_is_deterministic_and_leaves_the_state_alone(self, network: nn.Module) -> None:
        network.eval()
        before = copy.deepcopy(network.state_dict())
        with torch.no_grad():
            first, second = network(self.inputs(2)), network(self.inputs(2))
        assert torch.equal(first, second)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

    @pytest.mark.parametrize("batch", [1, 2, 3])
    def test_a_training_step_works_at_every_batch_size(self, network: nn.Module, batch: int) -> None:
        terms = self.loss(network.train(), batch)
        assert all(term.ndim == 0 and term.dtype == torch.float32 and term.isfinite() for term in terms.values())
        terms["loss"].backward()

    def test_every_trainable_parameter_learns(self, network: nn.Module) -> None:
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        moved = set()
        for _ in range(2):  # a gate that starts closed passes gradient to its inside only after one step
            optimizer.zero_grad()
            self.loss(network, 4)["loss"].backward()
            for name, parameter in network.named_parameters():
                if parameter.requires_grad:
                    assert parameter.grad is not None, name
                    assert parameter.grad.isfinite().all(), name
                    if parameter.grad.any():
                        moved.add(name)
            optimizer.step()
        assert moved == {name for name, parameter in network.named_parameters() if parameter.requires_grad}

    def test_parameters_that_are_not_trainable_do_not_matter(self, network: nn.Module) -> None:
        network.eval()
        with torch.no_grad():
            before = network(self.inputs(1))
            for parameter in network.parameters():
                if not parameter.requires_grad:
                    parameter.add_(1)
            assert torch.equal(network(self.inputs(1)), before)

    def test_training_under_autocast_keeps_the_loss_in_float32(self, network: nn.Module) -> None:
        network.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = self.loss(network, 2)
        assert {term.dtype for term in terms.values()} == {torch.float32}
        terms["loss"].backward()
        assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)

    def test_the_state_round_trips_into_a_fresh_network(self, network: nn.Module) -> None:
        family = get_family(self.family)
        other = family.build(family.settings(**self.settings), self.channels, pretrained=False)
        assert load_state(other, network.state_dict(), family, strict=True) == []
        with torch.no_grad():
            assert torch.equal(other.eval()(self.inputs(2)), network.eval()(self.inputs(2)))

    def test_channels_last_gives_the_same_output(self, network: nn.Module) -> None:
        network.eval()
        with torch.no_grad():
            expected = network(self.inputs(2))
            inputs = self.inputs(2).contiguous(memory_format=torch.channels_last)
            output = network.to(memory_format=torch.channels_last)(inputs)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("form", ["torchscript", "onnx"])
    def test_an_exported_graph_agrees_at_two_batch_sizes(self, network: nn.Module, form: str, tmp_path: Path) -> None:
        spec = InputSpec(size=SIZE, overlap=0, ela=ElaSpec() if self.channels == 6 else None)
        whole = Exported(Normalize.from_spec(spec), network).eval()
        run = {"torchscript": run_torchscript, "onnx": run_onnx}[form](whole, self.pixels(2), tmp_path / "model")
        for batch in (1, 5):
            with torch.no_grad():
                expected = whole(self.pixels(batch))
            assert np.abs(run(self.pixels(batch)) - expected.numpy()).max() < PARITY

    def pixels(self, batch: int) -> Tensor:
        generator = torch.Generator().manual_seed(batch)
        return torch.randint(256, (batch, self.channels, SIZE, SIZE), dtype=torch.uint8, generator=generator)

    def test_parameters_are_counted(self, network: nn.Module) -> None:
        count = count_parameters(network)
        assert count.total == sum(p.numel() for p in network.parameters())
        assert 0 < count.trainable <= count.total


def run_torchscript(network: Exported, example: Tensor, path: Path) -> Callable[[Tensor], Any]:
    write_torchscript(network, example, path, "{}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated", category=Warning)
        loaded = torch.jit.load(path)
    return lambda pixels: loaded(pixels).detach().numpy()


def run_onnx(network: Exported, example: Tensor, path: Path) -> Callable[[Tensor], Any]:
    write_onnx(network, example, path, "{}", ExportRecipe().opset)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": pixels.numpy()})[0]


def script_part(part: nn.Module, example: tuple[Tensor, ...], path: Path) -> Callable[..., Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=Warning)
        with torch.no_grad():
            traced: Any = torch.jit.trace(part, example, check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(torch.jit.freeze(traced), path)
        loaded = torch.jit.load(path)
    return lambda *given: [value.detach().numpy() for value in as_tuple(loaded(*given))]


def onnx_part(part: nn.Module, example: tuple[Tensor, ...], path: Path) -> Callable[..., Any]:
    batch = torch.export.Dim("batch", min=1)
    torch.onnx.export(
        part,
        example,
        path,
        input_names=[f"input{number}" for number in range(len(example))],
        opset_version=ExportRecipe().opset,
        dynamic_shapes=tuple({0: batch} for _ in example),
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda *given: session.run(None, {f"input{n}": value.numpy() for n, value in enumerate(given)})


def as_tuple(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (output,) if isinstance(output, Tensor) else output


EXPORTERS = {"torchscript": script_part, "onnx": onnx_part}


class AttentionFPNContract(FamilyContract):
    family = "forgery"
    settings: ClassVar[dict[str, Any]] = {
        "encoder": "tu-test_efficientnet",  # the same blocks as its family, a tenth of the size
        "weights": "random",
        "pyramid_channels": 64,
        "segmentation_channels": 32,
    }


class TestLogitGate(AttentionFPNContract):
    settings: ClassVar[dict[str, Any]] = AttentionFPNContract.settings | {"gate": "logit"}


class TestLogitGateWithErrorLevels(TestLogitGate):
    channels = 6


class TestFeatureGate(AttentionFPNContract):
    settings: ClassVar[dict[str, Any]] = AttentionFPNContract.settings | {"gate": "features"}


class TestFeatureGateWithErrorLevels(TestFeatureGate):
    channels = 6


class TestNoGate(AttentionFPNContract):
    settings: ClassVar[dict[str, Any]] = AttentionFPNContract.settings | {"gate": "none"}


class TestNoGateWithErrorLevels(TestNoGate):
    channels = 6


class TestFeatureGateOnEfficientNetLite(FamilyContract):
    family = "forgery"
    settings: ClassVar[dict[str, Any]] = {
        "encoder": "tu-tf_efficientnet_lite0",
        "weights": "random",
        "gate": "features",
    }


class TestPublishedNetwork(FamilyContract):
    family = "forgery"
    settings: ClassVar[dict[str, Any]] = {"weights": "random"}


class FaceContract(FamilyContract):
    """What every classifier of faces must do besides; it is its parts that are exported."""

    @pytest.mark.parametrize("form", ["torchscript", "onnx"])
    def test_an_exported_graph_agrees_at_two_batch_sizes(self, network: nn.Module, form: str, tmp_path: Path) -> None:
        parts = self.parts(network)
        run = EXPORTERS[form](parts.frames.eval(), (self.inputs(2),), tmp_path / "frames")
        for batch in (1, 5):
            with torch.no_grad():
                expected = parts.frames(self.inputs(batch))
            for ours, theirs in zip(run(self.inputs(batch)), expected, strict=True):
                assert np.abs(ours - theirs.numpy()).max() < PARITY

    def test_the_parts_give_what_they_say(self, network: nn.Module) -> None:
        parts = self.parts(network)
        with torch.no_grad():
            outputs = dict(zip(parts.outputs, parts.frames(self.inputs(3)), strict=True))
            torch.testing.assert_close(outputs["logits"], network(self.inputs(3)))
        assert next(iter(outputs)) == "logits"
        if "heatmap" in outputs:
            heatmap = outputs["heatmap"]
            assert heatmap.shape[:2] == (3, 1)
            assert heatmap.min() >= 0
            assert heatmap.max() <= 1

    def parts(self, network: nn.Module) -> FaceParts:
        face_parts = get_family(self.family).face_parts
        assert face_parts is not None
        return face_parts(network.eval())


class ClipContract(FaceContract):
    """What every classifier of clips must do besides."""

    LENGTHS: ClassVar[dict[int, list[int]]] = {1: [2], 2: [1, 3], 3: [3, 1, 2], 4: [1, 3, 2, 4]}

    def clips(self, batch: int) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor(self.LENGTHS[batch])
        return self.inputs(int(lengths.sum())), lengths

    def loss(self, network: nn.Module, batch: int) -> dict[str, Tensor]:
        family = get_family(self.family)
        pixels, lengths = self.clips(batch)
        samples = {"label": torch.arange(batch) % 2, "lengths": lengths}
        terms = family.build_loss(family.loss_settings())(network(pixels, lengths), samples)
        assert isinstance(terms, dict)
        return terms

    def test_a_step_on_single_pictures_works_too(self, network: nn.Module) -> None:
        super().loss(network.train(), 3)["loss"].backward()
        assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)

    def test_a_single_picture_is_a_clip_of_one(self, network: nn.Module) -> None:
        network.eval()
        with torch.no_grad():
            torch.testing.assert_close(network(self.inputs(3), torch.ones(3).long()), network(self.inputs(3)))

    @given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 99))
    @settings(
        max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
    )
    def test_a_clip_is_judged_alike_whatever_its_neighbours_and_padding(
        self, network: nn.Module, lengths: list[int], seed: int
    ) -> None:
        network.eval()
        pixels = torch.randn(sum(lengths), self.channels, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
        clips = pixels.split(lengths)
        padded = torch.full((len(lengths), 6, self.channels, SIZE, SIZE), torch.nan)
        for row, clip in zip(padded, clips, strict=True):
            row[: len(clip)] = clip
        counts = torch.tensor(lengths)
        with torch.no_grad():
            together = network(pixels, counts)
            alone = torch.cat([network(clip, torch.tensor([len(clip)])) for clip in clips])
            of_five_dimensions = torch.cat([network(clip.unsqueeze(0)) for clip in clips])
            torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(of_five_dimensions, alone, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(network(padded, counts), alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("form", ["eager", "torchscript", "onnx"])
    def test_the_exported_clip_part_agrees_at_several_batch_sizes_and_lengths(
        self, network: nn.Module, form: str, tmp_path: Path
    ) -> None:
        parts, frames = self.parts(network), 4
        assert parts.clip is not None
        run: Callable[..., Any] = lambda *given: (parts.clip(*given).numpy(),)  # noqa: E731
        with torch.no_grad():
            if form != "eager":
                run = EXPORTERS[form](parts.clip.eval(), self.padded(parts, 2, frames)[:2], tmp_path / "clip")
            for batch in (1, 2, 3, 4):
                vectors, lengths, expected = self.padded(parts, batch, frames)
                assert np.abs(run(vectors, lengths)[0] - expected.numpy()).max() < PARITY

    def padded(self, parts: FaceParts, batch: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return padded vectors, lengths, and what the whole network makes of the clips."""
        pixels, lengths = self.clips(batch)
        with torch.no_grad():
            vectors = dict(zip(parts.outputs, parts.frames(pixels), strict=True))["vectors"]
            expected = parts.frames.network(pixels, lengths)  # type: ignore[operator]
        padded = torch.full((batch, frames, vectors.shape[1]), 1e3)
        for row, clip in zip(padded, vectors.split(lengths.tolist()), strict=True):
            row[: len(clip)] = clip
        return padded, lengths, expected


class TestGenConViT(FaceContract):
    family = "genconvit"
    settings: ClassVar[dict[str, Any]] = {
        "backbones": ("test_efficientnet", "test_convnext"),  # the same blocks as their families, a tenth of the size
        "weights": ("random", "random"),
        "autoencoder_widths": (8, 16),
        "latent_width": 8,
    }

    def inputs(self, batch: int) -> Tensor:
        return self.pixels(batch) / 255


class TestGenConViTOnBothViews(TestGenConViT):
    settings: ClassVar[dict[str, Any]] = TestGenConViT.settings | {"views": "input+reconstruction"}


class TestSpotter(ClipContract):
    family = "spotter"
    settings: ClassVar[dict[str, Any]] = {
        "backbone": "test_efficientnet",
        "weights": "random",
        "pyramid_channels": 16,
        "gru_width": 8,
    }


def test_every_family_is_held_to_the_contract() -> None:
    def subclasses(kind: type[FamilyContract]) -> list[type[FamilyContract]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in subclasses(child))]

    tested = {kind.family for kind in subclasses(FamilyContract) if kind.__name__.startswith("Test")}
    assert tested == set(family_names())
