"""What each peer is told about the app's rules: patterns, configuration files, queries."""

from __future__ import annotations

import json
import random
import re

from bench_app import RULES
from traffic import CONVERTER, fill

OTHER = "(other)"  # what no rule's pattern fits
UUID = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
VALUES = {"int": "[0-9]+", "uuid": UUID, "string": "[^/]+", "path": "[^/].*", "float": r"[0-9]+\.[0-9]+"}
GLOBS = {
    "int": "[0-9]*",
    "uuid": "????????-????-????-????-????????????",
    "string": "?*",
    "path": "?*",
    "float": "[0-9]*.[0-9]*",
}


def methods_of(methods: str) -> list[str]:
    """Give the methods of a rule, with those that Flask adds."""
    return [*methods.split(), "OPTIONS", *(["HEAD"] if "GET" in methods else [])]


def pattern(rule: str) -> str:
    """Write a rule as an expression of any regex dialect, without anchors (in alp a `?` starts a query)."""
    parts, end = [], 0
    for found in CONVERTER.finditer(rule):
        choices = found["choices"]
        parts.append(rule[end : found.start()].replace(".", r"\."))
        parts.append(f"({choices.replace(', ', '|')})" if choices else VALUES[found[1]])
        end = found.end()
    return "".join(parts) + rule[end:].replace(".", r"\.")


PATTERNS: dict[str, str] = {rule: pattern(rule) for rule, _ in RULES}


def alp() -> str:
    """Group by rule, and all other targets as one: more than 5,000 different ones would end alp."""
    line = (
        r'^[^ ]+ [^ ]+ [^ ]+ \[(?P<time>[^\]]+)\] "(?P<method>[A-Z]+) (?P<uri>[^ ]+) [^"]*" '
        r'(?P<status>[0-9]+) (?P<bytes>[0-9]+) "[^"]*" "[^"]*" (?P<seconds>[0-9.]+)$'
    )
    groups = "".join(f"  - {json.dumps(f'^{each}$')}\n" for each in (*PATTERNS.values(), ".*"))
    return (
        f"matching_groups:\n{groups}regexp:\n  pattern: {json.dumps(line)}\n"
        "  uri_subexp: uri\n  method_subexp: method\n  time_subexp: time\n  response_time_subexp: seconds\n"
        "  body_bytes_subexp: bytes\n  status_subexp: status\n"
    )


def kataribe() -> str:
    """One bundle a method and rule; none for the rest, as some versions try bundles in any order."""
    bundles = [
        (f"{method} {rule}", rf"^{method} {PATTERNS[rule]}(?:[?][^ ]*)? ")
        for rule, methods in RULES
        for method in methods_of(methods)
    ]
    line = r'^[^ ]+ [^ ]+ [^ ]+ \[[^\]]+\] "([^"]*)" ([0-9]+) ([0-9]+) "[^"]*" "[^"]*" ([0-9.]+)$'
    return (
        "ranking_count = 1000\nslow_count = 0\nshow_stddev = false\nshow_status_code = true\n"
        "percentiles = [50.0, 95.0, 99.0]\nscale = 0\neffective_digit = 3\n"
        f"log_format = '{line}'\n"
        "request_index = 1\nstatus_index = 2\nbytes_index = 3\nduration_index = 4\n"
    ) + "".join(
        f"\n[[bundle]]\nname = '{name}'\nregexp = '{each}'\n" for name, each in [*bundles, (OTHER, ".")]
    )


def mtail() -> str:
    """Count and bucket by rule: the first block whose pattern fits ends the line."""
    line = (
        r'"(?P<method>[A-Z]+) (?P<path>[^ ?"]+)[^ "]* [^"]*" [0-9]+ [0-9]+ "[^"]*" "[^"]*" '
        r"(?P<seconds>[0-9.]+)$"
    )
    blocks = []
    for rule, each in PATTERNS.items():
        escaped = each.replace("/", r"\/")
        blocks.append(
            f'  $path =~ /^{escaped}$/ {{\n    requests["{rule}"][$method]++\n'
            f'    seconds["{rule}"][$method] = $seconds\n    stop\n  }}\n'
        )
    return (
        "counter requests by rule, method\n"
        "histogram seconds by rule, method buckets 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10\n"
        f'/{line}/ {{\n{"".join(blocks)}  requests["{OTHER}"][$method]++\n}}\n'
    )


def globs() -> list[tuple[str, str]]:
    """Write the rules as globs with their rule, the narrower first, as `*` takes slashes too."""
    pairs = []
    for rule, _ in RULES:
        choices = next((found["choices"] for found in CONVERTER.finditer(rule) if found["choices"]), "")
        for choice in choices.split(", "):
            glob = CONVERTER.sub(lambda found, one=choice: one if found["choices"] else GLOBS[found[1]], rule)
            pairs.append((glob, rule))
    return sorted(pairs, key=lambda pair: (-pair[0].count("/"), "*" in pair[0], -len(pair[0])))


def lnav() -> str:
    """Sum up by path first, so that the globs that name the rule are tried once a path."""
    cases = " ".join(f"WHEN path GLOB '{glob}' THEN '{rule}'" for glob, rule in globs())
    seconds = "CAST(log_body AS REAL)"
    return (
        f";SELECT CASE {cases} ELSE '{OTHER}' END AS rule, method, sum(n) AS requests, sum(n4) AS e4, "
        "sum(n5) AS e5, sum(total) / sum(n) AS mean, max(most) AS top FROM (SELECT cs_method AS method, "
        "cs_uri_stem AS path, count(*) AS n, sum(sc_status / 100 = 4) AS n4, sum(sc_status / 100 = 5) AS n5, "
        f"sum({seconds}) AS total, max({seconds}) AS most FROM access_log GROUP BY 1, 2) GROUP BY 1, 2"
    )


