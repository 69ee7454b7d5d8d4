from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.faces.verdict import FaceDecision
from core.errors import BadInputError
from judging.bootstrap import Bootstrap
from judging.choice import Choice
from tasks.faces.calibration import calibrate_media, choose_media_threshold
from tasks.faces.evaluation_figures import dataset_figures, forgetting
from tasks.faces.evaluation_groups import ChosenGroup, Part
from tasks.faces.evaluation_table import write_media_table
from tasks.faces.media_scores import Calibration, MediaLogits, MediumLogits, TrackLogits


def medium(
    label: int, *tracks: tuple[Sequence[float], Sequence[float] | None], group: str = "g", split: str = "val"
) -> MediumLogits:
    """A medium whose member ``a`` has frames and maybe clips, and whose member ``b`` has the same frames negated."""
    columns = {"media_id": f"m{group}", "group_id": group, "dataset": "d", "method": "", "compression": ""}
    found = tuple(
        TrackLogits(
            tuple(f"{group}{number}{frame}" for frame in range(len(frames))),
            {"a": np.array(frames, float), "b": -np.array(frames, float)},
            {} if clips is None else {"a": np.array(clips, float)},
        )
        for number, (frames, clips) in enumerate(tracks)
    )
    return MediumLogits({**columns, "split": split}, label, found)


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def test_a_medium_is_as_suspicious_as_its_worst_track_of_which_clips_decide() -> None:
    media = MediaLogits((medium(1, ([0, 0], [3.0]), ([5, 5], [1.0])), medium(0, ([2, -2], None))))
    one = {"a": Calibration(temperature=2.0)}
    np.testing.assert_allclose(media.scores(one), [sigmoid(1.5), (sigmoid(1) + sigmoid(-1)) / 2])
    np.testing.assert_allclose(media.scores(one, by_frames=True), [sigmoid(2.5), 0.5])
    both = {"a": Calibration(weight=3.0), "b": Calibration(weight=1.0)}
    tracks = [0.75 * sigmoid(3) + 0.25 * 0.5, 0.75 * sigmoid(1) + 0.25 * sigmoid(-5)]
    assert media.scores(both)[0] == pytest.approx(max(tracks))


def test_frames_know_their_medium() -> None:
    media = MediaLogits((medium(1, ([0, 1], None), ([2], None)), medium(0, ([3], None))))
    scores, owner = media.frame_scores({"a": Calibration()})
    np.testing.assert_allclose(scores, [sigmoid(x) for x in range(4)])
    assert owner.tolist() == [0, 0, 0, 1]


def test_a_long_medium_weighs_no_more_than_a_short_one_in_a_temperature() -> None:
    def fitted(times: int) -> float:
        sure = medium(0, ([-4.0] * times, None), group="sure")
        wrong = medium(0, ([4.0], None), group="wrong")
        others = [medium(1, ([3.0], None), group=f"n{n}") for n in range(3)]
        return calibrate_media(MediaLogits((sure, wrong, *others)), ["a"]).members["a"].temperature

    assert fitted(50) == pytest.approx(fitted(1), rel=1e-4)
    assert fitted(1) > 1  # it was surer than it was right


def test_nothing_is_fitted_that_is_not_asked_for() -> None:
    media = MediaLogits((medium(1, ([1], None), group="x"), medium(0, ([2], None), group="y")))
    found = calibrate_media(media, ["a", "b"], temperatures=False, weights=False)
    assert set(found.members.values()) == {Calibration(1.0, 0.5)}


@settings(max_examples=60, deadline=None)
@given(
    authentic=st.lists(st.floats(-5, 5), min_size=1, max_size=8),
    manipulated=st.lists(st.floats(-5, 5), min_size=1, max_size=8),
    ceiling=st.floats(0, 0.9),
)
def test_the_ceiling_holds_and_no_better_threshold_is_under_it(
    authentic: list[float], manipulated: list[float], ceiling: float
) -> None:
    media = MediaLogits(
        tuple(medium(0, ([x], None), group=f"r{n}") for n, x in enumerate(authentic))
        + tuple(medium(1, ([x], None), group=f"m{n}") for n, x in enumerate(manipulated))
    )
    one = {"a": Calibration()}
    choice = choose_media_threshold(media, one, rule="ceiling", max_authentic_fpr=ceiling)
    scores, label = media.scores(one), media.label

    def rates(threshold: float) -> tuple[float, float]:
        called = scores >= threshold
        return float(called[label == 0].mean()), float(called[label == 1].mean())

    fpr, tpr = rates(choice.decision.threshold)
    assert choice.meets_ceiling
    assert fpr == choice.figures["authentic_fpr"] <= ceiling
    for threshold in scores:
        other_fpr, other_tpr = rates(threshold)
        assert other_fpr > ceiling or other_tpr - other_fpr <= tpr - fpr + 1e-9
    free = choose_media_threshold(media, one, rule="balanced_accuracy", max_authentic_fpr=ceiling)
    assert free.figures["balanced_accuracy"] >= choice.figures["balanced_accuracy"] - 1e-9


