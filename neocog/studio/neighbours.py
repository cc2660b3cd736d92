"""Who of this machine's users is at the other end of a connection, where Linux says so.

A browser is started with the link among its arguments, and those can be read by every user of the machine. So whoever
comes with the link has to be the user that the studio runs for, or root, who could read all anyway.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""The machine's connections: a client may speak IPv4 through a socket of either kind."""
LOCAL, REMOTE, USER = 1, 2, 7
"""Columns of a table: the ends of a connection as seen by its owner, and who that is."""


def is_stranger(client: tuple[str, int], server: tuple[str, int]) -> bool:
    """Whether a connection to `server` comes from another user of this machine.

    False where nobody says. Where the tables know this end of the connection, they know the other end too, unless it is
    gone already; then nobody is let in.
    """
    ours, theirs = _ends(client), _ends(server)
    users, knows = set[int](), False
    for local, remote, user in _connections():
        if local in ours and remote in theirs:
            users.add(user)
        knows |= local in theirs and remote in ours
    return not users <= {os.getuid(), 0} if users else knows


def _connections() -> Iterator[tuple[str, str, int]]:
    for table in TABLES:
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            yield words[LOCAL], words[REMOTE], int(words[USER])


def _ends(end: tuple[str, int]) -> tuple[str, str]:
    """An end of a connection as the tables write it, of sockets of both kinds: words of four bytes in hexadecimal."""
    address, port = socket.inet_aton(end[0]), end[1]
    mapped = bytes(10) + b"\xff\xff" + address
    written = ("".join(_word(part[k : k + 4]) for k in range(0, len(part), 4)) for part in (address, mapped))
    first, second = (f"{one}:{port:04X}" for one in written)
    return first, second


def _word(four: bytes) -> str:
    return f"{int.from_bytes(four, sys.byteorder):08X}"
