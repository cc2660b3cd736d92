"""Runs: they learn, are steered, rest, go on from snapshots, and are done again to the same bits."""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
import weakref
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest
from studio_requests import reach, rest

from neocog import train
from neocog.data import load_data
from neocog.errors import NeocogError, RunError
from neocog.model import Model, load
from neocog.network import Network
from neocog.plan.recomputing import recomputing
from neocog.studio import Workshop, choosing, routes, workshop
from neocog.studio.orders import Orders
from neocog.studio.records import MOST_POINTS, Allowance, Curve, Share
from neocog.training import session
from neocog.training.room import Room

SMALL = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> POOL2 -> FC10"


def same(a, b):
    assert a.keys() == b.keys()
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_it_learns(digits):
    told = digits.state(curves=True)
    assert told["status"] == "paused"
    assert told["seen"] >= 60 * 64
    curve = told["curves"]["loss"]
    assert np.mean([v for _, v in curve[-5:]]) < 0.6 * curve[0][1]
    assert told["validation_accuracy"] > 0.3
    assert told["forward_ms"] > 0
    assert told["images_per_second"] > 0
    weights = digits.model().weights
    expected = 0.5 * 5e-4 * sum(float((w.astype(float) ** 2).sum()) for w in weights.values() if w.ndim > 1)
    assert told["decay_loss"] == pytest.approx(expected, rel=1e-3)


def test_held_out_images_are_never_learned_from(digits):
    session = digits.session()
    assert len(session.measured_on) == len(session.data.train) // 10
    assert len(session.learned_from) + len(session.measured_on) == len(session.data.train)


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("engine", ["native", "torch"])
def test_edits_are_events_and_are_done_again_to_the_same_bits(engine):
    shop = Workshop()
    try:
        first = shop.begin(SMALL, "mnist", {"seed": 3}, engine, paused=True)
        rest(first, 7)
        first.edit({"lr": 0.005, "momentum": 0.5})
        rest(first, 12)
        first.edit({"batch_size": 16})
        first.edit({"weight_decay": 0.01})
        ended = rest(first, 20)
        assert [one["step"] for one in first.events] == [7, 12, 12]
        second = shop.again(first.name)
        second.ready.wait()
        while second.step < 20 or not second.paused:
            second.ask(lambda: None).result()
        assert second.events == first.events
        assert same(second.ask(second.engine.state).result(), ended)
        third = shop.begin(SMALL, "mnist", {"seed": 3}, engine, paused=True)
        assert not same(rest(third, 20), ended)
    finally:
        shop.close()


def test_a_snapshot_goes_on_to_the_same_bits(shop, api):
    live = shop.begin(SMALL, "mnist", {"seed": 4, "optimizer": "adamw"}, paused=True)
    rest(live, 5)
    live.edit({"lr": 0.002})
    rest(live, 8)
    file = api("GET", f"runs/{live.name}/snapshot")
    assert "attachment" in file.headers["content-disposition"]
    ended = rest(live, 14)
    told = api("POST", "snapshots", file.body).json
    other = shop.run(told["name"])
    assert same(rest(other, 14), ended)
    assert (other.settings.lr, other.settings.optimizer, other.events) == (0.002, "adamw", live.events)


@pytest.mark.parametrize(
    "damage",
    [lambda c: c[:-10], lambda c: c[:500], lambda c: c[:-1] + b"x", lambda c: b"", lambda c: b"PK\x03\x04" + c],
)
def test_damaged_snapshots_are_refused(api, digits, damage):
    content = api("GET", f"runs/{digits.name}/snapshot").body
    answer = api("POST", "snapshots", damage(content))
    assert answer.status == 400
    assert "tmp" not in answer.json["error"]["where"] + answer.json["error"]["rule"]


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["studio"].update(events=[{"step": "x", "changes": {}}]),
        lambda config: config["studio"].update(events=[{"step": 1, "changes": {"seed": 3}}]),
        lambda config: config["studio"].update(events=[{"step": 1, "changes": {}}] * 2000),
        lambda config: config["studio"].update(seen="many"),
        lambda config: config.pop("studio"),
        lambda config: config["settings"].update(batch_size="x"),
        lambda config: config["settings"].update(momentum=[1]),
        lambda config: config["settings"].update(lr=-1.0),
        lambda config: config["data"].update(name="/etc"),
        lambda config: config.update(network="INPUT[1x1x1] -> FC2"),
        lambda config: config.update(network=7),
    ],
)
def test_hostile_snapshots_with_the_right_checksum_are_refused(api, digits, change):
    made = digits.checkpoint()
    config = json.loads(json.dumps(made.config))
    change(config)
    answer = api("POST", "snapshots", replace(made, config=config).sealed())
    assert answer.status == 400
    assert answer.json["error"]["rule"]


