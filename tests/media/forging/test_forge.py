import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BadInputError
from media.forging import KINDS, ForgeSettings, authentic_twin, forge
from media.forging.blending import grown
from media.forging.processing import apply
from media.forging.settings import EdgeSettings, ProcessingSettings
from media.pictures import decode_picture

NOTHING = ProcessingSettings(untouched=1.0)
SEEDS = st.integers(0, 2**40)
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def only(kind, base=None):
    base = base or ForgeSettings()
    return base.model_copy(update={k.replace("-", "_"): float(k == kind) for k in KINDS})


@few
@given(seed=SEEDS)
def test_same_seed_gives_the_same_bytes_mask_and_recipe(photos, seed):
    first, second = (forge(photos["astronaut"], photos["coffee"], ForgeSettings(), seed) for _ in range(2))
    assert first.data == second.data
    assert np.array_equal(first.mask, second.mask)
    assert first.recipe == second.recipe


def test_different_seeds_give_different_forgeries(photos):
    made = {forge(photos["astronaut"], photos["coffee"], ForgeSettings(), seed).data for seed in range(5)}
    assert len(made) == 5


@few
@given(seed=SEEDS)
def test_recipe_survives_json_and_its_history_can_be_applied_again(photos, seed):
    made = forge(photos["chelsea"], photos["coffee"], ForgeSettings(finish=NOTHING), seed)
    recipe = json.loads(json.dumps(made.recipe))
    assert recipe == made.recipe
    host = apply(photos["chelsea"], recipe["history"])
    assert host.shape == made.image.shape
    beyond = ~grown(made.mask, made.margin)
    assert np.array_equal(host[beyond], made.image[beyond])


@pytest.mark.parametrize("kind", KINDS)
@few
@given(seed=SEEDS)
def test_only_the_mask_and_its_margin_change_before_the_finish(photos, kind, seed):
    host = photos["coffee"]
    made = forge(host, photos["chelsea"], only(kind, ForgeSettings(history=NOTHING, finish=NOTHING)), seed)
    assert made.recipe["kind"] == kind
    beyond = ~grown(made.mask, made.margin)
    assert np.array_equal(host[beyond], made.image[beyond])
    difference = np.abs(host.astype(int) - made.image.astype(int)).max(axis=2)
    assert difference[made.mask].mean() >= 3
    assert made.recipe["edits"][0]["difference"] >= ForgeSettings().min_difference


@pytest.mark.parametrize("kind", KINDS)
def test_with_hard_edges_the_mask_is_exactly_what_was_set_in(photos, bare, kind):
    host = photos["coffee"]
    for seed in range(6):
        made = forge(host, photos["chelsea"], only(kind, bare), seed)
        changed = (host != made.image).any(axis=2)
        assert not (changed & ~made.mask).any()
        assert changed[made.mask].mean() > 0.8


def test_what_is_thinner_than_its_feather_is_left_as_it_was(photos, bare):
    options = bare.model_copy(update={"edge": EdgeSettings(hard=0, antialiased=0, feather=(3.0, 3.0), grow=(-2, -2))})
    for seed in range(25):
        made = forge(photos["coffee"], photos["astronaut"], options, seed)
        beyond = ~grown(made.mask, made.margin)
        assert np.array_equal(photos["coffee"][beyond], made.image[beyond])


def test_a_spliced_object_holds_the_donors_own_pixels(photos, bare):
    host, donor = photos["coffee"], photos["astronaut"]
    checked = 0
    for seed in range(12):
        made = forge(host, donor, only("splice", bare), seed)
        edit = made.recipe["edits"][0]
        if edit["scale"] != 1.0:
            continue  # a donor too small to cover the region was enlarged
        assert _occurs(donor, made.image, made.mask)
        checked += 1
    assert checked >= 4


def test_a_copied_object_holds_the_hosts_own_pixels(photos, bare):
    host = photos["coffee"]
    for seed in range(6):
        made = forge(host, None, only("copy-move", bare), seed)
        assert _occurs(host, made.image, made.mask)


