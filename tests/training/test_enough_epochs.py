from __future__ import annotations

import pytest

from neocog.training.settings import enough_epochs


@pytest.mark.parametrize(
    ("images", "batch_size", "epochs"),
    [(60_000, 64, 6), (2113, 64, 6), (2112, 64, 7), (384, 32, 17), (16, 64, 200), (16, 4, 50), (1, 1, 200)],
)
def test_a_small_set_is_passed_over_until_there_are_200_steps(images, batch_size, epochs):
    assert enough_epochs(images, batch_size) == epochs
    batches = -(-images // batch_size)
    assert epochs == 6 or epochs * batches >= 200 > (epochs - 1) * batches
