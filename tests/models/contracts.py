"""What every family's network must do; ``test_contract`` holds each family to it with an input and a batch."""

import copy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from media.spec import InputSpec
from models.checkpoint import load_state
from models.family import FAMILIES
from models.inputs import Normalize
from models.network import Network, Part, only
from models.parameters import count_parameters
from tests.models.exporting import FORMS

SIZE = 64
PARITY = 1e-4  # largest difference of logits between eager and an exported graph
CLASSES = ("authentic", "manipulated")

Views = dict[str, Tensor]


class FamilyContract:
    """Subclasses set ``family``, ``settings`` and ``view``; the networks have random weights."""

    family: ClassVar[str]
    settings: ClassVar[dict[str, Any]]
    view: ClassVar[dict[str, Any]] = {}
    name: ClassVar[str] = "face"

    @classmethod
    def input_spec(cls) -> InputSpec:
        family = FAMILIES.get(cls.family)
        spec = InputSpec.model_validate({"views": {cls.name: {"size": SIZE} | cls.view}})
        family.require_input(family.settings(**cls.settings), spec)
        return spec

    @classmethod
    def build(cls) -> Network:
        family = FAMILIES.get(cls.family)
        return family.build(family.settings(**cls.settings), cls.input_spec(), CLASSES, pretrained=False)

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls) -> Network:
        torch.manual_seed(0)
        return cls.build()

    @pytest.fixture
    def network(self, built: Network) -> Network:
        torch.manual_seed(1)
        return copy.deepcopy(built)

    def views(self, batch: int) -> Views:
        return Normalize(self.input_spec())(self.pixels(batch))  # type: ignore[no-any-return]

    def pixels(self, batch: int) -> Views:
        generator = torch.Generator().manual_seed(batch)
        shape = (batch, *self.input_spec().only.tensor.shape)
        return {self.name: torch.randint(256, shape, dtype=torch.uint8, generator=generator)}

    def batch(self, batch: int) -> dict[str, Any]:
        mask = torch.zeros(batch, 1, SIZE, SIZE, dtype=torch.uint8)
        mask[0, :, 8:24, 8:24] = 1
        return {"views": self.pixels(batch), "mask": mask, "label": mask.flatten(1).amax(1).long()}

    def output_shape(self, batch: int) -> tuple[int, ...]:
        return (batch, 1)

    def loss(self, network: nn.Module, batch: int) -> dict[str, Tensor]:
        family = FAMILIES.get(self.family)
        terms = family.loss(family.loss_settings())(network(self.views(batch)), self.batch(batch))
        assert isinstance(terms, dict)
        return terms

    @pytest.mark.parametrize("batch", [1, 3])
    def test_evaluation_gives_finite_float_logits_of_the_task(self, network: Network, batch: int) -> None:
        with torch.no_grad():
            output = network.eval()(self.views(batch))
        assert output.shape == self.output_shape(batch)
        assert output.dtype == torch.float32
        assert output.isfinite().all()

    def test_the_name_of_the_only_view_does_not_matter(self, network: Network) -> None:
        network.eval()
        with torch.no_grad():
            other = network({"other": only(self.views(2))})
            assert torch.equal(other, network(self.views(2)))

    def test_a_sample_gets_the_same_logits_whatever_else_is_in_the_batch(self, network: Network) -> None:
        network.eval()
        views = self.views(3)
        second = {name: array[1:2] for name, array in views.items()}
        with torch.no_grad():
            torch.testing.assert_close(network(views)[1:2], network(second), rtol=1e-4, atol=1e-4)

    def test_evaluation_is_deterministic_and_leaves_the_state_alone(self, network: Network) -> None:
        network.eval()
        before = copy.deepcopy(network.state_dict())
        with torch.no_grad():
            first, second = network(self.views(2)), network(self.views(2))
        assert torch.equal(first, second)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

    @pytest.mark.parametrize("batch", [1, 2, 3])
    def test_a_training_step_works_at_every_batch_size(self, network: Network, batch: int) -> None:
        terms = self.loss(network.train(), batch)
        assert all(term.ndim == 0 and term.dtype == torch.float32 and term.isfinite() for term in terms.values())
        terms["loss"].backward()

    def test_every_trainable_parameter_learns(self, network: Network) -> None:
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

    def test_parameters_that_are_not_trainable_do_not_matter(self, network: Network) -> None:
        network.eval()
        with torch.no_grad():
            before = network(self.views(1))
            for parameter in network.parameters():
                if not parameter.requires_grad:
                    parameter.add_(1)
            assert torch.equal(network(self.views(1)), before)

    def test_training_under_autocast_keeps_the_loss_in_float32(self, network: Network) -> None:
        network.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = self.loss(network, 2)
        assert {term.dtype for term in terms.values()} == {torch.float32}
        terms["loss"].backward()
        assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)

    def test_the_state_round_trips_into_a_fresh_network(self, network: Network) -> None:
        other = self.build()
        assert load_state(other, network.state_dict(), FAMILIES.get(self.family), strict=True) == []
        with torch.no_grad():
            assert torch.equal(other.eval()(self.views(2)), network.eval()(self.views(2)))

    def test_channels_last_gives_the_same_output(self, network: Network) -> None:
        network.eval()
        with torch.no_grad():
            expected = network(self.views(2))
            views = {name: array.contiguous(memory_format=torch.channels_last) for name, array in self.views(2).items()}
            output = network.to(memory_format=torch.channels_last)(views)  # type: ignore[call-overload]
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("form", ["torchscript", "onnx"])
    def test_an_exported_graph_agrees_at_two_batch_sizes(self, network: Network, form: str, tmp_path: Path) -> None:
        part, _ = network.eval().frame_part()
        whole = nn.Sequential(Normalize(self.input_spec()), part).eval()
        run = FORMS[form](whole, self.pixels(2), tmp_path / "model")
        for batch in (1, 5):
            with torch.no_grad():
                expected = whole(self.pixels(batch))
            for ours, theirs in zip(run(self.pixels(batch)), expected, strict=True):
                assert np.abs(ours - theirs.numpy()).max() < PARITY

    def test_the_frame_part_gives_what_it_names(self, network: Network) -> None:
        part, names = network.eval().frame_part()
        with torch.no_grad():
            outputs = dict(zip(names, part(self.views(3)), strict=True))
            torch.testing.assert_close(outputs["logits"], network(self.views(3)))
        assert names[0] == "logits"
        assert ("vectors" in names) == (network.clip_part(2) is not None)

    def test_heatmaps_are_those_that_the_family_declares_and_the_first_is_exported(self, network: Network) -> None:
        part, names = network.eval().frame_part()
        with torch.no_grad():
            maps, outputs = network.heatmaps(self.views(3)), part(self.views(3))
        assert bool(maps) == ("heatmap" in names) == FAMILIES.get(self.family).heatmaps
        assert all(one.shape[:2] == (3, 1) and one.min() >= 0 and one.max() <= 1 for one in maps.values())
        for one in list(maps.values())[:1]:
            assert torch.equal(one, outputs[names.index("heatmap")])

    def test_parameters_are_counted(self, network: Network) -> None:
        count = count_parameters(network)
        assert count.total == sum(p.numel() for p in network.parameters())
        assert 0 < count.trainable <= count.total


