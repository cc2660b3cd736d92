from __future__ import annotations

import numpy as np
import pytest

from neocog import NeocogError
from neocog.data import Dataset
from neocog.data.order import balanced_order, epoch_order
from neocog.training.balance import class_weights

COUNTS = (60, 30, 9, 1)
LABELS = np.random.default_rng(2).permutation(np.repeat(np.arange(4), COUNTS))
DATA = Dataset("few", "train", np.zeros((100, 2, 2, 1), np.uint8), LABELS, ("a", "b", "c", "x=y"))


def test_balanced_weights_let_every_class_count_alike_and_an_image_1_on_average():
    weights = class_weights("balanced", DATA)
    np.testing.assert_allclose(weights * COUNTS, 25, rtol=1e-6)
    np.testing.assert_allclose(weights[LABELS].mean(), 1, rtol=1e-6)


def test_a_class_without_images_changes_no_weight():
    more = Dataset("few", "train", DATA.images, LABELS, (*DATA.classes, "none there"))
    np.testing.assert_array_equal(class_weights("balanced", more)[:4], class_weights("balanced", DATA))


def test_a_text_gives_weights_by_class():
    assert class_weights("none", DATA) is None
    assert class_weights("b=2, x=y=0.5", DATA).tolist() == [1, 2, 1, 0.5]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "class_weights is none, balanced, or of class=weight, with weights from 0"),
        ("a", "received: class_weights='a'"),
        ("a=-1", "received: class_weights='a=-1'"),
        ("a=nan", "received: class_weights='a=nan'"),
        ("d=1", "class_weights: no class has this name\n  received: d\n  try: a, b, c, x=y"),
    ],
)
def test_weights_that_make_no_sense_are_refused(text, says):
    with pytest.raises(NeocogError) as refused:
        class_weights(text, DATA)
    assert says in str(refused.value)


def test_a_balanced_epoch_has_every_class_equally_often_in_turn():
    for epoch in range(1, 5):
        numbers = balanced_order(LABELS, seed=0, epoch=epoch)
        assert len(set(numbers.tolist())) == 100
        assert np.bincount(LABELS[numbers % 100]).tolist() == [25] * 4
        often = np.bincount(numbers % 100, minlength=100)  # no image again before all of its class have been shown
        for k in range(4):
            own = often[np.equal(LABELS, k)]
            assert own.max() - own.min() <= 1


def test_where_classes_cannot_be_equally_often_they_take_turns():
    labels = np.array([0, 0, 0, 1, 2])
    counts = [np.bincount(labels[balanced_order(labels, 0, epoch) % 5]) for epoch in range(3)]
    assert {int(n) for count in counts for n in count} == {1, 2}
    assert sum(counts).tolist() == [5, 5, 5]


def test_a_balanced_order_depends_on_seed_and_epoch_and_is_the_usual_one_for_equal_classes():
    first, again, *others = (balanced_order(LABELS, s, e).tolist() for s, e in ((0, 1), (0, 1), (1, 1), (0, 2)))
    assert first == again
    assert first not in others
    equal = np.arange(60) % 3
    np.testing.assert_array_equal(balanced_order(equal, 4, 2), epoch_order(60, 4, 2))
