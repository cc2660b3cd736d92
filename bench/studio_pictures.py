"""Draws docs/images/studio-*.png: the studio's page in Chromium without a screen, while LeNet-5 learns digits.

Run from the repository's root: `python bench/studio_pictures.py`. With a folder, every view is drawn there instead, in
both languages, light and dark, on a desk and a phone, to be looked through: `python bench/studio_pictures.py views`.
Chromium is needed, and for Chinese a font that has it (Debian: chromium, fonts-noto-cjk or fonts-wqy-microhei).
"""

from __future__ import annotations

import re
import sys
from itertools import product
from pathlib import Path
from typing import Any

from page import DOCS
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from studio_link import chromium, studio

IMAGES = DOCS / "images"
DESK, PHONE = (1400, 900), (390, 844)
STEPS = 3000
MISTAKE = "INPUT[28x28x1] -> CONV5-6(S=2) -> RELU -> FC10"
PLAYS = re.compile("Pause|暂停")
SEVEN = IMAGES / "seven.jpg"


def turn(page: Page, view: str, *, language: str = "en", theme: str = "light", size: tuple[int, int] = DESK) -> None:
    """Show a view as somebody sees it who chose all this."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    kept = {"language": language, "theme": theme}
    page.evaluate("(kept) => { Object.assign(localStorage, kept); sessionStorage.clear(); }", kept)
    page.goto(f"{page.url.partition('#')[0]}#{view}")
    page.reload()
    page.locator(".card").first.wait_for()


def learn(page: Page) -> None:
    """Begin a run, and wait until it has learned."""
    turn(page, "train")
    page.locator("#start").click()
    steps = "document.getElementById('stat-step')?.textContent.replaceAll(',', '')"
    page.wait_for_function(f"(n) => Number({steps}) > n", arg=STEPS)
    page.wait_for_function("() => document.querySelectorAll('#answers .answer').length >= 4")


def plan(page: Page) -> None:
    """Nothing is to be done."""
    page.locator(".drawing svg").wait_for()


def mistake(page: Page) -> None:
    """A text that is no network."""
    page.locator("#main textarea").fill(MISTAKE)
    page.locator(".mistake").wait_for()


def begin(page: Page) -> None:
    """What a new run starts from."""
    page.locator(".chip").first.click()
    page.locator("#start").wait_for()


def train(page: Page) -> None:
    """The run that learns, with all that is shown of it."""
    page.locator("#layer-conv1 canvas").first.wait_for()
    page.locator(".confusion td").first.wait_for()
    page.locator(".samples canvas").first.wait_for()


def step(page: Page) -> None:
    """The demo at one of its values."""
    page.locator("#demo").click()
    page.locator("#play", has_text=PLAYS).wait_for()
    page.locator("#place-0").fill("0")
    page.locator("#place-1").fill("1")
    page.locator("h2", has_text="[0, 1, 0]").wait_for()


def back(page: Page) -> None:
    """A value's gradient."""
    step(page)
    page.locator("#way-backward").click()


def followed(page: Page) -> None:
    """A value of the run's network."""
    page.locator("#demo + button").click()
    page.locator("#layer").select_option("conv2")
    page.locator("h2", has_text="conv2").wait_for()


def explain(page: Page) -> None:
    """A photograph, what the network says of it, and why."""
    page.locator(".samples canvas").first.wait_for()
    page.locator("input[type=file]").set_input_files(SEVEN)
    page.locator("li.open").first.wait_for()
    page.locator("#why").click()
    page.locator(".why img").wait_for()


SCENES = {
    "plan": (plan, mistake),
    "train": (train, begin),
    "step": (step, back, followed),
    "explain": (explain,),
}


def shot(page: Page, path: Path, **more: Any) -> None:
    """What stands there now, without what was said in passing."""
    page.evaluate("document.getElementById('said').click()")
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.screenshot(path=path, **more)


def all_views(page: Page, folder: Path) -> None:
    """Every view, in full, as everybody sees it."""
    folder.mkdir(parents=True, exist_ok=True)
    for language, theme, size in product(("en", "zh"), ("light", "dark"), (DESK, PHONE)):
        for view, scenes in SCENES.items():
            for scene in scenes:
                turn(page, view, language=language, theme=theme, size=size)
                scene(page)
                shot(page, folder / f"{view}-{scene.__name__}-{language}-{theme}-{size[0]}.png", full_page=True)


def pictures(page: Page) -> None:
    """Those of the documentation."""
    for view, scene in (("train", train), ("plan", plan), ("step", step)):
        turn(page, view, size=(1280, 900))
        scene(page)
        shot(page, IMAGES / f"studio-{view}.png", full_page=True)
    turn(page, "train", language="zh", theme="dark", size=PHONE)
    train(page)
    shot(page, IMAGES / "studio-phone.png", full_page=True)
    for name, height in (("train", 1500), ("plan", 1500), ("step", 1180), ("phone", 1500)):
        path = IMAGES / f"studio-{name}.png"
        with Image.open(path) as whole:
            cut = whole.convert("RGB").crop((0, 0, whole.width, min(height, whole.height)))
        cut.save(path, optimize=True)


def main() -> None:
    """Draw."""
    with studio() as link, sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_context(locale="en-US", reduced_motion="reduce").new_page()
        page.goto(link)
        page.locator(".card").first.wait_for()
        learn(page)
        all_views(page, Path(sys.argv[1])) if sys.argv[1:] else pictures(page)
        browser.close()


if __name__ == "__main__":
    main()
