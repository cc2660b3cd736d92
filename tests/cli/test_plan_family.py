from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys

import pytest

from neocog import Network, zoo
from neocog.notation import Family
from neocog.plan import plan_family
from neocog.plan.tables import size

PATTERN = "INPUT[8x8x1] -> [[CONV3-w -> RELU]*N -> POOL2?p]*M -> FC3"
CHOICES = ("-D", "N=1..2", "-D", "M=0..2", "-D", "p=0..1", "-D", "w=2,4")


def plan(neocog, *arguments):
    code, out, err = neocog("plan", PATTERN, *arguments, "--json")
    return code, json.loads(out), err


def test_json_lists_every_member_with_what_planning_it_alone_gives(neocog):
    code, document, err = plan(neocog, *CHOICES, "--batch", 4, "--optimizer", "adam")
    assert (code, err) == (0, "")
    assert set(document) == {"members", "left_out", "refused"}
    assert sum(1 + len(one["also"]) for one in document["members"]) == 2 * 3 * 2 * 2
    assert [one["totals"]["macs"] for one in document["members"]] == sorted(
        one["totals"]["macs"] for one in document["members"]
    )
    one = document["members"][-1]
    alone = Network.parse(PATTERN, **one["variables"]).plan(batch=4, optimizer="adam")
    assert Network.parse(one["network"]) == alone.network
    assert (one["totals"], one["memory"]["training_bytes"]) == (alone.totals, alone.memory["training_bytes"])


def test_one_value_for_each_variable_is_a_plan_as_ever(neocog):
    assert neocog("plan", PATTERN, "-DN=2", "-DM=1", "-Dp=1", "-Dw=4") == neocog(
        "plan", "INPUT[8x8x1] -> [CONV3-4 -> RELU]*2 -> POOL2 -> FC3"
    )


def test_the_table_has_a_row_for_each_network_and_names_the_choices_that_give_it_again(neocog):
    code, out, err = neocog("plan", PATTERN, "-D", "N=1..2", "-D", "M=0..1", "-D", "p=1", "-D", "w=2")
    assert (code, err) == (0, "")
    small, one, two = (
        size(Network.parse(PATTERN, N=n, M=m, p=1, w=2).plan().memory["training_bytes"])
        for n, m in ((1, 0), (1, 1), (2, 1))
    )
    assert [" ".join(line.split()) for line in out.splitlines() if not line.startswith("─")] == [
        "N M p w layers parameters MACs activations training sees the same as",
        f"1 0 1 2 1 195 192 67 {small} 1 N=2 M=0 p=1 w=2",
        f"1 1 1 2 4 119 1,248 227 {one} 4",
        f"2 1 1 2 6 157 3,552 355 {two} 6",
        *("", "3 networks; 1 more choice of values would give one of them again"),
    ]


def test_members_over_a_limit_are_left_out_and_counted(neocog):
    limits = ("--max-params", 150, "--max-macs", "3K")
    code, document, err = plan(neocog, *CHOICES, *limits)
    assert (code, err) == (0, "")
    assert all(one["totals"]["parameters"] <= 150 and one["totals"]["macs"] <= 3000 for one in document["members"])
    for one in document["left_out"]:
        over = {"parameters": one["totals"]["parameters"] > 150, "macs": one["totals"]["macs"] > 3000}
        assert one["over"] == [name for name in ("parameters", "macs") if over[name]] != []
    out = neocog("plan", PATTERN, *CHOICES, *limits).out
    assert f"\n{len(document['left_out'])} networks left out: " in out
    assert " over --max-params, " in out


def test_where_no_member_is_within_the_limits_the_exit_code_is_1_and_what_would_do_is_named(neocog):
    code, document, err = plan(neocog, *CHOICES, "--max-params", 10, "--max-memory", "1KiB")
    assert (code, document["members"]) == (1, [])
    first = document["left_out"][0]
    assert err == (
        "error: no network of the family is within the limits\n"
        f"  try: --max-params 195 --max-memory {first['memory']['training_bytes']} for N=1 M=0 p=0 w=2\n"
    )
    limits = ("--max-params", 195, "--max-memory", first["memory"]["training_bytes"])
    assert plan(neocog, *CHOICES, *limits)[0] == 0


def test_members_that_cannot_be_planned_stand_at_the_end_with_their_reason(neocog):
    values = ("-D", "N=1", "-D", "M=3..9", "-D", "p=1", "-D", "w=2")
    code, document, _ = plan(neocog, *values)
    assert (code, len(document["members"])) == (0, 1)
    assert [one["variables"]["M"] for one in document["refused"]] == [4, 5, 6, 7, 8, 9]
    assert {one["error"].partition(":")[0] for one in document["refused"]} == {"pool4 at line 1, column 41"}
    assert neocog("plan", PATTERN, *values).out.splitlines()[-2:] == [
        "6 cannot be planned:",
        "  N=1 M=4 p=1 w=2, N=1 M=5 p=1 w=2, N=1 M=6 p=1 w=2 and 3 more: pool4 at line 1, column 41: "
        "the window of POOL2 is larger than its input: F=2 on H=1 with P=0",
    ]


