from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from neocog import DataError
from neocog.data import load_data
from neocog.data.decode import decode
from neocog.data.glyph import INVERTED, Glyph
from neocog.wording import Text

Ink = np.ndarray
"""A digit (28, 28) or a page that it stands on: 0 where there is paper, 1 where there is ink."""


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """Four test images of each class: (40, 28, 28)."""
    test = load_data("mnist").test
    return np.concatenate([test.images[test.labels == k][:4, ..., 0] for k in range(10)])


@pytest.fixture(scope="module")
def glyph() -> Glyph:
    learned = Glyph.learn(load_data("mnist").train.images)
    assert learned is not None
    return learned


def unit(images: np.ndarray) -> np.ndarray:
    """Images as vectors without mean and of length 1, so that products are correlations."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def read() -> Callable[[np.ndarray], np.ndarray]:
    """Reads digits (N, 28, 28) by the most similar of 4,000 training digits."""
    train = load_data("mnist").train
    known, labels = unit(train.images[:4000]), train.labels[:4000]
    return lambda images: labels[(unit(images) @ known.T).argmax(axis=1)]


def enlarged(digit: np.ndarray, side: int) -> Ink:
    return np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)) / 255.0


def page(
    digit: np.ndarray, side: int = 150, height: int = 200, width: int = 300, at: tuple[int, int] = (25, 75)
) -> Ink:
    paper = np.zeros((height, width))
    paper[at[0] : at[0] + side, at[1] : at[1] + side] = enlarged(digit, side)
    return paper


def picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def mixed(ink: Ink, colour: tuple[int, ...], ground: tuple[int, ...]) -> np.ndarray:
    return ink[..., None] * np.array(colour) + (1 - ink[..., None]) * np.array(ground)


def noise(shape: tuple[int, ...], strength: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, strength, shape)


def on_glass(ink: Ink, grey: int) -> Image.Image:
    return Image.merge("LA", (Image.new("L", ink.shape[::-1], grey), picture(255 * ink))).convert("RGBA")


def lit_from_one_side(digit: np.ndarray) -> Image.Image:
    ink = page(digit)
    rows, columns = np.indices(ink.shape) / 300
    return picture((140 + 60 * rows + 55 * columns) * (1 - 0.75 * ink))


def written_thinly(digit: np.ndarray) -> Image.Image:
    """The middle of the strokes, two pixels wide on 200 x 200."""
    mask = Image.fromarray(((enlarged(digit, 200) > 0.5) * 255).astype(np.uint8))
    inside = np.asarray(mask, float)
    depth = inside / 255
    while inside.any():
        mask = mask.filter(ImageFilter.MinFilter(3))
        inside = np.asarray(mask, float)
        depth += inside / 255
    ridge = (depth >= np.asarray(picture(depth).filter(ImageFilter.MaxFilter(3)), float)) & (depth >= 4)
    return picture(255.0 * ~ridge)


def from_edge_to_edge(digit: np.ndarray) -> Image.Image:
    """The digit touches the picture's upper and lower border."""
    ink = enlarged(digit, 140)
    rows = np.flatnonzero((ink > 0.3).any(axis=1))
    return picture(255 * (1 - ink[rows[0] : rows[-1] + 1]))


def dusty(digit: np.ndarray) -> Image.Image:
    values, random = 255 * (1 - page(digit)), np.random.default_rng(4)
    for row, column in random.integers(3, 195, (8, 2)):
        values[row : row + 3, column : column + 3] = 30
    return picture(values)


def framed(digit: np.ndarray) -> Image.Image:
    """The table shows beside the sheet."""
    values = 225 * (1 - 0.9 * page(digit))
    values[:, :20] = 60
    values[-12:] = 55
    return picture(values)


