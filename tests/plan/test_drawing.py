from __future__ import annotations

from io import BytesIO
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from neocog import Network
from neocog.errors import NeocogError
from neocog.layer import Shape
from neocog.plan.drawing import draw
from neocog.plan.drawing.layout import RADIUS, ROW, Box, Frame, Line, Plus, Text, arranged, text_width
from neocog.plan.drawing.page import COLOURS, Page, page
from neocog.plan.drawing.parts import Part, Repeat, parts_of
from neocog.plan.drawing.png import to_png
from neocog.zoo import text

IMAGES = Path(__file__).parents[2] / "docs" / "images"
ZOO = ("lenet5", "lenet5-relu", "alexnet", "vgg16", "resnet20", "resnet50", "nin", "googlenet", "inception-v3")
INCEPTION = (
    "INPUT[14x14x8] -> CONCAT[CONV1-4 -> RELU | CONV1-3 -> RELU -> CONV3-5 -> RELU | "
    "ADD[CONV3-8 -> BN | ID] -> RELU | POOL3(S=1, P=1) -> CONV1-2] -> GAP -> FC10 -> SOFTMAX"
)
TEXTS = {name: text(name) for name in ZOO} | {
    "sequence": "INPUT[200x50] -> CONV5-64 -> RELU -> POOL2 -> CONV5-64 -> RELU -> GAP -> FC2",
    "parallel widths": "INPUT[100x50] -> CONCAT[ CONV3-64 -> POOL100 | CONV5-64 -> POOL100 ] -> DROPOUT -> FC2",
    "local": "INPUT[16x16x1] -> CONV5-16 -> POOL2 -> LOCAL3-8(P=0) -> FC10 -> SOFTMAX",
    "enlarging": "INPUT[16x16x3] -> CONV3-8(S=2, P=1, fit=floor) -> DECONV4-4(S=2, P=1) -> UPSAMPLE2 -> CONV1-2",
    "one large part": "INPUT[8x8x3] -> ADD[" + " -> ".join(f"CONV3-{k} -> RELU" for k in range(40, 2, -1)) + " | ID ]",
    "inception": INCEPTION,
    "shortcuts only": "INPUT[8x8x4] -> ADD[ID | ID | RELU] -> CONCAT[ID | ADD[ID | CONV3-4] -> RELU] -> LRN",
    "side output": "INPUT[8x8x4] -> CONV3-4 -> AUX(0.3)[ GAP -> FC10 ] -> RELU -> CONV3-4 -> GAP -> FC10",
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
        left = mark.x - text_width(mark.words) / 2 if mark.centred else mark.x
        return left, mark.y - 9, left + text_width(mark.words), mark.y + 2
    if isinstance(mark, Plus):
        return mark.x - RADIUS, mark.y - RADIUS, mark.x + RADIUS, mark.y + RADIUS
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
    full = words | {mark.full for mark in marks if isinstance(mark, Text | Plus)}
    assert {size(row.output) for row in plan.rows} <= words
    assert {row.node.layer.token for row in plan.rows[1:]} <= full


def test_no_box_or_text_lies_on_another(plan):
    marks = [mark for mark in arranged(parts_of(plan)).marks if isinstance(mark, Box | Text | Plus)]
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


def test_lines_leave_a_flat_box_where_it_is():
    marks = arranged(parts_of(Network.parse("INPUT[3x900x1] -> CONV3-4").plan())).marks
    box = next(mark for mark in marks if isinstance(mark, Box))
    begins = min(mark.points[0][0] for mark in marks if isinstance(mark, Line))
    assert 0 < begins - (box.x + box.width) <= box.height / 2 < box.slant / 2


def test_words_are_escaped():
    svg = draw(Network.parse(text("lenet5")).plan(), title='a<b & "c"').decode()
    assert "a&lt;b &amp; &quot;c&quot;" in svg
    assert "TABLE=&quot;0 1" in svg
    assert ElementTree.fromstring(svg)[0].text == 'a<b & "c"'


def test_a_title_of_any_characters_leaves_the_file_readable():
    plan = Network.parse(text("lenet5")).plan()
    assert ElementTree.fromstring(draw(plan, title="a\x1bb\udc80\n" + "c" * 500))[0].text.startswith("a b  cc")


def boxes(text: str) -> list[Box]:
    return [mark for mark in arranged(parts_of(Network.parse(text).plan())).marks if isinstance(mark, Box)]


def test_a_side_output_leaves_the_line_and_does_not_come_back():
    figure = arranged(parts_of(Network.parse(TEXTS["side output"]).plan()))
    (arrow,) = (
        m for m in figure.marks if isinstance(m, Line) and m.arrow and m.points[-1][1] > 0 and not lands(m, figure)
    )
    (label,) = (m for m in figure.marks if isinstance(m, Text) and m.words == "AUX(0.3)")
    assert arrow.points[0][0] < label.x < arrow.points[-1][0]
    assert [mark.words for mark in figure.marks if isinstance(mark, Text)].count("RELU") == 1


def lands(arrow: Line, figure) -> bool:
    """Whether an arrow leads to a box."""
    x, y = arrow.points[-1]
    boxes = (mark for mark in figure.marks if isinstance(mark, Box))
    return any(0 <= box.x - x <= 3 and box.y <= y <= box.y + box.height for box in boxes)


def test_added_branches_meet_in_a_circled_plus():
    marks = arranged(parts_of(Network.parse(TEXTS["shortcuts only"]).plan())).marks
    pluses = [mark for mark in marks if isinstance(mark, Plus)]
    assert [mark.full for mark in pluses] == ["ADD", "ADD"]
    assert not any(mark.words == "ADD" for mark in marks if isinstance(mark, Text))
    for plus in pluses:
        assert any((plus.x, plus.y) in mark.points for mark in marks if isinstance(mark, Line))


def test_stacked_maps_show_where_each_branch_ends():
    *_, joined = boxes("INPUT[8x8x4] -> CONCAT[ ID | CONV3-8 | CONV3-4 ]")
    assert joined.cuts == (4 / 16, 12 / 16)
    assert [points[0][0] for points in joined.cut_lines()] == [joined.x + joined.width * cut for cut in joined.cuts]
    *_, vector = boxes("INPUT[8x8x4] -> CONCAT[ GAP | GAP ]")
    ((across, _),) = vector.cut_lines()
    assert across == (vector.x, vector.y + vector.height / 2)


def test_a_convolution_in_groups_is_a_box_in_slices():  # AlexNet's two towers
    cuts = [box.cuts for box in boxes(text("alexnet")) if box.kind == "convolution"]
    assert cuts == [(), (0.5,), (), (0.5,), (0.5,)]
    assert boxes("INPUT[8x8x64] -> CONV3-64(G=64)")[1].cuts == (), "lines too near each other to be seen"


def test_settings_that_change_nothing_drawn_are_left_out():
    plan = Network.parse("INPUT[8x8x4] -> CONV3-4(P=0, BIAS=no) -> BN(eps=0.001) -> DROPOUT(0.4)").plan()
    words = [mark.words for mark in arranged(parts_of(plan)).marks if isinstance(mark, Text)]
    assert sorted(words) == sorted(["8x8x4", "CONV3-4", "P=0", "BN", "DROPOUT(0.4)", "6x6x4"])


def test_rows_are_few_and_about_equally_long():
    chain = " -> ".join(f"CONV3-{8 + k} -> RELU" for k in range(60))
    marks = arranged(parts_of(Network.parse(f"INPUT[64x64x3] -> {chain}").plan())).marks
    rows: dict[float, float] = {}
    for box in (mark for mark in marks if isinstance(mark, Box)):
        middle = box.y + box.height / 2
        rows[middle] = max(rows.get(middle, 0), box.x + box.width)
    longest = max(rows.values())
    assert len(rows) == 5
    assert 0.9 * longest < min(rows.values()) <= longest <= ROW + 20


def png(plan, **kwargs) -> Image.Image:
    return Image.open(BytesIO(draw(plan, ".png", **kwargs)))


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "resnet50", "parallel widths", "enlarging", "shortcuts only"])
def test_png_has_every_box_in_its_colour_at_twice_the_size_and_nothing_cut(name):
    plan = Network.parse(TEXTS[name]).plan()
    whole, picture = page(plan), np.asarray(png(plan))
    assert picture.shape == (round(2 * whole.height), round(2 * whole.width), 3)
    margins = picture[:30], picture[:, :30], picture[-30:], picture[:, -30:]
    assert all((margin == 255).all() for margin in margins)
    for box in (mark for mark in whole.marks if isinstance(mark, Box)):
        pixel = picture[round(2 * (box.y + 4)), round(2 * (box.x + 2.5))]
        assert "#" + bytes(pixel.tolist()).hex() == COLOURS[box.kind], box


