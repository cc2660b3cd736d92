from __future__ import annotations

from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from neocog import Network
from neocog.layer import Shape
from neocog.plan.drawing import draw
from neocog.plan.drawing.layout import Box, Frame, Line, Text, arranged, text_width
from neocog.plan.drawing.parts import Part, Repeat, parts_of
from neocog.zoo import text

IMAGES = Path(__file__).parents[2] / "docs" / "images"
ZOO = ("lenet5", "lenet5-relu", "alexnet", "vgg16", "resnet20", "resnet50", "nin")
INCEPTION = (
    "INPUT[14x14x8] -> CONCAT[CONV1-4 -> RELU | CONV1-3 -> RELU -> CONV3-5 -> RELU | "
    "ADD[CONV3-8 -> BN | ID] -> RELU | POOL3(S=1, P=1) -> CONV1-2] -> GAP -> FC10 -> SOFTMAX"
)
TEXTS = {name: text(name) for name in ZOO} | {
    "sequence": "INPUT[200x50] -> CONV5-64 -> RELU -> POOL2 -> CONV5-64 -> RELU -> GAP -> FC2",
    "inception": INCEPTION,
    "shortcuts only": "INPUT[8x8x4] -> ADD[ID | ID | RELU] -> CONCAT[ID | ADD[ID | CONV3-4] -> RELU] -> LRN",
    "only an input": "INPUT[7x1]",
}


@pytest.fixture(params=TEXTS)
def plan(request):
    return Network.parse(TEXTS[request.param]).plan()


def size(shape: Shape) -> str:
    return str(shape) if shape.positions > 1 else str(shape.channels)


def extent(mark) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a mark."""
    if isinstance(mark, Line):
        xs, ys = zip(*mark.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)
    if isinstance(mark, Text):
        half = text_width(mark.words) / 2
        return mark.x - half, mark.y - 9, mark.x + half, mark.y + 2
    slant = mark.slant if isinstance(mark, Box) else 0
    return mark.x, mark.y - slant, mark.x + mark.width + slant, mark.y + mark.height


def overlap(a, b) -> bool:
    a, b = extent(a), extent(b)
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def layers_in(parts) -> int:
    """How many layers the parts stand for, repeats counted as often as they run."""
    total = 0
    for part in parts:
        if isinstance(part, Repeat):
            total += part.times * layers_in(part.parts)
        else:
            total += len(part.tokens) + sum(map(layers_in, part.arms))
    return total


def test_parts_stand_for_every_layer_once(plan):
    assert layers_in(parts_of(plan)) == len(plan.rows)


def test_every_size_and_word_is_written(plan):
    marks = arranged(parts_of(plan)).marks
    words = {mark.words for mark in marks if isinstance(mark, Text)}
    full = words | {mark.full for mark in marks if isinstance(mark, Text)}
    assert {size(row.output) for row in plan.rows} <= words
    assert {row.node.layer.token for row in plan.rows[1:]} <= full


def test_no_box_or_text_lies_on_another(plan):
    marks = [mark for mark in arranged(parts_of(plan)).marks if isinstance(mark, Box | Text)]
    assert [(a, b) for a, b in combinations(marks, 2) if overlap(a, b)] == []


def test_everything_lies_within_the_figure(plan):
    figure = arranged(parts_of(plan))
    for mark in figure.marks:
        left, top, right, bottom = extent(mark)
        assert 0 <= left <= right <= figure.width, mark
        assert -figure.above <= top <= bottom <= figure.below, mark


def test_svg_is_well_formed_and_within_its_view_box(plan):
    root = ElementTree.fromstring(draw(plan))
    name = "{http://www.w3.org/2000/svg}"
    _, _, width, height = map(float, root.get("viewBox").split())
    for words in root.iter(f"{name}text"):
        half = text_width(words.text) / 2
        x, y = float(words.get("x")), float(words.get("y"))
        left = x - half if words.get("text-anchor") == "middle" else x
        assert 0 <= left <= width - 2 * half, words.text
        assert 12 <= y <= height, words.text
    for line in root.iter(f"{name}polyline"):
        for point in line.get("points").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_equal_parts_are_drawn_once_with_their_number():
    plan = Network.parse(text("resnet20")).plan()
    figure = arranged(parts_of(plan))
    times = [mark.words for mark in figure.marks if isinstance(mark, Text) and mark.words.startswith("x ")]
    assert times == ["x 3", "x 2", "x 2"]
    assert sum(isinstance(mark, Frame) for mark in figure.marks) == 3


def test_parts_of_unequal_size_are_not_taken_for_repeats():
    plan = Network.parse("INPUT[32x32x8] -> [CONV3-8 -> RELU -> POOL2]*3 -> FC10").plan()
    assert not any(isinstance(part, Repeat) for part in parts_of(plan))


def test_what_follows_a_convolution_is_one_step_with_it():
    plan = Network.parse("INPUT[8x8x2] -> CONV3-4 -> BN -> RELU -> POOL3(S=1, P=1) -> FC4 -> FC4 -> SOFTMAX").plan()
    steps = [part.tokens for part in parts_of(plan)]
    assert steps == [
        ("INPUT[8x8x2]",),
        ("CONV3-4", "BN", "RELU"),
        ("POOL3(S=1, P=1)",),
        ("FC4",),
        ("FC4", "SOFTMAX"),
    ]


def test_lanes_of_a_branch_start_and_end_together():
    branch = next(part for part in parts_of(Network.parse(INCEPTION).plan()) if isinstance(part, Part) and part.arms)
    figure = arranged((branch,))
    starts = [mark.points for mark in figure.marks if isinstance(mark, Line) and len(mark.points) == 3]
    ends = [mark.points for mark in figure.marks if isinstance(mark, Line) and len(mark.points) == 4]
    outer = [points for points in starts if points[0][0] == 0]
    assert len(branch.arms) == 4 == len(outer)
    assert len({points[-1] for points in ends}) == 2, "one for the four lanes, one for the two inside"


def test_a_large_volume_is_drawn_larger_but_not_in_proportion():
    def heights(*sizes):
        plans = (Network.parse(f"INPUT[{size}x{size}x3]").plan() for size in sizes)
        return [next(m.height for m in arranged(parts_of(p)).marks if isinstance(m, Box)) for p in plans]

    small, large = heights(7, 224)
    assert 15 < small < large < 10 * small


def test_sequences_are_flat_bars():
    marks = arranged(parts_of(Network.parse(TEXTS["sequence"]).plan())).marks
    assert {mark.slant for mark in marks if isinstance(mark, Box)} == {0}


def test_words_are_escaped():
    svg = draw(Network.parse(text("lenet5")).plan(), title='a<b & "c"')
    assert "a&lt;b &amp; &quot;c&quot;" in svg
    assert "TABLE=&quot;0 1" in svg
    assert ElementTree.fromstring(svg)[0].text == 'a<b & "c"'


def test_a_title_of_any_characters_leaves_the_file_readable():
    plan = Network.parse(text("lenet5")).plan()
    assert ElementTree.fromstring(draw(plan, title="a\x1bb\udc80\n" + "c" * 500).encode())[0].text.startswith("a b  cc")


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_figures_in_the_documents_are_current_and_drawn_the_same_each_time(name):
    first, second = (draw(Network.parse(text(name)).plan(), title=name) for _ in range(2))
    assert first == second == (IMAGES / f"{name}.svg").read_text(encoding="utf-8")