def test_many_reasons_are_not_all_shown(neocog):
    net = "INPUT[8x8x1] -> CONV3-4(S=s) -> FC3"
    lines = neocog("plan", net, "-D", "s=1..40").out.splitlines()
    refused = len(json.loads(neocog("plan", net, "-D", "s=1..40", "--json").out)["refused"])
    assert refused > 20
    assert lines[-12] == f"{refused} cannot be planned:"
    assert lines[-1] == f"  and for {refused - 10} more reasons, which --json lists"


@pytest.mark.parametrize(
    ("net", "values", "says"),
    [
        ("INPUT[8x8x1] -> CNV3-N", "N=1..3", "error: line 1, column 17: there is no layer 'CNV3-N'"),
        ("N=1 INPUT[8x8x1] -> [RELU]*N", "M=1..3", "error: the text has no variable M"),
        ("pattern", "M=7..9", "error: pool6 at line 6, column 47: the window of POOL2 is larger than its input"),
        ("pattern", "M=0..10000", "error: pattern: a family has at most 10,000 members\n  received: 10,001\n"),
        ("pattern", "M=3..1", "error: a range begins with its smaller number\n  received: -D M=3..1\n  try: -D M=1..3"),
    ],
)
def test_a_mistake_that_all_members_share_is_reported_as_for_one_network(net, values, says, neocog):
    code, out, err = neocog("plan", net, "-D", values)
    assert (code, out) == (2, "")
    assert err.startswith(says)
    assert set(json.loads(neocog("plan", net, "-D", values, "--json").out)) == {"error"}


def test_members_that_fail_for_several_reasons_are_listed_with_exit_code_1(neocog):
    code, out, err = neocog("plan", "INPUT[8x8x1] -> CONV3-4(S=s, P=0) -> FC3", "-D", "s=2,3")
    assert (code, err) == (1, "error: no network of the family can be planned\n")
    assert "2 cannot be planned:" in out


@pytest.mark.parametrize("values", ["N=", "N=1..", "N=..3", "N=1,,2", "N=1..2..3", "N=1,2..3", "N=-1..2", "=1..2"])
def test_values_that_are_none_are_refused_with_examples(values, neocog):
    code, _, err = neocog("plan", "pattern", "-D", values, "-D", "M=1..2")
    assert code == 2
    assert err == (
        "error: -D gives a variable whole numbers\n"
        f"  received: -D {values}\n"
        "  try: -D N=2, -D N=1..3 or -D N=16,32,64\n"
    )


@pytest.mark.parametrize(
    "option", [("--draw", "a.svg"), ("--advice",), ("--memory-limit", "1GiB"), ("--diff", "lenet5")]
)
def test_what_is_about_one_network_is_refused_for_a_family(option, neocog):
    code, out, err = neocog("plan", "pattern", "-D", "N=1..2", *option)
    assert (code, out) == (2, "")
    assert err == f"error: {option[0]} is for one network, not for a family\n  try: one value for each variable\n"


def test_sort_orders_a_family_and_is_refused_for_one_network(neocog):
    _, document, _ = plan(neocog, *CHOICES, "--sort", "memory")
    needed = [one["memory"]["training_bytes"] for one in document["members"]]
    assert needed == sorted(needed)
    assert neocog("plan", PATTERN, "--sort", "memory").err.startswith("error: --sort is for a family of networks")


def test_csv_and_markdown_have_the_members_on_stdout_and_the_rest_on_stderr(neocog):
    values = ("-D", "N=1..2", "-D", "M=1,4", "-D", "p=1", "-D", "w=2")
    answer = neocog("plan", PATTERN, *values, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [(row["N"], row["M"], row["parameters"], row["macs"], row["size"]) for row in rows] == [
        ("1", "1", "119", "1248", "4"),
        ("2", "1", "157", "3552", "6"),
    ]
    assert Network.parse(rows[0]["network"]).plan().totals["parameters"] == 119
    assert "2 cannot be planned:" in answer.err
    lines = neocog("plan", PATTERN, *values, "--format", "markdown").out.splitlines()
    assert lines[0] == "| N | M | p | w | layers | parameters | MACs | activations | training | sees |"
    assert [line.count("|") for line in lines] == [11] * 4


def test_a_pattern_may_be_a_file_or_stand_in_the_zoo_and_a_model_is_none(neocog, tmp_path):
    file = tmp_path / "my.net"
    file.write_text(PATTERN.replace("N ->", "N RELU"), encoding="utf-8")
    assert neocog("plan", file, "-D", "N=1..2").err.startswith(f"error: {file}, line 1, column 38: layers are joined")
    members = json.loads(neocog("plan", "pattern", "-D", "M=1..3", "--json").out)["members"]
    assert {one["network"] for one in members} == {str(zoo("pattern", M=m)) for m in (1, 2, 3)}
    assert "no pattern variables" in neocog("plan", "model.safetensors", "-D", "N=1..2").err


def test_a_terminal_sees_how_far_a_long_list_is():
    """On stderr alone, and gone when the list is there."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "neocog", "plan", PATTERN, *CHOICES, "--json"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, env=environment, check=True)
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert "planning" in shown
    assert "100%" in shown
    assert len(json.loads(done.stdout)["members"]) == len(plan_family(_family()).members)


def _family() -> Family:
    return Family.parse(PATTERN, N=(1, 2), M=range(3), p=(0, 1), w=(2, 4))
