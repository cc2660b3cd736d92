"""Score maps are what crops one by one would give, however they are made: facts N1 to N5."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from dense_models import PADDED, PADLESS, model_of, picture

from neocog import DataError, NeocogError, Network, RewriteError, RunError, zoo
from neocog.dense import prove, score
from neocog.dense.form import Form
from neocog.dense.routes import DILATE, OWN, SHIFT, route
from neocog.dense.scoremap import form_of
from neocog.dense.sight import Sight
from neocog.dense.tiles import Tiling
from neocog.initialise import initialise
from neocog.rewrite import dilate, fc_to_conv
from neocog.rewrite.parts import at_size
from neocog.torch_engine import build


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def crops_of(model, image, stride):
    """The scores of every crop, each by the network as it was trained: (K, rows, columns)."""
    height, width = model.network.input_shape.spatial
    places = list(product(*(range(0, n - m + 1, stride) for n, m in zip(image.shape, (height, width), strict=False))))
    crops = np.stack([image[i : i + height, j : j + width] for i, j in places])
    scores = model.scores(model.preprocessing(crops))
    rows = len({i for i, _ in places})
    return scores.T.reshape(-1, rows, len(places) // rows)


@pytest.mark.parametrize("name", PADLESS)
def test_without_padding_every_cell_is_its_crop_at_every_stride_by_every_way(name):  # facts N1, N2, N3, N5
    text, height, width = PADLESS[name]
    model = model_of(text)
    image = picture(height, width, model.network.input_shape.channels)
    jump = form_of(model).sight.jump
    largest = int(np.gcd.reduce(jump))
    strides = [n for n in range(1, largest + 1) if largest % n == 0]
    assert len(strides) > 1
    for stride in strides:
        own = set(jump) == {stride}
        for method in [OWN] if own else [SHIFT, DILATE]:
            found = score(model, image, stride=stride, method="auto" if own else method)
            assert found.route.method == method
            expected = crops_of(model, image, stride)
            assert found.scores.shape == expected.shape
            scale = max(1.0, float(np.abs(expected).max()))
            assert found.scores == pytest.approx(expected, abs=2e-6 * scale), (stride, method)
            assert not found.border.any()


@pytest.mark.parametrize("name", PADDED)
def test_with_padding_cells_that_see_none_are_their_crops_with_their_surroundings(name):  # fact N5
    text, height, width = PADDED[name]
    model = model_of(text)
    image = picture(height, width, model.network.input_shape.channels)
    jump = form_of(model).sight.jump[0]
    maps = [score(model, image)]
    maps += [score(model, image, stride=jump // 2, method=method) for method in (SHIFT, DILATE)]
    for found in maps:
        proof = prove(found)
        assert proof.holds
        assert proof.inside.said == (~found.border).sum() > 0
        assert proof.inside.crops == proof.inside.said
        assert proof.inside.difference < 1e-5
        assert proof.edge.crops > 0
        assert proof.edge.difference < 1e-5
        assert proof.padded
        assert proof.edge.said + proof.inside.said == found.crops
        assert sum(first for _, _, first in proof.seen_by) == proof.edge.said
        assert proof.alone.difference > 1e-3  # crops cut out see other edges: it is said, and measured
    own, shifted, dilated = maps
    inside = ~(shifted.border | dilated.border)
    assert shifted.scores[:, inside] == pytest.approx(dilated.scores[:, inside], abs=1e-5)
    assert inside.sum() > 4
    assert dilated.border.sum() <= shifted.border.sum()  # less is cut off
    assert dilated.scores[:, ::2, ::2][:, ~own.border] == pytest.approx(own.scores[:, ~own.border], abs=1e-5)


@pytest.mark.parametrize("name", PADDED)
@pytest.mark.parametrize("method", [OWN, SHIFT, DILATE])
def test_the_cells_that_see_padding_are_those_that_change_when_it_does(name, method):  # fact N5
    """Padding replaced by a number that spreads: the cells where it arrives, as measured in every layer."""
    text, height, width = PADDED[name]
    text = text.replace(" -> RELU", "").replace("LRN -> ", "").replace(" -> BN", "").replace("POOL2", "AVGPOOL2")
    text = text.replace("POOL3(", "AVGPOOL3(")  # nothing hides a number that is not finite
    model = model_of(text)
    form = form_of(model)
    stride = None if method == OWN else form.sight.jump[0] // 2
    found = score(
        model,
        picture(height, width, model.network.input_shape.channels),
        stride=stride,
        method="auto" if method == OWN else method,
    )
    marked = np.zeros(found.cells, bool)
    for one in found.route.passes(found.cells):
        marked[tuple(slice(a, None, s) for a, s in zip(one.first, one.every, strict=True))] = marked_cells(
            found.route.form, one.cells
        )
    assert np.array_equal(marked, found.border)


def marked_cells(form: Form, cells) -> np.ndarray:
    """Which cells are not finite when what layers pad with is not: a pass by windows that are cut out one by one."""
    network = form.sized(cells)
    real = form.sight.at(form.stride).pixels(cells)
    x = np.full((1, *network.input_shape.spatial), np.nan)
    x[0, : real[0], : real[1]] = 1.0
    volumes = [x]
    for k, node in enumerate(network.nodes[1:], start=1):
        inputs = [volumes[i] for i in node.inputs]
        if k in form.cuts.at:
            counts, step = form.cuts.at[k]
            size = [n - (g - 1) * s for n, g, s in zip(inputs[0].shape[1:], counts, step, strict=True)]
            inputs = [
                np.concatenate([v[:, a * step[0] : a * step[0] + size[0], b * step[1] : b * step[1] + size[1]]
                                for a in range(counts[0]) for b in range(counts[1])])
                for v in inputs
            ]  # fmt: skip
        window = node.layer.window(*network.input_shapes(node))
        if window is None:
            volumes.append(np.sum(inputs, axis=0))
            continue
        (v,) = inputs
        out = node.layer.output_shape(type(network.input_shape)(v.shape[1:], network.input_shapes(node)[0].channels))
        padded = np.pad(
            v,
            [(0, 0), *((p, p + e + s) for p, e, s in zip(window.padding, window.extent, window.stride, strict=True))],
            constant_values=np.nan,
        )
        made = np.empty((len(v), *out.spatial))
        for i, j in np.ndindex(*out.spatial):
            rows = i * window.stride[0] + window.dilation[0] * np.arange(window.kernel[0])
            columns = j * window.stride[1] + window.dilation[1] * np.arange(window.kernel[1])
            made[:, i, j] = padded[:, rows[:, None], columns].sum(axis=(1, 2))
        volumes.append(made)
    from neocog.dense.parted import put_together

    whole = put_together(volumes[-1][:, None].astype(np.float32), form.cuts.order, 1)[0, 0]
    return ~np.isfinite(whole[: cells[0], : cells[1]])


def test_a_vgg_sees_384_pixels_as_36_crops_and_at_half_its_stride_as_121():  # facts N1, N2, N3
    network = Network.parse(
        "INPUT[224x224x3] -> [[CONV3-1 -> RELU]*2 -> POOL2]*2 -> [[CONV3-1 -> RELU]*3 -> POOL2]*3"
        " -> FC2 -> RELU -> FC2 -> RELU -> FC5"
    )
    form = Form.of(network, initialise(network, 0, "he"))
    assert (form.sight.window, form.sight.jump) == ((224, 224), (32, 32))
    assert form.sight.last[0] - form.sight.first[0] + 1 == 404
    own = form.sized(form.cells((384, 384)))
    assert [str(own.shapes[k]) for k in (own.nodes.index(own.node("pool5")), -1)] == ["12x12x1", "6x6x5"]
    assert np.prod(route(form).cells((384, 384))) == 36
    shifted = route(form, 16, SHIFT)
    assert np.prod(shifted.cells((384, 384))) == 121
    assert [(one.begin, one.cells) for one in shifted.passes((11, 11))] == [
        ((0, 0), (6, 6)),
        ((0, 16), (6, 5)),
        ((16, 0), (5, 6)),
        ((16, 16), (5, 5)),
    ]
    assert network.plan().totals["macs"] * 36 / route(form).macs((6, 6)) == pytest.approx(12.0, abs=0.6)


def test_the_451_pixels_of_caffes_notebook_are_8_by_8_windows_of_alexnet():
    sight = Sight.of(zoo("alexnet"))
    assert (sight.window, sight.jump, sight.cells((451, 451))) == ((227, 227), (32, 32), (8, 8))


def test_the_cheaper_way_by_the_plan_is_taken():
    form = form_of(model_of(PADDED["VGG"][0]))
    cells = (8, 8)
    shifted, dilated = route(form, 2, SHIFT), route(form, 2, DILATE)
    assert dilated.macs(cells) < shifted.macs(cells)
    assert route(form, 2).method == DILATE
    assert route(form, 2, size=(16, 16)).method == SHIFT  # of one cell dilation would make two
    early = form_of(
        model_of(
            "INPUT[13x13x1] -> POOL3(S=2) -> CONV2-3(P=0) -> POOL3(S=2, fit=floor) -> POOL2(S=3, fit=floor) -> FC2"
        )
    )
    with pytest.raises(RewriteError, match=r"the last strides do not multiply|taken out in part"):
        route(early, early.sight.jump[0] // 2, DILATE)
    assert route(early, early.sight.jump[0] // 2).method == SHIFT


def test_dilation_is_that_of_the_network_rewritten():
    """One stride taken out as text, whose kernels behind are dilated as torch dilates them."""
    text, *_ = PADLESS["strided"]
    model = model_of(text)
    form = form_of(model)
    sliding = fc_to_conv(model.network, model.weights)
    spread = dilate(sliding.network, sliding.weights, "conv2")
    image = model.preprocessing(picture(33, 29)[None])
    module = build(at_size(spread.network, (33, 29)), weights=spread.weights).eval()
    with torch.no_grad():
        expected = module(torch.from_numpy(image)).numpy()
    found = form.finer((2, 2)).scores(image)
    assert found == pytest.approx(expected[:, :, : found.shape[2], : found.shape[3]], abs=1e-5)


def test_macs_of_a_map_are_those_of_its_passes():
    form = form_of(model_of(PADLESS["strided"][0]))
    plan = form.sized((3, 4)).plan()
    assert form.macs((3, 4)) == plan.totals["macs"]
    dilated = form.finer((2, 2))
    rows = dilated.sized((4, 4)).plan()
    assert dilated.macs((4, 4)) > rows["conv1"].cost.macs + 4 * form.sized((2, 2)).plan()["conv3"].cost.macs
    assert dilated.macs((4, 4)) < 4 * form.macs((2, 2))


@pytest.mark.parametrize("name", ["chain", "branches"])
def test_sequences_slide_too(name):
    text = {
        "chain": "INPUT[20x2] -> CONV3-4(P=0) -> RELU -> POOL2 -> CONV2-3(P=0) -> POOL2 -> FC5 -> RELU -> FC3",
        "branches": "INPUT[16x1] -> CONCAT[ CONV3-4(S=2, P=0, fit=floor) | CONV3-2(S=2, P=0, fit=floor) ]"
        " -> TANH -> GAP -> FC3",
    }[name]
    network = Network.parse(text)
    weights = initialise(network, 0, "he")
    x = np.random.default_rng(0).normal(size=(2, network.input_shape.channels, 61)).astype(np.float32)
    form = Form.of(network, weights)
    (window,), (jump,) = form.sight.window, form.sight.jump
    module = build(network, weights=weights).eval()
    for stride, method in ((jump, "auto"), (1, SHIFT), (1, DILATE)):
        way = route(form, stride, method)
        cells = way.cells(x.shape[2:])
        tiling = Tiling(way, cells, (3,), 0)
        found = np.empty((2, 3, *cells), np.float32)
        for block in tiling.blocks():
            for n in range(2):
                found[(n, slice(None), *block)] = tiling.scores(block, lambda part, n=n: x[(n, slice(None), *part)])
        with torch.no_grad():
            crops = [
                module(torch.from_numpy(x[:, :, k : k + window])).numpy() for k in range(0, 61 - window + 1, stride)
            ]
        assert found == pytest.approx(np.stack(crops, axis=-1), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "stride", "method"),
    [("chain", None, "auto"), ("chain", 1, SHIFT), ("chain", 2, DILATE), ("VGG", None, "auto"), ("VGG", 2, SHIFT),
     ("VGG", 1, DILATE), ("hanging over", None, "auto"), ("hanging over", 4, DILATE), ("ResNet", 1, DILATE)],
)  # fmt: skip
@pytest.mark.parametrize("side", [(1, 2), (3, 2)])
def test_tiles_have_no_seams(name, stride, method, side):
    """Borders included: a tile that begins where the image does pads as the whole does."""
    text, height, width = (PADLESS | PADDED)[name]
    model = model_of(text)
    found = score(model, picture(height, width, model.network.input_shape.channels), stride=stride, method=method)
    tiling = Tiling(found.route, found.cells, side, 0)
    blocks = list(tiling.blocks())
    assert len(blocks) > 2
    whole = np.full_like(found.scores, np.nan)
    for block in blocks:
        whole[(slice(None), *block)] = tiling.scores(block, found.plane.read)
    assert whole == pytest.approx(found.scores, abs=1e-5)


def test_tiles_are_as_large_as_their_memory_allows_and_read_no_more_than_that(monkeypatch):
    model = model_of(PADDED["VGG"][0])
    image = picture(200, 220, 3)
    whole = score(model, image)
    assert whole.tiling.count == 1
    spare = model_bytes(model)
    sizes = []
    read = type(whole.plane).read
    monkeypatch.setattr(
        type(whole.plane), "read", lambda self, part: sizes.append([s.stop - s.start for s in part]) or read(self, part)
    )
    tiled = score(model, image, memory=1)
    assert tiled.tiling.count > 1
    assert tiled.tiling.bytes <= 2**20 + spare
    assert tiled.scores == pytest.approx(whole.scores, abs=1e-5)
    for height, width in sizes:
        cells = tiled.route.form.cells((height, width))
        assert tiled.route.form.bytes(cells) <= tiled.tiling.bytes


def model_bytes(model) -> int:
    return form_of(model).network.plan().memory["inference_bytes"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("INPUT[8x8x1] -> CONV3-2 -> RELU", "this one gives a map"),
        ("INPUT[8x8x1] -> CONV3-2 -> SPP(2,1) -> FC3", "SPP pools the whole volume"),
        ("INPUT[8x8x1] -> CONV3-4 -> GROUPNORM(G=2) -> FC3", "GROUPNORM normalises"),
        ("INPUT[8x8x1] -> LOCAL3-4(P=0) -> FC3", "LOCAL has other weights"),
        ("INPUT[8x8x1] -> LCN5 -> FC3", "LCN"),
        ("INPUT[8x8x1] -> POOL2 -> UPSAMPLE2 -> FC3", "pool1, POOL2: windows 1 pixels apart do not lie alike"),
    ],
)
def test_a_network_that_cannot_slide_is_refused_with_its_layer(text, says):
    network = Network.parse(text)
    with pytest.raises(NeocogError, match=says.replace("(", r"\(")):
        Form.of(network, initialise(network, 0, "he"))


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("INPUT[16x16x1] -> CONV3-4 -> RELU -> POOL2 -> CONV3-4 -> BN -> POOL2 -> CONV1-3", (4, 4)),
        ("INPUT[12x16x1] -> CONV3-4(P=0) -> POOL2 -> CONV2-3(P=0) -> RELU -> CONV3x4-3(P=0) -> SOFTMAX", (10, 12)),
    ],
)
def test_a_network_that_gives_a_map_gives_a_larger_one_of_a_larger_image(text, window):
    model, image = model_of(text), picture(28, 36)
    found = score(model, image)
    assert found.route.sight.window == window
    whole = at_size(model.network, (28, 36))
    x = model.preprocessing.numbers(image[None])
    with torch.no_grad():
        wanted = build(whole, weights=model.weights).eval()(torch.from_numpy(x.numbers(x.images))).numpy()
    assert found.scores == pytest.approx(wanted[0], abs=1e-5)
    height, width = model.network.input_shape.spatial
    assert score(model, image[:height, :width]).cells == model.network.shapes[-1].spatial
    proof = prove(found)
    assert proof.holds
    assert proof.alone.crops == found.crops


def test_a_map_that_was_enlarged_has_no_single_cell():
    enlarged = model_of("INPUT[8x8x1] -> CONV3-2 -> POOL2 -> CONV1-3 -> UPSAMPLE2")
    with pytest.raises(NeocogError, match="no image has a single one"):
        score(enlarged, picture(16, 16))


def test_strides_and_sizes_that_cannot_be_are_refused():
    model = model_of(PADLESS["chain"][0])
    with pytest.raises(NeocogError, match="divides the network's own, which is 4 pixels") as caught:
        score(model, picture(25, 25), stride=3)
    assert caught.value.hint == "one of 1, 2, 4"
    with pytest.raises(NeocogError, match="the method is one of"):
        score(model, picture(25, 25), stride=2, method="magic")
    with pytest.raises(DataError, match="through a window of 12x12 pixels") as refused:
        score(model, picture(11, 30))
    assert (refused.value.received, refused.value.hint) == ("11x30 pixels", "a scale 1.1 times as large, by --scales")
    assert score(model, picture(11, 30), scale=1.1).cells == (1, 6)
    uneven = model_of("INPUT[12x12x1] -> POOL2x3 -> FC2")
    assert score(uneven, picture(14, 15)).cells == (2, 2)
    with pytest.raises(NeocogError, match="2x3 pixels"):
        score(uneven, picture(14, 15), stride=2)


def test_a_map_that_memory_cannot_hold_goes_into_a_file(monkeypatch):
    monkeypatch.setattr("neocog.dense.scoremap.available_memory", lambda: 1000)
    model = model_of(PADLESS["chain"][0])
    assert score(model, picture(25, 25)).cells == (4, 4)
    with pytest.raises(RunError, match=r"7 x 10 cells with 3 scores takes .* more than half") as refused:
        score(model, picture(25, 30), stride=2)
    assert "-o map.npy" in refused.value.hint


def test_what_a_cell_stands_for_and_sees():  # fact C11
    sight = Sight.of(Network.parse("INPUT[16x16x1] -> CONV3-2 -> POOL2 -> CONV3-2 -> POOL2 -> FC2"))
    assert (sight.window, sight.jump) == ((16, 16), (4, 4))
    assert (sight.first[0], sight.last[0]) == (-3, 18)  # 4 pool cells of 10 pixels, 4 apart
    assert sight.window_of((2, 3)) == (slice(8, 24), slice(12, 28))
    assert sight.field_of((2, 3))[0] == (5, 26)
    assert sight.overlap() == ((1, 1), (1, 1))