def test_val_of_one_class_is_refused() -> None:
    media = MediaLogits((medium(1, ([1], None)),))
    with pytest.raises(BadInputError, match="no authentic media"):
        choose_media_threshold(media, {"a": Calibration()}, rule="ceiling", max_authentic_fpr=0.1)


def without(one: MediumLogits, member: str) -> MediumLogits:
    """The medium, of which a member abstained."""
    tracks = tuple(
        TrackLogits(
            track.samples,
            {name: logits for name, logits in track.frames.items() if name != member},
            {name: logits for name, logits in track.clips.items() if name != member},
        )
        for track in one.tracks
    )
    return MediumLogits(one.columns, one.label, tracks)


def test_of_several_tracks_those_count_that_a_member_speaks_of() -> None:
    whole = medium(1, ([1.0], None), ([3.0], None))
    half = MediumLogits(whole.columns, 1, (whole.tracks[0], without(whole, "a").tracks[1]))
    media = MediaLogits((half,))
    assert media.scores({"a": Calibration()})[0] == pytest.approx(sigmoid(1))
    both = {"a": Calibration(), "b": Calibration()}
    assert media.scores(both)[0] == pytest.approx(max((sigmoid(1) + sigmoid(-1)) / 2, sigmoid(-3)))
    assert media.media[0].units("a").tolist() == [1.0]


def test_where_all_weigh_nothing_they_count_alike() -> None:
    media = MediaLogits((medium(1, ([2.0], None)),))
    assert media.scores({"a": Calibration(weight=0.0)})[0] == pytest.approx(sigmoid(2))


def test_thresholds_and_calibration_leave_out_what_was_abstained_of() -> None:
    spoken = [medium(n % 2, ([2.0 * (n % 2) - 1 + n / 10], None), group=f"g{n}") for n in range(8)]
    silent = [without(medium(n % 2, ([9.0], None), group=f"s{n}"), "a") for n in range(4)]
    one = {"a": Calibration()}
    alone, mixed = MediaLogits(tuple(spoken)), MediaLogits((*spoken, *silent))
    choices = [choose_media_threshold(m, one, rule="ceiling", max_authentic_fpr=0.2) for m in (alone, mixed)]
    assert choices[0] == choices[1]
    assert calibrate_media(mixed, ["a"]) == calibrate_media(alone, ["a"])
    none = MediaLogits(tuple(silent))
    with pytest.raises(BadInputError, match="no authentic and no manipulated media"):
        choose_media_threshold(none, one, rule="ceiling", max_authentic_fpr=0.2)
    assert calibrate_media(none, ["a", "b"]).members["a"].temperature == 1


def test_media_without_a_score_are_counted_and_enter_no_figure() -> None:
    spoken = [medium(n % 2, ([2.0 * (n % 2) - 1 + n / 10], None), group=f"g{n}") for n in range(8)]
    silent = [without(medium(0, ([9.0], None), group="s"), "a")]
    one = {"a": Calibration()}
    alone, mixed = MediaLogits(tuple(spoken)), MediaLogits((*spoken, *silent))
    part = Part(one, choose_media_threshold(alone, one, rule="ceiling", max_authentic_fpr=0.2))
    bootstrap = Bootstrap(resamples=20)
    found, expected = (dataset_figures(media, part, bootstrap) for media in (mixed, alone))
    assert (found.pop("abstained"), expected.pop("abstained")) == (1, 0)
    assert found == expected
    group = ChosenGroup("first", {"a": "a"}, {"ensemble": part}, "")
    assert forgetting([group], {"d": mixed}, bootstrap) == forgetting([group], {"d": alone}, bootstrap)


def test_the_table_has_no_score_where_a_model_abstained(tmp_path: Path) -> None:
    media = MediaLogits((medium(0, ([1.0], None)), without(medium(1, ([1.0], None), group="h"), "a")))
    part = Part({"a": Calibration()}, Choice(FaceDecision(threshold=0.5), True, "", {}))
    write_media_table(tmp_path / "t.parquet", [ChosenGroup("x", {"a": "a"}, {"ensemble": part}, "")], {"d": media})
    table = pq.read_table(tmp_path / "t.parquet")
    assert table["score"].to_pylist() == [pytest.approx(sigmoid(1)), None]
    assert table["called_manipulated"].to_pylist() == [True, None]
