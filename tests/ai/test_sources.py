"""Files of data sets come from a mirror or a checked download; without either, rows are generated."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ai_api.datasets import Table, split
from ai_api.errors import DataUnavailable, InvalidData
from ai_api.sources import PublicFile, Source, real_or_generated
from ai_api.tasks.housing import read_housing
from ai_api.tasks.tweets import generate_tweets, read_tweets


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A download server on this machine: its address and its folder."""
    folder = tmp_path / "publisher"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_a_file_of_the_mirror_is_read_plain_or_gzipped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"two"))
    source = Source(tmp_path / "raw", tmp_path)
    assert source.read(PublicFile("a.txt", "http://127.0.0.1:9")) == b"one"
    assert source.read(PublicFile("b.txt", "http://127.0.0.1:9", sha256="of the public file")) == b"two"


def test_a_download_is_checked_and_kept(tmp_path: Path, publisher: tuple[str, Path]) -> None:
    url, folder = publisher
    (folder / "a.txt").write_bytes(b"rows")
    file = PublicFile("set/a.txt", f"{url}/a.txt", sha256=hashlib.sha256(b"rows").hexdigest())
    source = Source(tmp_path / "raw")
    assert source.read(file) == b"rows"
    (folder / "a.txt").unlink()
    assert source.read(file) == b"rows"


@pytest.mark.parametrize("check", ["sha256", "git_blob"])
def test_a_download_that_is_not_the_published_file_is_refused(
    tmp_path: Path, publisher: tuple[str, Path], check: str
) -> None:
    url, folder = publisher
    (folder / "a.txt").write_bytes(b"other rows")
    file = PublicFile("a.txt", f"{url}/a.txt", **{check: "0" * 40})  # type: ignore[arg-type]
    with pytest.raises(InvalidData, match="its checksum differs"):
        Source(tmp_path / "raw").read(file)
    assert not (tmp_path / "raw" / "a.txt").exists()


@pytest.mark.parametrize("check", ["sha256", "git_blob"])
def test_a_kept_file_that_is_not_the_published_file_is_refused_and_not_replaced(tmp_path: Path, check: str) -> None:
    (tmp_path / "a.txt").write_bytes(b"other rows")
    file = PublicFile("a.txt", "http://127.0.0.1:9", **{check: "0" * 40})  # type: ignore[arg-type]
    with pytest.raises(InvalidData, match="delete it"):
        Source(tmp_path).read(file)
    assert (tmp_path / "a.txt").read_bytes() == b"other rows"


def test_a_link_to_nothing_and_a_file_in_place_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "nothing")
    (tmp_path / "set").write_text("a file")
    for name in ("a.txt", "set/b.txt"):
        with pytest.raises(InvalidData, match=name):
            Source(tmp_path / "raw", tmp_path).read(PublicFile(name, "http://127.0.0.1:9"))


def test_a_file_that_cannot_be_fetched_is_missing_and_not_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"a\.txt could not be fetched"):
        Source(tmp_path, timeout_seconds=1).read(PublicFile("a.txt", "http://127.0.0.1:9/a.txt"))


def test_wrong_rows_are_not_replaced_by_generated_ones() -> None:
    def read() -> Table:
        raise InvalidData

    with pytest.raises(InvalidData):
        real_or_generated(read, generate_tweets, "tweets")


def test_the_git_blob_id_of_the_published_file_is_accepted(tmp_path: Path, publisher: tuple[str, Path]) -> None:
    url, folder = publisher
    (folder / "a.txt").write_bytes(b"hello\n")
    file = PublicFile("a.txt", f"{url}/a.txt", git_blob="ce013625030ba8dba906f756967f9e9ca394464a")
    assert Source(tmp_path / "raw").read(file) == b"hello\n"


@pytest.mark.parametrize("read", [read_tweets, read_housing])
def test_without_mirror_and_network_rows_are_generated_with_a_warning_within_seconds(
    read: Callable[[Source], Table], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        table = read(Source(tmp_path / "raw", timeout_seconds=1))
    assert time.monotonic() - started < 10
    assert table.synthetic
    assert "GENERATED ROWS" in caplog.text
    assert split(table).train.synthetic
    assert read(Source(tmp_path / "raw", timeout_seconds=1)).digest() == table.digest()
