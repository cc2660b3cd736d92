from __future__ import annotations

import re
from base64 import b64decode
from html import escape
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from neocog import Model, Network
from neocog.data import Dataset, Preprocessing
from neocog.finding import Finding
from neocog.report import write_report
from neocog.report.answers import confusion_section
from neocog.report.charts import Mark, Series, bar_chart, line_chart, log_ticks, reliability_chart, ticks
from neocog.report.html import duration
from neocog.report.page import filter_section, render
from neocog.report.pictures import filter_pixels, picture

CLASSES = ("zero", "<script>alert(1)</script>", "two & more")
TEXT = "INPUT[8x8x1] -> CONV3-4 -> RELU -> POOL2 -> FC3"
RNG = np.random.default_rng(2)


def model_of(text=TEXT, classes=CLASSES, **record):
    network = Network.parse(text)
    channels = network.input_shape.channels
    preprocessing = Preprocessing((8, 8), (8, 8), (0.5,) * channels, (0.2,) * channels)
    weights = {name: array.numpy() for name, array in network.build().state_dict().items()}
    return Model(network, weights, preprocessing, classes, "cross-entropy", {**RECORD, **record})


RECORD = {
    "data": {"name": "marks <b>", "training_images": 60, "test_images": 6, "training_fingerprint": "f00"},
    "settings": {"epochs": 2, "batch_size": 32, "optimizer": "sgd", "target_accuracy": None},
    "engine": "torch",
    "device": "cpu",
    "reason": "torch on cpu, as asked",
    "threads": 2,
    "started": "2026-01-02T03:04:05+00:00",
    "versions": {"neocog": "0.1.0"},
    "test_accuracy": 0.5,
    "epochs": 2,
    "seconds": 125.0,
    "images_per_second": 12345.0,
}

METRICS = [
    {"kind": "steps", "step": 1, "lr": 0.1, "loss": 2.0},
    {"kind": "steps", "step": 2, "lr": 0.05, "loss": 1.0},
    {"kind": "epoch", "epoch": 1, "steps": 2, "train_loss": 1.5, "train_accuracy": 0.4, "loss": 1.2, "accuracy": 0.45,
     "measured_on": "test"},
    {"kind": "steps", "step": 3, "lr": 0.02, "loss": 0.5},
    {"kind": "epoch", "epoch": 2, "steps": 4, "train_loss": 0.6, "train_accuracy": 0.7, "loss": 0.9, "accuracy": 0.5,
     "measured_on": "test"},
]  # fmt: skip

TEST = Dataset("marks", "test", RNG.integers(0, 256, (6, 8, 8, 1), np.uint8), np.array([0, 0, 1, 1, 2, 2]), CLASSES)
PROBABILITIES = np.array(
    [[0.9, 0.1, 0], [0.3, 0.7, 0], [0, 1, 0], [0.95, 0.05, 0], [0, 0.1, 0.9], [0.6, 0.2, 0.2]], float
)


@pytest.fixture(scope="module")
def page() -> str:
    return render(model_of(), METRICS, TEST, PROBABILITIES)


class Tags(HTMLParser):
    """Which tags are opened, and whether all that must be closed are, in order."""

    VOID = {"meta", "img", "line", "circle", "polyline", "br"}  # and those that SVG closes at once

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_well_formed(page):
    assert Tags(page).open == []


def test_the_page_needs_nothing_else(page):
    assert not {"script", "link", "iframe"} & set(Tags(page).seen)
    assert "http" not in page
    assert "@import" not in page
    assert all(source.startswith("data:image/png;base64,") for source in re.findall('src="([^"]*)"', page))


def test_what_comes_from_outside_is_escaped(page):
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "two &amp; more" in page
    assert "marks &lt;b&gt;" in page
    assert 'INPUT[8x8x1] <span class="arrow">-&gt;</span> CONV3-4' in page
    assert "alert(1)</" not in page


def test_the_headline_says_how_good_how_long_and_how_large(page):
    assert "<h1>50.00% of the 6 marks &lt;b&gt; test images read correctly</h1>" in page
    for value, what in (("3", "wrong of 6"), ("2 min 5 s", "2 epochs"), ("12,345", "training images a second")):
        assert f"<b>{value}</b><span>{what}" in page
    assert "trained 2026-01-02 03:04 UTC by neocog 0.1.0, torch on cpu, as asked" in page


