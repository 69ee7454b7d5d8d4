import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from core.errors import BadInputError
from judging.guard import SplitLeakError
from tasks.faces.figures import choose_threshold, validation_figures
from tasks.faces.media_scores import collect_media
from tasks.faces.prediction import MediumPrediction, TrackPrediction


def _sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values, dtype=float)))


def _medium(number, label, tracks, split="val"):
    row = dict.fromkeys(("dataset", "method", "compression"), "")
    row |= {"media_id": f"m{number}", "group_id": f"g{number}", "label": label, "split": split}
    return MediumPrediction(
        row,
        tuple(
            TrackPrediction(
                [{"sample_id": "s"}] * len(frames),
                {"one": np.array(frames, dtype=float)},
                {} if clips is None else {"one": np.array(clips, dtype=float)},
            )
            for frames, clips in tracks
        ),
    )


def _figures(media):
    return validation_figures(collect_media(media, ["one"]), "one", 1.0)


def test_figures_are_those_of_the_library():
    rng = np.random.default_rng(0)
    media = [_medium(n, n % 2, [(rng.normal(n % 2, 1, size=3), rng.normal(n % 2, 1, size=2))]) for n in range(40)]
    figures = _figures(media)
    labels = np.array([medium.row["label"] for medium in media])
    scores = np.array([_sigmoid(medium.tracks[0].clip_logits["one"]).mean() for medium in media])
    frames = np.concatenate([medium.tracks[0].frame_logits["one"] for medium in media])
    clips = np.concatenate([medium.tracks[0].clip_logits["one"] for medium in media])
    assert figures["auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert figures["frame_auc"] == pytest.approx(roc_auc_score(labels.repeat(3), frames))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(clips), torch.tensor(labels.repeat(2), dtype=torch.float64)
    )
    assert figures["loss"] == pytest.approx(float(loss))
    called = scores >= figures["threshold"]
    assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, called))
    assert figures["authentic_fpr"] == pytest.approx(called[labels == 0].mean())
    assert 0 < figures["eer"] < 0.5


def test_the_loss_of_a_network_of_pictures_is_over_frames():
    media = [_medium(0, 0, [([-800, -800, 0], None)]), _medium(1, 1, [([800.0], None)])]
    assert _figures(media)["loss"] == pytest.approx(np.log(2) / 4)


SCORES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2, max_size=30).filter(
    lambda pairs: {label for label, _ in pairs} == {0, 1}
)


@settings(deadline=None)
@given(SCORES, st.sampled_from([0.0, 0.05, 0.3, 1.0]))
def test_no_threshold_under_the_ceiling_is_better_than_the_chosen_one(pairs, ceiling):
    labels, scores = np.array([label for label, _ in pairs]), np.array([score for _, score in pairs]) / 13
    choice = choose_threshold(labels, scores, ["val"] * len(pairs), max_authentic_fpr=ceiling)
    called = scores >= choice.threshold
    assert 0 <= choice.threshold <= 1
    assert choice.authentic_fpr == pytest.approx(called[labels == 0].mean()) and choice.authentic_fpr <= ceiling
    assert choice.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, called))
    for other in np.linspace(0, 1, 131):
        fpr = (scores >= other)[labels == 0].mean()
        if fpr <= ceiling:
            assert balanced_accuracy_score(labels, scores >= other) <= choice.balanced_accuracy + 1e-9


def test_a_gap_is_cut_in_its_middle_and_ties_go_to_fewer_false_alarms():
    labels, splits = np.array([0, 0, 1, 1]), ["val"] * 4
    assert choose_threshold(labels, np.array([0.1, 0.2, 0.6, 0.9]), splits).threshold == pytest.approx(0.4)
    # Both 0.3 (FPR 1/2, all found) and 0.7 (FPR 0, one found) have a balanced accuracy of 0.75.
    tied = choose_threshold(labels, np.array([0.2, 0.6, 0.4, 0.8]), splits)
    assert (tied.threshold, tied.authentic_fpr) == (pytest.approx(0.7), 0)


def test_where_no_ceiling_can_be_kept_the_lowest_rate_is_taken():
    choice = choose_threshold(np.array([0, 0, 1]), np.array([1.0, 0.5, 1.0]), ["val"] * 3, max_authentic_fpr=0.1)
    assert choice.authentic_fpr == 0.5 and choice.threshold <= 1


def test_the_threshold_is_chosen_on_val_with_both_classes():
    with pytest.raises(SplitLeakError, match="1 of test"):
        choose_threshold(np.array([0, 1]), np.array([0.1, 0.9]), ["val", "test"])
    with pytest.raises(BadInputError, match="no authentic media"):
        choose_threshold(np.array([1, 1]), np.array([0.1, 0.9]), ["val", "val"])


def test_media_that_a_member_cannot_judge_enter_no_figure():
    rng = np.random.default_rng(0)
    media = [_medium(n, n % 2, [(rng.normal(n % 2, 1, size=3), None)]) for n in range(20)]
    silent = MediumPrediction(_medium("s", 0, []).row, ())
    assert _figures([*media, silent]) == _figures(media)
