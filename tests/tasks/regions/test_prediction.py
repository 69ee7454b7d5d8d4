import numpy as np
import pytest
import torch
from torch import nn

from core.errors import BadInputError, SettingsError, VeriframeError
from data.index import read_index
from data.shards import ShardReader
from data.stored import load_sample
from media.degrade import degradation
from media.ela import ElaSpec
from media.pixel_view import planes
from media.spec import InputSpec
from models.inputs import Normalize
from models.network import only
from tasks.regions.prediction import Member, ensemble_map, predict_pictures
from tasks.task import ENSEMBLE

SPEC = InputSpec(views={"tiles": {"size": 64, "overlap": 16}})
ELA = InputSpec(views={"tiles": {"size": 32, "overlap": 8, "ela": ElaSpec().model_dump()}})


class PerPixel(nn.Module):
    """A network whose logit at a pixel depends on that pixel alone, so tiling must not change it."""

    def __init__(self, channel: int = 0, gain: float = 1.0) -> None:
        super().__init__()
        self.channel, self.gain, self.batches = channel, gain, []
        self.drop = nn.Dropout(0.5)

    def forward(self, views: dict[str, torch.Tensor]) -> torch.Tensor:
        x = only(views)
        self.batches.append(len(x))
        return self.drop(x[:, self.channel : self.channel + 1] * self.gain)


def _member(name="red", spec=SPEC, **options):
    network = PerPixel(options.pop("channel", 0), options.pop("gain", 1.0)).eval()
    return Member(name, network, spec, **options)


def _expected(rgb, member, temperature=1.0):
    stacked = torch.from_numpy(planes(rgb, member.input.only.ela).transpose(2, 0, 1).copy())[None]
    normalised = Normalize(member.input)({"tiles": stacked})["tiles"]
    return torch.sigmoid(normalised[0, member.network.channel] * member.network.gain / temperature).numpy()


@pytest.fixture(scope="module")
def data(tiny_dataset):
    index = read_index(tiny_dataset)
    return index, ShardReader(index.shards)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("workers", [1, 4])
def test_maps_equal_those_of_the_untiled_picture_in_the_order_of_the_index(data, batch_size, workers):
    index, reader = data
    members = [_member(), _member("ela", ELA, channel=4)]
    predictions = list(predict_pictures(members, index, reader, device="cpu", batch_size=batch_size, workers=workers))
    assert [one.row["sample_id"] for one in predictions] == list(index.column("sample_id"))
    for one in predictions[::5]:
        sample = load_sample(one.row, reader)
        rgb, mask = sample.rgb, np.zeros(sample.rgb.shape[:2], bool) if sample.mask is None else sample.mask
        np.testing.assert_array_equal(one.rgb, rgb)
        np.testing.assert_array_equal(one.mask, mask)
        for member in members:
            expected = _expected(rgb, member)
            np.testing.assert_allclose(one.probabilities[member.name], expected, atol=2e-6)
        mean = (one.probabilities["red"] + one.probabilities["ela"]) / 2
        np.testing.assert_allclose(one.probabilities[ENSEMBLE], mean, atol=1e-6)


def test_tiles_of_several_pictures_share_a_batch(data):
    index, reader = data
    member = _member()
    val = index.where(split="val")  # 6 pictures of 2×2 tiles
    list(predict_pictures([member], val, reader, device="cpu", batch_size=5))
    assert member.network.batches == [5, 5, 5, 5, 4]


def test_two_runs_are_the_same_bit_for_bit(data):
    index, reader = data
    val = index.where(split="val")
    first, second = (
        [one.probabilities["red"] for one in predict_pictures([_member()], val, reader, device="cpu")] for _ in "ab"
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_temperature_divides_logits_and_logits_come_on_request(data):
    index, reader = data
    member = _member(temperature=4.0)
    (one, *_) = predict_pictures([member], index, reader, device="cpu", keep_logits=True)
    np.testing.assert_allclose(one.probabilities["red"], _expected(one.rgb, member, 4.0), atol=2e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-one.logits["red"])), _expected(one.rgb, member), atol=2e-5)
    (without, *_) = predict_pictures([member], index, reader, device="cpu")
    assert without.logits == {}