def test_a_model_is_saved_and_gives_its_weights_to_a_run(shop, api, digits, tmp_path):
    file = api("GET", f"runs/{digits.name}/model").body
    path = tmp_path / "model.safetensors"
    path.write_bytes(file)
    model = load(path)
    assert isinstance(model, Model)
    other = shop.run(api("POST", "snapshots", file).json["name"])
    other.ready.wait()
    assert same(other.ask(other.engine.weights).result(), dict(model.weights))


def test_settings_that_cannot_be_are_refused(api, digits):
    before = digits.settings
    for body in (
        {"momentum": 1.5},
        {"lr": -1},
        {"batch_size": 0},
        {"lr": "x"},
        {"optimizer": "sgd"},
        {"weight_decay": -1},
    ):
        assert api("PATCH", f"runs/{digits.name}", body).status in (400, 422), body
    assert digits.settings == before
    for body in (
        {"text": "INPUT[28x28x1] -> FC9"},
        {"text": SMALL, "data": "/etc"},
        {"text": "INPUT[32x32x3] -> FC10"},
        {"text": "x"},
    ):
        assert api("POST", "runs", body).status == 400, body


def test_what_does_not_fit_into_memory_is_refused(api):
    answer = api("POST", "runs", {"text": "INPUT[28x28x1] -> FC10000000 -> FC10"})
    assert answer.status == 400
    assert "by the plan" in answer.json["error"]["received"]