def _occurs(source, image, mask):
    """Whether the masked pixels of an image are those of the source at one common shift."""
    ys, xs = np.nonzero(mask)
    y, x = ys[len(ys) // 2], xs[len(xs) // 2]
    for sy, sx in np.argwhere((source == image[y, x]).all(axis=2)):
        ty, tx = ys + sy - y, xs + sx - x
        inside = (ty >= 0) & (tx >= 0) & (ty < source.shape[0]) & (tx < source.shape[1])
        # Pixels beyond the source's border are mirrored there.
        same = (source[ty[inside], tx[inside]] == image[ys[inside], xs[inside]]).all()
        if same and inside.mean() > 0.9:
            return True
    return False


@few
@given(seed=SEEDS)
def test_finish_keeps_mask_and_picture_together_and_data_decodes_to_the_picture(photos, seed):
    finish = ProcessingSettings(untouched=0, resize_probability=1, jpeg_probability=0.5)
    made = forge(photos["astronaut"], photos["coffee"], ForgeSettings(finish=finish), seed)
    assert made.mask.shape == made.image.shape[:2]
    assert made.mask.dtype == np.bool_
    assert np.array_equal(decode_picture(made.data), made.image)
    last = made.recipe["finish"][-1]["step"]
    assert made.suffix == (".jpg" if last == "jpeg" else ".png")
    areas = [edit["area"] for edit in made.recipe["edits"]]
    assert max(areas) * 0.85 <= made.mask.mean() <= sum(areas) * 1.15


@few
@given(seed=SEEDS)
def test_the_twin_differs_from_the_forgery_by_the_forging_alone(photos, seed):
    options = ForgeSettings(finish=ProcessingSettings(untouched=0.3, jpeg_probability=0, blur_probability=0))
    made = forge(photos["astronaut"], photos["coffee"], options, seed)
    twin = authentic_twin(photos["astronaut"], options, seed)
    if twin is None:
        assert made.recipe["history"] == made.recipe["finish"] == []
        return
    assert twin.recipe["history"] == made.recipe["history"]
    assert twin.recipe["finish"] == made.recipe["finish"]
    assert twin.image.shape == made.image.shape
    near = grown(made.mask, 3 * made.margin + 12)  # resampling and sharpening reach a little further
    assert np.array_equal(twin.image[~near], made.image[~near])
    assert not np.array_equal(twin.image[made.mask], made.image[made.mask])


def test_authentic_pictures_are_left_alone_where_the_settings_say_so(photos):
    options = ForgeSettings(authentic_as_forged=0.0)
    assert all(authentic_twin(photos["coffee"], options, seed) is None for seed in range(10))


def test_half_of_the_authentic_pictures_are_processed_when_asked(photos):
    options = ForgeSettings(authentic_as_forged=0.5, history=ProcessingSettings(untouched=0))
    made = [authentic_twin(photos["coffee"], options, seed) is not None for seed in range(60)]
    assert 15 <= sum(made) <= 45


def test_kinds_come_in_the_proportions_asked_for(photos):
    options = ForgeSettings(copy_move=0, splice=1, removal=1, second_probability=0)
    kinds = [forge(photos["coffee"], photos["astronaut"], options, seed).recipe["kind"] for seed in range(40)]
    assert set(kinds) == {"splice", "removal"}
    assert 10 <= kinds.count("splice") <= 30


def test_a_second_region_joins_the_mask(photos, bare):
    options = bare.model_copy(update={"second_probability": 1.0})
    made = [forge(photos["coffee"], photos["astronaut"], options, seed) for seed in range(8)]
    double = [m for m in made if len(m.recipe["edits"]) == 2]
    assert len(double) >= 4
    for entry in double:
        changed = (photos["coffee"] != entry.image).any(axis=2)
        assert not (changed & ~entry.mask).any()


def test_large_pictures_are_brought_within_max_side(photos):
    options = ForgeSettings(max_side=150)
    for seed in range(8):
        made = forge(photos["astronaut"], photos["coffee"], options, seed)
        assert max(made.image.shape[:2]) <= 150


def test_without_a_donor_nothing_is_spliced(photos):
    made = [forge(photos["coffee"], None, ForgeSettings(), seed).recipe["kind"] for seed in range(12)]
    assert "splice" not in made


def reason(target, donor, options):
    with pytest.raises(BadInputError) as caught:
        forge(target, donor, options, 0)
    return caught.value.reason


def test_a_blank_picture_offers_nothing_to_forge():
    blank = np.full((160, 200, 3), 200, np.uint8)
    options = ForgeSettings(history=NOTHING, finish=NOTHING, attempts=3, splice=0)
    assert reason(blank, None, options) == "nothing-to-forge"


def test_what_cannot_be_forged_is_refused_with_a_reason(photos):
    assert reason(photos["coffee"], None, only("splice")) == "no-donor"
    assert reason(photos["coffee"][:40], None, ForgeSettings()) == "too-small"
    assert reason(photos["coffee"][:, :, 0], None, ForgeSettings()) == "not-rgb"
    assert reason(photos["coffee"].astype(np.float32), None, ForgeSettings()) == "not-rgb"
    assert reason(photos["coffee"], photos["astronaut"][:40], ForgeSettings()) == "too-small"
