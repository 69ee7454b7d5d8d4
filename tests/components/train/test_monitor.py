import math

import pytest

from components.train.monitor import Monitor
from components.train.recipe import EarlyStoppingSettings, MonitorSettings
from core.errors import SettingsError


def _best(settings: MonitorSettings, epochs: list[dict[str, float]]) -> list[bool]:
    monitor = Monitor(settings, None)
    return [monitor.update(metrics) for metrics in epochs]


def _epochs(*pairs):
    return [{"f1": f1, "authentic_fpr": fpr} for f1, fpr in pairs]


def test_the_highest_f1_under_the_ceiling_wins():
    epochs = _epochs((0.2, 0.01), (0.9, 0.5), (0.3, 0.05), (0.3, 0.0), (0.25, 0.0))
    assert _best(MonitorSettings(metric="f1", max_authentic_fpr=0.05), epochs) == [True, False, True, False, False]


def test_while_no_epoch_keeps_under_the_ceiling_the_lowest_false_positive_rate_leads():
    epochs = _epochs((0.5, 0.9), (0.9, 0.95), (0.1, 0.4), (0.0, 0.05))
    assert _best(MonitorSettings(metric="f1", max_authentic_fpr=0.05), epochs) == [True, False, True, True]


def test_without_a_ceiling_only_the_metric_counts():
    assert _best(MonitorSettings(metric="f1", max_authentic_fpr=None), _epochs((0.5, 0.9), (0.6, 1.0))) == [True, True]


def test_a_metric_may_be_one_that_should_fall():
    epochs = [{"loss": value} for value in (3.0, 2.0, 2.5, 1.0)]
    settings = MonitorSettings(metric="loss", mode="min", max_authentic_fpr=None)
    assert _best(settings, epochs) == [True, True, False, True]


def test_a_metric_that_is_no_number_loses_to_any_that_is():
    epochs = _epochs((math.nan, 0.0), (0.0, 0.0), (math.nan, 0.0))
    assert _best(MonitorSettings(metric="f1"), epochs) == [True, True, False]


def test_an_unknown_metric_is_an_error_that_names_those_there_are():
    with pytest.raises(SettingsError, match=r"monitor.metric = 'f2': validation gives authentic_fpr, f1"):
        Monitor(MonitorSettings(metric="f2"), None).update({"f1": 0.1, "authentic_fpr": 0.0})


def test_patience_counts_epochs_without_enough_of_an_improvement():
    monitor = Monitor(MonitorSettings(metric="f1"), EarlyStoppingSettings(patience=2, min_delta=0.1))
    history = []
    for f1 in (0.5, 0.55, 0.61, 0.65, 0.69):
        best = monitor.update({"f1": f1, "authentic_fpr": 0.0})
        history.append((best, monitor.should_stop))
    # 0.55 is the best so far, though too little better to reset the patience; 0.61 is enough.
    assert history == [(True, False), (True, False), (True, False), (True, False), (True, True)]


def test_coming_under_the_ceiling_is_an_improvement_whatever_the_metric():
    monitor = Monitor(
        MonitorSettings(metric="f1", max_authentic_fpr=0.1), EarlyStoppingSettings(patience=1, min_delta=0.5)
    )
    monitor.update({"f1": 0.9, "authentic_fpr": 0.2})
    assert monitor.update({"f1": 0.1, "authentic_fpr": 0.05})
    assert not monitor.should_stop
