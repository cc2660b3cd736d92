"""Draws docs/images/augment.png: what each change of training images makes of a few digits, epoch after epoch.

Run from the repository's root: `python docs/augment_picture.py`. The same numbers come out every time.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from neocog.data import Preprocessing, load_data
from neocog.layer import Shape
from neocog.training.augment import Augment
from neocog.training.batches import Batches

ROWS = (
    *("none", "shift=4", "shift=4, edge=reflect", "shift=4, edge=mean", "flip", "flip=alternating", "rotate=30"),
    *("scale=0.3", "contrast=0.7", "brightness=0.4", "erase=10", "vary=2", "mixup=1", "cutmix=1"),
    "shift=2, rotate=15, scale=0.2, erase=8",
)
DIGITS, EPOCHS, SCALE, GAP, TEXT = 3, 4, 2, 6, 300
TARGET = Path(__file__).parent / "images" / "augment.png"


def shown(how: str) -> NDArray[np.uint8]:
    """The first digits in several epochs: (DIGITS, EPOCHS, H, W)."""
    data = load_data("mnist").train
    data = replace(data, images=data.images[2:202], labels=data.labels[2:202])
    preprocessing = Preprocessing.learn(data, Shape((28, 28), 1))
    batches = Batches(data, preprocessing, len(data), Augment.parse(how), seed=1)
    found = np.empty((DIGITS, EPOCHS, 28, 28), np.uint8)
    for epoch in range(EPOCHS):
        images = batches.epoch(epoch + 1)
        course = images.course(0, [1.0])
        x = course.batch(0)[0][np.argsort(images.order)[:DIGITS], 0]
        found[:, epoch] = np.clip(np.rint((x - course.pixels.shift) / course.pixels.scale), 0, 255)
    return found


def main() -> None:
    """Write the picture."""
    side = 28 * SCALE
    width = TEXT + DIGITS * (EPOCHS * (side + 2) + 3 * GAP)
    picture = Image.new("L", (width, len(ROWS) * (side + GAP) + GAP), 255)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for row, how in enumerate(ROWS):
        top = GAP + row * (side + GAP)
        draw.text((GAP, top + side // 2), how, fill=0, font=font, anchor="lm")
        for digit, epochs in enumerate(shown(how)):
            for epoch, image in enumerate(epochs):
                left = TEXT + digit * (EPOCHS * (side + 2) + 3 * GAP) + epoch * (side + 2)
                picture.paste(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST), (left, top))
    picture.save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
