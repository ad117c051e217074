"""What happens to requests when the service is asked to stop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

from data_api.__main__ import http_server
from data_api.main import create_app
from data_api.settings import Settings
from tests.waiting import until

SECONDS = 60
FORM = b"username=nobody%40example.org&password=wrong"
HEAD = (
    b"POST /auth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: %d\r\n\r\n" % len(FORM)
)
PROBE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_request_in_flight_gets_its_response_and_no_connection_is_accepted(
    prepared: Settings, free_port: Callable[[], int]
) -> None:
    settings = prepared.model_copy(update={"port": free_port()})
    server = http_server(create_app(settings), settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "the server to start")
        with connection(settings.port) as busy, connection(settings.port) as idle:
            idle.sendall(PROBE)
            until_end(idle, b'"alive"}')
            busy.sendall(HEAD + FORM[:10])
            until(lambda: len(server.server_state.tasks) == 1, "the request to be in flight")
            server.handle_exit(signal.SIGTERM, None)
            assert idle.recv(10_000) == b"", "an idle connection is closed"
            until(lambda: not accepts(settings.port), "the port to be closed")
            busy.sendall(FORM[10:])
            response = b"".join(iter(lambda: busy.recv(10_000), b""))
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(SECONDS)
    assert not thread.is_alive()
    assert response.startswith(b"HTTP/1.1 401 ")
    assert b'"WrongCredentials"' in response


def until_end(client: socket.socket, end: bytes) -> None:
    """Reads a response that ends so."""
    received = b""
    while not received.endswith(end):
        received += client.recv(10_000)


def connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
