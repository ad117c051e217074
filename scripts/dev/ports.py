"""Which TCP ports are free here."""

from __future__ import annotations

import errno
import socket

_named: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on; never the same twice in one process."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _named:
            _named.add(port)
            return port


def is_taken(host: str, port: int) -> bool:
    """Whether somebody listens there. OSError when nobody could: no address of this machine, or a forbidden port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False