def test_extreme_logits_saturate_without_warnings(data, recwarn):
    index, reader = data
    (one, *_) = predict_pictures([_member(gain=1e6)], index, reader, device="cpu")
    assert set(np.unique(one.probabilities["red"])) <= {0.0, 1.0}
    assert not [w for w in recwarn if "overflow" in str(w.message)]


def test_weights_and_named_ensembles(data):
    index, reader = data
    members = [_member("a", weight=3.0), _member("b", channel=1), _member("c", channel=2)]
    (one, *_) = predict_pictures(members, index, reader, device="cpu", ensembles={"ab": ["a", "b"]})
    assert set(one.probabilities) == {"a", "b", "c", "ab"}
    expected = 0.75 * one.probabilities["a"] + 0.25 * one.probabilities["b"]
    np.testing.assert_allclose(one.probabilities["ab"], expected, atol=1e-6)


def test_an_ensemble_of_certain_members_stays_within_0_and_1():
    names = [str(i) for i in range(7)]
    sure = {name: np.ones((2, 2), np.float32) for name in names}
    assert ensemble_map(sure, dict.fromkeys(names, 1.0)).max() <= 1


def test_degradations_are_applied_before_anything_else(data):
    index, reader = data
    (one, *_) = predict_pictures([_member()], index, reader, device="cpu", degrade=degradation("jpeg50"))
    sample = load_sample(one.row, reader)
    np.testing.assert_array_equal(one.rgb, degradation("jpeg50")(sample.rgb))
    assert one.mask.any() == (sample.mask is not None and sample.mask.any())


def test_bf16_is_close_to_fp32(data):
    index, reader = data

    class Convolution(nn.Conv2d):
        def forward(self, views):
            return super().forward(only(views))

    member = Member("conv", Convolution(3, 1, 1).eval(), SPEC)
    maps = [
        next(iter(predict_pictures([member], index, reader, device="cpu", precision=p))).probabilities["conv"]
        for p in ("fp32", "bf16")
    ]
    assert not np.array_equal(*maps)
    np.testing.assert_allclose(*maps, atol=0.02)


def test_an_unreadable_picture_is_handed_over_or_raised(data):
    index, reader = data
    sizes = index.column("size").copy()
    sizes[1] = 30  # the rest of the file is cut off
    table = index.table.set_column(index.table.column_names.index("size"), "size", [sizes])
    broken = type(index)(table, index.spec, index.shards, index.sha256)
    met = []
    predictions = predict_pictures(
        [_member()], broken, reader, device="cpu", unreadable=lambda row, error: met.append(row)
    )
    assert [one.row["sample_id"] for one in predictions] == [*index.column("sample_id")[[0, *range(2, 24)]]]
    assert [row["sample_id"] for row in met] == [index.column("sample_id")[1]]
    with pytest.raises(BadInputError):
        list(predict_pictures([_member()], broken, reader, device="cpu"))


def test_an_empty_index_gives_nothing(data):
    index, reader = data
    assert list(predict_pictures([_member()], index.where(split="none"), reader, device="cpu")) == []


def test_names_and_precision_are_checked(data):
    index, reader = data
    with pytest.raises(SettingsError, match="unique names, got a, a"):
        list(predict_pictures([_member("a"), _member("a", ELA)], index, reader, device="cpu"))
    with pytest.raises(SettingsError, match="Did you mean 'bf16'"):
        list(predict_pictures([_member()], index, reader, device="cpu", precision="bf61"))


def test_a_member_of_another_view_is_refused(data):
    index, reader = data
    member = _member(spec=InputSpec(views={"face": {"size": 64}}))
    with pytest.raises(SettingsError, match=r"input\.views = face: red marks regions of whole pictures"):
        list(predict_pictures([member], index, reader, device="cpu"))


def test_running_out_of_memory_says_what_to_lower(data):
    index, reader = data

    class Greedy(nn.Module):
        def forward(self, views):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(VeriframeError, match="tiles of 64 px; lower batch_size"):
        list(predict_pictures([Member("greedy", Greedy(), SPEC)], index, reader, device="cpu"))
