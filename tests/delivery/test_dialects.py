"""Dialects: each is held to its grammar and to the datadog client's own bytes."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from datadog.dogstatsd.base import DogStatsd
from hypothesis import given
from hypothesis import strategies as st

from logstatsd.delivery import dialects
from logstatsd.delivery.dialects import DIALECTS, WIRE_TYPES, format_ms, format_s
from logstatsd.delivery.naming import Metric, Naming, safe_constant_tag
from logstatsd.errors import OptionError
from logstatsd.model.route import METHOD_NOT_ALLOWED, NOT_THE_APP, REDIRECT, UNMATCHED, Route

USERS = Metric("shop.api.request", ("http_method:GET", "url_rule:/users/_int:id_"))

NAME = r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*"
END = r":(?P<value>[0-9]+(?:\.[0-9]+)?)\|(?:ms|h|d)(?:\|@0\.[0-9]+)?"
GRAMMARS = {
    "dogstatsd": re.compile(rf"{NAME}{END}(?:\|#[^|#,\s]+(?:,[^|#,\s]+)*)?\n"),
    "statsd": re.compile(rf"{NAME}(?:\.[A-Za-z0-9_-]*)*{END}\n"),
    "graphite": re.compile(rf"{NAME}(?:;[^;=:|\s]+=[^;=:|\s]*)*{END}\n"),
    "influx": re.compile(rf"{NAME}(?:,[^,=:|\s]+=[^,=:|\s]*)*{END}\n"),
}
"""A whole line of each dialect, as its servers' documentation has it, with nothing else in it."""

hostile = st.text() | st.sampled_from(
    [
        "x\nevil:1|c",
        "a|c|#x:y",
        "a,b:c",
        "a;b=c",
        "\x00",
        "é" * 300,
        "{}",
        "%s",
        "::",
        "host:x",
        "\u2028",
        "\ud800",
    ]
)
routes = st.builds(Route, hostile, hostile | st.none(), st.just("matched")) | st.sampled_from(
    [UNMATCHED, METHOD_NOT_ALLOWED, REDIRECT, NOT_THE_APP]
)


@pytest.mark.parametrize(
    ("dialect", "line"),
    [
        ("dogstatsd", b"shop.api.request:12.5|ms|@0.5|#http_method:GET,url_rule:/users/_int:id_\n"),
        ("statsd", b"shop.api.request.GET._users__int_id_:12.5|ms|@0.5\n"),
        ("graphite", b"shop.api.request;http_method=GET;url_rule=/users/_int_id_:12.5|ms|@0.5\n"),
        ("influx", b"shop.api.request,http_method=GET,url_rule=/users/_int_id_:12.5|ms|@0.5\n"),
    ],
)
def test_one_metric_in_every_dialect(dialect: str, line: bytes) -> None:
    head, tail = DIALECTS[dialect].encode(USERS, "ms", 0.5, None)
    assert head + b"12.5" + tail == line


@pytest.mark.parametrize("dialect", DIALECTS)
@given(
    app=hostile,
    prefix=hostile,
    constant=hostile,
    route=routes,
    method=hostile,
    status=st.integers(0, 999),
    duration_us=st.integers(0, 10**12),
    rate=st.sampled_from([1, 0.5, 0.001, 0.000001]),
    scheme=st.sampled_from(["flask", "otel"]),
)
def test_whatever_is_in_a_log_one_sample_is_one_well_formed_metric(
    dialect: str,
    app: str,
    prefix: str,
    constant: str,
    route: Route,
    method: str,
    status: int,
    duration_us: int,
    rate: float,
    scheme: str,
) -> None:
    naming = Naming(app, scheme, prefix, per_endpoint=True)
    for metric in naming.metrics(route, method, status):
        tagged = metric._replace(tags=(*metric.tags, safe_constant_tag("team:" + constant)))
        head, tail = DIALECTS[dialect].encode(tagged, WIRE_TYPES[naming.wire_type], rate, None)
        line = (head + dialects.UNIT_WRITERS[naming.unit](duration_us) + tail).decode()
        found = GRAMMARS[dialect].fullmatch(line)
        assert found, line
        assert Decimal(found["value"]) * {"ms": 1000, "s": 1_000_000}[naming.unit] == duration_us
        assert line.count("\n") == 1


