"""An image file -> bytes (H, W, 3) or (H, W, 1), the same way wherever images are read.

Sizes are checked in the file's header before a pixel is decoded. Orientation from EXIF is applied; CMYK, palettes,
transparency, 1-bit, 16-bit and floating-point images become 8-bit grey or RGB; of an animation the first frame counts.
docs/data.md has the table.
"""

from __future__ import annotations

import logging
import re
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageStat, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ..errors import DataError, escaped
from ..wording import Text

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MEGAPIXELS = 64
PIXELS = MEGAPIXELS * 10**6
"""An image has at most so many, unless a person allows more."""
SMALLER = "a smaller copy of it"
MISSING = "there is no such file"
FILE_BYTES = 256 * 2**20
EXIF_BYTES = 2**16  # as much as a JPEG can hold; elsewhere more would only cost time
TIFF_TAGS = 4096
_OTHERS = {
    rb"%PDF": "a PDF document",
    rb"PK\x03\x04": "a zip archive",
    rb"\x1f\x8b": "a gzip archive",
    rb".{4}ftyp(hei|hev|mif|msf)": "a HEIC photo",
    rb".{4}ftypavi": "an AVIF image",
    rb"\xff\x0a|.{4}JXL ": "a JPEG XL image",
    rb"\xff\x4f\xff\x51|.{4}jP  ": "a JPEG 2000 image",
    rb"8BPS": "a Photoshop document",
    rb"\0\0\x01\0": "an icon",
    rb"II[*+]\0|MM\0[*+]": "a TIFF image that is damaged, or of a kind that is not read",
    rb"\x89PNG": "a PNG image whose header is damaged",
    rb"\xff\xd8\xff": "a JPEG image whose header is damaged",
    rb"GIF8": "a GIF image whose header is damaged",
    rb"(?i)[^<]*<(!doctype html|html)": "a page of the web",
    rb"[^<]*(<[?!][^>]*>\s*)*<svg": "an SVG drawing",
    rb"version https://git-lfs": "a pointer of Git LFS, in place of the file that git lfs pull brings",
}
"""What files that are no images here begin with, as patterns."""
_KINDS = {"L": "grey", "LA": "grey", "1": "1-bit", "P": "palette", "CMYK": "CMYK", "F": "floating-point", "I": "16-bit"}
"""Of Pillow's names for kinds of pixels those that are no plain colour."""
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION, _BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0112, 258, 262, 0  # tags of EXIF and TIFF

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it has to say, the error raised here says