# One expression that collapses what varies but keeps its kind: a slash before an int, a dot before a float, a
# dash before a UUID. A group an alternative, and at most nine, as that is what a replacement can name.
COLLAPSE = "|".join(
    (
        "(^/search/|/categories/|/coupons/|/webhooks/|/metrics/|/tags/|/admin/reports/)[^/]+",
        "^(/docs/|/assets/|/api/v1/files/).+",
        "^(/shop/|/api/v2/search/)[^/]+/[^/]+$",
        "^/shop/[^/]+(/)$",
        "^(/blog/)[0-9]+(/)[0-9]+/[^/]+$",
        "/[0-9a-f]{8}(-)[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        r"/[0-9]+(\.)[0-9]+",
        r"(/)(?:mail|privacy|theme|cancel|refund|ship|ban|unban|reset|csv|json|xml|[0-9]+)\b",
    )
)
COLLAPSED = "".join(rf"\{number}" for number in range(1, 10)) + "*"


def collapsed_rules() -> dict[str, str]:
    """Give the rule of each collapsed target."""
    rng = random.Random(1)
    return {re.sub(COLLAPSE, COLLAPSED, fill(rule, rng)): rule for rule, _ in RULES}


def duckdb() -> str:
    """Read the log as CSV whose delimiter is the quote, collapse each distinct path once, and join."""
    names = ("client", "request", "answer", "referer", "space", "agent", "seconds")
    columns = ", ".join(f"'{name}': 'varchar'" for name in names)
    query = f"""
        WITH lines AS MATERIALIZED (
            SELECT split_part(request, ' ', 1) AS method,
                   split_part(split_part(request, ' ', 2), '?', 1) AS path,
                   answer[2] AS hundred, round(seconds::DOUBLE * 1e6)::BIGINT AS us
            FROM read_csv(?, header=false, delim='"', quote='', escape='', columns={{{columns}}},
                          ignore_errors=true, auto_detect=false)),
        paths AS (
            SELECT path, regexp_replace(path, '{COLLAPSE}', '{COLLAPSED}', 'g') AS rule
            FROM (SELECT DISTINCT path FROM lines))
        SELECT rule, method, count(*), count(*) FILTER (hundred = '4'), count(*) FILTER (hundred = '5'),
               sum(us)::BIGINT, min(us), max(us), quantile_disc(us, [0.5, 0.95, 0.99])
        FROM lines JOIN paths USING (path) GROUP BY ALL"""
    return (
        "import duckdb, json, sys\n"
        "connection = duckdb.connect(config={'preserve_insertion_order': 'false'})\n"
        f"rows = connection.execute({query!r}, [sys.argv[1]]).fetchall()\n"
        "json.dump(rows, sys.stdout)\n"
    )


def clickhouse() -> str:
    """Group by path first, with states that are then merged by collapsed path."""
    collapse = COLLAPSE.replace("\\", "\\\\")
    collapsed = COLLAPSED.replace("\\", "\\\\")
    query = f"""
        SELECT replaceRegexpAll(path, '{collapse}', '{collapsed}') AS rule, method, sum(requests),
               sum(errors_4xx), sum(errors_5xx), sum(total), min(least), max(most),
               quantilesExactLowMerge(0.5, 0.95, 0.99)(state)
        FROM (
            SELECT splitByChar(' ', parts[2])[1] AS method,
                   splitByChar('?', splitByChar(' ', parts[2])[2])[1] AS path,
                   count() AS requests, countIf(substring(parts[3], 2, 1) = '4') AS errors_4xx,
                   countIf(substring(parts[3], 2, 1) = '5') AS errors_5xx, sum(us) AS total, min(us) AS least,
                   max(us) AS most, quantilesExactLowState(0.5, 0.95, 0.99)(us) AS state
            FROM (
                SELECT splitByChar('"', line) AS parts,
                       toUInt64(round(toFloat64OrZero(trim(parts[7])) * 1000000)) AS us
                FROM file('{{log}}', LineAsString))
            WHERE length(parts) = 7
            GROUP BY path, method)
        GROUP BY rule, method"""
    return (
        "import chdb, json, sys\n"
        f"query = {query!r}.replace('{{log}}', sys.argv[1])\n"
        "rows = json.loads(chdb.query(query, 'JSONCompact').bytes())['data']\n"
        "numbers = [[*row[:2], *map(int, row[2:8]), list(map(int, row[8]))] for row in rows]\n"
        "json.dump(numbers, sys.stdout)\n"
    )


def mawk() -> str:
    """Collapse numbers and UUIDs; strings, paths and percentiles are beyond a one-liner."""
    return (
        '{ split($7, target, "?"); path = target[1];'
        r' gsub(/\/[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+/, "/-*", path);'
        r' gsub(/\/[0-9]+\.[0-9]+/, "/.*", path); gsub(/\/[0-9]+/, "/*", path);'
        ' key = substr($6, 2) " " path; count[key]++; sum[key] += $NF; if ($NF > top[key]) top[key] = $NF }'
        " END { for (key in count) print key, count[key], sum[key], top[key] }"
    )


def angle_grinder() -> str:
    """Group by method and the first parts of the path: its expressions have neither globs nor replacement."""
    line = (
        r"^[^\"]*\"(?P<method>[A-Z]+) (?P<area>(?:/[^/ ?]*){1,3})[^\"]*\" (?P<status>[0-9]+) [0-9]+"
        r" \"[^\"]*\" \"[^\"]*\" (?P<seconds>[0-9.]+)$"
    )
    figures = "count as requests, p50(seconds), p95(seconds), p99(seconds)"
    return f'* | parse regex "{line}" | {figures} by method, area'
