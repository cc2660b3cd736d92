"""Digits found on a page: a network of 28 x 28 pixels, taught what nothing is, scores a canvas of 256 x 256.

Run from the repository's root: `python docs/dense_digits.py`. It trains for a minute or two, scatters test digits over
a canvas, prints how many it finds on a hundred of them, and writes the model and the first canvas into runs/page/.
With --write the pictures in docs/images/ are made again: that canvas with its boxes, and its map. The same ones come
out every time on one machine.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neocog import Model, Network, load_data, train
from neocog.data import Dataset, Splits
from neocog.dense import boxes, score
from neocog.dense.boxes import Found
from neocog.dense.heat import boxes_picture, kinds_picture

NET = (
    "INPUT[28x28x1] -> CONV5-16(P=0) -> BN -> RELU -> POOL2 -> CONV5-32(P=0) -> BN -> RELU -> POOL2"
    " -> FC128 -> RELU -> DROPOUT(0.3) -> FC11"
)
NOTHING = "nothing"
SIDE = 28
NEAR, FAR = 3, 8
"""A window shows a digit if its middle is at most so far off, and nothing if it is at least so far off, in pixels."""
PICTURES = Path(__file__).parent / "images"
FOLDER = Path("runs/page")

Bytes = NDArray[np.uint8]


def with_nothing(digits: Dataset, seed: int, share: float = 0.5) -> Dataset:
    """Windows of pages: one for each digit, a little off its middle, and `share` as many that show none whole.

    Around each digit stand others, or none, so that parts of neighbours at a window's edge are nothing to go by.
    """
    rng = np.random.default_rng(seed)
    count = len(digits)
    extra = round(share * count)
    owners = np.concatenate([np.arange(count), rng.integers(0, count, extra)])
    offsets = rng.integers(-NEAR, NEAR + 1, (len(owners), 2))
    away = rng.integers(FAR, SIDE // 2 + 1, (extra, 2)) * rng.choice([-1, 1], (extra, 2))
    along = rng.integers(-SIDE // 2, SIDE // 2 + 1, (extra, 2))
    which = rng.integers(0, 3, extra)[:, None]  # off downwards, across, or both
    offsets[count:] = np.where((which == 2) | (which == [0, 1]), away, along)
    windows = np.empty((len(owners), SIDE, SIDE, 1), np.uint8)
    for k, owner in enumerate(owners):
        page = np.zeros((3 * SIDE, 3 * SIDE), np.uint8)
        top, left = SIDE + offsets[k]
        for i, j in np.ndindex(3, 3):
            if (i, j) == (1, 1) and (k < count or rng.random() < 0.8):
                tile = digits.images[owner, ..., 0]
            elif (i, j) != (1, 1) and rng.random() < 0.4:
                tile = digits.images[rng.integers(count), ..., 0]
            else:
                continue
            page[SIDE * i : SIDE * i + SIDE, SIDE * j : SIDE * j + SIDE] = tile
        windows[k, ..., 0] = page[top : top + SIDE, left : left + SIDE]
    labels = np.concatenate([digits.labels, np.full(extra, len(digits.classes))])
    shown = windows.any(axis=(1, 2, 3))
    shown[np.flatnonzero(~shown)[:1]] = True  # one empty window is enough
    classes = (*digits.classes, NOTHING)
    return replace(digits, name="windows", images=windows[shown], labels=labels[shown], classes=classes)


def scattered(digits: Dataset, seed: int, side: int = 256, most: int = 20) -> tuple[Bytes, list[tuple[int, int, int]]]:
    """A canvas with digits anywhere that do not touch, and for each its class, and the top and left of its tile."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((side, side, 1), np.uint8)
    planted: list[tuple[int, int, int]] = []
    for _ in range(1000):
        top, left = (int(n) for n in rng.integers(0, side - SIDE + 1, 2))
        if all(max(abs(top - t), abs(left - u)) >= SIDE for _, t, u in planted):
            k = int(rng.integers(len(digits)))
            canvas[top : top + SIDE, left : left + SIDE] = digits.images[k]
            planted.append((int(digits.labels[k]), top, left))
        if len(planted) == most:
            break
    return canvas, planted


def learned(digits: Splits, epochs: int = 8) -> Model:
    """The network, taught with windows of pages."""
    data = replace(digits, train=with_nothing(digits.train, 1), test=with_nothing(digits.test, 2))
    return train(Network.parse(NET), data, epochs=epochs, batch_size=64, seed=0)


def matched(found: list[Found], planted: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    """How many digits were found where they are, how many of those as what they are, and how many boxes are left."""
    left = list(found)
    there = right = 0
    for label, top, across in planted:
        near = [one for one in left if max(abs(one.box[0] - across), abs(one.box[1] - top)) <= SIDE // 4]
        if near:
            best = max(near, key=lambda one: one.score)
            left.remove(best)
            there += 1
            right += best.name == str(label)
    return there, right, len(left)


def main() -> None:
    """Train, find and draw."""
    digits = load_data("mnist")
    model = learned(digits)
    model.save(FOLDER / "model.safetensors")
    totals = np.zeros(4, int)
    for seed in range(100):
        canvas, planted = scattered(digits.test, seed)
        one = score(model, canvas, stride=2)
        found = boxes([one], 0.9, background=NOTHING, overlap=0.3)
        totals += (len(planted), *matched(found, planted))
        if seed == 0:
            Image.fromarray(canvas[..., 0]).save(FOLDER / "page.png")
        if seed == 0 and "--write" in sys.argv:
            (PICTURES / "dense-boxes.png").write_bytes(boxes_picture(one, found))
            (PICTURES / "dense-map.png").write_bytes(kinds_picture(one, NOTHING))
    planted, there, right, more = totals
    print(f"{planted} digits on 100 canvases: {there} found, {right} as what they are, {more} boxes more")
    print(f"{FOLDER}/model.safetensors and {FOLDER}/page.png are there for neocog predict --dense")


if __name__ == "__main__":
    main()
