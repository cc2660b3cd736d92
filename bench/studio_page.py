"""How soon the studio's page is there, a network is seen to learn, and a click is answered with 152 layers.

What a person waits for, in Chromium without a screen, with nothing kept from before. A click or a letter counts until
the frame after the one that it changed is drawn; what only the server knows, such as a plan, until it is shown. Run
from the repository's root on an idle machine: `python bench/studio_page.py`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from playwright.sync_api import Browser, Page, sync_playwright
from studio_link import chromium, studio

OPENED, BEGUN, TIMES, PAUSE = 20, 5, 20, 300
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
LOSS = "parseFloat(document.getElementById('stat-loss')?.textContent)"
RESNET_152 = """fit=floor
def plain(k)  = ADD[ CONV3-k(BIAS=no) -> BN -> RELU -> CONV3-k(BIAS=no) -> BN | ID ] -> RELU
def shrink(k) = ADD[ CONV3-k(S=2, BIAS=no) -> BN -> RELU -> CONV3-k(BIAS=no) -> BN | SHORTCUT(K=k) ] -> RELU
INPUT[32x32x3] -> CONV3-16(BIAS=no) -> BN -> RELU
-> [plain(16)]*25 -> shrink(32) -> [plain(32)]*24 -> shrink(64) -> [plain(64)]*24 -> GAP -> FC10"""
"""As ResNet-110, for images of CIFAR-10."""
AREA = "document.querySelector('#main textarea')"
FRAME = "new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(() => seen(performance.now()))))"


def opened(browser: Browser, link: str) -> Page:
    """The page in a profile of its own."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-US").new_page()
    page.goto(link)
    return page


def say(what: str, times: Sequence[float]) -> None:
    """A line about some milliseconds."""
    middle, worst = statistics.median(times), max(times)
    print(f"{what}: median {middle:,.0f} ms, worst {worst:,.0f} ({len(times)} times)", flush=True)


def paints(browser: Browser) -> None:
    """From asking for the page to its first words, and to all that it shows at first."""
    first, whole = [], []
    with studio() as link:
        page = opened(browser, link)
        kept = page.context.storage_state()
        place = page.url
        for _ in range(OPENED):
            context = browser.new_context(storage_state=kept, viewport={"width": 1400, "height": 900})
            page = context.new_page()
            page.goto(place, wait_until="commit")
            page.wait_for_function(f"() => {PAINTED}")
            page.locator(".drawing svg").wait_for()
            whole.append(page.evaluate("performance.now()"))
            first.append(page.evaluate(PAINTED))
            context.close()
    say("first paint", first)
    say("the plan is shown, with its drawing", whole)


def begins(browser: Browser) -> None:
    """From typing `neocog studio` until the loss on the page has come down to half of what it began with."""
    times, clicked = [], []
    for _ in range(BEGUN):
        began = time.perf_counter()
        with studio() as link:
            page = opened(browser, link)
            page.locator("nav a").nth(1).click()
            page.locator("#start").click()
            start = time.perf_counter()
            page.wait_for_function(f"() => {LOSS} < 1.15")
            page.locator(".chart polyline").first.wait_for()
            times.append(time.perf_counter() - began)
            clicked.append(time.perf_counter() - start)
            page.context.close()
    for what, found in (("from the command", times), ("from Start", clicked)):
        say(f"LeNet-5 is seen to have learned, {what}", [1e3 * one for one in found])


def timed(page: Page, act: str) -> float:
    """Milliseconds of some JavaScript, until the frame after it is drawn."""
    code = f"async () => {{ const began = performance.now(); {act}; return (await {FRAME}) - began; }}"
    return float(page.evaluate(code))


def acted(page: Page, what: str, acts: Sequence[str]) -> None:
    """Say how long some acts took, with a while between them for what the server answers."""
    found = []
    for act in acts:
        found.append(timed(page, act))
        page.wait_for_timeout(PAUSE)
    say(f"152 layers, {what}", found)


def clicks(browser: Browser) -> None:
    """The page's own time for what one does with a network of 152 layers, and the server's for its plan."""
    with studio() as link:
        page = opened(browser, link)
        page.locator(".drawing svg").wait_for()
        page.locator("#main textarea").fill(RESNET_152)
        page.wait_for_function("() => document.querySelectorAll('tr.pick').length > 100")
        typed = f"{AREA}.value += ' '; {AREA}.dispatchEvent(new Event('input'))"
        acted(page, "a letter is typed", [typed] * TIMES)
        rows = "document.querySelectorAll('tr.pick')"
        acted(page, "a layer is chosen", [f"{rows}[{3 * k + 1}].click()" for k in range(TIMES)])
        say("152 layers, planned anew and shown", [planned(page, 11 + k) for k in range(TIMES)])
        planned(page, 10)
        page.locator("#train-this").click()
        page.get_by_label("Data", exact=True).select_option("cifar10")
        page.wait_for_function("() => !document.getElementById('start').disabled")
        page.locator("#start").click()
        page.locator("#layer-conv1 canvas").first.wait_for(timeout=300_000)
        later = "[...document.querySelectorAll('button')].find((one) => one.textContent === 'Later').click()"
        acted(page, "the next layers of a run are asked for", [later] * TIMES)
        acted(page, "another view is turned to", ["location.hash = '#plan'", "location.hash = '#train'"] * (TIMES // 2))
        acted(page, "a setting is changed", ["document.getElementById('change-lr').click()"] * TIMES)


def planned(page: Page, classes: int) -> float:
    """Milliseconds from a change of the last layer until its plan is shown."""
    before = page.locator("dl.facts").inner_text()
    page.evaluate(f"{AREA}.value = {AREA}.value.replace(/FC\\d+/, 'FC{classes}')")
    began = time.perf_counter()
    page.evaluate(f"{AREA}.dispatchEvent(new Event('input'))")
    page.wait_for_function("(before) => document.querySelector('dl.facts')?.innerText !== before", arg=before)
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    """Print a line for each."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for measure in (paints, begins, clicks):
            measure(browser)
        browser.close()


if __name__ == "__main__":
    main()
