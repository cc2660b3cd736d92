"""The benchmark: peers answer, take turns, compute the network that was meant, and what they said is written down."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from neocog import Network
from neocog.torch_engine import build

BENCH = Path(__file__).parents[1] / "bench"
sys.path[:0] = [str(BENCH), str(BENCH / "peers")]

import chart  # noqa: E402
import dense  # noqa: E402
import inference  # noqa: E402
import networks  # noqa: E402
import page  # noqa: E402
import speed  # noqa: E402
import to_99  # noqa: E402
import with_torch  # noqa: E402
from contenders import CONTENDERS, Contender, PeerError, Process  # noqa: E402

NET = Network.parse("INPUT[4x4x1] -> FC2")
PEER = f"""
import os, sys
sys.path.insert(0, {str(BENCH / "peers")!r})
from serve import CannotError, Work, serve

def make(nodes, batch, training, name, trick="", **_):
    log = open({{log!r}}, "a")
    print("noise on standard output")
    print(name, "makes", file=log, flush=True)
    if trick == "cannot":
        raise CannotError("no FC")
    if trick == "wrong":
        return Work(7, lambda: None)
    if trick == "dies":
        sys.stderr.write("out of memory\\n")
        sys.stderr.flush()
        os._exit(3)
    if trick == "fails":
        return Work(34, lambda: 1 / 0)
    return Work(34, lambda: print(name, "steps", file=log, flush=True))