def test_png_writes_every_word():
    """Where a text stands there is ink, and no more of it than its place allows."""
    plan = Network.parse(text("resnet20")).plan()
    whole, picture = page(plan), np.asarray(png(plan).convert("L"))
    for mark in (mark for mark in whole.marks if isinstance(mark, Text)):
        left, top, right, bottom = (round(2 * edge) for edge in extent(mark))
        assert (picture[top:bottom, left:right] < 128).sum() > 10 * len(mark.words), mark


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_figure_is_the_same_each_time(suffix):
    plan = Network.parse(INCEPTION).plan()
    assert draw(plan, suffix, title="twice") == draw(plan, suffix.upper(), title="twice")


@pytest.mark.parametrize("suffix", [".jpg", "", "svg"])
def test_other_files_are_refused(suffix):
    with pytest.raises(NeocogError, match=r"a name ending in \.svg or \.png is needed"):
        draw(Network.parse(INCEPTION).plan(), suffix)


def test_a_png_that_no_program_would_open_is_refused_with_the_way_out():
    with pytest.raises(NeocogError, match=r"too large for a PNG file\n.*20,000 x 20,000 pixels\n  try: .*\.svg"):
        to_png(Page(10_000, 10_000, (), "", ""))


@pytest.mark.parametrize("name", ["lenet5", "googlenet", "resnet50"])
def test_figures_in_the_documents_are_current(name):
    assert draw(Network.parse(text(name)).plan(), title=name) == (IMAGES / f"{name}.svg").read_bytes()
