from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.faces.scores import medium_probability, probability, track_probability, weighted
from bundle.faces.verdict import FaceDecision
from core.errors import BadInputError, MismatchError
from judging.bootstrap import Bootstrap
from judging.calibration import EnsembleWeights
from judging.choice import Choice
from tasks.faces.calibration import calibrate_media, choose_media_threshold, keep_media_threshold
from tasks.faces.evaluation_figures import dataset_figures, forgetting
from tasks.faces.evaluation_groups import ChosenGroup, Part
from tasks.faces.evaluation_table import write_media_table
from tasks.faces.media_scores import Calibration, Ensemble, MediaLogits, collect_media
from tasks.faces.prediction import MediumPrediction, TrackPrediction


def medium(
    label: int, *tracks: tuple[Sequence[float], Sequence[float] | None], group: str = "g", split: str = "val"
) -> MediumPrediction:
    """A medium whose member ``a`` has frames and maybe clips, and whose member ``b`` has the same frames negated."""
    row = {"media_id": f"m{group}", "group_id": group, "dataset": "d", "method": "", "compression": ""}
    found = tuple(
        TrackPrediction(
            [{"sample_id": f"{group}{number}{frame}"} for frame in range(len(frames))],
            {"a": np.array(frames, float), "b": -np.array(frames, float)},
            {} if clips is None else {"a": np.array(clips, float)},
        )
        for number, (frames, clips) in enumerate(tracks)
    )
    return MediumPrediction({**row, "split": split, "label": label}, found)


def collected(*media: MediumPrediction) -> MediaLogits:
    return collect_media(media, ["a", "b"])


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def test_a_medium_is_as_suspicious_as_its_worst_track_of_which_clips_decide() -> None:
    media = collected(medium(1, ([0, 0], [3.0]), ([5, 5], [1.0])), medium(0, ([2, -2], None)))
    one = {"a": Calibration(temperature=2.0)}
    np.testing.assert_allclose(media.scores(one), [sigmoid(1.5), (sigmoid(1) + sigmoid(-1)) / 2])
    np.testing.assert_allclose(media.scores(one, by_frames=True), [sigmoid(2.5), 0.5])
    both = {"a": Calibration(weight=3.0), "b": Calibration(weight=1.0)}
    tracks = [0.75 * sigmoid(3) + 0.25 * 0.5, 0.75 * sigmoid(1) + 0.25 * sigmoid(-5)]
    assert media.scores(both)[0] == pytest.approx(max(tracks))


def test_frames_know_their_medium() -> None:
    media = collected(medium(1, ([0, 1], None), ([2], None)), medium(0, ([3], None)))
    scores, owner = media.frame_scores({"a": Calibration()})
    np.testing.assert_allclose(scores, [sigmoid(x) for x in range(4)])
    assert owner.tolist() == [0, 0, 0, 1]


def test_a_long_medium_weighs_no_more_than_a_short_one_in_a_temperature() -> None:
    def fitted(times: int) -> float:
        sure = medium(0, ([-4.0] * times, None), group="sure")
        wrong = medium(0, ([4.0], None), group="wrong")
        others = [medium(1, ([3.0], None), group=f"n{n}") for n in range(3)]
        return calibrate_media(collected(sure, wrong, *others), ["a"]).members["a"].temperature

    assert fitted(50) == pytest.approx(fitted(1), rel=1e-4)
    assert fitted(1) > 1  # it was surer than it was right


