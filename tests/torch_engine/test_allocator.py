from __future__ import annotations

import pytest

from neocog.torch_engine import allocator


@pytest.fixture
def told(monkeypatch):
    """What glibc is told, instead of telling it; and nothing was decided before."""
    found = []
    monkeypatch.setattr(allocator, "_told", lambda setting, value: found.append((setting, value)))
    monkeypatch.setattr(allocator._Freed, "always_returned", False)
    return found


HOLDING = [(allocator.MMAP_MAX, 0), (allocator.TRIM_THRESHOLD, -1)]


@pytest.mark.parametrize(("free", "held"), [(None, None), (3000, True), (2999, False)])
def test_memory_is_held_where_three_times_the_need_is_there(monkeypatch, told, free, held):
    monkeypatch.setattr(allocator, "available_memory", lambda: free)
    allocator.keep_memory(1000)
    assert (told == []) == (held is None)
    assert (told == HOLDING) == (held is True)
    assert ((allocator.MMAP_THRESHOLD, allocator.RETURNED) in told) == (held is False)


def test_memory_is_held_again_once_there_is_plenty(monkeypatch, told):
    monkeypatch.setattr(allocator, "available_memory", lambda: 2999)
    allocator.keep_memory(1000)
    assert HOLDING[0] not in told
    allocator.keep_memory(900)
    assert told[-2:] == HOLDING


def test_memory_is_always_returned_where_that_was_asked_for(monkeypatch, told):
    monkeypatch.setattr(allocator, "available_memory", lambda: 10**9)
    allocator.return_freed_memory()
    allocator.keep_memory(1000)
    assert HOLDING[0] not in told
    assert told.count((allocator.MMAP_THRESHOLD, allocator.RETURNED)) == 2