def test_a_step_that_fits_with_volumes_computed_twice_is_let_through(monkeypatch):
    network = Network.parse("INPUT[28x28x1] -> [CONV3-8 -> RELU]*9 -> FC10")
    chosen = choosing.chosen_settings(network, {"batch_size": 256}, 10)
    whole = network.plan(batch=256, optimizer="nesterov").memory["training_bytes"]
    least = recomputing(network, 256, "float32", "nesterov").training.peak.bytes
    monkeypatch.setattr(choosing, "available_memory", lambda: (whole + least) // 2)
    choosing.check_settings(network, chosen, 1000)
    monkeypatch.setattr(choosing, "available_memory", lambda: least - 1)
    with pytest.raises(NeocogError, match="more memory"):
        choosing.check_settings(network, chosen, 1000)


def test_a_loss_that_is_not_finite_stops_the_run(shop):
    live = shop.begin(SMALL, "mnist", {"lr": 1e30, "optimizer": "sgd"})
    reach(live, 10**6)
    assert live.status == "diverged"
    assert "learning rate" in live.message


def test_only_one_run_learns_at_a_time(shop, digits):
    live = shop.begin(SMALL, "mnist", {})
    live.ready.wait()
    assert digits.paused
    shop.remove(live.name)
    assert live not in shop.runs


@pytest.mark.usefixtures("few_digits")
def test_optimizers_are_compared_in_turn(monkeypatch):
    monkeypatch.setattr(workshop, "OPTIMIZERS", ("sgd", "nesterov", "adamw"))
    shop = Workshop()
    try:
        runs = shop.compare(SMALL, "mnist", {"seed": 2, "lr": 7.0}, 4)
        for run in runs:
            while run.step < 4 or not run.paused:
                run.ask(lambda: None).result()
        assert [run.step for run in runs] == [4, 4, 4]
        assert [run.settings.optimizer for run in runs] == ["sgd", "nesterov", "adamw"]
        assert [run.settings.lr for run in runs] == [0.1, 0.02, 0.004]  # each its own, not that of the request
        shop.resume(runs[1].name)
        reach(runs[1], 6)  # beyond the end, once one says so
    finally:
        shop.close()


def test_curves_are_told_again_when_they_have_changed(shop, digits):
    shown = {}

    def told():
        return next(run for run in told_now(shop, shown) if run["name"] == digits.name)

    told_now = routes.live._states_with_curves
    assert "curves" in told()
    assert "curves" not in told()
    digits.clear()
    assert told()["curves"]["loss"] == []
    assert "curves" not in told()


def test_a_run_that_was_removed_is_forgotten_whole(shop):
    live = shop.begin(SMALL, "mnist", {}, paused=True)
    shop.layers(live.name, {}, 0, 2)
    gone = weakref.ref(live)
    shop.remove(live.name)
    del live
    gc.collect()
    assert gone() is None
    assert all(run in shop.runs for run in shop._insides)


def test_whoever_asks_a_run_that_ends_is_answered():
    orders = Orders()
    first = orders.ask(lambda: 7)
    orders.end()
    assert first.result(timeout=0) == 7
    with pytest.raises(RunError, match="has ended"):
        orders.ask(lambda: 8).result(timeout=0)


def test_an_edit_that_would_take_too_much_memory_is_refused(api, digits, monkeypatch):
    monkeypatch.setattr(choosing, "available_memory", lambda: 10**6)
    answer = api("PATCH", f"runs/{digits.name}", {"batch_size": 10_000})
    assert answer.status == 400
    assert "memory" in answer.json["error"]["rule"]
    assert api("PATCH", f"runs/{digits.name}", {}).status == 400


def test_an_edit_keeps_what_makes_a_step_fit_into_memory(shop, monkeypatch):
    live = shop.begin(SMALL, "mnist", {}, "torch", paused=True)
    live.ready.wait()
    assert live.engine.module.cuts == ()
    monkeypatch.setattr(session, "room_for", lambda *_: Room((2,), "; in pieces"))
    live.edit({"batch_size": 32}).result()
    assert live.engine.module.cuts == (2,)
    assert live.state()["engine"].endswith("in pieces")
    before = live.engine

    def no_room(*_):
        raise RunError("a training step needs more memory than is free")

    monkeypatch.setattr(session, "room_for", no_room)
    with pytest.raises(RunError, match="more memory"):
        live.edit({"batch_size": 64, "momentum": 0.5}).result()
    assert live.engine is before
    assert (live.settings.batch_size, live.settings.momentum, len(live.events)) == (32, 0.9, 1)
    rest(live, 3)  # and goes on
    shop.remove(live.name)


def test_a_look_asks_the_engine_once(digits, monkeypatch):
    """A few images alone would have a plan of their own made for them, for seconds."""
    asked = []
    answers = digits.engine.answers
    monkeypatch.setattr(digits.engine, "answers", lambda pixels: asked.append(len(pixels.images)) or answers(pixels))
    digits.ask(digits._look).result()
    assert asked == [100 + 4 * 3]  # held-out images, and each test image in its views


def test_curves_never_grow():
    curve, sent = Curve(), []
    for step in range(1, 100_001):
        curve.add(step, float(step % 7))
        if step % 10_000 == 0:
            sent.append(len(json.dumps(curve.shown())))
    assert MOST_POINTS / 2 <= len(curve.points) <= MOST_POINTS
    assert max(sent) < 12_000
    steps = [step for step, _ in curve.points]
    assert steps == sorted(steps)
    assert np.mean([v for _, v in curve.points]) == pytest.approx(3, abs=0.05)


def test_a_share_is_of_the_latest_images():
    share = Share(100)
    for right in (0, 0, 50, 50):
        share.add(right, 50)
    assert (share.value, share.count) == (1.0, 100)


def test_looking_takes_at_most_its_share_of_the_time():
    now, looking = [0.0], 0.0
    allowance = Allowance(0.04, 0.3, lambda: now[0])
    while now[0] < 1000:
        if allowance.due:
            with allowance.spent():
                now[0] += 0.5
                looking += 0.5
        else:
            now[0] += 0.1
    assert looking / now[0] < 0.04


def test_parts_of_a_look_are_paid_for_together():
    now = [5.0]
    allowance = Allowance(0.1, 0.3, lambda: now[0])
    for _ in range(2):
        with allowance.spent():
            now[0] += 1.0
        now[0] += 3.0  # learning in between
    now[0] = 24.9
    assert not allowance.due
    now[0] = 25.1
    assert allowance.due


def test_looking_inside_waits_until_it_is_cheap_enough(shop, monkeypatch):
    live = shop.begin(SMALL, "mnist", {})
    reach(live, 3)
    monkeypatch.setattr(Allowance, "due", property(lambda self: False))
    first = shop.layers(live.name, {}, 0, 4)
    assert shop.layers(live.name, {}, 0, 4) is first
    assert shop.layers(live.name, {}, 1, 4) is not first  # another question is answered at once
    assert shop.layers(live.name, {}, 0, 4) is first  # and takes no other's place
    live.pause(True)
    for _ in range(2):  # the second waits until it rests
        live.ask(lambda: None).result()
    rested = shop.layers(live.name, {}, 0, 4)
    assert rested.looks > first.looks  # at rest what is newer is told at once
    assert shop.layers(live.name, {}, 0, 4) is rested  # and what is not, without looking again
    shop.remove(live.name)


def test_what_is_told_has_the_same_size_however_long_a_run_was(digits):
    before = len(json.dumps(digits.state(curves=True)))
    for step in range(digits.step, digits.step + 50_000):
        digits.curves["loss"].add(step, 0.123456789)
    digits.events.extend({"step": 1, "changes": {"lr": 0.1}} for _ in range(500))
    grown = len(json.dumps(digits.state(curves=True)))
    del digits.events[:]
    assert grown < before + 16_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    splits = load_data("mnist")
    few = type(splits)(splits.train.subset(np.arange(2000)), splits.test.subset(np.arange(200)))
    folder = tmp_path_factory.mktemp("runs") / "<i>run"
    train(Network.parse(SMALL), few, epochs=2, out=folder, progress="none")
    return folder


def test_a_finished_run_is_shown(finished, api, shop):
    name = shop.attach(finished).name
    told = next(run for run in api("GET", "runs").json if run["name"] == name)
    assert (told["status"], told["epoch"], told["kind"]) == ("finished", 2, "attached")
    assert len(told["curves"]["validation_accuracy"]) == 2
    assert told["lr"] is not None
    assert len(api("POST", "runs/%3Ci%3Erun/layers", {"count": 3}).json["layers"]) == 3
    assert api("PATCH", "runs/%3Ci%3Erun", {"lr": 0.1}).status == 400  # it is only looked at


def test_a_running_run_is_followed_line_by_line(finished, tmp_path):
    from neocog.studio.attached import Attached

    folder = tmp_path / "going"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    lines = (finished / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    attached = Attached("going", folder)
    assert attached.state()["status"] == "elsewhere"
    seen = []
    for line in lines:
        with (folder / "metrics.jsonl").open("ab") as file:
            file.write(line[:5])
        attached.state()
        with (folder / "metrics.jsonl").open("ab") as file:
            file.write(line[5:])
        seen.append(attached.state(curves=True))
    assert seen[-1]["epoch"] == 2
    assert len(seen[-1]["curves"]["validation_loss"]) == 2
    (folder / "metrics.jsonl").write_bytes(b"".join(lines[:3]))  # as a resumed run cuts its log
    assert len(attached.state(curves=True)["curves"]["loss"]) <= 3
    with (folder / "metrics.jsonl").open("ab") as file:  # as no JSON of a browser may have them
        file.write(b'{"kind": "steps", "step": 9, "lr": NaN, "loss": Infinity}\n')
        file.write(b"[]\n7\n" + b"[" * 100_000 + b'\n{"kind": "epoch", "steps": 1e400, "train_accuracy": "x"}\n')
    assert "NaN" not in (told := json.dumps(attached.state(curves=True)))
    assert "Infinity" not in told
    shutil.rmtree(folder)
    assert attached.state()["status"] == "elsewhere"  # and it is told of as it was
    with pytest.raises(NeocogError, match="no weights"):
        attached.model()


@pytest.mark.parametrize(
    "config",
    [
        "network: 7\nsettings: [1]\ndata: x\npreprocessing: 3\nreason: {a: b}\n",
        "settings: {lr: .inf, momentum: .nan, batch_size: '<b>', optimizer: [1], loss: none}\n",
        "network: INPUT[4x4x1] -> FC2\ndata: {name: [], source: /etc}\n",
    ],
)
def test_whatever_a_strangers_folder_says_is_told_or_refused(api, shop, tmp_path, config):
    folder = tmp_path / os.fsdecode(b"odd \xff")
    folder.mkdir()
    (folder / "config.yaml").write_text(config)
    name = shop.attach(folder).name
    assert name == r"odd \xff"
    path = f"runs/{quote(name)}"
    assert api("GET", path).json["status"] == "elsewhere"
    for question in ("layers", "answer", "why"):
        assert api("POST", f"{path}/{question}", {"method": "gradient"} if question == "why" else {}).status == 400
    shop.remove(name)


def test_a_disk_without_room_is_said(api, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    answer = api("POST", "snapshots", b"x")
    assert (answer.status, answer.json["error"]["rule"]) == (400, "this file cannot be read")
    assert "nowhere" not in answer.body.decode()


def test_what_is_no_run_is_refused(tmp_path):
    for source in (tmp_path, tmp_path / "none", "a\0b"):
        with pytest.raises(NeocogError):
            Workshop.open(str(source))


def test_layers_have_all_that_the_page_shows(api, digits):
    digits.ask(lambda: digits._look(moving=True)).result()
    told = api("POST", f"runs/{digits.name}/layers", {"count": 16}).json
    layers = {layer["name"]: layer for layer in told["layers"]}
    assert layers["conv1"]["parameters"] == "4x1x3x3 + 4 = 40"
    assert layers["conv1"]["window"] == {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1]}
    weight = layers["conv1"]["weights"][0]
    assert weight["maps"]["shape"] == [4, 3, 3]  # 3x3 kernels are shown too
    assert weight["gradient"]["maps"]["shape"] == [4, 3, 3]
    w = digits.model().weights["conv1.weight"]
    assert weight["range"] == pytest.approx([float(w.min()), float(w.max())], rel=1e-6)
    assert 0 < weight["ratio"] < 1
    assert layers["relu1"]["dead"] is not None
    assert told["top"][0][0] in "0123456789"
    assert len(api("POST", f"runs/{digits.name}/layers", {"first": 2, "count": 2}).json["layers"]) == 2
    again = api("POST", f"runs/{digits.name}/layers", {"count": 16, "have": told["looks"]})
    assert (again.status, again.body) == (204, b"")  # the page has them


def test_test_images_and_confusion_are_told(api, digits):
    answers = api("GET", f"runs/{digits.name}/predictions").json
    assert 4 <= len(answers) <= 40
    assert all(len(one["top"]) == 3 and one["image"]["shape"] == [28, 28, 1] for one in answers)
    assert all(right == (name == one["label"]) for one in answers for name, _, right in one["top"])
    table = api("GET", f"runs/{digits.name}/confusion").json
    assert np.array(table["counts"]).shape == (10, 10)
    assert np.array(table["counts"]).sum() == len(digits.progress.answers)


def test_clearing_empties_the_curves(api, digits):
    assert api("POST", f"runs/{digits.name}/clear").json["curves"]["loss"] == []


def test_an_image_of_ones_own_is_answered(api, digits):
    from pathlib import Path

    seven = (Path(__file__).parents[2] / "docs/images/seven.jpg").read_bytes()
    brought = api("POST", "images", seven, headers=(("x-name", "my%20%3Cb%3Eseven%3C%2Fb%3E.jpg"),)).json
    assert brought["name"] == "my <b>seven</b>.jpg"
    told = api("POST", f"runs/{digits.name}/layers", {"image": {"upload": brought["upload"]}, "count": 1}).json
    assert told["label"] is None
    assert "inverted" in " ".join(told["notes"])
    scene = api("POST", "scenes", {"run": digits.name, "image": {"upload": brought["upload"]}}).json
    assert scene["top"][0][1] > 0.1
    assert api("POST", f"runs/{digits.name}/layers", {"image": {"upload": "none"}}).status == 404


@pytest.mark.slow
@pytest.mark.usefixtures("few_digits")
def test_a_hundred_thousand_steps_leave_a_run_as_large_as_ten_thousand():
    shop = Workshop()
    live = shop.begin("INPUT[28x28x1] -> POOL4 -> FC10", "mnist", {"batch_size": 4})
    sizes = []
    for step in (10_000, 100_000):
        reach(live, step)
        told, progress = live.state(curves=True), live.progress
        kept = [len(one.points) for one in progress.curves.values()], len(progress.predictions), len(progress.answers)
        sizes.append((len(json.dumps(told)), kept))
    shop.close()
    assert sizes[1][0] < sizes[0][0] + 20_000
    assert max(sizes[1][1][0]) <= MOST_POINTS