def test_nothing_is_fitted_that_is_not_asked_for() -> None:
    media = collected(medium(1, ([1], None), group="x"), medium(0, ([2], None), group="y"))
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
    media = collected(
        *(medium(0, ([x], None), group=f"r{n}") for n, x in enumerate(authentic)),
        *(medium(1, ([x], None), group=f"m{n}") for n, x in enumerate(manipulated)),
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


def test_a_threshold_that_is_kept_has_the_figures_that_it_had_when_it_was_chosen() -> None:
    media = collected(*(medium(n % 2, ([n - 4.5 + 3 * (n % 2)], None), group=f"m{n}") for n in range(10)))
    one = {"a": Calibration(2.0)}
    chosen = choose_media_threshold(media, one, rule="ceiling", max_authentic_fpr=0.3)
    kept = keep_media_threshold(media, one, chosen.decision, max_authentic_fpr=0.3, note="kept")
    assert (kept.decision, kept.figures, kept.meets_ceiling) == (chosen.decision, chosen.figures, chosen.meets_ceiling)


def test_val_of_one_class_is_refused() -> None:
    media = collected(medium(1, ([1], None)))
    with pytest.raises(BadInputError, match="no authentic media"):
        choose_media_threshold(media, {"a": Calibration()}, rule="ceiling", max_authentic_fpr=0.1)


def without(one: MediumPrediction, member: str) -> MediumPrediction:
    """The medium, of which a member abstained."""
    tracks = tuple(
        TrackPrediction(
            track.rows,
            {name: logits for name, logits in track.frame_logits.items() if name != member},
            {name: logits for name, logits in track.clip_logits.items() if name != member},
        )
        for track in one.tracks
    )
    return MediumPrediction(one.row, tracks)


def test_of_several_tracks_those_count_that_a_member_speaks_of() -> None:
    whole = medium(1, ([1.0], None), ([3.0], None))
    half = MediumPrediction(whole.row, (whole.tracks[0], without(whole, "a").tracks[1]))
    media = collected(half)
    assert media.scores({"a": Calibration()})[0] == pytest.approx(sigmoid(1))
    both = {"a": Calibration(), "b": Calibration()}
    assert media.scores(both)[0] == pytest.approx(max((sigmoid(1) + sigmoid(-1)) / 2, sigmoid(-3)))
    assert media.units("a")[0].tolist() == [1.0]


def test_where_all_weigh_nothing_they_count_alike() -> None:
    media = collected(medium(1, ([2.0], None)))
    assert media.scores({"a": Calibration(weight=0.0)})[0] == pytest.approx(sigmoid(2))


def test_thresholds_and_calibration_leave_out_what_was_abstained_of() -> None:
    spoken = [medium(n % 2, ([2.0 * (n % 2) - 1 + n / 10], None), group=f"g{n}") for n in range(8)]
    silent = [without(medium(n % 2, ([9.0], None), group=f"s{n}"), "a") for n in range(4)]
    one = {"a": Calibration()}
    alone, mixed = collected(*spoken), collected(*spoken, *silent)
    choices = [choose_media_threshold(m, one, rule="ceiling", max_authentic_fpr=0.2) for m in (alone, mixed)]
    assert choices[0] == choices[1]
    assert calibrate_media(mixed, ["a"]) == calibrate_media(alone, ["a"])
    none = collected(*silent)
    with pytest.raises(BadInputError, match="no authentic and no manipulated media"):
        choose_media_threshold(none, one, rule="ceiling", max_authentic_fpr=0.2)
    assert calibrate_media(none, ["a", "b"]).members["a"].temperature == 1


def test_media_without_a_score_are_counted_and_enter_no_figure() -> None:
    spoken = [medium(n % 2, ([2.0 * (n % 2) - 1 + n / 10], None), group=f"g{n}") for n in range(8)]
    silent = [without(medium(0, ([9.0], None), group="s"), "a")]
    one = {"a": Calibration()}
    alone, mixed = collected(*spoken), collected(*spoken, *silent)
    part = Part(one, choose_media_threshold(alone, one, rule="ceiling", max_authentic_fpr=0.2))
    bootstrap = Bootstrap(resamples=20)
    found, expected = (dataset_figures(media, part, bootstrap) for media in (mixed, alone))
    assert (found.pop("abstained"), expected.pop("abstained")) == (1, 0)
    assert found == expected
    group = ChosenGroup("first", {"a": "a"}, {"ensemble": part}, EnsembleWeights({}, False, ""))
    assert forgetting([group], {"d": mixed}, bootstrap) == forgetting([group], {"d": alone}, bootstrap)


def test_the_table_has_no_score_where_a_model_abstained(tmp_path: Path) -> None:
    media = collected(medium(0, ([1.0], None)), without(medium(1, ([1.0], None), group="h"), "a"))
    part = Part({"a": Calibration()}, Choice(FaceDecision(threshold=0.5), True, "", {}))
    write_media_table(
        tmp_path / "t.parquet",
        [ChosenGroup("x", {"a": "a"}, {"ensemble": part}, EnsembleWeights({}, False, ""))],
        {"d": media},
    )
    table = pq.read_table(tmp_path / "t.parquet")
    assert table["score"].to_pylist() == [pytest.approx(sigmoid(1)), None]
    assert table["called_manipulated"].to_pylist() == [True, None]


def logit_lists() -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-6, 6), min_size=1, max_size=5)


