"""What a Volant of processes writes is for its own account only."""

from __future__ import annotations

from tests.loop.volant import Volant
from tests.stack import reachable


def test_other_users_of_the_machine_reach_no_file_and_services_write_none_that_others_could_read(small: Volant) -> None:
    assert [path for path in reachable(small.root) if path.parent != small.root] == []  # there, what readers wrote
    data = small.root / "data"
    folders = (small.state_dir, small.root / "mlruns", data / "postgres")
    written = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    written += [data / "mlflow.db", data / "mlflow-auth.db"]
    assert len(written) > 100
    assert [path for path in written if path.exists() and path.stat().st_mode & 0o077] == []
