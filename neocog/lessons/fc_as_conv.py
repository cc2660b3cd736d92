"""A fully connected layer as a convolution: the same scores, and one pass over a larger image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..initialise import initialise
from ..losses import softmax
from ..network import Network
from ..rewrite import at_size, fc_to_conv
from ..wording import Text
from ..zoo import zoo
from .drawing import Panel, matrix, photo, sheet
from .learning import DEVIATION, MEAN, SHAPE, SIDE, Digits, descend, digits
from .lesson import Claim, Lesson, Picture, Question, Table, Taught

TITLE = Text("A fully connected layer is a convolution", "全连接层就是卷积层")
HOW = Text(
    "An FC with K neurons on H x W x C is a CONV with K filters of H x W and P=0: on the trained size it has one "
    "position. Its weights are only written in another shape. On a larger image it slides, and one pass gives the "
    "scores of all windows. A network that learned {0} digits in {1} steps:",
    "H x W x C 上有 K 个神经元的 FC，就是 K 个 H x W 滤波器的 CONV，P=0：在训练时的大小上只有一个位置。"
    "权重只是换了形状。在更大的图像上它会滑动，一次前馈就给出所有窗口的得分。下面的网络用 {0} 张数字训练了 {1} 步：",
)
PAGE = Text(
    "A page of {0}x{1} with the digits {2}, seen through {3} windows 2 pixels apart. The windows that hold a "
    "digit, framed in the picture, read {4}.",
    "一张 {0}x{1} 的页面，上面是数字 {2}，用 {3} 个相距 2 个像素的窗口去看。"
    "正好装下一个数字的窗口（图中加框）读作 {4}。",
)
HEADER = (Text("layer", "层"), Text("as FC", "写作 FC"), Text("as CONV", "写作 CONV"), Text("parameters", "参数"))
VGG = Text(
    "FC4096 on 7x7x512 and CONV7-4096 with P=0: {0:,} parameters both, output {1}",
    "7x7x512 上的 FC4096 与 CONV7-4096（P=0）：参数都是 {0:,}，输出 {1}",
)
EQUAL = Text(
    "on the trained size both give the same scores for 64 digits, to 1e-12",
    "在训练时的大小上，两者对 64 张数字给出相同的得分，误差不超过 1e-12",
)
DENSE = Text(
    "one pass over the page gives the scores of its {0} windows cut out, to 1e-12",
    "对整页做一次前馈，就得到逐个裁剪的 {0} 个窗口的得分，误差不超过 1e-12",
)
LARGER = Text(
    "VGG-16 so on 384x384: {0} behind its last pooling, then {1}: the scores of {2} crops of 224x224, {3} "
    "pixels apart, in {4:.0f} times fewer multiplications",
    "这样改写的 VGG-16 用在 384x384 上：最后一次汇聚之后是 {0}，最后是 {1}，"
    "即 {2} 个相距 {3} 像素的 224x224 裁剪的得分，乘法次数是逐个裁剪的 {4:.0f} 分之一",
)
CHEAPER = Text(
    "it takes {0:,} multiplications; the windows one by one take {1:,}, {2:.1f} times as many",
    "它用 {0:,} 次乘法；逐个裁剪要 {1:,} 次，是它的 {2:.1f} 倍",
)
SIZE = Text("a page of {0}x{1}", "{0}x{1} 的页面")
LIKELIEST = Text("likeliest class of each window, by one pass", "一次前馈得到的每个窗口最可能的类别")
NET = f"{SHAPE} -> CONV3-6(P=0) -> RELU -> POOL2 -> FC24 -> RELU -> FC10"
HEAD = "CONV7-4096(P=0) -> RELU -> DROPOUT(0.5) -> CONV1-4096 -> RELU -> DROPOUT(0.5) -> CONV1-1000"
IMAGES, STEPS, SHOWN, STRIDE, ROWS, CELL = 2000, 150, 5, 2, 20, 28


class Pass(NamedTuple):
    """Scores (10, rows, columns) of every window of a page: by one pass, and of each window cut out."""

    dense: NDArray[np.float64]
    crops: NDArray[np.float64]


def page(data: Digits) -> NDArray[np.float64]:
    """Digits side by side, each a little lower than the one before it, on ground: (1, 1, ROWS, W)."""
    made = np.full((1, 1, ROWS, SIDE * len(data.x)), -MEAN / DEVIATION)
    for digit, (row, column) in zip(data.x, places(len(data.x)), strict=True):
        top, left = STRIDE * row, STRIDE * column
        made[0, 0, top : top + SIDE, left : left + SIDE] = digit[0]
    return made


def places(count: int) -> list[tuple[int, int]]:
    """The windows (row, column) that hold the digits."""
    rows = 1 + (ROWS - SIDE) // STRIDE
    return [(k % rows, k * SIDE // STRIDE) for k in range(count)]


def passes(network: Network, weights: dict[str, NDArray[np.float32]], image: NDArray[np.float64]) -> Pass:
    """Both ways to score every window."""
    slid = fc_to_conv(network, weights)
    wide = at_size(slid.network, image.shape[2:])
    dense = reference.forward(wide, slid.weights, image).outputs[-1][0]
    starts = [range(0, n - SIDE + 1, STRIDE) for n in image.shape[2:]]
    cut = np.concatenate([image[:, :, r : r + SIDE, c : c + SIDE] for r in starts[0] for c in starts[1]])
    scores = reference.forward(network, weights, cut).output
    return Pass(dense, scores.T.reshape(-1, *map(len, starts)))


def teach(question: Question) -> Taught:
    """A short training, its network rewritten, and a page of digits."""
    steps = question.steps or STEPS
    network, weights = _learned(question.seed, steps)
    slid, tests = fc_to_conv(network, weights), digits(64, "test")
    as_fc, as_conv = (reference.forward(*both, tests.x).output for both in ((network, weights), slid))
    equal = float(np.abs(as_fc - as_conv).max())
    shown = Digits(tests.x[:SHOWN], tests.labels[:SHOWN])
    image = page(shown)
    found = passes(network, weights, image)
    gap, windows = float(np.abs(found.dense - found.crops).max()), found.crops[0].size
    once = int(at_size(slid.network, image.shape[2:]).plan().totals["macs"])
    each = windows * int(network.plan().totals["macs"])
    best = found.dense.argmax(axis=0)
    read = [int(best[place]) for place in places(SHOWN)]
    held, said = (" ".join(map(str, numbers)) for numbers in (shown.labels, read))
    return Taught(
        blocks=(
            HOW.filled(IMAGES, steps),
            Table(HEADER, _rows(network, slid.network)),
            PAGE.filled(*image.shape[2:], held, windows, said),
        ),
        claims=(
            _first_fc_of_vgg(),
            Claim(EQUAL, equal < 1e-12),
            Claim(DENSE.filled(windows), gap < 1e-12),
            _vgg_on_a_larger_image(),
            Claim(CHEAPER.filled(once, each, each / once), once < each),
        ),
        numbers={
            "network": str(network),
            "rewritten": str(slid.network),
            "largest_difference": equal,
            "largest_difference_of_windows": gap,
            "windows": windows,
            "likeliest": best.tolist(),
            "read": read,
            "multiplications": {"one_pass": once, "crops": each},
        },
        picture=_picture(image[0, 0], found.dense, best),
    )


def _learned(seed: int, steps: int) -> tuple[Network, dict[str, NDArray[np.float32]]]:
    """A network and the weights of a short training."""
    network = Network.parse(NET)
    start = initialise(network, seed)
    learned = descend(network, start, digits(IMAGES), batch=32, steps=steps, lr=0.05, seed=seed)
    return network, {name: w.astype(np.float32) for name, w in learned.weights.items()}


def _rows(network: Network, slid: Network) -> tuple[tuple[str, ...], ...]:
    """For each FC its name, itself, the CONV in its place, and its parameters."""
    parameters = [node.layer.cost(*network.input_shapes(node)).parameters for node in network.nodes]
    both = zip(network.nodes, slid.nodes, parameters, strict=True)
    return tuple((a.name, str(a.layer), str(b.layer), f"{count:,}") for a, b, count in both if a.layer.op == "FC")


def _first_fc_of_vgg() -> Claim:
    fc, conv = (Network.parse(f"INPUT[7x7x512] -> {token}") for token in ("FC4096", "CONV7-4096(P=0)"))
    counted = [int(net.plan().totals["parameters"]) for net in (fc, conv)]
    return Claim(VGG.filled(counted[1], conv.shapes[-1]), counted[0] == counted[1] and fc.shapes[-1] == conv.shapes[-1])


def _vgg_on_a_larger_image() -> Claim:
    vgg, jump = larger()
    shapes = dict(zip((node.name for node in vgg.nodes), vgg.shapes, strict=True))
    trunk, scores = shapes["pool5"], vgg.shapes[-1]
    saved = scores.positions * zoo("vgg16").plan().totals["macs"] / vgg.plan().totals["macs"]
    holds = (trunk.as_list(), scores.as_list(), jump) == ([12, 12, 512], [6, 6, 1000], 32) and saved > 1
    return Claim(LARGER.filled(trunk, scores, scores.positions, jump, saved), holds)


def larger() -> tuple[Network, int]:
    """VGG-16 with its FCs as CONVs, for 384x384, and how many pixels lie between two of its windows (fact N2)."""
    text = str(zoo("vgg16")).replace("224x224", "384x384")
    text = text.replace("[FC4096 -> RELU -> DROPOUT(0.5)]*2 -> FC1000", HEAD)
    network = Network.parse(text)
    return network, int(network.plan().as_dict()["layers"][-1]["receptive_field"]["jump"])


def _picture(image: NDArray[np.float64], dense: NDArray[np.float64], best: NDArray[np.int64]) -> Picture:
    """The page, and the likeliest class of each window, the redder the likelier; a frame where a digit is."""
    ink = np.rint(255 - 255 * np.clip(image * DEVIATION + MEAN, 0, 1)).astype(np.uint8)
    held = np.zeros(best.shape, bool)
    for place in places(SHOWN):
        held[place] = True
    likely = softmax(np.moveaxis(dense, 0, -1)).max(axis=-1)
    return sheet(
        TITLE,
        [
            [Panel(SIZE.filled(*image.shape), photo(ink, CELL * best.shape[1]))],
            [Panel(LIKELIEST, matrix(best, CELL, held, likely))],
        ],
    )


LESSON = Lesson("fc-as-conv", TITLE, ("N1", "N2", "N5"), teach, frozenset({"steps"}))
