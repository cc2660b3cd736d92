from __future__ import annotations

import json
import math

import pytest
import torch

from neocog import NeocogError, Network
from neocog.layers import LAYERS
from neocog.measure import calibration as room
from neocog.measure import time
from neocog.measure.calibration import calibrate, calibration
from neocog.measure.probes import Probe, probes, time_probe
from neocog.plan.calibration import Calibration
from neocog.plan.time import MODES, step_time
from neocog.plan.work import FREE, PASSES

NET = "INPUT[8x8x3] -> CONV3-4 -> BN -> RELU -> POOL2 -> FC3"
CPU = torch.device("cpu")


def few() -> list[Probe]:
    network = Network.parse(NET)
    return [Probe(node.layer, network.input_shapes(node), 2) for node in network.nodes]


@pytest.fixture(scope="module")
def measured() -> Calibration:
    return calibrate("float32", 1, CPU, chosen=few(), rehearsed=[], report=lambda text: None)


def test_a_calibration_of_few_layers_gives_positive_finite_numbers(measured):
    numbers = [measured.flops, measured.update_array, *measured.update.values()]
    numbers += [number for pair in measured.bandwidth for number in pair]
    numbers += [slow for sample in measured.samples for slow in sample.slowness.values()]
    assert all(0 < number < math.inf for number in numbers)
    assert [sample.op for sample in measured.samples] == [probe.layer.op for probe in few()]
    assert measured.threads == 1


def test_no_layer_was_faster_than_the_fastest_rate(measured):
    for probe in few():
        ideal = measured.ideal(probe.works("float32")["forward"])
        assert ideal >= probe.works("float32")["forward"].flops / measured.flops


@pytest.mark.parametrize("mode", MODES)
def test_what_was_measured_predicts_networks(measured, mode):
    step = step_time(Network.parse(NET).plan(batch=4), measured, mode)
    assert 0 < step.seconds < math.inf


def test_bfloat16_is_measured_too():
    times = time_probe(few()[1], "bfloat16", CPU)
    assert set(times) == {"inference", "forward", "backward", "parameters"}
    assert all(0 < seconds < math.inf for seconds in times.values())


def test_every_layer_that_does_anything_has_probes_and_the_smaller_come_first():
    found = probes()
    idle = {op for op, passes in FREE.items() if passes == PASSES}
    assert {probe.layer.op for probe in found} == {layer.op for layer in LAYERS} - idle
    macs = [probe.layer.cost(*probe.inputs).macs * probe.batch for probe in found]
    assert macs == sorted(macs)
    assert len(probes(10**6)) == sum(count <= 10**6 for count in macs)


@pytest.fixture
def counted(monkeypatch, measured):
    """`calibrate` answers at once, and counts how often it was asked."""
    asked = []

    def at_once(dtype, count, device, **_):
        asked.append((dtype, count))
        return measured

    monkeypatch.setattr(room, "calibrate", at_once)
    return asked


def test_a_machine_is_measured_once(counted, tmp_path, measured):
    found = [calibration(folder=tmp_path) for _ in range(2)]
    assert len(counted) == 1
    assert [c.as_dict() for c in found] == [measured.as_dict()] * 2
    calibration(folder=tmp_path, threads=1000)
    assert len(counted) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_the_folder_can_be_named_in_the_environment(counted, tmp_path, monkeypatch):
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path / "here"))
    calibration()
    assert [path.suffix for path in (tmp_path / "here").iterdir()] == [".json"]


def test_what_cannot_be_kept_is_used_all_the_same(counted, tmp_path, measured):
    (tmp_path / "file").touch()
    said = []
    assert calibration(folder=tmp_path / "file", report=said.append) is measured
    assert "this file cannot be written" in said[0]


def test_measuring_says_what_it_does(tmp_path):
    said = []
    calibration(folder=tmp_path, threads=1, chosen=few(), report=said.append)
    assert said[0].startswith("measuring this machine once, for some 40 s: ")
    assert said[0].endswith(", 1 thread, float32")
    assert said[1:3] == ["  6 layers, round 1 of 2", "  6 layers, round 2 of 2"]
    assert said[3] == "  0 networks"
    assert said[4].startswith(f"kept in {tmp_path}")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"key": 1}', '{"key": null, "calibration": {}}'])
def test_a_damaged_file_is_measured_again(counted, tmp_path, content):
    calibration(folder=tmp_path)
    (path,) = tmp_path.iterdir()
    good = path.read_text()
    path.write_text(content)
    calibration(folder=tmp_path)
    assert len(counted) == 2
    assert path.read_text() == good


@pytest.mark.parametrize("part", ["machine", "torch", "cores", "format"])
def test_a_file_of_another_machine_or_version_is_measured_again(counted, tmp_path, part):
    calibration(folder=tmp_path)
    (path,) = tmp_path.iterdir()
    document = json.loads(path.read_text())
    document["key"][part] = "another"
    path.write_text(json.dumps(document))
    calibration(folder=tmp_path)
    assert len(counted) == 2


def test_a_dtype_that_is_not_computed_in_is_refused(tmp_path):
    with pytest.raises(NeocogError, match="dtype is one of float32, bfloat16"):
        calibration("float64", folder=tmp_path)


def test_a_cpu_is_calibrated_for_all_threads_and_for_one(monkeypatch):
    asked = []
    monkeypatch.setattr(time, "calibration", lambda dtype, count, device, **_: asked.append(count) or (dtype, count))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    small = Network.parse("INPUT[6x6x2] -> CONV3-4 -> FC3").plan()
    assert time.calibration_for(small, "cpu") == ("float32", 1)
    assert asked == [1, 3]
