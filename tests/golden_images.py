"""Small image files of every kind, and the bytes (H, W, 1 or 3) that each stands for.

The files are put together here, byte by byte, and what they stand for is worked out from the formats' definitions, so
that neither shares a line with the decoder. Only WebP is written by Pillow, without loss. A JPEG here has blocks of
one value each, of which the format's arithmetic is short: a block's first coefficient is 8 times its mean.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]


class Golden(NamedTuple):
    """A file, what it stands for, and by how many grey levels rounding may differ."""

    content: bytes
    expected: Bytes
    tolerance: int = 0


RANDOM = np.random.default_rng(23)
GREY = RANDOM.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 180, (5, 7, 3), dtype=np.uint8)  # dark enough to be laid on white
DEEP = RANDOM.integers(0, 65536, (5, 7), dtype=np.uint16)
DEEP_COLOUR = RANDOM.integers(0, 45000, (5, 7, 3), dtype=np.uint16)
ALPHA = RANDOM.integers(0, 256, (5, 7), dtype=np.uint8)
INDEX = np.arange(35, dtype=np.uint8).reshape(5, 7) % 16
PALETTE = RANDOM.integers(0, 180, (16, 3), dtype=np.uint8)
BITS = GREY > 128
INKS = RANDOM.integers(0, 256, (5, 7, 4), dtype=np.uint8)


def rounded(values: NDArray[np.float64]) -> Bytes:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def on_white(colours: NDArray, alpha: NDArray, top: float = 255.0) -> Bytes:
    """Colours (H, W, C) and their opacity (H, W), both up to `top`, over white."""
    share = alpha[..., None] / top
    return rounded(255 * (colours / top * share + 1 - share))


def printed(inks: NDArray) -> Bytes:
    """Cyan, magenta, yellow and black (H, W, 4) on paper."""
    return rounded((255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255)


# PNG (ISO/IEC 15948)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def rows(samples: NDArray, depth: int) -> bytes:
    """Samples (H, W, ...) of so many bits as rows of bytes, each behind a filter byte of 0."""
    lines = []
    for line in samples.reshape(len(samples), -1):
        if depth == 16:
            packed = line.astype(">u2").tobytes()
        else:
            bits = (line[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            packed = np.packbits(bits.astype(np.uint8).ravel()).tobytes()
        lines.append(b"\0" + packed)
    return b"".join(lines)


def png(samples: NDArray, depth: int, kind: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """`kind` is PNG's colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    height, width = samples.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows(samples, depth)))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + after + chunk(b"IEND", b"")