class Decoded(NamedTuple):
    """An image's pixels, RGB (H, W, 3) or grey (H, W, 1), and in words what was done that a person may not expect.

    `kind` is how pixels stand in the file where they are no plain colour: grey, 16-bit, CMYK and the like.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[Text, ...]
    kind: str = ""


TURNED = Text("turned upright as EXIF says", "按 EXIF 转正")
FIRST = Text("first frame taken", "取第一帧")
LAID = Text("transparency laid on an even ground", "透明处衬以均匀底色")


def decode(path: Path) -> NDArray[np.uint8]:
    """The image in a file: RGB (H, W, 3), or (H, W, 1) when it is grey. Raises DataError naming the file."""
    return decode_noted(path).pixels


def decode_noted(path: Path, pixels: int = PIXELS) -> Decoded:
    """As `decode`, with what was done to it; of an image of at most so many pixels, where a person allows them."""
    with quiet(pixels):
        return read_image(path, pixels)


@contextmanager
def quiet(pixels: int = PIXELS) -> Iterator[None]:
    """Pillow's warnings are no concern of a person's: inside, odd metadata is ignored. It holds for all threads.

    Several threads may be inside at once: what is done with warnings is changed by the first and undone by the last.
    Pillow's own limit is raised where more `pixels` are allowed.
    """
    with _QUIET.lock:
        if not _QUIET.inside:
            _QUIET.undo.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("error", Image.DecompressionBombWarning)
        if pixels > PIXELS:
            _QUIET.undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = pixels
        _QUIET.inside += 1
    try:
        yield
    finally:
        with _QUIET.lock:
            _QUIET.inside -= 1
            if not _QUIET.inside:
                _QUIET.undo.close()


class _Quiet:
    """How many are inside `quiet`, and how the last of them leaves things as they were."""

    def __init__(self) -> None:
        self.lock, self.undo, self.inside = threading.Lock(), ExitStack(), 0


_QUIET = _Quiet()


def read_image(path: Path, pixels: int = PIXELS) -> Decoded:
    """As `decode_noted`, for threads that work within one `quiet`."""
    where = escaped(path)
    check_file(path, where, pixels)
    try:
        # opened here, since Pillow maps a TIFF that it opens by name into memory, and then turns it wrongly
        with path.open("rb") as file:
            return read_stream(file, where, pixels)
    except OSError as error:
        raise DataError("this file cannot be read", where=where, received=error.strerror or "") from None


def read_stream(file: BinaryIO, where: str, pixels: int = PIXELS) -> Decoded:
    """As `read_image`, of what a file holds; `where` is how it is called in errors."""
    check_tags(file, where)
    try:
        with Image.open(file, formats=FORMATS) as image:
            check_size(image.size, where, pixels)
            _check_exif(image, where)
            image.seek(0)
            kind = _kind(image)
            turned = _orientation(image) in range(2, 9)
            upright = to_bytes(ImageOps.exif_transpose(image) if turned else image, *_range(image))
            notes = {TURNED: turned, FIRST: _is_animated(image), LAID: _is_see_through(image)}
            return Decoded(upright, tuple(note for note, holds in notes.items() if holds), kind)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            "this is not an image in a known format", where=where, received=_instead(file), hint=", ".join(FORMATS)
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        size = re.search(r"[0-9]+ pixels", str(error))
        raise _too_large(where, size[0] if size else "more", pixels) from None
    except Exception as error:  # a damaged file can make a decoder fail in any way
        reason = str(error).split("\n")[0][:100] or type(error).__name__
        raise DataError("this image is damaged and cannot be decoded", where=where, received=reason) from None


def _orientation(image: Image.Image) -> object:
    """What EXIF says of it; None where there is none, or a damaged one, which costs no pixel."""
    if image.format == "PNG":  # looking for its EXIF reads the pixels too, and their damage is another matter
        image.load()
    with suppress(Exception):
        return image.getexif().get(_ORIENTATION)
    return None


def _kind(image: Image.Image) -> str:
    """How pixels stand in a file, by its header; Pillow says of deep colours only in what it is about to decode."""
    raw = [str(part) for part in (image.mode, *(tile[3] for tile in getattr(image, "tile", [])[:1]))]
    deep = any(";16" in part and "BGR;16" not in part for part in raw)  # which is 5, 6 and 5 bits
    return "16-bit" if deep else _KINDS.get(image.mode, "")


def _is_animated(image: Image.Image) -> bool:
    with suppress(Exception):  # damage behind the first frame is nobody's concern
        return image.format in ("GIF", "WEBP", "PNG", "TIFF") and bool(getattr(image, "is_animated", False))
    return False


def _is_see_through(image: Image.Image) -> bool:
    if image.mode in _WITH_ALPHA:
        return image.getchannel("A").getextrema() != (255, 255)
    return "transparency" in image.info


def _range(image: Image.Image) -> tuple[float | None, bool]:
    """The largest value that a TIFF's pixels can have where it is neither 8 nor 16 bits, and whether 0 is white."""
    if not isinstance(image, TiffImageFile) or image.mode not in _DEEP:
        return None, False
    bits = image.tag_v2.get(_BITS, (16,))[0]
    inverted = image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    return 2.0**bits - 1 if image.mode != "F" and 8 < bits < 16 else None, inverted


