"""The run that is made ready ahead is the one that would have been made, and is given to nobody else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from neocog import Network, studio, zoo
from neocog.studio import Workshop, foreseen
from neocog.studio.foreseen import FIRST
from neocog.training.session import Session

LENET = str(zoo("lenet5-relu"))
PAGE = Path(studio.__file__).parent / "page" / "begin.js"


@pytest.fixture
def workshop():
    made = Workshop()
    yield made
    made.close()


@pytest.fixture
def sessions(monkeypatch):
    """How many sessions were made, in which threads."""
    made = []

    class Counted(Session):
        def __init__(self, *arguments, **more):
            import threading

            made.append(threading.current_thread().name.split()[0])
            super().__init__(*arguments, **more)

    monkeypatch.setattr(foreseen, "Session", Counted)
    monkeypatch.setattr("neocog.studio.running.Session", Counted)
    return made


def begun(workshop, text=LENET, data="mnist", **settings):
    run = workshop.begin(text, data, settings, paused=True)
    assert run.ready.wait(60)
    assert run.status == "paused", run.message
    return run


def test_it_is_the_network_and_the_data_that_the_page_offers():
    text = re.search(r'const LENET = "(.+?)"', PAGE.read_text(encoding="utf-8"))
    assert Network.parse(text[1]) == zoo(FIRST[0])
    assert 'text: LENET, data: "mnist"' in PAGE.read_text(encoding="utf-8")


def test_the_first_run_gets_it_and_begins_as_any_other(workshop, sessions):
    workshop.foresee()
    workshop._foreseen._made.result(60)
    offered = {"optimizer": "nesterov", "lr": 0.02, "momentum": 0.9, "batch_size": 64, "weight_decay": 0.0005}
    first = begun(workshop, **offered, augment="none", seed=0)
    assert sessions == ["foreseen"]
    second = begun(workshop)
    assert sessions == ["foreseen", "run"]
    mine, other = (run.session().engine.weights() for run in (first, second))
    for name, array in mine.items():
        np.testing.assert_array_equal(array, other[name])
    assert first.session() is not second.session()


@pytest.mark.parametrize("other", [{"seed": 1}, {"text": "INPUT[28x28x1] -> FC10"}], ids=str)
def test_another_run_does_not_get_it(workshop, sessions, other):
    workshop.foresee()
    workshop._foreseen._made.result(60)
    begun(workshop, **other)
    assert sessions == ["foreseen", "run"]


def test_what_goes_wrong_ahead_is_told_to_whom_it_is_given(workshop, monkeypatch):
    def refused(*_):
        raise studio.workshop.NeocogError("no room for it")

    monkeypatch.setattr(foreseen, "Session", refused)
    workshop.foresee()
    with pytest.raises(studio.workshop.NeocogError):
        workshop._foreseen._made.result(60)
    run = workshop.begin(LENET, "mnist", {})
    assert run.ready.wait(60)
    assert (run.status, "no room for it" in run.message) == ("failed", True)