class Recorder:
    """Stands where a client's socket is, and keeps what it is given."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def send(self, payload: bytes) -> None:
        self.payloads.append(payload)

    def getsockopt(self, *_: int) -> int:
        raise AttributeError

    def close(self) -> None:
        pass


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> DogStatsd:
    """The real client, with the constant tags of an environment, writing into a Recorder."""
    monkeypatch.setenv("DATADOG_TAGS", "region:eu,canary")
    monkeypatch.setenv("DD_ENV", "prod")
    client = DogStatsd(disable_telemetry=True, origin_detection_enabled=False, disable_buffering=True)
    client.socket = Recorder()
    return client


@given(
    routes,
    st.sampled_from(["GET", "_OTHER"]),
    st.integers(100, 599),
    st.integers(1, 10**9),
    st.sampled_from(["flask", "otel"]),
)
def test_live_and_replayed_bytes_are_the_same(
    route: Route, method: str, status: int, duration_us: int, scheme: str
) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DATADOG_TAGS", "region:eu,canary")
        client = DogStatsd(disable_telemetry=True, origin_detection_enabled=False, disable_buffering=True)
    client.socket = recorder = Recorder()
    naming = Naming("shop", scheme, tags=("team:web",))
    (metric,) = naming.metrics(route, method, status)
    value = dialects.UNIT_WRITERS[naming.unit](duration_us)
    {"timing": client.timing, "distribution": client.distribution}[naming.wire_type](
        metric.name, value.decode(), tags=list(metric.tags)
    )
    tagged = metric._replace(tags=(*metric.tags, *map(safe_constant_tag, client.constant_tags)))
    head, tail = dialects.dogstatsd(tagged, WIRE_TYPES[naming.wire_type])
    assert recorder.payloads == [head + value + tail]


@pytest.mark.parametrize("kind", ["timing", "histogram", "distribution"])
@pytest.mark.parametrize("tags", [(), ("a:b", "canary")])
def test_every_type_is_what_the_client_writes(client: DogStatsd, kind: str, tags: tuple[str, ...]) -> None:
    getattr(client, kind)("shop.api.request", 12.345, tags=list(tags))
    tagged = Metric("shop.api.request", (*tags, *client.constant_tags))
    head, tail = dialects.dogstatsd(tagged, WIRE_TYPES[kind])
    assert client.socket.payloads == [head + format_ms(12_345) + tail]


def test_sampled_values_are_marked_as_the_client_marks_them(client: DogStatsd) -> None:
    while not client.socket.payloads:
        client.timing("shop.api.request", 5, sample_rate=0.25)
    head, tail = dialects.dogstatsd(Metric("shop.api.request", tuple(client.constant_tags)), "ms", 0.25)
    assert client.socket.payloads == [head + b"5" + tail]


def test_timestamped_points_are_what_the_client_writes(client: DogStatsd) -> None:
    client.count_with_timestamp("shop.api.request.count", 7, 1_700_000_000)
    client.gauge_with_timestamp("shop.api.request.p95", 1.5, 1_700_000_000)
    tags = tuple(client.constant_tags)
    head, tail = dialects.dogstatsd(Metric("shop.api.request.count", tags), "c", timestamp=1_700_000_000)
    assert client.socket.payloads[0] == head + b"7" + tail
    head, tail = dialects.dogstatsd(Metric("shop.api.request.p95", tags), "g", timestamp=1_700_000_000)
    assert client.socket.payloads[1] == head + b"1.5" + tail


@pytest.mark.parametrize(
    ("duration_us", "ms", "s"),
    [
        (0, b"0", b"0"),
        (1, b"0.001", b"0.000001"),
        (12_345, b"12.345", b"0.012345"),
        (12_000, b"12", b"0.012"),
        (12_340, b"12.34", b"0.01234"),
        (3_600_000_000, b"3600000", b"3600"),
        (2**60 + 1, b"1152921504606846.977", b"1152921504606.846977"),
    ],
)
def test_durations_are_exact_to_the_microsecond(duration_us: int, ms: bytes, s: bytes) -> None:
    assert (format_ms(duration_us), format_s(duration_us)) == (ms, s)


@pytest.mark.parametrize("duration_us", [0, 1, 999, 1_000, 12_345, 86_400_000_000])
def test_a_live_float_reads_the_same(duration_us: int) -> None:
    assert float(format_ms(duration_us)) == duration_us / 1000
    assert float(format_s(duration_us)) == duration_us / 1_000_000


@pytest.mark.parametrize(
    ("dialect", "wire_type", "unit", "pack", "option"),
    [
        ("statsd", "timing", "ms", True, "--pack"),
        ("graphite", "distribution", "s", False, "--scheme"),
        ("graphite", "distribution", "ms", False, "--type"),
        ("statsd", "histogram", "ms", False, "--type"),
        ("dogstatsd", "timing", "s", False, "--type"),
    ],
)
def test_what_a_server_would_misread_is_refused(
    dialect: str, wire_type: str, unit: str, pack: bool, option: str
) -> None:
    with pytest.raises(OptionError, match=option):
        dialects.check_dialect(dialect, wire_type, unit, pack=pack)