def check_tags(file: BinaryIO, where: str) -> None:
    """Refuse a TIFF of very many tags: each costs time before anything is known of the image."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order and start[2:4] in (b"*\0", b"\0*") and len(start) >= 8:
        (place,) = struct.unpack(f"{order}I", start[4:8])
        file.seek(place)
        count = file.read(2)
        if len(count) == 2 and (tags := struct.unpack(f"{order}H", count)[0]) > TIFF_TAGS:
            raise DataError(f"a TIFF has at most {TIFF_TAGS:,} tags", where=where, received=f"{tags:,} tags")
    file.seek(0)


def _check_exif(image: Image.Image, where: str) -> None:
    size = len(image.info.get("exif", b""))
    if size > EXIF_BYTES:
        raise DataError(f"EXIF data has at most {EXIF_BYTES:,} bytes", where=where, received=f"{size:,} bytes")


def check_file(path: Path, where: str, pixels: int = PIXELS) -> None:
    """Refuse what is no regular file, or larger than any image of so many pixels is; DataError says which."""
    limit = FILE_BYTES * -(-pixels // PIXELS)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        missing = not isinstance(error, PermissionError)
        raise DataError(MISSING if missing else "this file may not be read", where=where) from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError("this is a folder, not an image", where=where, hint="the files in it")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise DataError("this is not a regular file", where=where)
    size = status.st_size
    if size == 0:
        raise DataError("this file is empty", where=where)
    if size > limit:
        raise DataError(f"an image file has at most {limit:,} bytes", where=where, received=f"{size:,} bytes")


def _instead(file: BinaryIO) -> str:
    """What a file that is no image seems to be."""
    file.seek(0)
    start = file.read(512)
    for pattern, what in _OTHERS.items():
        if re.match(pattern, start, re.DOTALL):
            return what
    printable = sum(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start)
    return "text" if printable > 0.95 * len(start) else f"first bytes {start[:8].hex(' ')}"


def check_size(size: tuple[int, int], where: str, pixels: int = PIXELS) -> None:
    """Refuse an image (width, height) of more pixels, or of none; DataError says which."""
    width, height = size
    if width * height > pixels:
        raise _too_large(where, f"{width} x {height} pixels", pixels)
    if width < 1 or height < 1:
        raise DataError("this image has no pixels", where=where, received=f"{width} x {height}")


def _too_large(where: str, received: str, pixels: int) -> DataError:
    return DataError(f"an image has at most {pixels / 1e6:g} megapixels", where=where, received=received, hint=SMALLER)


def to_bytes(image: Image.Image, top: float | None = None, inverted: bool = False) -> NDArray[np.uint8]:
    """A Pillow image of any mode as (H, W, 3) bytes, or (H, W, 1) where it is grey.

    `top` is the largest value of deep grey where that is not its type's, and `inverted` says that 0 is its white.
    """
    if image.mode in _DEEP:
        deep = np.asarray(image)
        values = _scaled(deep, top or (65535.0 if image.mode != "F" else 1.0))
        values = 255 - values if inverted else values
        return np.where(deep == image.info.get("transparency"), np.uint8(255), values)[..., None]
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = _on_ground(image.convert("RGBA"))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    colours = np.asarray(image.convert("RGB"))
    return np.asarray(colours[..., :1] if (colours == colours[..., :1]).all() else colours)


def _scaled(values: NDArray[np.generic], top: float) -> NDArray[np.uint8]:
    """Deep grey values from 0..top to 0..255; values that lie outside are brought there by their own range.

    Floating-point values that are no fractions but fit a byte are taken for bytes.
    """
    wide = values.astype(np.float32)
    low, high = float(wide.min()), float(wide.max())
    if not np.isfinite(high - low):  # which also finds single values that are not numbers
        raise ValueError("values that are not finite numbers")
    if low >= 0 and top < high <= 255:
        top = 255.0
    elif low < 0 or high > top:
        wide, top = wide - np.float32(low), high - low or 1.0
    return np.asarray(np.rint(wide * np.float32(255.0 / top)), np.uint8)


def _on_ground(image: Image.Image) -> Image.Image:
    """Transparency (RGBA) laid on white, or on black where what is visible is light itself."""
    *colours, alpha = ImageStat.Stat(image.convert("RGBa")).mean  # the colours here are multiplied by alpha
    light = alpha < 255 and sum(colours) / 3 > 200 / 255 * alpha
    return Image.alpha_composite(Image.new("RGBA", image.size, "black" if light else "white"), image)