def pngs() -> Iterator[tuple[str, Golden]]:
    for depth in (1, 2, 4, 8):
        top = 2**depth - 1
        values = GREY >> (8 - depth)
        yield f"PNG grey {depth}", Golden(png(values, depth, 0), rounded(values[..., None] * 255.0 / top))
        colours = PALETTE[INDEX & top]
        palette = chunk(b"PLTE", PALETTE[: top + 1].tobytes())
        yield f"PNG palette {depth}", Golden(png(INDEX & top, depth, 3, palette), colours)
    yield "PNG grey 16", Golden(png(DEEP, 16, 0), rounded(DEEP[..., None] / 257))
    yield "PNG RGB 8", Golden(png(COLOUR, 8, 2), COLOUR)
    yield "PNG RGB 16", Golden(png(DEEP_COLOUR, 16, 2), rounded(DEEP_COLOUR / 257), 1)
    dark = GREY // 2
    yield "PNG grey alpha 8", Golden(png(np.stack([dark, ALPHA], 2), 8, 4), on_white(dark[..., None], ALPHA), 1)
    deep = np.stack([DEEP // 2, DEEP[::-1]], 2)
    yield "PNG grey alpha 16", Golden(png(deep, 16, 4), on_white(deep[..., :1], deep[..., 1], 65535), 1)
    yield "PNG RGBA 8", Golden(png(np.dstack([COLOUR, ALPHA]), 8, 6), on_white(COLOUR, ALPHA), 1)
    yield "PNG RGBA 16", Golden(png(np.dstack([DEEP_COLOUR, DEEP]), 16, 6), on_white(DEEP_COLOUR, DEEP, 65535), 1)
    white = np.uint8(255)
    clear = chunk(b"tRNS", struct.pack(">H", dark[2, 3]))
    gone = (dark == dark[2, 3])[..., None]
    yield "PNG grey transparent", Golden(png(dark, 8, 0, clear), np.where(gone, white, dark[..., None]))
    clear = chunk(b"tRNS", struct.pack(">H", DEEP[2, 3]))
    gone = (DEEP[2, 3] == DEEP)[..., None]
    seen = np.where(gone, 255, rounded(DEEP[..., None] / 257)).astype(np.uint8)
    yield "PNG grey 16 transparent", Golden(png(DEEP, 16, 0, clear), seen)
    clear = chunk(b"tRNS", struct.pack(">HHH", *COLOUR[1, 1]))
    gone = (COLOUR[1, 1] == COLOUR).all(2, keepdims=True)
    yield "PNG RGB transparent", Golden(png(COLOUR, 8, 2, clear), np.where(gone, white, COLOUR))
    some = np.array([255, 0, 128, *([255] * 13)], np.uint8)
    clear = chunk(b"PLTE", PALETTE.tobytes()) + chunk(b"tRNS", some.tobytes())
    yield "PNG palette transparent", Golden(png(INDEX, 4, 3, clear), on_white(PALETTE[INDEX], some[INDEX]), 1)
    control = struct.pack(">IIIIIHHBB", 0, 7, 5, 0, 0, 1, 10, 0, 0)
    second = struct.pack(">I", 1) + control[4:]
    frames = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", control)
    later = chunk(b"fcTL", second) + chunk(b"fdAT", struct.pack(">I", 2) + zlib.compress(rows(255 - COLOUR, 8)))
    yield "PNG animated", Golden(png(COLOUR, 8, 2, frames, later), COLOUR)


# TIFF 6.0

SHORT, LONG = 3, 4
INTEGER, SIGNED, FLOAT = 1, 2, 3


def tiff(
    data: bytes,
    size: tuple[int, int],
    bits: int = 8,
    samples: int = 1,
    photometric: int = 1,
    kind: int = INTEGER,
    order: str = "<",
    orientation: int = 1,
    then: bytes = b"",
) -> bytes:
    """One strip without compression; `then` is a second directory, at an offset that this one names."""
    height, width = size
    tags = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [bits] * samples),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        273: (LONG, [0]),
        274: (SHORT, [orientation]),
        277: (SHORT, [samples]),
        278: (LONG, [height]),
        279: (LONG, [len(data)]),
        339: (SHORT, [kind] * samples),
    }
    after = 8 + 2 + 12 * len(tags) + 4
    beside = {tag: struct.pack(f"{order}{len(v)}{'H' if t == SHORT else 'I'}", *v) for tag, (t, v) in tags.items()}
    long = b"".join(value for value in beside.values() if len(value) > 4)
    beside[273] = struct.pack(f"{order}I", after + len(long))
    entries, place = b"", after
    for tag, (kind_of, values) in tags.items():
        value = beside[tag]
        if len(value) > 4:
            value, place = struct.pack(f"{order}I", place), place + len(value)
        entries += struct.pack(f"{order}HHI", tag, kind_of, len(values)) + value.ljust(4, b"\0")
    following = after + len(long) + len(data) if then else 0
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", following)
    return head + directory + long + data + then


