"""Downloads from a server in this process: kept by sha256, refused with any other, and not needed
twice.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evenbench.harness import Unavailable
from evenbench.harness.core import artifact_store, download

CONTENT = b"weights" * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one content and counts how often."""

    content = CONTENT
    announced = len(CONTENT)
    served = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/garbage":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            return
        self.server.served += 1
        self.send_response(200 if self.path == "/weights" else 404)
        self.send_header("Content-Length", str(self.server.announced))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture(autouse=True)
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "downloads"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def url(server: Server, path: str = "weights") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{path}"


def closed_url() -> str:
    """Where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/weights"


def test_what_is_fetched_is_kept_under_its_sha256(server: Server, downloads: Path) -> None:
    found = download.fetch(url(server), SHA256)
    assert found == downloads / SHA256
    assert found.read_bytes() == CONTENT


def test_what_is_kept_is_not_fetched_again_even_when_the_server_is_gone(server: Server) -> None:
    first = download.fetch(url(server), SHA256)
    assert download.fetch(closed_url(), SHA256) == first
    assert server.served == 1


def test_another_sha256_is_refused_and_nothing_is_kept(server: Server, downloads: Path) -> None:
    with pytest.raises(Unavailable, match=f"has sha256 {SHA256}, expected 0000"):
        download.fetch(url(server), "0" * 64)
    assert list(downloads.iterdir()) == []


def test_a_damaged_copy_is_fetched_again(server: Server, downloads: Path) -> None:
    downloads.mkdir()
    (downloads / SHA256).write_bytes(CONTENT[:-1])
    assert download.fetch(url(server), SHA256).read_bytes() == CONTENT


def test_offline_says_where_to_put_the_file(downloads: Path) -> None:
    with pytest.raises(
        Unavailable,
        match=f"could not be downloaded .*; connect once, or put the file with sha256 {SHA256} at",
    ) as caught:
        download.fetch(closed_url(), SHA256)
    assert str(downloads / SHA256) in str(caught.value)
    assert list(downloads.iterdir()) == []


def test_a_file_put_there_by_hand_is_taken(downloads: Path) -> None:
    downloads.mkdir()
    (downloads / SHA256).write_bytes(CONTENT)
    assert download.fetch(closed_url(), SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["missing", "garbage"])
def test_an_error_of_the_server_is_unavailable(path: str, server: Server, downloads: Path) -> None:
    with pytest.raises(Unavailable, match="could not be downloaded"):
        download.fetch(url(server, path), SHA256)
    assert list(downloads.iterdir()) == []


def test_a_connection_that_breaks_off_leaves_nothing(server: Server, downloads: Path) -> None:
    server.content = CONTENT[:1000]
    with pytest.raises(Unavailable):
        download.fetch(url(server), SHA256)
    assert list(downloads.iterdir()) == []


def test_failing_leaves_no_file_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(Unavailable):
            download.fetch(closed_url(), SHA256)
    assert len(os.listdir("/proc/self/fd")) == before
