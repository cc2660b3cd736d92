from __future__ import annotations

import pytest

from neocog.torch_engine import allocator

MEMINFO = "MemTotal:  9000 kB\nMemAvailable:  4000 kB\nSwapFree:  0 kB\n"
CURRENT, LIMIT = "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.max"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"/proc/meminfo": MEMINFO}, 4000 * 1024),
        ({"/proc/meminfo": MEMINFO, LIMIT: "max\n", CURRENT: "77\n"}, 4000 * 1024),
        ({"/proc/meminfo": MEMINFO, LIMIT: "1000000\n", CURRENT: "400000\n"}, 600_000),
        ({"/proc/meminfo": MEMINFO, LIMIT: "1000\n", CURRENT: "4000\n"}, 0),
        ({}, None),
    ],
    ids=["the machine's", "no limit", "the group's", "used up", "nobody says"],
)
def test_available_memory_is_the_smaller_of_the_machines_and_the_groups(monkeypatch, files, free):
    monkeypatch.setattr(allocator, "_read", lambda path: files.get(path, ""))
    assert allocator.available_memory() == free


@pytest.mark.parametrize(("free", "kept"), [(None, False), (2000, False), (1999, True)])
def test_memory_is_kept_free_where_twice_the_need_is_not_there(monkeypatch, free, kept):
    monkeypatch.setattr(allocator, "available_memory", lambda: free)
    monkeypatch.setattr(allocator, "return_freed_memory", lambda: True)
    assert allocator.keep_memory_free(1000) == kept


def test_a_file_that_is_not_there_says_nothing():
    assert allocator._read("/no/such/file") == ""