serve(make, {{{{"fake": "1.0"}}}})
"""


@pytest.fixture
def fake(tmp_path):
    """Contenders that run a script which logs what it is told."""
    script, log = tmp_path / "peer.py", tmp_path / "log"
    script.write_text(PEER.format(log=str(log)), encoding="utf-8")
    log.touch()

    def make(name: str, **settings: str) -> Contender:
        return Contender(name, script, Path(sys.executable), {"name": name, **settings})

    make.log = log
    return make


def job(training: bool = True) -> speed.Job:
    return speed.Job("tiny", NET, 8, training)


def test_a_peer_answers_and_its_noise_is_no_answer(fake):
    with Process(fake("one")) as process:
        assert process.versions == {"fake": "1.0"}
        assert process.make(**job().work()) == 34
        assert process.run(0.0) > 0
        process.drop()
        with pytest.raises(PeerError, match="unknown"):
            process.run(0.0)


@pytest.mark.parametrize(
    ("trick", "says"), [("cannot", "no FC"), ("dies", "ended with 3: out of memory"), ("fails", "ZeroDivisionError")]
)
def test_a_peer_says_why_it_has_no_answer(fake, trick, says):
    with Process(fake("one", trick=trick)) as process, pytest.raises(PeerError, match=says):
        process.make(**job().work())


def test_a_library_that_is_not_installed_is_named(fake):
    with pytest.raises(PeerError, match="make bench-env"):
        Process(replace(fake("one"), python=Path("nowhere/python")))


@pytest.mark.parametrize("share", [speed.SHARE_OF_MEMORY, 0.0], ids=["together", "one by one"])
def test_contenders_take_turns(fake, monkeypatch, share):
    monkeypatch.setattr(speed, "SHARE_OF_MEMORY", share)
    with speed.Arena([fake("a"), fake("b")]) as arena:
        result = arena.measure(job(), 0.0, rounds=3)
    steps = [line.split()[0] for line in fake.log.read_text("utf-8").splitlines() if "steps" in line]
    turns = [name for name, before in zip(steps, [None, *steps], strict=False) if name != before]
    assert turns[-6:] == ["a", "b"] * 3
    assert all(set(seen) == {"a", "b"} for seen in result.rounds)
    assert len(result.limits) == 3


@pytest.mark.parametrize(
    ("trick", "says"), [("wrong", "made 7 parameters instead of 34"), ("dies", "out of memory"), ("cannot", "no FC")]
)
def test_one_that_fails_is_noted_and_the_others_go_on(fake, trick, says):
    with speed.Arena([fake("bad", trick=trick), fake("good")]) as arena:
        for _ in range(2):
            result = arena.measure(job(), 0.0, rounds=2)
            assert result.rate("bad") is None
            assert result.rate("good") > 0
        assert any(says in note and "bad" in note and "tiny" in note for note in speed.notes([arena]))


def test_those_that_only_predict_do_not_train(fake):
    predicts, slow = replace(fake("predicts"), trains=False), replace(fake("slow"), slow=True)
    assert not job(training=True).takes(predicts)
    assert job(training=False).takes(predicts)
    assert job().takes(slow)
    assert not replace(job(), slow=False).takes(slow)


def result(**rounds: list[float]) -> speed.Result:
    names = list(rounds)
    seen = [dict(zip(names, row, strict=True)) for row in zip(*rounds.values(), strict=True)]
    return speed.Result(job(), seen, [1e9] * len(seen), [0.1] * len(seen))


def test_ratios_are_medians_of_the_rounds_ratios():
    a, b, c = (replace(CONTENDERS[0], name=name) for name in "abc")
    found = result(a=[10.0, 40.0, 30.0], b=[5.0, 10.0, 10.0], c=[1.0, 20.0, 5.0])
    assert found.rate("a") == 30.0
    assert found.ratio([a], [b, c]) == 2.0  # of 10/5, 40/20 and 30/10
    assert found.ratio([a], [replace(a, name="absent")]) is None


def test_a_contender_that_left_early_has_no_rate():
    found = result(a=[1.0, 2.0])
    del found.rounds[1]["a"]
    assert found.rate("a") is None


def test_the_share_of_the_limit_counts_useful_operations():
    found = result(native=[1e6, 1e6])  # 32 multiply-adds forwards and for the weights; none for images
    assert found.share() == pytest.approx(1e6 * 2 * 64 / 1e9)
    assert networks.operations(NET.plan(), training=False) == 64


def test_the_table_shows_every_contender_that_ran():
    shown = [c for c in CONTENDERS if c.name in ("native", "torch", "JAX")]
    head, _, line = speed.table([result(native=[2000.0], torch=[1000.0])], shown)
    assert "| native | torch | ours / torch" in head
    assert line.startswith("| tiny | 8 | 2,000 | 1,000 | 2.00 | 2.00 |")
    one = list(speed.table([result(native=[2000.0], torch=[1000.0])], shown, one=True))
    assert one[-1].startswith("| tiny | 500 | 1,000 |")


def test_the_table_of_runtimes_sets_float32_beside_float32():
    rates = {"neocog": [300.0], "neocog bfloat16": [800.0], "torch": [100.0], "OpenVINO": [400.0]}
    _, _, line = inference.table([result(**rates)], ["native"], inference.ALL)
    assert line == "| tiny | 8 | 300 | 800 | 100 | 400 | native | 3.00 | 2.00 | 0.1 |"


def test_every_network_of_the_table_of_runtimes_is_run_with_its_batches():
    made = [(job.name, job.batch, job.training) for job in inference.jobs(inference.NETS, [])]
    assert ("resnet50", 16, False) in made
    assert ("lenet5-relu", 1024, False) in made
    assert all(job.takes(contender) for job in inference.jobs(["alexnet"], [2]) for contender in inference.ALL)


def test_auto_is_one_of_ours():
    assert job().auto() in [c.name for c in CONTENDERS if c.ours]


def test_what_is_written_replaces_what_was_between_the_marks(tmp_path):
    path = tmp_path / "page.md"
    begin, end = page.marks("bench/speed.py")
    path.write_text(f"before\n{begin}old\n{end}after\n", encoding="utf-8")
    for _ in range(2):
        page.write("bench/speed.py", ["new"], path)
        assert path.read_text(encoding="utf-8") == f"before\n{begin}\nnew\n\n{end}after\n"


@pytest.mark.parametrize("script", ["bench/speed.py", "bench/inference.py", "bench/to_99.py"])
def test_the_page_has_the_marks(script):
    text = page.PAGE.read_text(encoding="utf-8")
    assert [text.count(mark) for mark in page.marks(script)] == [1, 1]


def test_the_chart_shows_every_network_and_contender_where_it_belongs():
    svg = ElementTree.fromstring(chart.draw({"a < b": {"torch": 1.0, "native": 4.0}, "c": {"torch": 1.0, "JAX": 0.5}}))
    labels = [element.text for element in svg.iter() if element.tag.endswith(("text", "}title"))]
    assert {"a < b", "c", "torch", "native", "JAX"} <= set(labels)
    place = {dot[0].text: float(dot.get("cx")) for dot in svg.iter() if dot.tag.endswith("circle") and len(dot)}
    assert len(place) == 4
    assert place["c, JAX: 0.50"] < place["c, torch: 1.00"] < place["a < b, native: 4.00"]


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_networks_of_the_benchmark_are_plain_json(name):
    network = networks.NETWORKS[name].network()
    nodes = json.loads(json.dumps(networks.nodes_of(network)))
    assert [node["op"] for node in nodes] == [node.layer.op for node in network.nodes]


@pytest.mark.parametrize(
    "text",
    [
        *(networks.NETWORKS[name].text for name in ("lenet5-relu", "resnet20", "all-cnn-c", "1-D text")),
        "INPUT[9x7x4] -> CONV3-6(S=2, G=2) -> BN(eps=1e-3) -> TANH -> LRN(n=3, alpha=0.1) -> AVGPOOL2x1(S=1) -> FC5",
        "INPUT[8x8x2] -> CONV3-4(S=2, fit=ceil, BIAS=no) -> SIGMOID -> POOL3(S=2, P=1, fit=ceil) -> FLATTEN -> FC3",
        "INPUT[8x8x3] -> RELU -> CONV3-4(D=2) -> ADD[ CONV1-8(S=2, fit=floor) | SHORTCUT(K=8) ] -> RELU -> GAP",
    ],
)
def test_the_interpreter_computes_the_network(text):
    """With the same weights in the same order it gives the scores of neocog's module."""
    network = Network.parse(text) if "[" in text else networks.zoo(text)
    module = build(network).eval()
    nodes = json.loads(json.dumps(networks.nodes_of(network)))
    net = with_torch.Net(nodes)
    with torch.no_grad():
        for mine, theirs in zip(net.parameters(), module.parameters(), strict=True):
            mine.copy_(theirs + 0.01)
            theirs.copy_(mine)
        x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, *nodes[0]["shape"])).astype(np.float32))
        before = x.clone()
        torch.testing.assert_close(with_torch.checked(net, nodes)(x).flatten(1), module(x).flatten(1))
        assert torch.equal(x, before)
    assert sum(p.numel() for p in net.parameters()) == network.plan().totals["parameters"]


