"""How long the studio waits for somebody who is slow, on purpose or not, so that nobody keeps it from others.

| what is slow                                | how long                                                      |
|---------------------------------------------|---------------------------------------------------------------|
| the head of a request                       | `HEAD_SECONDS` from the connection, or from its first byte    |
| connections that have sent no whole head    | `MOST_WAITING`; then the one that has waited longest is closed |
| the body                                    | `BODY_SECONDS`, and one more for each `SLOWEST` bytes of it   |

Answers are small, and written at once; whoever does not read one holds nothing but that. Every refusal closes its
connection, so that what still comes of a body is not waited for.
"""

from __future__ import annotations

import asyncio

import h11
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
MOST_WAITING = 64
BODY_SECONDS, SLOWEST = 10.0, 64 * 2**10
CLOSE = {"connection": "close"}


class Patient(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with a limit on how long the head of a request may take."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request, in place of whoever has waited longest where too many do."""
        waiting = [one for one in self.connections if isinstance(one, Patient) and one._deadline]
        if len(waiting) >= MOST_WAITING:
            min(waiting, key=Patient._waits_until).give_up()
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read; a head that is whole ends the wait for it, and one that has begun starts it."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._wait_no_more()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._wait_no_more()
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Close it without an answer: there was no question."""
        self._wait_no_more()
        self.transport.abort()

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.give_up)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _waits_until(self) -> float:
        return self._deadline.when() if self._deadline else float("inf")


def limited(receive: Receive, most: int) -> Receive:
    """What comes in, up to so many bytes and not too slowly, whatever length was said.

    Raises HTTPException 413 and 408, to whoever reads.
    """
    seen, waited, whole = 0, 0.0, False
    clock = asyncio.get_running_loop().time

    async def counted() -> Message:
        nonlocal seen, waited, whole
        if whole:  # what comes after a body is that the client left, and that may take as long as it likes
            return await receive()
        began = clock()
        try:
            message = await asyncio.wait_for(receive(), BODY_SECONDS + seen / SLOWEST - waited)
        except TimeoutError:
            raise HTTPException(408, "this request comes too slowly", CLOSE) from None
        waited += clock() - began  # what the studio does in between is not the sender's fault
        whole = not message.get("more_body", False)
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413, f"at most {most:,} bytes are taken here", CLOSE)
        return message

    return counted
