"""The run that the page offers first, made ready before anybody asks: who presses Start at once waits for less."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread

from ..data import Splits
from ..network import Network
from ..training.session import Session
from ..training.settings import Settings
from ..zoo import zoo

FIRST = ("lenet5-relu", "mnist")
"""Network and data, as `page/begin.js` has them."""


class Foreseen:
    """At most one session that is made ahead, given away once."""

    def __init__(self) -> None:
        self._of: tuple[Network, Splits, Settings] | None = None
        self._made: Future[Session] = Future()
        self._lock = Lock()

    def begin(self, load: Callable[[str, Network], Splits], choose: Callable[[Network, Splits], Settings]) -> None:
        """Make it in a thread of its own. What goes wrong there is told to whom it is given."""
        network, made = zoo(FIRST[0]), self._made

        def make() -> None:
            try:
                data = load(FIRST[1], network)
                settings = choose(network, data)
                self._of = (network, data, settings)
                made.set_result(Session(network, data, settings, "auto", "auto"))
            except Exception as error:
                made.set_exception(error)

        Thread(target=make, name="foreseen", daemon=True).start()

    def take(self, network: Network, data: Splits, settings: Settings) -> Future[Session] | None:
        """The session, perhaps still being made, if it is one of this network with this data and settings."""
        with self._lock:
            if self._of is None or self._of[1] is not data or (self._of[0], self._of[2]) != (network, settings):
                return None
            self._of = None
            return self._made
