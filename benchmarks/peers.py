"""The peers: how each is installed, what it is run with, and how its answer is read."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, NamedTuple

import peer_configs
from installs import Package
from truth import Told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RULE_OF_PATTERN = {f"^{each}$": rule for rule, each in peer_configs.PATTERNS.items()}
GOACCESS_FORMAT = '%h %^[%d:%t %^] "%r" %s %b "%R" "%u" %T'
GOACCESS_PANELS = (  # all but REQUESTS, so that it does no more than is asked
    *("VISITORS", "REQUESTS_STATIC", "NOT_FOUND", "HOSTS", "OS", "BROWSERS", "VISIT_TIMES", "VIRTUAL_HOSTS"),
    *("REFERRERS", "REFERRING_SITES", "KEYPHRASES", "STATUS_CODES", "REMOTE_USER", "CACHE_STATUS"),
    *("GEO_LOCATION", "MIME_TYPE", "TLS_TYPE"),
)


class Peer(NamedTuple):
    """A tool to compare with: `configs` are files to write, `{name}` in the command is such a file's path.

    `{program}` and `{log}` are the program and the log; `reads_stdin` gives it the log as its input.
    """

    name: str
    package: Package
    command: tuple[str, ...]
    read: Callable[[str], Told]
    gives: str
    configs: dict[str, Callable[[], str]] = {}  # noqa: RUF012
    reads_stdin: bool = False

    def prepared(self, program: str, log: Path, work: Path) -> list[str]:
        """Write the configuration files and give the command."""
        folder = work / self.package.program
        folder.mkdir(parents=True, exist_ok=True)
        places = {"program": program, "log": str(log), "folder": str(folder)}
        for name, text in self.configs.items():
            (folder / name).write_text(text(), encoding="utf-8")
            places[name.replace(".", "_")] = str(folder / name)
        return [fill_in(part, places) for part in self.command]


def fill_in(part: str, places: dict[str, str]) -> str:
    """Replace `{name}` by its place; other braces stay."""
    return re.sub(r"\{([a-z_]+)\}", lambda found: places.get(found[1], found[0]), part)


def microseconds(*seconds: str | float) -> tuple[float, float, float]:
    """Turn p50, p95 and p99 from seconds into whole microseconds."""
    p50, p95, p99 = (float(round(float(each) * 1e6)) for each in seconds)
    return p50, p95, p99


def read_alp(output: str) -> Told:
    """Read alp's tab-separated table."""
    told = Told()
    for row in csv.DictReader(io.StringIO(output), delimiter="\t"):
        fields = {name.lower(): value for name, value in row.items()}
        rule = RULE_OF_PATTERN.get(fields["uri"], peer_configs.OTHER)
        percentiles = microseconds(fields["p50"], fields["p95"], fields["p99"])
        told.add(rule, fields["method"], int(fields["count"]), percentiles)
    return told


def read_kataribe(output: str) -> Told:
    """Read the first of kataribe's tables; its last column is the bundle, `METHOD RULE`."""
    told = Told()
    lines = output.split("\n\n", 1)[0].splitlines()
    start = next(number for number, line in enumerate(lines) if line.split()[:1] == ["Count"])
    names = [name.removesuffix(".0") for name in lines[start].split()[:-1]]
    for line in lines[start + 1 :]:
        *cells, bundle = line.split(maxsplit=len(names))
        figures = dict(zip(names, cells, strict=True))
        method, _, rule = bundle.partition(" ")
        percentiles = microseconds(figures["P50"], figures["P95"], figures["P99"])
        told.add(rule, method, int(figures["Count"]), percentiles)
    return told


def read_goaccess(output: str) -> Told:
    """Read how many lines GoAccess could read: it groups by target, not by rule."""
    return Told(parsed=json.loads(output)["general"]["valid_requests"])


def read_lnav(output: str) -> Told:
    """Read the CSV that lnav writes."""
    told = Told()
    for row in csv.DictReader(io.StringIO(output)):
        if row["method"] not in ("", "<NULL>"):  # as of a line that lnav could not read
            told.add(row["rule"], row["method"], int(row["requests"]))
    return told


def read_mtail(output: str) -> Told:
    """Read the counters of a page for Prometheus."""
    told = Told()
    for labels, count in re.findall(r"^requests\{(.*)\} (\d+)$", output, re.MULTILINE):
        names = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        told.add(names["rule"], names["method"], int(count))
    return told


def read_duckdb(output: str) -> Told:
    """Read the rows of the query, of DuckDB's or ClickHouse's."""
    told, rules = Told(), peer_configs.collapsed_rules()
    for form, method, count, *_, (p50, p95, p99) in json.loads(output):
        told.add(rules.get(form, peer_configs.OTHER), method, count, (p50, p95, p99))
    return told


