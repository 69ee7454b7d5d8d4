import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from judging.bootstrap import Bootstrap, Groups
from judging.detection import Ranking, Verdicts, detection_metrics, equal_error_rate, tpr_at_fpr

NONE = Bootstrap(resamples=0)


def _groups(count: int) -> np.ndarray:
    return np.array([f"g{i}" for i in range(count)])


def _metrics(labels, scores, threshold=0.5, **options):
    labels, scores = np.array(labels), np.array(scores, float)
    return detection_metrics(
        labels, scores, _groups(len(labels)), threshold=threshold, **{"bootstrap": NONE, **options}
    )


def test_hand_worked_ranking():
    # Of the 2·3 pairs, forged 0.8 beats all three and forged 0.4 beats 0.3 and 0.1: AUC = 5/6.
    metrics = _metrics([1, 1, 0, 0, 0], [0.8, 0.4, 0.6, 0.3, 0.1])
    assert metrics["auc"] == pytest.approx(5 / 6)
    assert metrics["ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)  # precision 1/1, then 2/3
    assert metrics["tpr_at_fpr_1"] == 0.5
    # ROC (0, .5), (1/3, .5), (1/3, 1): the miss rate falls through 1/3 on the upright part.
    assert metrics["eer"] == pytest.approx(1 / 3)


def test_hand_worked_verdicts():
    metrics = _metrics([1, 1, 0, 0, 0], [0.8, 0.4, 0.6, 0.3, 0.1])
    assert metrics["recall_forged"] == 0.5
    assert metrics["recall_authentic"] == pytest.approx(2 / 3)
    assert metrics["balanced_accuracy"] == pytest.approx(7 / 12)
    # forged: 2·1/(2·1+1+1) = 1/2; authentic: 2·2/(2·2+1+1) = 2/3
    assert metrics["macro_f1"] == pytest.approx(7 / 12)
    assert metrics["counts"] == {"authentic": 3, "forged": 2}


def test_hand_worked_calibration_error():
    # Two bins are filled: around 0.9 (mean 0.9, half forged: gap 0.4) and at 0.1 (none forged: gap 0.1).
    metrics = _metrics([1, 0, 0, 0], [0.9, 0.9, 0.1, 0.1])
    assert metrics["ece"] == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)


def test_the_error_rate_lies_between_points_of_the_curve():
    fpr, tpr = np.array([[0.0, 0.0, 0.5, 1.0]]), np.array([[0.0, 0.6, 0.8, 1.0]])
    # On the segment (0, .6) to (.5, .8): fpr = 1 - tpr where x = .4 - .4x.
    assert equal_error_rate(fpr, tpr)[0] == pytest.approx(0.4 / 1.4)


def test_the_rate_at_a_fixed_rate_is_not_interpolated():
    fpr, tpr = np.array([[0.0, 0.0, 0.02, 1.0]]), np.array([[0.0, 0.3, 0.9, 1.0]])
    assert tpr_at_fpr(fpr, tpr, 0.01)[0] == 0.3
    assert tpr_at_fpr(fpr, tpr, 0.02)[0] == 0.9


