"""Our own command, run as a user would, and how its answer is read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from truth import Told

HERE = Path(__file__).resolve().parent
APP = f"{HERE / 'bench_app.py'}:app"
PROGRAM = (str(Path(sys.executable).with_name("logstatsd")),)


def snapshot(cache: Path) -> Path:
    """Give the snapshot of the app's routes, made anew."""
    path = cache / "routes.json"
    subprocess.run([*PROGRAM, "routes", "--app", APP, "-o", str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def report(log: Path, routes: Path, *options: str) -> list[str]:
    """Give the command that reports a log."""
    return [*PROGRAM, "report", str(log), "--routes", str(routes), "--json", *options]


def read_report(output: str) -> Told:
    """Read the report; a row that is also grouped by status would have wrong percentiles."""
    told = Told()
    answer = json.loads(output)
    for row in answer["rows"]:
        percentiles = None if row["p50_us"] is None else (row["p50_us"], row["p95_us"], row["p99_us"])
        told.add(row["rule"], row["method"], row["requests"], percentiles)
    if told.parsed != answer["parsed"]:
        raise ValueError(f"the rows have {told.parsed} requests, the report {answer['parsed']}")
    return told


def wrong_details(output: str, truth: dict[str, object]) -> list[str]:
    """Check what only our report tells: rejected lines, errors, and exact sums, minima and maxima."""
    answer = json.loads(output)
    wrong = [
        f"{name}: {answer[name]}, truth {truth[other]}"
        for name, other in (("lines", "lines"), ("rejected", "junk"))
        if answer[name] != truth[other]
    ]
    rows = {(row["rule"], row["method"]): row for row in answer["rows"]}
    for row in truth["rows"]:  # type: ignore[attr-defined]
        mine = rows.get((row["rule"], row["method"]), {})
        wrong += [
            f"{row['method']} {row['rule']}: {name} {mine.get(name)}, truth {row[name]}"
            for name in ("errors_4xx", "errors_5xx", "total_us", "min_us", "max_us")
            if mine.get(name) != row[name]
        ]
    return wrong
