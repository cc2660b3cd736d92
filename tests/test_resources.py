from __future__ import annotations

import resource

import pytest

from neocog import resources

MEMINFO = "MemTotal:  9000 kB\nMemAvailable:  4000 kB\nSwapFree:  0 kB\n"
CURRENT, LIMIT, STAT = (f"/sys/fs/cgroup/memory.{name}" for name in ("current", "max", "stat"))


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"/proc/meminfo": MEMINFO}, 4000 * 1024),
        ({"/proc/meminfo": MEMINFO, LIMIT: "max\n", CURRENT: "77\n"}, 4000 * 1024),
        ({"/proc/meminfo": MEMINFO, LIMIT: "1000000\n", CURRENT: "400000\n"}, 600_000),
        ({"/proc/meminfo": MEMINFO, LIMIT: "1000\n", CURRENT: "4000\n"}, 0),
        ({LIMIT: "1000000\n", CURRENT: "900000\n", STAT: "file 800000\ninactive_file 500000\n"}, 600_000),
        ({}, None),
    ],
    ids=["the machine's", "no limit", "the group's", "used up", "taken by files that were read", "nobody says"],
)
def test_available_memory_is_the_smaller_of_the_machines_and_the_groups(monkeypatch, files, free):
    monkeypatch.setattr(resources, "_read", lambda path: files.get(path, ""))
    assert resources.available_memory() == free


def test_a_file_that_is_not_there_says_nothing():
    assert resources._read("/no/such/file") == ""


@pytest.mark.parametrize(("limit", "taken"), [("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")])
def test_a_limit_of_the_process_leaves_what_it_has_not_taken(monkeypatch, limit, taken):
    files = {"/proc/meminfo": MEMINFO, "/proc/self/status": f"Name:\tpython\n{taken}:\t    1000 kB\n"}
    limits = {getattr(resource, limit): 1500 * 1024}
    monkeypatch.setattr(resources, "_read", lambda path: files.get(path, ""))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limits.get(which, resource.RLIM_INFINITY),) * 2)
    assert resources.available_memory() == 500 * 1024