@st.composite
def predictions(draw: st.DrawFn) -> list[MediumPrediction]:
    """Media of one to three tracks, of each of which either member may have abstained or have clips."""
    made = []
    for number in range(draw(st.integers(1, 5))):
        tracks = []
        for track in range(draw(st.integers(1, 3))):
            count = draw(st.integers(1, 4))
            speaking = [name for name in "ab" if draw(st.booleans())]
            one = TrackPrediction(
                [{"sample_id": f"{number}-{track}-{frame}"} for frame in range(count)],
                {name: np.array([draw(st.floats(-6, 6)) for _ in range(count)]) for name in speaking},
                {name: np.array(draw(logit_lists())) for name in speaking if draw(st.booleans())},
            )
            tracks.append(one)
        made.append(MediumPrediction(medium(number % 2, group=f"{number}").row, tuple(tracks)))
    return made


ENSEMBLES = (
    {"a": Calibration(temperature=2.0)},
    {"a": Calibration(1.5, 3.0), "b": Calibration(0.5, 1.0)},
    {"a": Calibration(weight=0.0), "b": Calibration(weight=0.0)},
)


def expected_score(one: MediumPrediction, members: Ensemble, by_frames: bool) -> float:
    """The score of a medium, track by track, with the functions that the server uses."""
    tracks = []
    for track in one.tracks:
        values = {
            name: track_probability(
                probability(track.frame_logits[name], members[name].temperature),
                probability(track.clip_logits[name], members[name].temperature)
                if name in track.clip_logits and not by_frames
                else None,
            )
            for name in members
            if name in track.frame_logits
        }
        if values:
            tracks.append(float(weighted(values, {name: members[name].weight for name in members})))
    return medium_probability(tracks) if tracks else float("nan")


@settings(max_examples=60, deadline=None)
@given(predictions(), st.sampled_from(ENSEMBLES), st.booleans())
def test_scores_of_all_media_are_those_of_the_server(
    media: list[MediumPrediction], members: Ensemble, by_frames: bool
) -> None:
    found = collected(*media)
    expected = [expected_score(one, members, by_frames) for one in media]
    np.testing.assert_allclose(found.scores(members, by_frames=by_frames), expected, rtol=1e-12)
    assert found.scored_by(members).column("media_id").tolist() == [
        one.row["media_id"] for one, score in zip(media, expected, strict=True) if not np.isnan(score)
    ]
    frames, owner = found.frame_scores(members)
    own = [list(found.select(np.array([number])).tracks(members)) for number in range(len(media))]
    np.testing.assert_array_equal(frames, np.concatenate([*(one for o in own for _, one in o), np.zeros(0)]))
    assert owner.tolist() == [number for number, o in enumerate(own) for samples, _ in o for _ in samples]


@settings(max_examples=40, deadline=None)
@given(predictions(), st.integers(0, 5))
def test_parts_saved_and_joined_give_what_one_pass_gives(media: list[MediumPrediction], cut: int) -> None:
    whole = collected(*media)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("first", "second")]
        for path, part in zip(paths, (media[:cut], media[cut:]), strict=True):
            collected(*part).save(path)
        joined = MediaLogits.concatenate([MediaLogits.load(path) for path in paths])
        assert joined.table.equals(whole.table)
        for members in ENSEMBLES:
            np.testing.assert_array_equal(joined.scores(members), whole.scores(members))
            np.testing.assert_array_equal(joined.frame_scores(members), whole.frame_scores(members))
        for member in "ab":
            np.testing.assert_array_equal(joined.units(member), whole.units(member))


def test_parts_of_other_members_do_not_join() -> None:
    one = medium(1, ([1.0], None))
    with pytest.raises(MismatchError, match="differ in what they keep"):
        MediaLogits.concatenate([collect_media([one], ["a"]), collect_media([one], ["a", "b"])])
