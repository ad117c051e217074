"""Output of the command line: aligned tables, and the progress of long commands."""

from __future__ import annotations

import io
import logging

import pytest

from ai_api.commands.display import progress, table


class Terminal(io.StringIO):
    """A terminal in memory."""

    def isatty(self) -> bool:
        return True


def test_text_is_aligned_left_and_numbers_right() -> None:
    text = table(["name", "rows", "score", ""], [["a", 12_345, 0.5, "fine"], ["long", None, 1e6, ""]])
    assert text.splitlines() == [
        "name    rows      score",
        "a     12,345     0.5000  fine",
        "long          1,000,000",
    ]


def test_a_table_without_rows_has_only_its_head() -> None:
    assert table(["a", "b"], []) == "a  b"


def test_without_a_terminal_each_progress_event_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("housing forest") as report:
        report("progress", {"step": 2, "total": 6, "message": "fitting"})
        report("metric", {"name": "rmse", "value": 1.0})
    assert capsys.readouterr().err == "housing forest: fitting\n"


def test_on_a_terminal_log_lines_are_written_above_the_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    handler = logging.StreamHandler(terminal)
    logging.getLogger().addHandler(handler)
    try:
        with progress("housing forest") as report:
            report("progress", {"step": 2, "total": 6, "message": "fitting"})
            logging.getLogger("test").warning("no network")
            report("metric", {"name": "rmse", "value": 1.0})
        assert handler.stream is terminal
    finally:
        logging.getLogger().removeHandler(handler)
    assert "fitting" in terminal.getvalue()
    assert "no network\n" in terminal.getvalue()
