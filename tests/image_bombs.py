"""Small files that would cost much if they were believed: reliability D2."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from golden_images import GOLDEN, GREY, INDEX, Component, chunk, gif, jpeg, tiff

HUGE = 60_000
ROW = b"\0" + bytes(4)
BOMB = zlib.compress(bytes(100_000_000), 9)  # under 100 kB


def png_of(width: int, height: int, extra: bytes = b"", pixels: bytes = ROW * 4) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def directory(tags: int) -> bytes:
    """A TIFF or EXIF directory of so many tags, each as long as the whole."""
    entries = b"".join(struct.pack("<HHII", 1000 + k % 60_000, 2, 12 * tags, 8) for k in range(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries + bytes(4)


def resized(content: bytes, place: int, form: str) -> bytes:
    """The same file, with another width and height in its header."""
    size = struct.pack(form, HUGE, HUGE)
    return content[:place] + size + content[place + len(size) :]


def refused() -> Iterator[tuple[str, bytes, str]]:
    """A name, the file, and the rule that it breaks."""
    large, damaged = "an image has at most 64 megapixels", "this image is damaged and cannot be decoded"
    yield "PNG of 60,000 x 60,000", png_of(HUGE, HUGE), large
    yield "PNG of 2^31 - 1 x 1", png_of(2**31 - 1, 1), large
    yield "PNG of 9,000 x 9,000", png_of(9000, 9000), large
    photo = jpeg([Component(GREY[:2, :3])], (16, 24))
    yield "JPEG of 60,000 x 60,000", resized(photo, photo.index(b"\xff\xc0") + 5, ">HH"), large
    yield "GIF of 60,000 x 60,000", resized(gif([INDEX]), 6, "<HH"), large
    yield "TIFF of 60,000 x 60,000", tiff(bytes(16), (HUGE, HUGE)), large
    yield "PPM of 60,000 x 60,000", b"P6\n60000 60000\n255\n", large
    bmp = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, HUGE, HUGE, 1, 24, *[0] * 6)
    yield "BMP of 60,000 x 60,000", bmp, large
    vp8l = b"\x2f" + (0x3FFF | 0x3FFF << 14).to_bytes(4, "little")  # 16,384 x 16,384, the most it can say
    body = b"WEBPVP8L" + struct.pack("<I", len(vp8l) + 1) + vp8l + b"\0"
    webp = b"RIFF" + struct.pack("<I", len(body)) + body
    yield "WebP of 16,384 x 16,384", webp, large
    moving = bytearray(GOLDEN["WebP animated"].content)
    moving[24:30] = (16_383).to_bytes(3, "little") * 2  # the canvas of the VP8X chunk
    yield "WebP animation on 16,384 x 16,384", bytes(moving), large
    for name, before in ((b"zTXt", b"x\0\0"), (b"iTXt", b"x\0\1\0\0\0"), (b"iCCP", b"x\0\0")):
        yield f"100 MB in {name.decode()}", png_of(4, 4, chunk(name, before + BOMB)), damaged
    yield "TIFF of 65,535 tags", directory(65_535), "a TIFF has at most 4,096 tags"
    yield (
        "TIFF of 65,535 tags, big end first",
        b"MM\0*\0\0\0\x08\xff\xff" + bytes(786_424),
        ("a TIFF has at most 4,096 tags"),
    )
    many = tiff(GREY.tobytes(), GREY.shape, 8, 60_000)
    yield "TIFF of 60,000 samples", many, "this is not an image in a known format"
    yield "EXIF of 60,000 tags", png_of(4, 4, chunk(b"eXIf", directory(60_000))), "EXIF data has at most 65,536 bytes"


def harmless() -> Iterator[tuple[str, bytes, tuple[int, int]]]:
    """A name, a file whose first image costs little whatever follows, and that image's size."""
    yield "GIF of 10,000 frames", gif([INDEX] * 10_000), INDEX.shape
    yield "100 MB behind a PNG's pixels", png_of(4, 4, pixels=bytes(100_000_000)), (4, 4)
    loop = bytearray(tiff(GREY.tobytes(), GREY.shape, then=b"\0"))
    (tags,) = struct.unpack("<H", loop[8:10])
    loop[10 + 12 * tags : 14 + 12 * tags] = struct.pack("<I", 8)  # the next directory is this one
    yield "TIFF whose pages go round", bytes(loop), GREY.shape


REFUSED = {name: (content, rule) for name, content, rule in refused()}
HARMLESS = {name: (content, size) for name, content, size in harmless()}