WAYS: dict[str, tuple[Callable[[np.ndarray], Image.Image], str, dict[str, object], float, float]] = {
    # how a stranger's picture comes about: the file's format and options, and what must come of it: how similar the
    # digits are to the originals in the mean, and the share of them that is read as before
    "black on white": (lambda d: picture(255 * (1 - page(d))), "JPEG", {"quality": 75}, 0.94, 0.9),
    "white on black": (lambda d: picture(255 * page(d)), "JPEG", {"quality": 75}, 0.94, 0.9),
    "chalk on a board": (lambda d: picture(mixed(page(d), (230, 230, 215), (40, 75, 55))), "JPEG", {}, 0.94, 0.9),
    "blue on yellow": (lambda d: picture(mixed(page(d), (30, 40, 160), (250, 230, 110))), "JPEG", {}, 0.94, 0.9),
    "red on green": (lambda d: picture(mixed(page(d), (200, 75, 60), (60, 170, 60))), "PNG", {}, 0.94, 0.9),
    "black ink on glass": (lambda d: on_glass(page(d), 0), "PNG", {}, 0.94, 0.9),
    "white ink on glass": (lambda d: on_glass(page(d), 255), "PNG", {}, 0.94, 0.9),
    "1-bit": (lambda d: Image.fromarray(page(d) < 0.5), "PNG", {}, 0.92, 0.88),
    "16-bit": (lambda d: Image.fromarray((65535 * (1 - page(d).clip(0, 1))).astype(np.uint16)), "PNG", {}, 0.94, 0.9),
    "turned camera": (lambda d: picture(np.rot90(255 * (1 - page(d)))), "JPEG", {"exif": 6}, 0.94, 0.9),
    "small in a corner": (lambda d: picture(255 * (1 - page(d, 60, 480, 640, (20, 560)))), "PNG", {}, 0.91, 0.88),
    "10 x 10": (lambda d: Image.fromarray(255 - d).resize((10, 10), Image.Resampling.BOX), "PNG", {}, 0.75, 0.85),
    "inverted 28 x 28": (lambda d: Image.fromarray(255 - d), "PNG", {}, 0.99, 0.95),
    "grey on grey": (lambda d: picture(150 - 40 * page(d)), "JPEG", {"quality": 85}, 0.93, 0.9),
    "lit from one side": (lit_from_one_side, "JPEG", {}, 0.92, 0.88),
    "rough paper": (lambda d: picture(215 * (1 - 0.8 * page(d)) + noise((200, 300), 8)), "JPEG", {}, 0.92, 0.88),
    "thin pen": (written_thinly, "PNG", {}, 0.72, 0.82),
    "from edge to edge": (from_edge_to_edge, "PNG", {}, 0.9, 0.9),
    "dust": (dusty, "JPEG", {}, 0.93, 0.9),
    "the table's edge": (framed, "JPEG", {}, 0.93, 0.9),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_strangers_digit_comes_out_as_the_set_has_it(digits, glyph, read, way, tmp_path):
    draw, kind, options, similar, same = WAYS[way]
    if "exif" in options:
        exif = Image.Exif()
        exif[0x0112] = options["exif"]
        options = {"exif": exif}
    found = []
    for digit in digits:
        draw(digit).save(tmp_path / "digit", kind, **options)
        found.append(glyph.standardise(decode(tmp_path / "digit"))[0])
    standard = np.stack(found)[..., 0]
    correlations = (unit(standard) * unit(digits)).sum(axis=1)
    agreement = (read(standard) == read(digits)).mean()
    assert correlations.mean() >= similar
    assert agreement >= same


def test_the_convention_is_learned_from_the_set(glyph):
    assert (glyph.frame, glyph.ground, glyph.box) == ((28, 28), 0, 20)
    assert glyph.centre == pytest.approx((14.5, 14.5), abs=0.1)  # the frame's middle is at 14, a pixel's at 0.5
    assert 1.5 < glyph.stroke < 2.5


def test_a_dark_on_light_set_has_the_opposite_ground(digits):
    learned = Glyph.learn(255 - digits[..., None])
    assert learned is not None
    assert learned.ground == 255
    standard, notes = learned.standardise(digits[7, ..., None])
    assert notes[0] == INVERTED
    assert unit(255 - standard[None]) @ unit(digits[7:8]).T > 0.97


@pytest.mark.parametrize(
    "images",
    [
        np.random.default_rng(2).integers(0, 256, (20, 28, 28, 1), dtype=np.uint8),
        np.zeros((20, 28, 28, 3), np.uint8),
        np.zeros((20, 7, 28, 1), np.uint8),
        np.zeros((20, 28, 28, 1), np.uint8),
        np.full((20, 28, 28, 1), 128, np.uint8),
    ],
    ids=["noise", "colour", "tiny", "empty", "grey ground"],
)
def test_other_sets_have_no_convention(images):
    assert Glyph.learn(images) is None


def test_images_of_the_set_stay_as_they_are(glyph):
    images = load_data("mnist").test.images[:1000]
    kept = [np.array_equal(glyph.standardise(image)[0], image) for image in images]
    assert np.mean(kept) > 0.95
    standard, notes = glyph.standardise(images[0])
    assert np.array_equal(standard, images[0])
    assert notes == []


def test_what_was_done_is_said(glyph, digits):
    ink = 255 * page(digits[0])
    done = Text("cropped to its strokes and centred in 28x28", "裁到笔画并居中于 28x28")
    assert glyph.standardise(np.asarray(picture(ink))[..., None])[1] == [done]
    assert glyph.standardise(np.asarray(picture(255 - ink))[..., None])[1] == [INVERTED, done]


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (8, 8), (28, 28), (200, 300)])
@pytest.mark.parametrize("colour", [(0,), (255,), (128,), (255, 255, 255), (20, 200, 40)])
def test_an_image_of_one_colour_is_refused(glyph, colour, size):
    with pytest.raises(DataError) as caught:
        glyph.standardise(np.full((*size, len(colour)), colour, np.uint8))
    assert str(caught.value) == (
        "nothing stands out from the ground\n"
        "  received: the whole image is within 0 grey values of its ground\n"
        "  try: one digit on an even ground"
    )


@pytest.mark.parametrize("strength", [1, 5, 40])
def test_an_image_of_noise_is_refused(glyph, strength):
    values = np.asarray(picture(128 + noise((200, 300), strength)))[..., None]
    with pytest.raises(DataError, match=r"^nothing stands out from the ground\n"):
        glyph.standardise(values)


@pytest.mark.parametrize("size", [(1, 2), (2, 1), (2, 2), (3, 50), (50, 3), (5, 5), (9, 400), (2000, 3)])
def test_extreme_sizes_give_a_digit_or_a_reason(glyph, size):
    random = np.random.default_rng(6)
    for channels in (1, 3):
        for _ in range(5):
            image = random.integers(0, 2, (*size, channels), dtype=np.uint8) * 255
            try:
                standard, _ = glyph.standardise(image)
            except DataError as error:
                assert error.rule == "nothing stands out from the ground"  # noqa: PT017
            else:
                assert standard.shape == (28, 28, 1)
