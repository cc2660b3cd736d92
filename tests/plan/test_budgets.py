from __future__ import annotations

import pytest

from neocog import Network, zoo
from neocog.plan import plan
from neocog.plan.budgets import BudgetError, budgets, largest_batch
from neocog.plan.memory import BYTES, OPTIMIZER_COPIES

NET = "INPUT[6x6x2] -> CONV3-4 -> RELU -> POOL2 -> FC3"  # conv1 has 76 parameters, fc1 111


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "googlenet"])
@pytest.mark.parametrize("optimizer", OPTIMIZER_COPIES)
@pytest.mark.parametrize("dtype", BYTES)
def test_the_parts_of_the_layers_add_up_to_the_plan(name, optimizer, dtype):
    made = plan(zoo(name), batch=3, optimizer=optimizer, dtype=dtype)
    totals = {"params": made.totals["parameters"], "macs": made.totals["macs"]}
    totals["memory"] = made.memory["training_bytes"]
    assert {b.name: b.value for b in budgets(made, dict.fromkeys(totals, 1))} == totals


def test_a_limit_may_be_reached_and_not_exceeded_by_one():
    made = plan(Network.parse(NET))
    within, over = (budgets(made, {"params": limit})[0] for limit in (187, 186))
    assert (within.ok, over.ok) == (True, False)
    within.check(made)
    with pytest.raises(BudgetError) as caught:
        over.check(made)
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        "187 parameters, 1 more than the 186 allowed\n  try: begin with fc1, FC3: it has the most, 111 (59.4%)"
    )


@pytest.mark.parametrize("name", ["lenet5", "resnet50"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_largest_batch_fits_and_one_image_more_does_not(name, optimizer, dtype):
    network, limit = zoo(name), 2**30
    batch = largest_batch(plan(network, optimizer=optimizer, dtype=dtype), limit)
    needs = [
        plan(network, batch=b, optimizer=optimizer, dtype=dtype).memory["training_bytes"] for b in (batch, batch + 1)
    ]
    assert needs[0] <= limit < needs[1]


def test_the_largest_batch_is_exact_at_the_limit_and_0_where_nothing_fits():
    made = plan(Network.parse(NET))
    one = made.memory["training_bytes"]
    assert [largest_batch(made, limit) for limit in (1, one - 1, one)] == [0, 0, 1]
