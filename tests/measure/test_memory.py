from __future__ import annotations

import json
import sys

import pytest

from neocog import NeocogError, Network, zoo
from neocog.layers._window import ONEDNN_KERNELS
from neocog.measure import memory, resident
from neocog.measure.memory import Measured, measure
from neocog.plan.recomputing import recomputing
from neocog.plan.timeline import PREDICTED, TRAINED
from neocog.torch_engine import trainer

GIB = 2**30
MID = Network.parse("INPUT[32x32x3] -> [CONV3-32 -> BN -> RELU]*3 -> POOL2 -> CONV3-64 -> RELU -> FC10")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's record of resident memory")
def test_the_resident_memory_of_a_training_step_is_as_predicted():
    found = measure(MID, batch=64)
    assert 70e6 < found.predicted_bytes == MID.plan(batch=64).memory["training_bytes"]
    assert -0.05 <= found.error <= 0.10
    assert 0.9 * found.peak_bytes < found.allocated_bytes < 1.02 * found.peak_bytes  # not all of an array is touched


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's record of resident memory")
def test_the_native_engine_takes_what_its_program_says_and_less_than_torch():
    found = measure(MID, batch=128, engine="native")
    assert -0.05 <= found.error <= 0.10
    assert found.peak_bytes < MID.plan(batch=128).memory["training_bytes"]
    assert found.building_bytes > 0


def test_the_error_is_of_the_measured_peak_and_said_in_words():
    found = Measured(peak_bytes=200 * 2**20, allocated_bytes=150 * 2**20, predicted_bytes=190 * 2**20)
    assert found.error == pytest.approx(-0.05)
    assert str(found) == "predicted 190.0 MiB, measured 200.0 MiB (-5.0%), 150.0 MiB of it arrays"


def test_what_would_not_fit_is_refused_instead_of_being_killed(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: GIB)
    with pytest.raises(NeocogError) as refusal:
        measure(zoo("vgg16"), batch=64)
    assert str(refusal.value).startswith("this would not fit into memory, so it is not measured")
    assert "1.0 GiB free" in str(refusal.value)
    assert "a smaller batch" in str(refusal.value)


def test_a_process_that_fails_is_reported_with_its_last_words(monkeypatch):
    monkeypatch.setattr(memory.sys, "executable", "/bin/false")
    with pytest.raises(NeocogError, match="the measuring process failed"):
        measure(MID)


NETWORKS = {
    "lenet5": (zoo("lenet5"), 16),
    "resnet20": (zoo("resnet20"), 4),
    "convnetjs-cifar10": (zoo("convnetjs-cifar10"), 8),
    "branches": (
        Network.parse(
            "INPUT[24x24x3] -> CONV3-16 -> LRN -> RELU"
            " -> CONCAT[ CONV1-8 -> RELU | POOL3(S=1, P=1) -> CONV1-8 | AVGPOOL3(S=1, P=1) ]"
            " -> ADD[ ID | CONV3-32 -> BN -> RELU ] -> DROPOUT(0.2) -> POOL2 -> FC64 -> TANH -> DROPOUT(0.5) -> FC10"
        ),
        16,
    ),
    "others": (
        Network.parse(
            "INPUT[24x24x4] -> FILTER(mean) -> CONV3-16 -> GROUPNORM(G=4) -> GELU -> SHORTCUT(K=24) -> PRELU -> L2POOL2"
            " -> UPSAMPLE2 -> CONV3-16 -> SCALEDTANH -> SPP(4, 2, 1) -> FC10"
        ),
        32,
    ),
    "sequence": (
        Network.parse("INPUT[512x8] -> CONV5-32 -> BN -> RELU -> POOL2 -> CONV5-32 -> RELU -> GAP -> FC4"),
        16,
    ),
}


@pytest.fixture
def two_threads(monkeypatch):
    """As many as the plan counts: each has memory of its own to filter with."""
    monkeypatch.setattr(trainer, "pick_threads", lambda network, batch: 2)


@pytest.mark.parametrize("training", [True, False], ids=["training", "predicting"])
@pytest.mark.parametrize(("network", "batch"), NETWORKS.values(), ids=NETWORKS)
def test_torch_allocates_what_the_timeline_says(two_threads, network, batch, training):
    step, owned = resident._work(network, training, batch, "float32", "momentum")
    step()
    plan = network.plan(batch=batch)
    beside = kernels(plan, training) + len(network.nodes) * (TRAINED if training else PREDICTED)
    predicted = plan.memory["training_bytes" if training else "inference_bytes"] - beside
    assert -0.05 < predicted / (owned() + resident._most_allocated(step)) - 1 < 0.10


@pytest.mark.parametrize("text", ["resnet20", "INPUT[32x32x3] -> [CONV3-16 -> RELU]*12 -> GAP -> FC10"])
def test_torch_allocates_what_the_timeline_says_where_volumes_are_computed_twice(two_threads, text):
    network = zoo(text) if "[" not in text else Network.parse(text)
    found = recomputing(network, 8, "float32", "momentum")
    step, owned = resident._work(network, True, 8, "float32", "momentum", cuts=found.cuts)
    step()
    plan = network.plan(batch=8)
    beside = kernels(plan, True) + len(network.nodes) * TRAINED
    predicted = found.training.peak.bytes - beside
    assert predicted < 0.8 * (plan.memory["training_bytes"] - beside)
    assert -0.05 < predicted / (owned() + resident._most_allocated(step)) - 1 < 0.10


def kernels(plan, training):
    """What oneDNN prepares is not torch's to allocate."""
    runs = {(row.node.layer, row.inputs) for row in plan.rows if row.node.layer.op in ("CONV", "DECONV")}
    return len(runs) * (ONEDNN_KERNELS if training else ONEDNN_KERNELS // 2)


def test_the_program_answers_in_json(monkeypatch, capsys, tmp_path):
    job = {"network": str(MID), "batch": 2, "dtype": "bfloat16", "optimizer": "adam", "engine": "torch"}
    (tmp_path / "job").write_text(json.dumps(job | {"training": False, "returning": False}))
    with (tmp_path / "job").open() as given:
        monkeypatch.setattr(sys, "stdin", given)
        resident.main()
    assert json.loads(capsys.readouterr().out).keys() == {"peak", "allocated", "building"}
