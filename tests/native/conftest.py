from __future__ import annotations

import pytest

from neocog.native import cache


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Compiled code of the tests, apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.FOLDER, str(tmp_path_factory.mktemp("cache")))
        yield