@given(st.integers(0, 2**31), st.integers(4, 40), st.integers(2, 30))
@settings(max_examples=80, deadline=None)
def test_weighted_figures_equal_those_of_scikit_learn(seed, count, levels):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    scores = np.floor(generator.random(count) * levels) / levels  # few levels give many ties
    groups = Groups.of(generator.integers(0, max(2, count // 2), count))
    weights = generator.integers(0, 4, (3, groups.count)).astype(float)
    verdicts = scores >= 0.5
    assume(all((w[groups.codes] @ labels) > 0 and (w[groups.codes] @ (1 - labels)) > 0 for w in weights))
    values = Ranking(labels, scores, groups)(weights) | Verdicts(labels, scores, verdicts, groups)(weights)
    for row, w in enumerate(weights[:, groups.codes]):
        assert values["auc"][row] == pytest.approx(sk.roc_auc_score(labels, scores, sample_weight=w))
        assert values["ap"][row] == pytest.approx(sk.average_precision_score(labels, scores, sample_weight=w))
        fpr, tpr, _ = sk.roc_curve(labels, scores, sample_weight=w, drop_intermediate=False)
        assert values["tpr_at_fpr_5"][row] == pytest.approx(tpr[fpr <= 0.05].max())
        assert values["eer"][row] == pytest.approx(equal_error_rate(fpr[None], tpr[None])[0])
        expected = sk.balanced_accuracy_score(labels, verdicts, sample_weight=w)
        assert values["balanced_accuracy"][row] == pytest.approx(expected)
        assert values["macro_f1"][row] == pytest.approx(sk.f1_score(labels, verdicts, sample_weight=w, average="macro"))
        assert values["ece"][row] == pytest.approx(calibration_error(labels, scores, w))


def calibration_error(labels, scores, weights):
    """The definition: over 15 bins the share of a bin times the gap between mean score and share of forged."""
    bins = np.minimum((scores * 15).astype(int), 14)
    gaps = [abs(weights[bins == b] @ (scores - labels)[bins == b]) for b in range(15)]
    return sum(gaps) / weights.sum()


def test_many_scores_share_levels_in_resamples_and_move_the_figures_by_less_than_a_level(monkeypatch):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 4000)
    scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    groups = Groups.of(generator.integers(0, 400, 4000))
    weights = generator.integers(0, 4, (5, 400)).astype(float)
    exact = Ranking(labels, scores, groups)(weights)
    monkeypatch.setattr("judging.detection.LEVELS", 256)
    coarse = Ranking(labels, scores, groups)(weights)
    for name in exact:
        np.testing.assert_allclose(coarse[name], exact[name], atol=2 / 256 if "tpr" in name else 1 / 256)
    np.testing.assert_allclose(coarse["auc"], exact["auc"], atol=2e-4)


@given(st.integers(0, 2**31), st.integers(6, 60))
@settings(max_examples=60, deadline=None)
def test_figures_equal_those_of_scikit_learn(seed, count):
    generator = np.random.default_rng(seed)
    labels, scores = generator.integers(0, 2, count), generator.random(count)
    labels[:2] = [0, 1]
    metrics = _metrics(labels, scores, threshold=0.4)
    verdicts = scores >= 0.4
    assert metrics["auc"] == pytest.approx(sk.roc_auc_score(labels, scores))
    assert metrics["ap"] == pytest.approx(sk.average_precision_score(labels, scores))
    assert metrics["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, verdicts))
    assert metrics["macro_f1"] == pytest.approx(sk.f1_score(labels, verdicts, average="macro"))


@pytest.mark.parametrize(("label", "missing"), [(0, "forged"), (1, "authentic")])
def test_figures_of_a_single_class_are_null_with_a_reason(label, missing):
    metrics = _metrics([label] * 4, [0.2, 0.4, 0.6, 0.8], bootstrap=Bootstrap(resamples=20))
    for name in ("auc", "ap", "eer", "tpr_at_fpr_1", "balanced_accuracy", "macro_f1", f"recall_{missing}"):
        assert metrics[name] is None
        assert metrics["undefined"][name] == f"no {missing} samples"
        assert name not in metrics["intervals"]
    assert metrics["recall_forged" if label else "recall_authentic"] == 0.5
    assert metrics["ece"] is not None


def test_no_samples_at_all_are_null_not_an_error():
    metrics = _metrics([], [])
    assert metrics["auc"] is None
    assert metrics["ece"] is None
    assert metrics["undefined"]["ece"] == "no authentic and no forged samples"


def test_media_are_judged_by_the_mean_of_their_samples():
    labels, scores = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.3, 0.5, 0.3, 0.7])
    media, groups = np.array(["a", "a", "b", "b", "c"]), np.array(["g", "g", "h", "h", "i"])
    metrics = detection_metrics(labels, scores, groups, threshold=0.5, media=media, bootstrap=NONE)
    assert metrics["counts"] == {"authentic": 2, "forged": 1}
    assert metrics["auc"] == 0.5  # 0.6 lies above 0.4 and below 0.7
    assert metrics["recall_forged"] == 1
    assert metrics["recall_authentic"] == 0.5


def test_intervals_hold_the_value_and_narrow_with_more_groups():
    generator = np.random.default_rng(3)
    widths = []
    for count in (40, 640):
        labels = np.arange(count) % 2
        scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
        metrics = _metrics(labels, scores, bootstrap=Bootstrap(resamples=400))
        for name, (low, high) in metrics["intervals"].items():
            if name != "ece":  # resampling adds to a mean of absolute gaps
                assert low <= metrics[name] <= high
        widths.append(np.subtract(*metrics["intervals"]["auc"][::-1]))
    assert widths[1] < widths[0] / 2