def test_every_layer_of_the_plan_has_its_row(page):
    for token, parameters in (("CONV3-4", "40"), ("FC3", "195")):
        assert re.search(rf">{token}</td>.*?<td class=\"n\">{parameters}</td>", page)


def test_the_headline_says_how_far_the_accuracy_can_be_trusted(page):
    assert "<b>18.76–81.24%</b><span>accuracy, 95 % interval" in page  # Wilson, of 3 in 6


def test_the_confusion_matrix_shows_each_pair_in_images_and_in_per_cent_of_the_class(page):
    in_images, in_shares = re.findall('<table class="confusion">(.*?)</table>', page)
    assert re.findall(r'class="(right|wrong)" style="[^"]*">([^<]*)<', in_images) == [
        ("right", "1"), ("wrong", "1"), ("wrong", "1"), ("right", "1"), ("wrong", "1"), ("right", "1"),
    ]  # fmt: skip
    assert set(re.findall(r'style="[^"]*">([^<]*)<', in_shares)) == {"50.0"}


@pytest.mark.parametrize(
    ("part", "whole", "said"), [(5, 5, "100"), (1, 3, "33.3"), (99_999, 100_000, "99.9"), (1, 10_000, "<.1")]
)
def test_per_cents_are_short_and_100_means_all(part, whole, said):
    counts = np.zeros((2, 2), np.int64)
    counts[0] = part, whole - part
    assert escape(said) in re.findall(r'class="right"[^>]*>([^<]*)<', confusion_section(counts, ("a", "b"))[200:])


def test_each_class_has_precision_recall_f1_and_support(page):
    cells = re.search(r">zero</td>(.*?)</tr>", page[page.index("Class by class") :])[1]
    assert re.findall(r">([^<]+)<", cells) == ["33.33%", "50.00%", "40.00%", "2", "1"]


def test_confused_pairs_are_named_with_their_share_of_the_class(page):
    confused = page[page.index("Most confused") :]
    assert re.search(r">two &amp; more</td><td class=\"cut\">zero</td><td class=\"n\">1</td>.*?50.00%", confused)


def test_the_best_epoch_is_marked_in_every_curve(page):
    assert page.count("best: epoch 2") == 3 * 2  # in the legend and for those who cannot see it
    assert "highest accuracy on test images, 50.00%" in page


def test_what_the_doctor_found_is_shown_where_there_is_something(page):
    assert "To look at" not in page
    found = Finding("dead <ReLUs>", "many give 0", "less", (("relu1 3 of 4",), ("a", "b"))).as_dict()
    shown = render(model_of(), [*METRICS, {"kind": "finding", "finding": found}], TEST, PROBABILITIES)
    assert "<dt>dead &lt;ReLUs&gt;</dt><dd>many give 0" in shown
    assert "relu1 3 of 4, a = b</span><br>Try: less." in shown


def test_how_sure_and_how_right_are_said_and_drawn(page):
    section = page[page.index("How sure, and how right") :]
    assert "<b>40.83%</b>" in section  # 0.6 and 0.7 wrong, two of 0.9 right, and of 0.95 and 1 one: 2.45 / 6
    assert "2 answers, 90.0% sure on average, 100.0% right" in section
    assert "93% to 100% sure: 2 answers" in section


def test_mistakes_are_sorted_by_how_sure_the_network_was(page):
    found = re.findall(r"is <b>(.*?)</b>, read as <b>(.*?)</b>.*?>([\d.]+%), image (\d)", page)
    assert [(sure, image) for _, _, sure, image in found] == [("95.0%", "3"), ("70.0%", "1"), ("60.0%", "5")]
    assert found[2][:2] == ("two &amp; more", "zero")


def test_a_network_without_mistakes_has_none_to_show():
    page = render(model_of(test_accuracy=1.0), METRICS, TEST, np.eye(3)[TEST.labels])
    assert "None: every test image was read correctly." in page


def test_many_classes_are_shown_by_their_commonest_confusions():
    classes = tuple(f"class {k}" for k in range(40))
    test = Dataset("many", "test", np.zeros((40, 8, 8, 1), np.uint8), np.arange(40), classes)
    said = np.eye(40)[np.where(np.arange(40) < 3, 39, np.arange(40))]
    page = render(model_of(TEXT.replace("FC3", "FC40"), classes), METRICS, test, said)
    assert 'class="confusion"' not in page
    confused = page[page.index("Most confused") :]
    assert confused.count(">class 39</td><td") == 3


def test_an_epoch_without_steps_between_can_be_shown():
    page = render(model_of(), [METRICS[0], METRICS[2]], TEST, PROBABILITIES)
    assert page.count("<svg") == 3 + 2


