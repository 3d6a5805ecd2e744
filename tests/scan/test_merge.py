"""Several logs as one stream in the order of their times, with every line counted once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sample
from batches import series
from hypothesis import given
from hypothesis import strategies as st

from logstatsd.model.batch import Batch
from logstatsd.model.line_counts import LineCounts
from logstatsd.scan.logs import open_logs
from logstatsd.scan.merge import by_bucket, in_time
from logstatsd.scan.run import Run

START = datetime(2026, 11, 22, 13, tzinfo=UTC)


def write(path: Path, first_s: int, seconds: int, duration_ms: int) -> str:
    with path.open("w") as file:
        for second in range(first_s, first_s + seconds):
            moment = (START + timedelta(seconds=second)).strftime("%d/%b/%Y:%H:%M:%S +0000")
            request = '"GET /api/products/7 HTTP/1.1" 200 5 "-" "-"'
            file.write(f"192.0.2.1 - - [{moment}] {request} 0.{duration_ms:03}\n" * 2)
    return str(path)


def test_logs_of_the_same_time_are_merged_and_one_of_a_later_time_follows(tmp_path: Path) -> None:
    names = ["newest", "one", "other"]
    paths = [
        write(tmp_path / name, at, 20, ms) for name, at, ms in zip(names, (40, 0, 5), (1, 2, 3), strict=True)
    ]
    (tmp_path / "empty").touch()
    logs = open_logs([*paths, str(tmp_path / "empty")])
    pieces = list(in_time(Run(logs, sample.router(), bucket_s=1)))
    seen = [(key.at_s, Path(piece.path).name) for piece in pieces for key in piece.batch.timings]
    assert [at_s for at_s, _ in seen] == sorted(at_s or 0 for at_s, _ in seen)
    assert Counter(name for _, name in seen) == {"newest": 20, "one": 20, "other": 20}
    assert sum(piece.batch.counts.lines for piece in pieces) == 120


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.booleans())), st.integers(0, 3))
def test_cutting_keeps_every_count(values: list[tuple[int, int, bool]], bad: int) -> None:
    whole = Batch(LineCounts(len(values) + bad, rejected=Counter({"no match": bad})))
    for at_s, duration_us, cpu in values:
        known = (whole.cpu if cpu else whole.timings).setdefault(series(at_s=at_s), {})
        known[duration_us] = known.get(duration_us, 0) + 1
    parts = by_bucket(whole)
    assert sum(part.counts.lines for part in parts) == whole.counts.lines
    assert sum(part.counts.rejected.total() for part in parts) == bad
    assert {key: found for part in parts for key, found in part.timings.items()} == whole.timings
    assert {key: found for part in parts for key, found in part.cpu.items()} == whole.cpu
    assert all(len({key.at_s for key in (*part.timings, *part.cpu)}) <= 1 for part in parts)
