"""Numbers agree with their nouns."""

import pytest

from neocog.wording import count_of, counted


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (1234, "test image", "1,234 test images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (2, "box", "2 boxes"),
        (2, "batch", "2 batches"),
        (2, "epoch", "2 epochs"),
    ],
)
def test_one_is_one_and_all_others_are_several(number, noun, said):
    assert count_of(number, noun) == said


def test_a_count_in_both_languages():
    one, several = (counted(n, "pass", "前馈 {0} 次") for n in (1, 3))
    assert (one.en, one.zh) == ("1 pass", "前馈 1 次")
    assert (several.en, several.zh) == ("3 passes", "前馈 3 次")