def tiffs() -> Iterator[tuple[str, Golden]]:
    size = GREY.shape
    packed = np.packbits(BITS, axis=1).tobytes()
    for photometric, name in ((1, "black is 0"), (0, "white is 0")):
        turned = bool(photometric == 0)
        black = rounded((BITS ^ turned)[..., None] * 255.0)
        yield f"TIFF 1 bit, {name}", Golden(tiff(packed, size, 1, photometric=photometric), black)
        seen = (255 - GREY if turned else GREY)[..., None]
        yield f"TIFF grey 8, {name}", Golden(tiff(GREY.tobytes(), size, photometric=photometric), seen)
        deep = rounded((65535.0 - DEEP if turned else DEEP)[..., None] / 257)
        content = tiff(DEEP.astype("<u2").tobytes(), size, 16, photometric=photometric)
        yield f"TIFF grey 16, {name}", Golden(content, deep, 1 if turned else 0)
    content = tiff(DEEP.astype(">u2").tobytes(), size, 16, order=">")
    yield "TIFF grey 16, big end first", Golden(content, rounded(DEEP[..., None] / 257))
    twelve = (DEEP >> 4)[:4, :6]
    lines = [np.packbits(((line[:, None] >> np.arange(11, -1, -1)) & 1).astype(np.uint8).ravel()) for line in twelve]
    content = tiff(np.concatenate(lines).tobytes(), twelve.shape, 12)
    yield "TIFF grey 12", Golden(content, rounded(twelve[..., None] * 255.0 / 4095))
    shares = RANDOM.random(size).astype(np.float32)
    shares.flat[:2] = 0, 1
    content = tiff(shares.astype("<f4").tobytes(), size, 32, kind=FLOAT)
    yield "TIFF float, 0 to 1", Golden(content, rounded(shares[..., None].astype(float) * 255))
    content = tiff((shares * 255).astype("<f4").tobytes(), size, 32, kind=FLOAT)
    yield "TIFF float, 0 to 255", Golden(content, rounded((shares * 255)[..., None].astype(float)))
    content = tiff((shares * 7 - 2).astype("<f4").tobytes(), size, 32, kind=FLOAT)
    yield "TIFF float, of its own range", Golden(content, rounded(shares[..., None].astype(float) * 255), 1)
    yield "TIFF RGB 8", Golden(tiff(COLOUR.tobytes(), size, 8, 3, 2), COLOUR)
    content = tiff(DEEP_COLOUR.astype("<u2").tobytes(), size, 16, 3, 2)
    yield "TIFF RGB 16", Golden(content, rounded(DEEP_COLOUR / 257), 1)
    yield "TIFF CMYK", Golden(tiff(INKS.tobytes(), size, 8, 4, 5), printed(INKS), 1)
    first = tiff(GREY.tobytes(), size)
    offset = len(first)
    second = bytearray(tiff(GREY[::-1].tobytes(), size)[8:])
    place = 2 + 12 * [256, 257, 258, 259, 262, 273].index(273) + 8  # of the offset of its strip
    second[place : place + 4] = struct.pack("<I", offset + len(second) - GREY.size)
    yield "TIFF of two pages", Golden(tiff(GREY.tobytes(), size, then=bytes(second)), GREY[..., None])


# JPEG (ITU T.81) of blocks of 8x8 pixels of one value

LENGTHS = (0, 1, 5, 1, 1, 1, 1, 1, 1)  # T.81, table K.3: how many codes of 1, 2, ... bits there are


def _codes() -> dict[int, str]:
    codes, code, category = {}, 0, 0
    for length, count in enumerate(LENGTHS, 1):
        for _ in range(count):
            codes[category] = f"{code:0{length}b}"
            code, category = code + 1, category + 1
        code <<= 1
    return codes


CODES = _codes()


class Component(NamedTuple):
    """The blocks' values (rows, columns), and how many blocks it has across and down in a unit of the scan."""

    values: Bytes
    across: int = 1
    down: int = 1


def marker(code: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(content) + 2) + content


def scanned(bits: str) -> bytes:
    padded = bits + "1" * (-len(bits) % 8)
    return bytes(int(padded[k : k + 8], 2) for k in range(0, len(padded), 8)).replace(b"\xff", b"\xff\0")


def differences(component: Component) -> Iterator[str]:
    """The bits of each block's first coefficient, in the order of the scan: its difference from the one before."""
    before = 0
    height, width = component.values.shape
    for top in range(0, height, component.down):
        for left in range(0, width, component.across):
            unit = component.values[top : top + component.down, left : left + component.across]
            bits = ""
            for value in unit.ravel().tolist():
                difference, before = 8 * (value - 128) - before, 8 * (value - 128)
                category = abs(difference).bit_length()
                low = difference if difference > 0 else difference + 2**category - 1
                bits += CODES[category] + (f"{low:0{category}b}" if category else "") + "END"
            yield bits


def jpeg(
    components: Sequence[Component], size: tuple[int, int], progressive: bool = False, segments: bytes = b""
) -> bytes:
    ids = range(1, len(components) + 1)
    frame = struct.pack(">BHHB", 8, *size, len(components))
    frame += b"".join(bytes((k, 16 * c.across + c.down, 0)) for k, c in zip(ids, components, strict=True))
    tables = marker(0xDB, b"\0" + b"\1" * 64)
    counts = [*LENGTHS, *([0] * (16 - len(LENGTHS)))]
    tables += marker(0xC4, b"\0" + bytes(counts) + bytes(range(12)))
    tables += marker(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")  # one code: the rest of a block is 0
    bits = "".join("".join(units) for units in zip(*map(differences, components), strict=True))
    start = bytes((len(components), *(b for k in ids for b in (k, 0))))
    if progressive:
        scans = marker(0xDA, start + bytes((0, 0, 0))) + scanned(bits.replace("END", ""))
        for k, component in zip(ids, components, strict=True):
            scans += marker(0xDA, bytes((1, k, 0, 1, 63, 0))) + scanned("0" * component.values.size)
    else:
        scans = marker(0xDA, start + bytes((0, 63, 0))) + scanned(bits.replace("END", "0"))
    return b"\xff\xd8" + segments + tables + marker(0xC2 if progressive else 0xC0, frame) + scans + b"\xff\xd9"


def adobe(transform: int) -> bytes:
    return marker(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def enlarged(values: Bytes, down: int, across: int) -> NDArray[np.float64]:
    return values.repeat(down, axis=0).repeat(across, axis=1).astype(np.float64)


def ycc_to_rgb(y: NDArray, blue: NDArray, red: NDArray) -> Bytes:
    """JFIF 1.02: the arithmetic of ITU-R BT.601."""
    b, r = blue - 128, red - 128
    return rounded(np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], axis=2))