def test_the_report_is_written_whole(tmp_path):
    write_report(tmp_path / "report.html", model_of(), METRICS, TEST, PROBABILITIES)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8").endswith("</main></body></html>\n")


def test_filters_are_on_one_scale_with_zero_in_the_middle():
    weight = np.zeros((2, 1, 1, 3))
    weight[0, 0, 0] = [-2, 0, 1]
    weight[1, 0, 0] = [0.5, 0.25, 2]
    pixels = filter_pixels(weight)
    assert pixels.shape == (2, 1, 3, 1)
    np.testing.assert_array_equal(pixels[:, 0, :, 0], [[0, 128, 191], [159, 143, 255]])


def test_filters_that_are_all_zero_are_grey():
    assert set(filter_pixels(np.zeros((2, 3, 5, 5))).ravel()) == {128}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEXT, "mid-grey is 0"),
        (TEXT.replace("8x8x1", "8x8x3"), "all 4, on one scale for all filters"),
        (TEXT.replace("CONV3-4", "CONV3-100"), "the first 96 of 100"),
        (TEXT.replace("8x8x1", "8x8x2"), ""),
        ("INPUT[8x8x1] -> FC3", ""),
    ],
)
def test_filters_are_shown_where_they_look_at_grey_or_colour(text, says):
    network = Network.parse(text)
    weights = {name: array.numpy() for name, array in network.build().state_dict().items()}
    section = filter_section(Model(network, weights, None, CLASSES, "cross-entropy"))
    assert says in section
    assert bool(section) == bool(says)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_holds_the_pixels_it_was_given(channels):
    pixels = RNG.integers(0, 256, (5, 7, channels), np.uint8)
    data = re.search('base64,([^"]*)"', picture(pixels, 'a "name"'))
    shown = np.asarray(Image.open(BytesIO(b64decode(data[1]))))
    np.testing.assert_array_equal(shown.reshape(pixels.shape), pixels)
    assert 'alt="a &quot;name&quot;"' in picture(pixels, 'a "name"')


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 9, [0, 2, 4, 6, 8, 10]), (0.93, 0.99, [0.92, 0.94, 0.96, 0.98, 1.0]), (5, 5, [5, 6])],
)
def test_ticks_are_round_numbers_around_the_range(low, high, expected):
    np.testing.assert_allclose(ticks(low, high, 5), expected)


def test_ticks_of_a_logarithmic_axis_are_1_2_and_5():
    np.testing.assert_allclose(log_ticks(0.03, 1.4), [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2])


def test_a_chart_stays_inside_its_frame():
    chart = line_chart(
        [Series("loss", [(0.5, 3.0), (1, 0.2), (2, 0.01)]), Series("<b>", [(1, 1.0)], dots=True)], "x", log=True
    )
    points = re.findall(r"([\d.-]+),([\d.-]+)", " ".join(re.findall('points="([^"]*)"', chart)))
    assert len(points) == 4
    assert all(50 <= float(x) <= 410 and 10 <= float(y) <= 235 for x, y in points)
    assert "&lt;b&gt;" in chart


def test_a_mark_is_a_line_at_its_place_even_beyond_the_points():
    chart = line_chart([Series("loss", [(1, 1.0), (2, 3.0)])], "epoch", mark=Mark(4, "<end>"))
    x1, x2 = re.search(r'class="mark" x1="([\d.]+)" x2="([\d.]+)"', chart).groups()
    assert x1 == x2 == "406.0"
    assert chart.count("&lt;end&gt;") == 2


def heights(chart):
    return [float(height) for height in re.findall('class="bar".*?height="([^"]*)"', chart)]


def test_bars_grow_by_as_much_for_each_power_of_ten():
    one, two, three = heights(bar_chart((0, 0.25, 0.5, 0.75, 1), (9, 90, 0, 900), "x"))
    assert two - one == pytest.approx(three - two, abs=0.11)
    assert two - one > 30


def test_reliability_is_drawn_from_0_to_1():
    full, half = heights(reliability_chart((0, 0.5, 0.7, 1), ((0.4, 1.0, 3), None, (0.8, 0.5, 1)), "x"))
    assert full == pytest.approx(2 * half, abs=0.11)


@pytest.mark.parametrize(
    ("seconds", "said"), [(3.21, "3.2 s"), (42.4, "42 s"), (125, "2 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert duration(seconds) == said
