from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from neocog.data import load_data
from neocog.data.likeness import FARTHEST, alike, difference_hash, equal, groups, near, thumbnail

RNG = np.random.default_rng(11)


def scene(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((120, 90), Image.Resampling.BICUBIC)


def pairs_found(images):
    pixels = [np.asarray(image.convert("RGB")) for image in images]
    return alike(np.stack([difference_hash(p) for p in pixels]), np.stack([thumbnail(p) for p in pixels]))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((60, 45)),
        lambda image: image.resize((200, 150), Image.Resampling.BICUBIC),
        lambda image: image.point(lambda v: int(20 + 0.85 * v)),
        lambda image: image.filter(ImageFilter.GaussianBlur(1)),
        lambda image: image.convert("L"),
    ],
    ids=["smaller", "larger", "paler", "blurred", "grey"],
)
def test_a_changed_copy_is_found_among_many(change):
    images = [scene(k) for k in range(200)]
    assert pairs_found([*images, change(images[17])]) == [[17, 200]]


def test_digits_of_one_kind_are_not_alike_for_being_large():
    """Enlarged, their ground and few strokes make hashes near and small pictures nearly so."""
    large = [
        Image.fromarray(digit[..., 0]).resize((112, 112), Image.Resampling.BICUBIC)
        for digit in load_data("mnist").test.images[:300]
    ]
    found = pairs_found([*large, large[17].resize((56, 56))])
    assert [17, 300] in found
    assert sum(map(len, found)) <= 4


def test_pictures_that_show_nothing_are_not_alike():
    assert pairs_found([Image.new("RGB", (30, 30), (k, k, k)) for k in range(0, 250, 50)]) == []


def test_another_picture_with_the_same_hash_is_not_believed_to_be_alike():
    hashes = np.zeros((2, 8), np.uint16)
    assert alike(hashes, RNG.integers(0, 256, (2, 16, 16), np.uint8)) == []


def test_near_gives_all_pairs_within_the_distance_and_no_others():
    hashes = RNG.integers(0, 2**16, (60, 8), np.uint16)
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    for k in range(30, 60):  # each some bits away from one of the first thirty
        bits[k] = bits[k - 30]
        bits[k, RNG.choice(128, k - 28, replace=False)] ^= 1
    hashes = np.packbits(bits, axis=1).view(np.uint16)
    distances = (bits[:, None] != bits[None]).sum(axis=-1)
    expected = {(i, j) for i in range(60) for j in range(i + 1, 60) if distances[i, j] <= FARTHEST}
    assert {(int(i), int(j)) for pairs in near(hashes) for i, j in pairs} == expected
    assert 3 < len(expected) < 10


@pytest.mark.parametrize("shape", [(4, 4, 1), (3, 3, 3), (1, 1, 1)])
def test_equal_images_are_those_with_equal_pixels(shape):
    first, second = RNG.integers(0, 4, (40, *shape), np.uint8), RNG.integers(0, 4, (25, *shape), np.uint8)
    second[3] = first[9]
    rows = [image.tobytes() for array in (first, second) for image in array]
    expected = [[k for k, row in enumerate(rows) if row == other] for other in dict.fromkeys(rows)]
    assert sorted(equal([first, second])) == sorted(members for members in expected if len(members) > 1)
    assert any({9, 43} <= set(members) for members in equal([first, second]))


def test_groups_are_joined_through_others():
    assert groups(6, [(4, 2), (0, 5), (2, 1)]) == [[0, 5], [1, 2, 4]]