def read_angle_grinder(output: str) -> Told:
    """Read how many lines angle-grinder could read: its groups are not rules."""
    return Told(parsed=sum(int(row["requests"]) for row in json.loads(output)))


def read_mawk(output: str) -> Told:
    """Read how many lines awk saw: it takes every line, junk too."""
    return Told(parsed=sum(int(line.split(" ")[-3]) for line in output.splitlines()))


def read_number(output: str) -> Told:
    """Read a number of lines."""
    return Told(parsed=int(output.split(maxsplit=1)[0]))


PEERS: tuple[Peer, ...] = (
    Peer(
        "ClickHouse",
        Package("pip", "chdb", "chdb-python"),
        ("{program}", "{report_py}", "{log}"),
        read_duckdb,
        "rules by a rewriting written by hand, percentiles",
        {"report.py": peer_configs.clickhouse},
    ),
    Peer(
        "DuckDB",
        Package("pip", "duckdb", "duckdb-python"),
        ("{program}", "{report_py}", "{log}"),
        read_duckdb,
        "rules by a rewriting written by hand, percentiles",
        {"report.py": peer_configs.duckdb},
    ),
    Peer(
        "alp",
        Package("go", "github.com/tkuchiki/alp/cmd/alp@v1.0.21", "alp"),
        (
            *(
                "{program}",
                "regexp",
                "--config",
                "{alp_yml}",
                "--file",
                "{log}",
                "--percentiles",
                "50,90,95,99",
            ),
            *("-r", "--sort", "sum", "--format", "tsv"),
            *("-o", "count,2xx,3xx,4xx,5xx,method,uri,min,avg,p50,p90,p95,p99,max"),
        ),
        read_alp,
        "rules by regex, percentiles",
        {"alp.yml": peer_configs.alp},
    ),
    Peer(
        "kataribe",
        Package("go", "github.com/matsuu/kataribe@latest", "kataribe"),
        ("{program}", "-f", "{kataribe_toml}"),
        read_kataribe,
        "rules by regex, percentiles",
        {"kataribe.toml": peer_configs.kataribe},
        reads_stdin=True,
    ),
    Peer(
        "GoAccess",
        Package("apt", "goaccess", "goaccess"),
        (
            *("{program}", "{log}", "--no-global-config", "--no-progress", "--no-query-string"),
            *(f"--log-format={GOACCESS_FORMAT}", "--date-format=%d/%b/%Y", "--time-format=%T", "-o", "json"),
            *(f"--ignore-panel={panel}" for panel in GOACCESS_PANELS),
        ),
        read_goaccess,
        "targets as they are, mean and maximum",
    ),
    Peer(
        "lnav",
        Package("apt", "lnav", "lnav"),
        ("{program}", "-n", "-d", "/dev/null", "-c", "|{query_lnav}", "{log}"),
        read_lnav,
        "rules by GLOB, mean and maximum",
        {"query.lnav": lambda: f"{peer_configs.lnav()}\n:write-csv-to -\n"},
    ),
    Peer(
        "mtail",
        Package("apt", "mtail", "mtail"),
        (
            *("{program}", "-one_shot", "-one_shot_format=prometheus", "-address", "127.0.0.1"),
            *("-progs", "{folder}", "-logs", "{log}"),
        ),
        read_mtail,
        "rules by regex, buckets",
        {"rules.mtail": peer_configs.mtail},
    ),
    Peer(
        "angle-grinder",
        Package("cargo", "ag", "agrind"),
        ("{program}", "-o", "json", "-f", "{log}", peer_configs.angle_grinder()),
        read_angle_grinder,
        "first parts of the path, percentiles",
    ),
    Peer(
        "mawk",
        Package("apt", "mawk", "mawk"),
        ("{program}", peer_configs.mawk(), "{log}"),
        read_mawk,
        "numbers and UUIDs collapsed, sum and maximum: a floor",
    ),
    Peer(
        "ripgrep -c",
        Package("apt", "ripgrep", "rg"),
        ("{program}", "-c", r'^\S+ \S+ \S+ \[[^\]]+\] "[A-Z]+ [^" ]+ [^"]*" \d+ \d+ "', "{log}"),
        read_number,
        "a count of lines: a floor",
    ),
    Peer(
        "wc -l",
        Package("apt", "coreutils", "wc"),
        ("{program}", "-l", "{log}"),
        read_number,
        "a count of lines: the limit",
    ),
)
