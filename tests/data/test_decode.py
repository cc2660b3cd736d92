from __future__ import annotations

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from golden_images import tiff
from PIL import Image

from neocog import DataError
from neocog.data.decode import decode, decode_noted, quiet
from neocog.errors import escaped

GREY = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
COLOUR = np.random.default_rng(5).integers(0, 256, (6, 9, 3), dtype=np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(48) * a, np.arange(64) * b) for a, b in [(1, 2), (3, 1), (0, 3)]], axis=2)
SMOOTH = SMOOTH.astype(np.uint8)
FORMATS = "JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM"
UNKNOWN = "FILE: this is not an image in a known format\n  received: {}\n  try: " + FORMATS
DAMAGED = "FILE: this image is damaged and cannot be decoded\n  received: "


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, pixels: bytes = b"", depth: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    """A PNG file put together by hand; `pixels` are rows, each with its filter byte."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.fixture
def stored(tmp_path):
    def write(content: bytes, name: str = "image.png"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def refusal(path) -> str:
    with pytest.raises(DataError) as caught:
        decode(path)
    return str(caught.value).replace(escaped(path), "FILE")


def odd_images() -> dict[str, tuple[bytes, np.ndarray]]:
    """Files of every mode with the bytes (H, W, 1 or 3) that they stand for."""
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    bits = GREY > 100
    opaque = Image.merge("RGBA", (*colour.split(), Image.new("L", colour.size, 255)))
    palette = Image.fromarray((np.arange(12) % 3).astype(np.uint8).reshape(3, 4), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    rgb = np.eye(3, dtype=np.uint8)[np.arange(12) % 3].reshape(3, 4, 3) * 255
    see_through = rgb.copy()
    see_through[rgb[..., 2] > 0] = 255
    deep = np.array([[0, 257, 32896], [65535, 25700, 1285]], np.uint16)
    shallow = np.array([[[0], [1], [128]], [[255], [100], [5]]], np.uint8)
    eighths = np.array([[0, 0.5, 1.0], [0.2, 0.25, 0.75]], np.float32)
    signed = np.array([[-100, 0, 155], [-100, -50, 55]], np.int32)
    frames = [Image.new("L", (4, 3), shade) for shade in (40, 90, 200)]
    cmyk = Image.fromarray(np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), "CMYK")
    printed = np.array([[[255, 255, 255], [0, 255, 255], [0, 0, 0]]], np.uint8)
    return {
        "1-bit": (encoded(Image.fromarray(bits)), bits[..., None] * np.uint8(255)),
        "1-bit TIFF": (encoded(Image.fromarray(bits), "TIFF", compression="group4"), bits[..., None] * np.uint8(255)),
        "2-bit PNG": (png(4, 1, b"\0\x1b", depth=2), np.array([0, 85, 170, 255], np.uint8).reshape(1, 4, 1)),
        "L": (encoded(grey), GREY[..., None]),
        "L in a palette": (encoded(Image.fromarray(GREY, "L").convert("P")), GREY[..., None]),
        "LA": (encoded(Image.merge("LA", (grey, Image.new("L", grey.size, 255)))), GREY[..., None]),
        "P": (encoded(palette), rgb),
        "P with a transparent entry": (encoded(palette, transparency=2), see_through),
        "P with transparent bytes": (encoded(palette, transparency=b"\xff\xff\x00"), see_through),
        "L with a transparent grey": (encoded(grey, transparency=20), np.where(GREY == 20, 255, GREY)[..., None]),
        "RGB": (encoded(colour), COLOUR),
        "RGB that is grey": (encoded(grey.convert("RGB")), GREY[..., None]),
        "RGBA": (encoded(opaque), COLOUR),
        "CMYK": (encoded(cmyk, "TIFF"), printed),
        "YCbCr": (encoded(Image.new("YCbCr", (3, 2), (120, 128, 128)), "TIFF"), np.full((2, 3, 1), 120, np.uint8)),
        "16-bit PNG": (encoded(Image.fromarray(deep)), shallow),
        "I;16 TIFF": (encoded(Image.fromarray(deep), "TIFF"), shallow),
        "I;16B TIFF": (encoded(Image.frombytes("I;16B", (3, 2), deep.astype(">u2").tobytes()), "TIFF"), shallow),
        "16-bit PGM": (encoded(Image.fromarray(deep.astype(np.int32)), "PPM"), shallow),
        "I TIFF": (encoded(Image.fromarray(deep.astype(np.int32)), "TIFF"), shallow),
        "I TIFF below zero": (encoded(Image.fromarray(signed), "TIFF"), (signed + 100).astype(np.uint8)[..., None]),
        "F TIFF from 0 to 1": (encoded(Image.fromarray(eighths), "TIFF"), np.rint(eighths * 255)[..., None]),
        "F TIFF from 0 to 255": (
            encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
            GREY[..., None],
        ),
        "F TIFF from -1 to 1": (
            encoded(Image.fromarray(eighths * 2 - 1), "TIFF"),
            np.rint(eighths * 255)[..., None],
        ),
        "animated GIF": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), np.full((3, 4, 1), 40)),
        "animated WebP": (
            encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
            np.full((3, 4, 1), 40),
        ),
        "TIFF of many pages": (
            encoded(frames[2], "TIFF", save_all=True, append_images=frames),
            np.full((3, 4, 1), 200),
        ),
        "WebP": (encoded(colour, "WEBP", lossless=True), COLOUR),
        "BMP": (encoded(colour, "BMP"), COLOUR),
        "TIFF": (encoded(colour, "TIFF", compression="tiff_lzw"), COLOUR),
        "PPM": (encoded(colour, "PPM"), COLOUR),
        "PBM": (b"P1\n3 2\n0 1 0\n1 0 1\n", np.array([[255, 0, 255], [0, 255, 0]], np.uint8)[..., None]),
        "one pixel": (encoded(Image.new("L", (1, 1), 9)), np.full((1, 1, 1), 9)),
    }


ODD = odd_images()


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_image_is_decoded_exactly(stored, kind):
    content, expected = ODD[kind]
    array = decode(stored(content))
    assert array.dtype == np.uint8
    assert array.shape == expected.shape
    assert np.array_equal(array, expected)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:1:1"}, {"optimize": True}])
def test_a_jpeg_photo_is_decoded_closely(stored, options):
    array = decode(stored(encoded(Image.fromarray(SMOOTH), "JPEG", quality=95, **options)))
    assert array.shape == SMOOTH.shape
    assert np.abs(array.astype(int) - SMOOTH).mean() < 2


def test_a_jpeg_for_printing_comes_back_in_the_right_polarity(stored):
    inks = Image.fromarray(SMOOTH).convert("CMYK")
    array = decode(stored(encoded(inks, "JPEG", quality=95)))
    assert np.abs(array.astype(int) - SMOOTH).mean() < 3


UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
TURNED = {  # how the camera stored what is upright, by the value of EXIF's orientation
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_turned_photo_comes_back_upright(stored, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(Image.fromarray(np.ascontiguousarray(TURNED[orientation])), kind, exif=exif, **options)
    assert np.array_equal(decode(stored(content))[..., 0], UPRIGHT)


def test_an_orientation_that_does_not_exist_is_ignored(stored):
    exif = Image.Exif()
    exif[0x0112] = 99
    assert np.array_equal(decode(stored(encoded(Image.fromarray(UPRIGHT), exif=exif)))[..., 0], UPRIGHT)


def test_colours_of_lab_are_not_taken_for_transparency(stored):
    assert decode_noted(stored(tiff(bytes(3 * 35), (5, 7), 8, 3, 8))).notes == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_damaged_exif_costs_no_pixel(stored, kind):
    plain, image = encoded(Image.fromarray(SMOOTH), kind), Image.fromarray(SMOOTH)
    assert np.array_equal(decode(stored(encoded(image, kind, exif=b"Exif\0\0no directory"))), decode(stored(plain)))


@pytest.mark.parametrize(
    ("ink", "ground"),
    [((0, 0, 0), 255), ((255, 255, 255), 0), ((40, 60, 200), 255), ((255, 250, 235), 0)],
    ids=["black", "white", "blue", "cream"],
)
@pytest.mark.parametrize("hidden", [0, 255])
def test_ink_on_nothing_is_laid_on_a_ground_it_stands_out_from(stored, ink, ground, hidden):
    pixels = np.full((10, 10, 4), hidden, np.uint8)
    pixels[..., 3] = 0
    pixels[3:7, 4:6] = (*ink, 255)
    array = np.broadcast_to(decode(stored(encoded(Image.fromarray(pixels)))), (10, 10, 3))
    expected = np.full((10, 10, 3), ground)
    expected[3:7, 4:6] = ink
    assert np.array_equal(array, expected)


def test_half_transparent_ink_is_mixed_with_the_ground(stored):
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, 0, 3] = 51
    assert decode(stored(encoded(Image.fromarray(pixels)))).ravel().tolist() == [204, 255]


def test_an_image_of_nothing_is_the_ground(stored):
    assert np.unique(decode(stored(encoded(Image.new("RGBA", (5, 4), (9, 9, 9, 0)))))).tolist() == [255]


def test_a_light_opaque_image_with_an_alpha_channel_stays_as_it_is(stored):
    assert np.unique(decode(stored(encoded(Image.new("RGBA", (5, 4), (250, 250, 250, 255)))))).tolist() == [250]


PHOTO = encoded(Image.fromarray(SMOOTH), "JPEG")
DRAWING = encoded(Image.fromarray(SMOOTH))
ROWS = (b"\0" + bytes(4)) * 4


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


TOO_LARGE = "FILE: an image has at most 64 megapixels\n  received: {}\n  try: a smaller copy of it"
BAD = {
    "empty": (b"", "FILE: this file is empty"),
    "text named .jpg": (b"this is not an image\n" * 9, UNKNOWN.format("text")),
    "a page of the web": (b"\n<!DOCTYPE html><html><body>404</body></html>", UNKNOWN.format("a page of the web")),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UNKNOWN.format("an SVG drawing")),
    "SVG with its prolog": (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- drawn by hand, and by nobody else -->\n<svg width="9"/>',
        UNKNOWN.format("an SVG drawing"),
    ),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        UNKNOWN.format("a pointer of Git LFS, in place of the file that git lfs pull brings"),
    ),
    "ICO": (b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0", UNKNOWN.format("an icon")),
    "PSD": (b"8BPS\0\1" + bytes(20), UNKNOWN.format("a Photoshop document")),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n", UNKNOWN.format("a JPEG XL image")),
    "JPEG XL without a box": (b"\xff\x0a\xfa\x1f\x01", UNKNOWN.format("a JPEG XL image")),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", UNKNOWN.format("a JPEG 2000 image")),
    "HEIC of a burst": (b"\0\0\0\x18ftyphevc\0\0\0\0", UNKNOWN.format("a HEIC photo")),
    "TIFF of doubles": (
        tiff(bytes(8 * 35), (5, 7), 64, kind=3),
        UNKNOWN.format("a TIFF image that is damaged, or of a kind that is not read"),
    ),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0", UNKNOWN.format("a gzip archive")),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", UNKNOWN.format("a PDF document")),
    "zip": (b"PK\x03\x04" + bytes(60), UNKNOWN.format("a zip archive")),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", UNKNOWN.format("a HEIC photo")),
    "AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", UNKNOWN.format("an AVIF image")),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UNKNOWN.format("text")),
    "random bytes": (bytes(range(128, 256)), UNKNOWN.format("first bytes 80 81 82 83 84 85 86 87")),
    "a pickle": (b"\x80\x04\x95\x0e\0\0\0\0\0\0\0", UNKNOWN.format("first bytes 80 04 95 0e 00 00 00 00")),
    "one byte": (b"\xff", UNKNOWN.format("first bytes ff")),
    "PNG cut in its signature": (DRAWING[:8], UNKNOWN.format("a PNG image whose header is damaged")),
    "JPEG cut in its header": (PHOTO[:4], UNKNOWN.format("a JPEG image whose header is damaged")),
    "GIF cut in its header": (b"GIF89a\x04", UNKNOWN.format("a GIF image whose header is damaged")),
    "PNG of no width": (png(0, 4), UNKNOWN.format("a PNG image whose header is damaged")),
    "PPM below zero": (b"P6\n-5 5\n255\n", UNKNOWN.format("text")),
    "60000 x 60000": (png(60000, 60000), TOO_LARGE.format("3600000000 pixels")),
    "9000 x 9000": (png(9000, 9000), TOO_LARGE.format("9000 x 9000 pixels")),
    "a row of 2^31 - 1": (png(2**31 - 1, 1), TOO_LARGE.format("2147483647 pixels")),
    "a PPM of 60000 x 60000": (b"P6\n60000 60000\n255\n", TOO_LARGE.format("3600000000 pixels")),
    "PNG without pixels": (png(4, 4), DAMAGED),
    "PNG with a damaged chunk": (flipped(DRAWING, 60), DAMAGED),
    "PNG with a damaged header": (flipped(DRAWING, 20), UNKNOWN.format("a PNG image whose header is damaged")),
    "PNG with a bomb in its text": (
        png(4, 4, ROWS, extra=chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(70_000_000)))),
        DAMAGED,
    ),
    "JPEG cut in half": (PHOTO[: len(PHOTO) // 2], DAMAGED),
    "JPEG without its end": (PHOTO[:-30], DAMAGED),
    "TIFF of infinite values": (
        encoded(Image.fromarray(np.array([[1, np.inf]], np.float32)), "TIFF"),
        DAMAGED + "values that are not finite numbers",
    ),
    "TIFF of no numbers": (
        encoded(Image.fromarray(np.array([[1, np.nan, 0]], np.float32)), "TIFF"),
        DAMAGED + "values that are not finite numbers",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_its_reason(stored, kind):
    content, message = BAD[kind]
    received = refusal(stored(content, "image.jpg"))
    assert received == message or (message == DAMAGED and received.startswith(DAMAGED))  # then in Pillow's words


def outcome(path) -> np.ndarray | str:
    try:
        return decode(path)
    except DataError as error:
        return str(error).replace(str(path), "FILE")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_a_cut_file_is_refused_or_whole(stored, kind):
    content = encoded(Image.fromarray(COLOUR), kind)
    whole = decode(stored(content))
    for length in range(1, int(len(content) * 0.95), max(1, len(content) // 40)):
        received = outcome(stored(content[:length]))
        if isinstance(received, str):
            assert received.startswith((DAMAGED, UNKNOWN.split("\n")[0]))
        else:  # all pixels stood before the cut
            assert length > 0.8 * len(content)
            assert np.array_equal(received, whole)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_changed_bytes_give_an_image_or_a_reason(stored, kind):
    random = np.random.default_rng(8)
    content = encoded(Image.fromarray(COLOUR), kind)
    for _ in range(60):
        changed = bytearray(content)
        for place in random.integers(0, min(len(content), 300), 3):
            changed[place] = random.integers(0, 256)
        received = outcome(stored(bytes(changed)))
        if isinstance(received, str):
            assert received.startswith("FILE: ")
        else:
            assert received.shape[2] in (1, 3)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "none.png") == "FILE: there is no such file"
    assert refusal(tmp_path) == "FILE: this is a folder, not an image\n  try: the files in it"
    assert refusal(tmp_path / "pipe") == "FILE: this is not a regular file"
    assert refusal(tmp_path / ("x" * 300)) == "FILE: there is no such file"
    assert refusal(tmp_path / "a\0b") == "FILE: there is no such file"


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(10**12)
    expected = "FILE: an image file has at most 268,435,456 bytes\n  received: 1,000,000,000,000 bytes"
    assert refusal(path) == expected


def test_pixels_of_a_bomb_are_not_decoded(stored, monkeypatch):
    def load(*_):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    assert refusal(stored(png(9000, 9000))) == TOO_LARGE.format("9000 x 9000 pixels")


def test_a_file_that_may_not_be_read_is_named(stored, monkeypatch):
    path = stored(DRAWING)

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", forbidden)
    assert refusal(path) == "FILE: this file cannot be read\n  received: Permission denied"


def test_warnings_are_as_before_when_the_last_thread_has_left_quiet():
    before = list(warnings.filters)
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    assert warnings.filters != before
    first.__exit__(None, None, None)
    assert warnings.filters != before
    second.__exit__(None, None, None)
    assert warnings.filters == before
