"""The page in a browser: what a person does with it, in Chromium without a screen."""

from __future__ import annotations

import json
import re
import shutil
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
PATIENCE = 90_000
GOOD, BAD = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> FC10", "INPUT[28x28x1] -> CONV3-4(S=2, P=0) -> RELUU -> FC10"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Served:
    """The studio in a thread, on a real port."""

    def __init__(self, port: int = 0) -> None:
        import uvicorn

        from neocog.studio import Workshop, guarded
        from neocog.studio.security import Keys
        from neocog.studio.server import listening, settings

        self.workshop, self.keys = Workshop(), Keys()
        self.socket = listening(port)
        self.port = self.socket.getsockname()[1]
        self.server = uvicorn.Server(settings(guarded(self.workshop, self.keys, self.port)))
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()

    @property
    def link(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={self.keys.token}"

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()
        self.workshop.close()


@pytest.fixture(scope="module")
def served():
    made = Served()
    yield made
    made.close()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def visit(served, chromium):
    """A browser that opened the link; every page of it is watched for complaints."""
    context = chromium.new_context(locale="en-US", viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    complaints: list[str] = []

    def watch(page):
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}") or dialog.dismiss())

    context.on("page", watch)
    page = context.new_page()
    page.goto(served.link)
    page.complaints = complaints
    yield page
    context.close()


@pytest.fixture
def page(visit):
    del visit.complaints[:]
    yield visit
    assert visit.complaints == []


@pytest.fixture(scope="module")
def learning(visit, served):
    """A run that was begun on the page and has learned for a while."""
    visit.goto(f"http://127.0.0.1:{served.port}/#train")
    visit.get_by_role("button", name="Start", exact=True).click()
    visit.locator("#stat-loss").wait_for()
    visit.wait_for_function("() => Number(document.getElementById('stat-step')?.textContent.replaceAll(',', '')) > 150")
    return served.workshop.runs[0]


def number(page, selector):
    text = page.locator(selector).inner_text().replace(",", "").replace("%", "").replace("−", "-")
    return float(re.search(r"[-0-9.]+(?:e[-+]?\d+)?", text)[0])


def open_view(page, served, view):
    page.goto(f"http://127.0.0.1:{served.port}/#{view}")
    page.locator("h1").wait_for()


def test_the_address_keeps_no_token(page, served):
    assert "token" not in page.url
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("link", name="Plan").wait_for()


def test_a_text_is_planned_as_it_is_typed(page, served):
    open_view(page, served, "plan")
    area = page.get_by_label("Text of the network")
    area.fill("INPUT[28x28x1] -> CONV5-6 -> RELU -> POOL2 -> FC10")
    page.get_by_text("This is a network.").wait_for()
    page.locator("td", has_text="28x28x6").first.wait_for()
    page.locator("#choose-relu1").focus()
    page.keyboard.press("Enter")
    page.locator(".chosen #choose-relu1").wait_for()
    assert page.evaluate("document.activeElement.id") == "choose-relu1"  # though the table was made anew
    page.locator(".drawing svg text", has_text="CONV5-6").first.wait_for()
    area.fill("INPUT[28x28x1] -> CONV5-6(S=2) -> RELU -> FC10")
    page.get_by_text("do not tile").first.wait_for()
    assert page.locator(".editor mark").inner_text() == "CONV5-6(S=2)"
    assert "^^^^^^^^^^^^" in page.locator(".mistake pre").inner_text()
    page.get_by_role("button", name="S=1", exact=True).click()
    page.get_by_text("This is a network.").wait_for()
    assert area.input_value() == "INPUT[28x28x1] -> CONV5-6(S=1) -> RELU -> FC10"


def test_markup_in_a_text_stays_text(page, served):
    open_view(page, served, "plan")
    page.get_by_label("Text of the network").fill("INPUT[8x8x1] -> <img src=x onerror=alert(1)>")
    page.locator(".mistake").wait_for()
    assert page.locator(".mistake img, .under img").count() == 0


def test_it_learns_while_one_watches(page, served, learning):
    open_view(page, served, "train")
    page.locator("#stat-loss").wait_for()
    first = learning.curves["loss"].points[0][1]
    page.wait_for_function(
        "(most) => parseFloat(document.getElementById('stat-loss').textContent) < most", arg=first / 2
    )
    for _ in range(5):
        learning.ask(learning._look).result()  # now, however busy this machine is
    page.wait_for_function("() => parseFloat(document.getElementById('stat-validation_accuracy').textContent) > 20")
    for name in ("forward_ms", "backward_ms", "images_per_second", "decay_loss", "seen", "epoch"):
        assert page.locator(f"#stat-{name}").inner_text() != "–"
    page.locator("#answers .top li").first.wait_for()
    page.locator(".confusion td").first.wait_for()
    page.locator("#layer-conv1 canvas").first.wait_for()
    assert page.locator("#layer-conv1 .strip").count() >= 6  # maps, their gradients, weights, biases, and theirs
    assert page.locator("#layer-conv1 a").get_attribute("href").startswith(f"#step/{learning.name}/conv1/0/")
    counted = "document.querySelectorAll('*').length"
    before, step = page.evaluate(counted), learning.step
    page.wait_for_function(
        "(n) => Number(document.getElementById('stat-step').textContent.replaceAll(',', '')) > n", arg=step + 500
    )
    assert page.evaluate(counted) < before + 200  # it shows more test images at first, and then no more


def test_settings_change_while_it_learns(page, served, learning):
    open_view(page, served, "train")
    for key, value in (("lr", "0.0123"), ("momentum", "0.5"), ("batch_size", "32"), ("weight_decay", "0.001")):
        page.locator(f"#edit-{key}").fill(value)
        page.locator(f"#change-{key}").click()
        page.wait_for_function(
            "([id, value]) => document.getElementById(id).textContent.includes(value)", arg=[f"echo-{key}", value]
        )
    assert (learning.settings.lr, learning.settings.batch_size) == (0.0123, 32)
    page.get_by_text("Learning rate = 0.0123").wait_for()
    page.locator("#edit-momentum").fill("2")
    page.locator("#change-momentum").click()
    page.get_by_text("momentum is from 0 up to, not including, 1").first.wait_for()
    assert "400" in page.complaints.pop()  # the browser's own note of the refusal


def test_it_rests_and_goes_on(page, served, learning):
    open_view(page, served, "train")
    page.locator("#turn", has_text="Pause").click()
    page.locator("#turn", has_text="Go on").wait_for()
    step = learning.ask(lambda: learning.step).result()
    assert learning.ask(lambda: learning.step).result() == step
    page.locator("#turn").click()
    page.locator("#turn", has_text="Pause").wait_for()


def test_the_network_is_changed_on_the_page(page, served, learning):
    open_view(page, served, "train")
    area = page.get_by_label("Text of the network")
    area.fill(BAD)
    page.locator(".mistake").wait_for()
    assert page.locator("#change-network").is_disabled()
    area.fill(GOOD)
    page.wait_for_function("() => !document.getElementById('change-network').disabled")
    page.locator("#change-network").click()
    page.get_by_role("button", name="mnist-2").wait_for()
    page.wait_for_function("() => Number(document.getElementById('stat-step')?.textContent.replaceAll(',', '')) > 5")
    run = served.workshop.run("mnist-2")
    assert run.settings.optimizer == learning.settings.optimizer  # ConvNetJS made it plain SGD here
    assert (run.settings.lr, run.settings.augment) == (learning.settings.lr, learning.settings.augment)
    page.get_by_role("button", name="Remove").click()
    page.locator(".chip[aria-pressed=true]", has_text="mnist-1").wait_for()


def test_an_image_is_brought_and_a_digit_drawn(page, served, learning):
    learning.pause(True)
    open_view(page, served, "explain")
    page.locator(".samples button").first.wait_for()
    page.get_by_label("Image file").set_input_files(ROOT / "docs/images/seven.jpg")
    page.locator("li.open", has_text="7").first.wait_for()
    pad = page.locator("canvas.pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 96, box["y"] + 170, steps=8)
    page.mouse.up()
    page.get_by_text("drawn").first.wait_for()
    page.wait_for_function("() => document.querySelector('.card .top li span')?.textContent === '1'")
    page.evaluate("""async () => {
        const blob = await new Promise((made) => document.querySelector('canvas.pad').toBlob(made));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([blob], 'one.png', { type: 'image/png' }));
        const dropped = new DragEvent('drop', { dataTransfer, cancelable: true });
        document.querySelector('.drop').dispatchEvent(dropped); }""")
    page.locator(".card p.soft", has_text="one.png").wait_for()


def test_the_page_says_why(page, served, learning):
    learning.pause(True)
    open_view(page, served, "explain")
    page.locator("#method").select_option("grad-cam")
    page.locator("#why").click()
    page.locator(".why img").wait_for()
    assert "grad-cam" in page.locator(".why img").get_attribute("alt")
    page.locator(".why td", has_text="deletion").wait_for()
    page.set_viewport_size({"width": 390, "height": 844})
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert wide <= 0  # with what speaks for the map beside it
    page.get_by_label("Image file").set_input_files(ROOT / "docs/images/seven.jpg")
    page.locator("li.open").first.wait_for()
    page.locator("#slide").click()
    page.locator(".why strong", has_text="crops").wait_for()


def test_a_convolution_is_stepped_and_its_numbers_are_the_references(page, served):
    open_view(page, served, "step")
    page.locator("#sum").wait_for()
    page.locator("#demo").click()
    page.locator("#play", has_text="Pause").wait_for()
    page.locator("#channel").fill("1")
    page.locator("#play", has_text="Play").wait_for()  # who asks for a value wants to look at it
    page.locator("#place-0").fill("2")
    page.locator("#place-1").fill("1")
    page.locator("h2", has_text="[2, 1, 1]").wait_for()
    assert "+ −" not in page.locator("#sum").inner_text()
    scene = next(reversed(served.workshop.scenes.values()))
    assert number(page, "#sum b") == scene.trace.outputs[1][0, 1, 2, 1]
    shown = [float(text.replace("−", "-")) for text in page.locator("#part-0 .grid.p td").all_inner_texts()]
    part = scene.cell("conv1", 1, (2, 1))["parts"][0]
    assert shown == [value for row in part["products"] for value in row]
    page.locator("#forth").click()
    page.locator("h2", has_text="[2, 2, 1]").wait_for()
    page.locator("#way-backward").click()
    page.get_by_text("dL/dw in all").first.wait_for()


def test_lines_flow_from_what_a_value_is_made_of_to_the_value(page, served):
    open_view(page, served, "step")
    page.locator("#demo").click()
    page.locator("#play", has_text="Pause").click()
    page.locator("#forth").click()
    page.locator("h2", has_text="[0, 1, 0]").wait_for()
    lines = page.locator(".flow path")
    assert lines.count() == 6  # from each of three windows to its products, and from their sums to the value
    end = page.evaluate("""() => {
        const cell = document.querySelector('.result td.now'), box = cell.getBoundingClientRect();
        const stage = document.querySelector('.stage').getBoundingClientRect();
        const left = cell.closest('table').getBoundingClientRect().left;
        return [left - stage.left, (box.top + box.bottom) / 2 - stage.top]; }""")
    numbers = [float(one) for one in re.findall(r"[-\d.]+", lines.nth(1).get_attribute("d"))]
    assert numbers[-2:] == pytest.approx(end, abs=4)
    moves = "getComputedStyle(document.querySelector('.flow path')).animationName"
    assert page.evaluate(moves) == "none"  # this browser asks for less motion
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moves) == "flow"
    page.locator("#way-backward").click()
    way = page.evaluate("getComputedStyle(document.querySelector('.flow path')).animationDirection")
    assert way == "reverse"
    page.emulate_media(reduced_motion="reduce")
    page.locator("#way-forward").click()


def test_strides_that_do_not_tile_are_marked(page, served):
    open_view(page, served, "step")
    page.locator("#stride-3").click()
    page.locator("#fit-why", has_text="do not tile").wait_for()
    assert "✕" in page.locator("#stride-3").inner_text()
    page.locator("#fit-padding").fill("1")
    page.locator("#stride-3", has_text="→ 3").wait_for()
    page.locator("#fit-now").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("[document.activeElement.id, document.activeElement.ariaLabel]") == ["fit-now", "1, 1"]


def test_demos_fill_in_what_is_to_be_trained(page, served):
    open_view(page, served, "train")
    page.get_by_role("button", name="+ New run").click()
    page.locator("#demoConvnetMnist").click()
    page.locator("p.soft", has_text="5,994 parameters").wait_for()
    assert page.get_by_label("Batch size").input_value() == "20"
    assert page.get_by_label("Data", exact=True).input_value() == "mnist"
    page.locator("#demoDigits").click()
    page.locator("p.soft", has_text="61,706 parameters").wait_for()
    assert page.get_by_label("Batch size").input_value() == "64"


def test_what_the_server_says_is_said_in_chinese(page, served, learning):
    learning.pause(True)
    open_view(page, served, "plan")
    page.locator("#language").click()
    page.locator("h1", has_text="网络在运行之前就已确定").wait_for()
    area = page.get_by_label("网络文本")
    area.fill("INPUT[28x28x1] -> CONV7-6 -> RELU -> CONV7-6 -> RELU -> FC9")
    page.get_by_text("的卷积核大于 5x5").wait_for()
    page.locator(".drawing text", has_text="全连接").wait_for()
    area.fill("INPUT[28x28x1] -> CONV5-6(S=2) -> FC10")
    page.get_by_text("CONV5-6(S=2) 的窗口铺不满输入").first.wait_for()
    assert not re.search(r"[a-z]{3,} [a-z]{2,}", page.locator(".mistake p").all_inner_texts()[1])  # no English sentence
    area.fill("INPUT[28x28x1] -> CONV7-6 -> RELU -> CONV7-6 -> RELU -> FC9")
    page.get_by_text("的卷积核大于 5x5").wait_for()
    page.locator("#train-this").click()
    page.locator("#start").click()
    page.locator("#said", has_text="网络有 9 个输出，数据有 10 个类别").wait_for()
    assert "400" in page.complaints.pop()
    page.get_by_role("button", name=learning.name).click()
    page.get_by_text("专为此网络生成的机器码").wait_for()
    page.get_by_label("图像文件").set_input_files(ROOT / "docs/images/seven.jpg")
    page.get_by_text("裁到笔画并居中于").first.wait_for()
    page.locator("#edit-momentum").fill("2")
    page.locator("#change-momentum").click()
    page.locator("#said", has_text="动量应从 0 到 1（不含 1）").wait_for()
    assert "400" in page.complaints.pop()
    page.locator("#language").click()
    page.locator("h1", has_text="Watch it learn").wait_for()


def test_an_address_that_means_nothing_is_the_plan(page, served):
    open_view(page, served, "step/%zz/%")
    page.locator("h1", has_text="A network is known").wait_for()


def test_two_tabs_show_the_same_run(page, served, learning):
    learning.pause(False)
    open_view(page, served, "train")
    other = page.context.new_page()
    other.goto(f"http://127.0.0.1:{served.port}/#train")
    for one in (page, other):
        one.wait_for_function("() => document.getElementById('turn')?.textContent === 'Pause'")
    other.locator("#turn").click()
    for one in (page, other):
        one.wait_for_function("() => document.getElementById('turn').textContent === 'Go on'")
    other.close()


def test_views_are_reached_by_keyboard_alone(page, served):
    open_view(page, served, "plan")
    page.reload()
    page.locator("h1").wait_for()
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent"))
    assert seen[0] == "Skip to the page"
    assert seen[2:6] == ["Plan", "Train", "Step", "Explain"]


@pytest.mark.parametrize("view", ["plan", "train", "step", "explain"])
def test_everything_that_acts_has_a_name_and_nothing_is_wider_than_a_phone(page, served, learning, view):
    open_view(page, served, view)
    page.locator(".card").first.wait_for()
    nameless = page.evaluate("""() => [...document.querySelectorAll(
            'button, input, select, textarea, a[href], canvas, svg.chart')]
        .filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length || e.title
          || e.closest('[aria-hidden=true]') || e.querySelector?.('img[alt]')))
        .map((e) => e.outerHTML.slice(0, 120))""")
    assert nameless == []
    twice = page.evaluate("""() => { const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
        return ids.filter((id, k) => ids.indexOf(id) !== k); }""")
    assert twice == []
    page.set_viewport_size({"width": 390, "height": 844})
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert wide <= 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_it(page, served, learning, theme):
    """axe-core's rules for every view: names, contrast, order, roles."""
    from axe_playwright_python.sync_playwright import Axe

    learning.pause(True)
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    page.reload()
    found = []
    for view in ("plan", "train", "step", "explain"):
        open_view(page, served, view)
        page.locator(".card").first.wait_for()
        if view == "train":
            page.locator("#layer-conv1 canvas").first.wait_for()
        rules = {"resultTypes": ["violations"]} | ({"runOnly": ["color-contrast"]} if theme == "dark" else {})
        for one in Axe().run(page, options=rules).response["violations"]:
            found += [f"{view}: {one['id']}: {node['html'][:100]}" for node in one["nodes"]]
    page.evaluate("localStorage.removeItem('theme')")
    page.reload()
    assert found == []


def test_names_from_elsewhere_stay_text(page, served, tmp_path):
    import numpy as np

    from neocog import Network
    from neocog.data import Preprocessing
    from neocog.initialise import initialise
    from neocog.model import Model

    evil = "<img src=x onerror=alert(1)>"
    network = Network.parse("INPUT[8x8x1] -> FC2")
    classes = (evil, "<script>alert(2)</script>")
    plain = Preprocessing((8, 8), (8, 8), (0.5,), (0.5,))
    images = np.zeros((2, 8, 8, 1), np.uint8)
    model = Model(network, initialise(network), plain, classes, "cross-entropy", {}, None)
    golden = (images, model.scores(plain(images)))
    folder = tmp_path / evil
    folder.mkdir()
    path = Model(network, model.weights, plain, classes, "cross-entropy", {}, golden).save(folder / "m.safetensors")
    name = served.workshop.attach(path).name
    open_view(page, served, "train")
    page.locator(".chip", has_text=evil).click()
    page.locator("#layer-fc1").wait_for()
    open_view(page, served, "explain")
    page.get_by_label("Network", exact=True).select_option(name)
    page.locator(".top li", has_text="<script>").first.wait_for()
    seven = (ROOT / "docs/images/seven.jpg").read_bytes()
    page.get_by_label("Image file").set_input_files({"name": f"{evil}.jpg", "mimeType": "image/jpeg", "buffer": seven})
    page.locator("#said", has_text="onerror").wait_for()
    assert page.locator("img[src=x], main script").count() == 0
    served.workshop.remove(name)


def test_it_comes_back_after_the_server_did(chromium):
    first = Served()
    context = chromium.new_context(locale="en-US")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(first.link)
    page.get_by_role("link", name="Plan").wait_for()
    port = first.port
    first.close()
    page.get_by_text("The server is away").wait_for()
    second = Served(port)
    try:
        page.get_by_text("Open the link that the terminal shows").wait_for()  # the new server does not know it
        other = context.new_page()
        other.goto(second.link)  # the terminal's new link; its cookie opens the old tab too
        page.wait_for_function("() => document.getElementById('link').className === 'link'")
    finally:
        context.close()
        second.close()


def test_every_word_is_there_in_both_languages():
    source = (ROOT / "neocog/studio/page/texts.js").read_text("utf-8")
    texts = dict(re.findall(r'^  "?([\w-]+)"?: (\[.*?\]),$', source.replace("\n    ", " "), re.MULTILINE | re.DOTALL))
    pairs = {key: json.loads(words) for key, words in texts.items()}
    assert len(pairs) > 150
    assert all(len(pair) == 2 and all(pair) for pair in pairs.values())
    assert all(set(re.findall(r"\{\d\}", en)) == set(re.findall(r"\{\d\}", zh)) for en, zh in pairs.values())
    scripts = [
        path.read_text("utf-8") for path in (ROOT / "neocog/studio/page").glob("*.js") if path.name != "texts.js"
    ]
    used = {key for script in scripts for key in re.findall(r'\bt\("([\w-]+)"', script)}
    assert used <= pairs.keys()
    code = "".join(scripts)
    composed = re.compile(
        r"^(stat|is)-|^(update|batch_size)$"
    )  # after a run's figures and states, and the plan's phases
    assert [key for key in pairs if not composed.search(key) and not re.search(rf"\b{key}\b", code)] == []


def test_every_line_of_the_checklists_is_shown_by_something_that_exists():
    page = (ROOT / "docs/studio.md").read_text("utf-8")
    rows = [line for line in page[page.index("## Checklist") :].splitlines() if line.startswith("| ")]
    shown = [row.split(" | ")[-1] for row in rows if not row.startswith(("| there", "| ---", "| article"))]
    assert len(shown) > 25
    for places in shown:
        found = re.findall(r"`([\w/.-]+?)(?:::(\w+))?`", places)
        assert found, places
        for file, test in found:
            source = ROOT / file
            assert source.is_file(), places
            assert not test or f"def {test}(" in source.read_text("utf-8"), places


def test_the_page_makes_no_markup_from_text_and_asks_nobody_else():
    for path in (ROOT / "neocog/studio/page").iterdir():
        text = path.read_text("utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", text
        ), path.name
        addresses = re.findall(r"(?:https?:)?//[a-z][\w.]*\.[a-z]{2,}", text)
        assert set(addresses) <= {"http://www.w3.org"}, path.name
