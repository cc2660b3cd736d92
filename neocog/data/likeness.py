"""Images that are the same, and images that look the same: scaled, compressed again, a little brighter.

Equal ones share a hash of their pixels. For alike ones each image is reduced to 128 bits: whether a pixel is brighter
than its neighbour to the left, and above, on a coarse grid ("difference hash", Krawetz, 2013). Two that differ in at
most 7 bits agree in one of eight words of 16 bits, so sorting by each word brings all such pairs together (the
pigeonhole principle). What the hash proposes a second witness confirms: the correlation of the two as small pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WORDS = 8
FARTHEST = WORDS - 1
"""Bits in which the hashes of alike images differ at most."""
SIDE = 16
CORRELATED = 0.985
"""Of the small pictures of alike images at least: photos scaled, compressed or paler stay above it, while many digits
of one kind come to 0.97."""
FLAT = 4.0
"""Standard deviation of grey values below which a picture shows nothing to be alike in."""
BLOCK = 2048

Thumbnail = NDArray[np.uint8]


def thumbnail(pixels: NDArray[np.uint8]) -> Thumbnail:
    """An image (H, W, C) as a small grey one (16, 16)."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("L")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def difference_hash(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The 128 bits of an image (H, W, C), as eight words."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("L")
    grid = np.asarray(picture.resize((9, 9), Image.Resampling.BOX)).astype(np.int16)
    bits = np.stack([np.diff(grid, axis=1)[:8] > 0, np.diff(grid, axis=0)[:, :8] > 0])
    return np.packbits(bits).view(np.uint16)


def alike(hashes: NDArray[np.uint16], thumbnails: NDArray[np.uint8]) -> list[list[int]]:
    """Groups of images that look the same: their numbers in (N, 8) hashes and (N, 16, 16) thumbnails."""
    grey = thumbnails.reshape(len(thumbnails), -1)
    shows = np.flatnonzero(grey.std(axis=1, dtype=np.float32) >= FLAT)
    # of equal hashes the first stands for all, or a thousand of them would be half a million pairs
    different, first, which = np.unique(hashes[shows], axis=0, return_index=True, return_inverse=True)
    first = shows[first]
    proposed = [np.stack([first[which.ravel()], shows], axis=1), *(first[pairs] for pairs in near(different))]
    return groups(len(hashes), (pair for pairs in proposed for pair in _confirmed(pairs, grey)))


def _confirmed(pairs: NDArray[np.int64], grey: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Those of the pairs (P, 2) whose thumbnails correlate, in rows (N, 256)."""
    found: list[tuple[int, int]] = []
    for start in range(0, len(pairs), BLOCK):
        some = pairs[start : start + BLOCK]
        a, b = (grey[some[:, k]].astype(np.float32) for k in (0, 1))
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        lengths = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        found += map(tuple, some[(a * b).sum(axis=1) >= CORRELATED * lengths].tolist())
    return found


def near(hashes: NDArray[np.uint16]) -> Iterator[NDArray[np.int64]]:
    """All pairs (P, 2) of rows of (N, 8) words that differ in at most `FARTHEST` bits, some of them more than once."""
    halves = np.ascontiguousarray(hashes).view(np.uint64)
    for word in range(WORDS):
        order = np.argsort(hashes[:, word], kind="stable")
        ends = np.flatnonzero(np.diff(hashes[order, word])) + 1
        for members in np.split(order, ends):
            for start in range(0, len(members) - 1, BLOCK):
                some = members[start : start + BLOCK]
                distance = sum(
                    np.bitwise_count(halves[some, k, None] ^ halves[members, k]) for k in range(halves.shape[1])
                )
                a, b = np.nonzero(distance <= FARTHEST)
                pairs = np.stack([some[a], members[b]], axis=1)
                yield pairs[pairs[:, 0] < pairs[:, 1]]


def equal(arrays: Sequence[NDArray[np.uint8]]) -> list[list[int]]:
    """Groups of images with the same pixels, in several arrays (N, H, W, C) of one shape, numbered through.

    Sums of eight bytes each times random numbers, modulo 2^64, say which may be the same; comparing says which are.
    """
    sums = np.concatenate([_sums(images) for images in arrays])
    _, which, counts = np.unique(sums, return_inverse=True, return_counts=True)
    candidates = np.flatnonzero(counts[which] > 1)
    found: dict[bytes, list[int]] = {}
    starts = np.cumsum([0, *map(len, arrays)])
    for i in candidates.tolist():
        place = int(np.searchsorted(starts, i, side="right")) - 1
        found.setdefault(arrays[place][i - starts[place]].tobytes(), []).append(i)
    return [members for members in found.values() if len(members) > 1]


def _sums(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    flat = images.reshape(len(images), -1)
    words = -(-flat.shape[1] // 8)
    factors = np.random.default_rng(0).integers(0, 2**64, words, np.uint64) | np.uint64(1)
    out = np.empty(len(flat), np.uint64)
    for start in range(0, len(flat), BLOCK):
        part = flat[start : start + BLOCK]
        if flat.shape[1] % 8:
            part = np.pad(part, ((0, 0), (0, 8 * words - flat.shape[1])))
        out[start : start + BLOCK] = part.view(np.uint64) @ factors
    return out


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Numbers below `count` that pairs join, directly or through others; each group sorted, in order of its first."""
    leader = list(range(count))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        leader[high] = low
    joined: dict[int, list[int]] = {}
    for i in range(count):
        joined.setdefault(find(i), []).append(i)
    return [members for members in joined.values() if len(members) > 1]