def rgb_to_ycc(colours: NDArray) -> list[Bytes]:
    r, g, b = np.moveaxis(colours.astype(np.float64), 2, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return [rounded(y), rounded(128 + (b - y) / 1.772), rounded(128 + (r - y) / 1.402)]


def jpegs() -> Iterator[tuple[str, Golden]]:
    blocks = RANDOM.integers(0, 256, (4, 8), dtype=np.uint8)
    blue, red = RANDOM.integers(90, 166, (2, 4, 8), dtype=np.uint8)
    size = (32, 64)
    luma = enlarged(blocks, 8, 8)
    for progressive in (False, True):
        kind = "progressive JPEG" if progressive else "JPEG"
        yield f"{kind} grey", Golden(jpeg([Component(blocks)], size, progressive), rounded(luma)[..., None])
        full = ycc_to_rgb(luma, enlarged(blue, 8, 8), enlarged(red, 8, 8))
        yield f"{kind} 4:4:4", Golden(jpeg([*map(Component, (blocks, blue, red))], size, progressive), full, 1)
        fewer = ycc_to_rgb(luma, enlarged(blue[:, :2], 8, 32), enlarged(red[:, :2], 8, 32))
        parts = [Component(blocks, 4, 1), Component(blue[:, :2]), Component(red[:, :2])]
        yield f"{kind} 4:1:1", Golden(jpeg(parts, size, progressive), fewer, 1)
        even = np.full((2, 4), 100, np.uint8), np.full((2, 4), 150, np.uint8)  # between blocks decoders may smooth
        parts = [Component(blocks, 2, 2), *map(Component, even)]
        seen = ycc_to_rgb(luma, enlarged(even[0], 16, 16), enlarged(even[1], 16, 16))
        yield f"{kind} 4:2:0", Golden(jpeg(parts, size, progressive), seen, 1)
    colours = RANDOM.integers(0, 256, (4, 8, 3), dtype=np.uint8)
    parts = [Component(colours[..., k]) for k in range(3)]
    yield "JPEG RGB", Golden(jpeg(parts, size, segments=adobe(0)), enlarged(colours, 8, 8).astype(np.uint8))
    inks = RANDOM.integers(0, 256, (4, 8, 4), dtype=np.uint8)
    paper = printed(enlarged(inks, 8, 8))
    parts = [Component(255 - inks[..., k]) for k in range(4)]  # as Adobe's programs store it
    yield "JPEG CMYK", Golden(jpeg(parts, size, segments=adobe(0)), paper, 1)
    parts = [*map(Component, rgb_to_ycc(inks[..., :3])), Component(255 - inks[..., 3])]
    yield "JPEG YCCK", Golden(jpeg(parts, size, segments=adobe(2)), paper, 2)  # it is rounded twice


# The others


def gif(frames: Sequence[Bytes], clear: int | None = None) -> bytes:
    """Frames of fewer than 254 indices, so that no code of the compression is ever used."""
    height, width = frames[0].shape
    content = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF3, 0, 0) + PALETTE.tobytes()
    for frame in frames:
        if clear is not None or len(frames) > 1:
            flags = 0 if clear is None else 1
            content += b"\x21\xf9\x04" + struct.pack("<BHBB", flags, 10, clear or 0, 0)
        codes = [256, *frame.ravel().tolist(), 257]
        number = sum(code << (9 * k) for k, code in enumerate(codes))
        data = number.to_bytes((9 * len(codes) + 7) // 8, "little")
        content += b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08" + bytes([len(data)]) + data + b"\0"
    return content + b";"


def bmp(pixels: Bytes, bits: int) -> bytes:
    height, width = pixels.shape[:2]
    lines = [line.tobytes() for line in (pixels[::-1, :, ::-1] if bits == 24 else pixels[::-1])]
    data = b"".join(line + bytes(-len(line) % 4) for line in lines)
    palette = b"" if bits == 24 else np.dstack([PALETTE[None, :, ::-1], np.zeros((1, 16, 1), np.uint8)]).tobytes()
    place = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", place + len(data), 0, 0, place)
    return (
        head
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(data), 1, 1, len(palette) // 4, 0)
        + (palette + data)
    )


def webp(frames: Sequence[NDArray]) -> bytes:
    file = io.BytesIO()
    first, *others = map(Image.fromarray, frames)
    first.save(file, "WEBP", lossless=True, exact=True, save_all=bool(others), append_images=others)
    return file.getvalue()


def others() -> Iterator[tuple[str, Golden]]:
    colours = PALETTE[INDEX]
    yield "GIF", Golden(gif([INDEX]), colours)
    seen = np.where((INDEX == 3)[..., None], np.uint8(255), colours)
    yield "GIF transparent", Golden(gif([INDEX], clear=3), seen)
    yield "GIF animated", Golden(gif([INDEX, INDEX[::-1]]), colours)
    yield "BMP RGB", Golden(bmp(COLOUR, 24), COLOUR)
    yield "BMP palette", Golden(bmp(INDEX, 8), colours)
    yield "PPM", Golden(b"P6\n7 5\n255\n" + COLOUR.tobytes(), COLOUR)
    yield "PGM", Golden(b"P5\n# a remark\n7 5\n255\n" + GREY.tobytes(), GREY[..., None])
    yield "PGM 16", Golden(b"P5\n7 5\n65535\n" + DEEP.astype(">u2").tobytes(), rounded(DEEP[..., None] / 257))
    ten = DEEP >> 6
    yield "PGM 10", Golden(b"P5\n7 5\n1023\n" + ten.astype(">u2").tobytes(), rounded(ten[..., None] * 255.0 / 1023), 1)
    white = rounded(~BITS[..., None] * 255.0)
    yield "PBM", Golden(b"P4\n7 5\n" + np.packbits(BITS, axis=1).tobytes(), white)
    yield "WebP", Golden(webp([COLOUR]), COLOUR)
    yield "WebP alpha", Golden(webp([np.dstack([COLOUR, ALPHA])]), on_white(COLOUR, ALPHA), 1)
    yield "WebP animated", Golden(webp([COLOUR, 255 - COLOUR]), COLOUR)


# EXIF: how a camera stored what is upright, by the value of its orientation


def stored(upright: NDArray, orientation: int) -> NDArray:
    """EXIF 2.3, 4.6.4.A: where the stored picture's row 0 and column 0 are in what is seen."""
    turned = {
        1: upright,
        2: upright[:, ::-1],  # row 0 at the top, column 0 on the right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.T,  # left, top
        6: upright.T[::-1],  # right, top: stored rows are columns seen from the right
        7: upright[::-1, ::-1].T,  # right, bottom
        8: upright.T[:, ::-1],  # left, bottom
    }
    return np.ascontiguousarray(turned[orientation])


def exif(orientation: int) -> bytes:
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 274, SHORT, 1, orientation, 0) + bytes(4)


def turned() -> Iterator[tuple[str, Golden]]:
    blocks = RANDOM.integers(0, 256, (2, 3), dtype=np.uint8)
    seen = enlarged(blocks, 8, 8).astype(np.uint8)[..., None]
    for orientation in range(1, 9):
        lies = stored(GREY, orientation)
        yield (
            f"PNG orientation {orientation}",
            Golden(png(lies, 8, 0, chunk(b"eXIf", exif(orientation))), GREY[..., None]),
        )
        content = tiff(lies.tobytes(), lies.shape, orientation=orientation)
        yield f"TIFF orientation {orientation}", Golden(content, GREY[..., None])
        lies = stored(blocks, orientation)
        segment = marker(0xE1, b"Exif\0\0" + exif(orientation))
        size = (8 * lies.shape[0], 8 * lies.shape[1])
        yield f"JPEG orientation {orientation}", Golden(jpeg([Component(lies)], size, segments=segment), seen)


GOLDEN: dict[str, Golden] = dict([*pngs(), *tiffs(), *jpegs(), *others(), *turned()])