@pytest.mark.parametrize(
    ("text", "says"), [("INPUT[4x4x2] -> CONV3-2(FLIP=yes)", "flipped"), ("INPUT[4x4x2] -> GELU -> FC2", "no GELU")]
)
def test_what_a_peer_cannot_build_is_said(text, says):
    with pytest.raises(with_torch.CannotError, match=says):
        with_torch.Net(networks.nodes_of(Network.parse(text)))


LEARNER = """
import json, sys
for epoch, accuracy in enumerate({accuracies}, start=1):
    print("noise")
    print(json.dumps({{"epoch": epoch, "accuracy": accuracy, "seconds": 2.0 * epoch}}), flush=True)
"""


def learned(folder: Path, *accuracies: float) -> to_99.Learned:
    script = folder / "learner.py"
    script.write_text(LEARNER.format(accuracies=accuracies), encoding="utf-8")
    return to_99.learn(to_99.Learner("fake", script, Path(sys.executable)), folder / "digits", seed=0)


def test_a_learner_is_stopped_when_it_is_there(tmp_path):
    found = learned(tmp_path, 0.5, 0.99, 0.98)
    assert (found.epochs, found.training, found.accuracy) == (2, 4.0, 0.99)
    assert found.whole > 0


def test_a_learner_that_does_not_get_there_has_no_time(tmp_path):
    short, there = learned(tmp_path, 0.5, 0.98), learned(tmp_path, 0.99)
    assert to_99.seconds([there, short], 0.99) is None
    assert to_99.seconds([there, there], 0.99) == 2.0
    *_, first, second = to_99.table({"neocog": [there], "short": [short]})
    assert first.startswith("| neocog | 2.0 |")
    assert "| 1.0 |" in first
    assert second.startswith("| short | - | - | 2 | 98.00% | - |")


def test_a_learner_that_fails_ends_the_run_with_its_words(tmp_path):
    script = tmp_path / "learner.py"
    script.write_text("raise RuntimeError('no digits')", encoding="utf-8")
    with pytest.raises(SystemExit, match="RuntimeError: no digits"):
        to_99.learn(to_99.Learner("fake", script, Path(sys.executable)), tmp_path / "digits", seed=0)


def test_a_pass_takes_turns_with_its_crops_and_the_plan_stands_beside(tmp_path):
    network = Network.parse("INPUT[16x16x1] -> [CONV3-4 -> RELU -> POOL2]*2 -> FC5")
    found = dense.measured(network, 32, rounds=1)
    assert [(one.name, one.cells) for one in found] == [
        ("one pass, stride 4", 25),
        ("crops in batches of 12, stride 4", 25),
        ("crops one by one, stride 4", 25),
        ("dilated, stride 2", 81),
        ("4 shifted passes, stride 2", 81),
        ("crops in batches of 12, stride 2", 81),
    ]
    assert found[2].macs == 25 * network.plan().totals["macs"] > found[0].macs
    assert found[3].macs < found[4].macs < found[5].macs
    table = dense.lines(found, "a small net on 32x32")
    assert table[4].startswith("| one pass, stride 4 | 25 | ")
    assert table[4].endswith("| 1.00 | 1.00 |")
    begin, end = page.marks("bench/dense.py")
    assert begin + "\n" in dense.PAGE.read_text(encoding="utf-8")
    target = tmp_path / "dense.md"
    target.write_text(f"before\n{begin}\n{end}after\n", encoding="utf-8")
    page.write("bench/dense.py", table, target)
    assert table[4] in target.read_text(encoding="utf-8")
