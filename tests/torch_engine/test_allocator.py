from __future__ import annotations

import pytest

from neocog.torch_engine import allocator


@pytest.mark.parametrize(("free", "kept"), [(None, False), (2000, False), (1999, True)])
def test_memory_is_kept_free_where_twice_the_need_is_not_there(monkeypatch, free, kept):
    monkeypatch.setattr(allocator, "available_memory", lambda: free)
    monkeypatch.setattr(allocator, "return_freed_memory", lambda: True)
    assert allocator.keep_memory_free(1000) == kept