class ClipContract(FamilyContract):
    """What every network of clips must do besides."""

    LENGTHS: ClassVar[dict[int, list[int]]] = {1: [2], 2: [1, 3], 3: [3, 1, 2], 4: [1, 3, 2, 4]}

    def clips(self, batch: int) -> tuple[Views, Tensor]:
        lengths = torch.tensor(self.LENGTHS[batch])
        return self.views(int(lengths.sum())), lengths

    def loss(self, network: nn.Module, batch: int) -> dict[str, Tensor]:
        family = FAMILIES.get(self.family)
        views, lengths = self.clips(batch)
        samples = {"label": torch.arange(batch) % 2, "lengths": lengths}
        terms = family.loss(family.loss_settings())(network(views, lengths), samples)
        assert isinstance(terms, dict)
        return terms

    def test_a_step_on_single_pictures_works_too(self, network: Network) -> None:
        super().loss(network.train(), 3)["loss"].backward()
        assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)

    def test_a_single_picture_is_a_clip_of_one(self, network: Network) -> None:
        network.eval()
        with torch.no_grad():
            torch.testing.assert_close(network(self.views(3), torch.ones(3).long()), network(self.views(3)))

    @given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4))
    @settings(
        max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
    )
    def test_a_clip_gets_the_same_logit_whatever_its_neighbours(self, network: Network, lengths: list[int]) -> None:
        network.eval()
        views = self.views(sum(lengths))
        clips = [{self.name: clip} for clip in only(views).split(lengths)]
        with torch.no_grad():
            together = network(views, torch.tensor(lengths))
            alone = torch.cat(
                [network(clip, torch.tensor([count])) for clip, count in zip(clips, lengths, strict=True)]
            )
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("form", FORMS)
    def test_the_clip_part_agrees_at_several_batch_sizes_and_lengths(
        self, network: Network, form: str, tmp_path: Path
    ) -> None:
        clip = network.eval().clip_part(4)
        assert clip is not None
        with torch.no_grad():
            arrays, _ = self.arrays(network, clip, 2)
            assert list(arrays) == list(clip.inputs)
            run = FORMS[form](clip.network, arrays, tmp_path / "clip")
            for batch in (1, 2, 3, 4):
                arrays, expected = self.arrays(network, clip, batch)
                assert np.abs(run(arrays)[0] - expected.numpy()).max() < PARITY

    def arrays(self, network: Network, clip: Part, batch: int) -> tuple[Views, Tensor]:
        """Return what the clip part reads of clips, with padding that is no number, and the network's own logits."""
        views, lengths = self.clips(batch)
        part, names = network.frame_part()
        vectors = part(views)[names.index("vectors")]
        padded = torch.full((batch, *clip.inputs["vectors"].shape), torch.nan)
        for row, own in zip(padded, vectors.split(lengths.tolist()), strict=True):
            row[: len(own)] = own
        return {"vectors": padded, "lengths": lengths}, network(views, lengths)
