import random
from pathlib import Path

import numpy as np
import torch

from models import randomness
from models.checkpoint import Checkpoint, read_checkpoint, save_checkpoint


def draw() -> list[float]:
    return [random.random(), random.gauss(), np.random.rand(), np.random.randn(), *torch.randn(3).tolist()]


def test_states_that_went_through_a_file_continue_every_sequence(tmp_path: Path) -> None:
    draw()  # leaves half a pair of normal numbers in Python's and NumPy's generators
    save_checkpoint(tmp_path / "a.pth", Checkpoint(epoch=1, model_state_dict={}, random_states=randomness.capture()))
    expected = draw()
    assert draw() != expected
    randomness.restore(read_checkpoint(tmp_path / "a.pth").random_states)
    assert draw() == expected
