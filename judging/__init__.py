"""What evaluating any model takes: running networks, figures with intervals, calibration, plots and reports.

It knows no task: what a task's figures are stands in ``tasks``.
"""
