"""Lines that others test their parsers with: what they hold is what we read.

Each table names its source. Only the columns that a request is told by are compared; browsers' names are cut.
"""

# ruff: noqa: E501 - lines of logs are as long as they are

from __future__ import annotations

from typing import NamedTuple

import pytest
from reading import entry

from logstatsd.formats.detect import detect
from logstatsd.formats.times import iso_logged


class Case(NamedTuple):
    """A line, and what its source says that it holds; an outcome of "-" is a request that is none."""

    line: str
    method: str
    target: str
    status: int
    time: str
    duration_us: int | None = None


VRL_NGINX = [
    # https://github.com/vectordotdev/vrl/blob/main/src/stdlib/parse_nginx_log.rs
    Case(
        '172.17.0.1 - - [31/Mar/2021:12:04:07 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/7.75.0" "-"',
        "GET", "/", 200, "2021-03-31T12:04:07+00:00",
    ),
    Case(
        '0.0.0.0 - - [23/Apr/2021:14:59:24 +0000] "GET /my-path/manifest.json HTTP/1.1" 200 504'
        ' "https://my-url.com/my-path" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"',
        "GET", "/my-path/manifest.json", 200, "2021-04-23T14:59:24+00:00",
    ),
    Case(
        '0.0.0.0 - - [04/Oct/2022:04:34:49 +0000] "" 400 0 "" ""',
        "-", "", 400, "2022-10-04T04:34:49+00:00",
    ),
    Case(
        r'0.0.0.0 - - [04/Oct/2022:03:07:27 +0000] "]&\xDF\xBDV\xE7\xBB<\x10;\xA2b}\xDFM\x1D" 400 150 "-" "-"',
        "-", "", 400, "2022-10-04T03:07:27+00:00",
    ),
    Case(
        '172.17.0.1 - alice [01/Apr/2021:12:02:31 +0000] "POST /not-found HTTP/1.1" 404 153'
        ' "http://localhost/somewhere" "Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36" "2.75"',
        "POST", "/not-found", 404, "2021-04-01T12:02:31+00:00",
    ),
    Case(
        '0.0.0.0 - - [18/Mar/2023:15:00:00 +0000] "GET /some/path HTTP/2.0" 200 12312'
        ' "https://10.0.0.1/some/referer" "Mozilla/5.0 (Macintosh)" 462 0.050 [some-upstream-service-9000] []'
        " 10.0.50.80:9000 19437 0.049 200 752178adb17130b291aefd8c386279e7",
        "GET", "/some/path", 200, "2023-03-18T15:00:00+00:00", 50_000,
    ),
    Case(
        '0.0.0.0 - bob [18/Mar/2023:15:00:00 +0000] "GET /some/path HTTP/2.0" 200 12312 ""'
        ' "Mozilla/5.0 (Macintosh)" 462 0.050 [some-upstream-service-9000] [some-other-upstream-5000]'
        " - - - - 752178adb17130b291aefd8c386279e7",
        "GET", "/some/path", 200, "2023-03-18T15:00:00+00:00", 50_000,
    ),
]  # fmt: skip

VRL_APACHE = [
    # https://github.com/vectordotdev/vrl/blob/main/src/stdlib/parse_apache_log.rs
    Case(
        '127.0.0.1 bob frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326',
        "GET", "/apache_pb.gif", 200, "2000-10-10T13:55:36-07:00",
    ),
    Case(
        '224.92.49.50 bob frank [25/Feb/2021:12:44:08 +0000] "PATCH /one-to-one HTTP/1.1" 401 84170'
        ' "http://www.seniorinfomediaries.com/vertical/channels" "Mozilla/5.0 (X11; Linux i686; rv:5.0)"',
        "PATCH", "/one-to-one", 401, "2021-02-25T12:44:08+00:00",
    ),
]  # fmt: skip

BEATS = [
    # https://github.com/elastic/beats, filebeat/module/nginx/{access,ingress_controller}/test/test.log
    Case(
        '10.0.0.2, 10.0.0.1, 127.0.0.1 - - [07/Dec/2016:11:05:07 +0100] "GET /ocelot HTTP/1.1" 200 571 "-"'
        ' "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.12; rv:49.0)"',
        "GET", "/ocelot", 200, "2016-12-07T11:05:07+01:00",
    ),
    Case(
        '"10.5.102.222, 199.96.1.1, 204.246.1.1" 10.2.1.185 - - [22/Jan/2016:13:18:29 +0000]'
        ' "GET /assets/xxxx?q=100 HTTP/1.1" 200 25507 "-" "Amazon CloudFront"',
        "GET", "/assets/xxxx?q=100", 200, "2016-01-22T13:18:29+00:00",
    ),
    Case(
        "2a03:0000:10ff:f00f:0000:0000:0:8000, 10.225.192.17 10.2.2.121 - - [30/Dec/2016:06:47:09 +0000]"
        ' "GET /test.html HTTP/1.1" 404 8571 "-" "Mozilla/5.0 (compatible; Facebot 1.0)"',
        "GET", "/test.html", 404, "2016-12-30T06:47:09+00:00",
    ),
    Case(
        '127.0.0.1 - - [12/Apr/2018:09:48:40 +0200] "" 400 0 "-" "-"',
        "-", "", 400, "2018-04-12T09:48:40+02:00",
    ),
    Case(
        '192.168.64.1 - - [07/Feb/2020:11:49:50 +0000] "PATCHp /products/42 HTTP/1.1" 400 163 "-" "-" 0 0.000'
        " [] [] - - - - 4c7d2079340e68353c7d0dfff00b904b",
        "_OTHER", "/products/42", 400, "2020-02-07T11:49:50+00:00", 0,
    ),
    Case(
        '192.168.64.14 - - [07/Feb/2020:12:02:42 +0000] "GET /A%20Beka%20G1%20Howe/15%20elephants.mp4 HTTP/1.1"'
        ' 200 61 "-" "Mozilla/5.0" 348 0.001 [default-web2-8080] [] 172.17.0.6:8080, 172.17.0.7:8080 61, 100'
        " 0.100, 0.004 200, 203 835136ae24486dbb4156dcbe21f5d402",
        "GET", "/A%20Beka%20G1%20Howe/15%20elephants.mp4", 200, "2020-02-07T12:02:42+00:00", 1_000,
    ),
    Case(
        '2a02:cf40::4e36 - - [24/Aug/2022:18:05:41 +0000] "GET /favicon.ico HTTP/2.0" 502 552'
        ' "https://localhost:8080/" "Mozilla/5.0" 27 0.000 [localhost-8080] [] [2a02:cf40::7]:5000,'
        " [2a02:cf40::4e36]:5000 0, 0 0.000, 0.000 502, 502 3db73c6c673c4256ade033a6ce08c2ab",
        "GET", "/favicon.ico", 502, "2022-08-24T18:05:41+00:00", 0,
    ),
    Case(
        '192.168.64.1 - - [07/Feb/2020:11:56:54 +0000] "GET /products/42 HTTP/1.1" 200 59 "-" "Mozilla/5.0" 369'
        " 0.002 [default-web-8080] [] unix:/var/run/php-fpm.sock 59 0.002 200 0f76ea730f282d5759018eb756b23b14",
        "GET", "/products/42", 200, "2020-02-07T11:56:54+00:00", 2_000,
    ),
    Case(
        '192.168.64.14 - - [07/Feb/2020:12:02:42 +0000] "GET /test/test.mp4 HTTP/1.1" 200 61 "-" "Mozilla/5.0"'
        " 348 0.001 [default-web2-8080] [] 172.17.0.6:8080, 172.17.0.7:8080 - 0.100, - 200, -"
        " 835136ae24486dbb4156dcbe21f5d402",
        "GET", "/test/test.mp4", 200, "2020-02-07T12:02:42+00:00", 1_000,
    ),
]  # fmt: skip

LNAV = [
    # https://github.com/tstack/lnav/tree/master/test, logfile_{access_log,uwsgi,caddy_log}.0
    Case(
        '192.168.202.254 - - [20/Jul/2009:22:59:29 +0000] "GET /vmw/vSphere/default/vmkboot.gz HTTP/1.0" 404'
        ' 46210 "-" "gPXE/0.9.7"',
        "GET", "/vmw/vSphere/default/vmkboot.gz", 404, "2009-07-20T22:59:29+00:00",
    ),
    Case(
        "[pid: 88185|app: 0|req: 1/1] 127.0.0.1 () {38 vars in 696 bytes} [Sun Mar 13 22:49:12 2016] POST"
        " /update_metrics => generated 47 bytes in 129 msecs (HTTP/1.1 200) 9 headers in 378 bytes (1 switches"
        " on core 3)",
        "POST", "/update_metrics", 200, "2016-03-13T22:49:12+00:00", 129_000,
    ),
    Case(
        "[pid: 88185|app: 0|req: 3/3] 127.0.0.1 () {34 vars in 617 bytes} [Sun Mar 13 22:49:15 2016] POST"
        " /endpoint2 => generated 215 bytes in 68 micros (HTTP/1.1 200) 9 headers in 373 bytes (1 switches on"
        " core 8)",
        "POST", "/endpoint2", 200, "2016-03-13T22:49:15+00:00", 68,
    ),
    Case(
        'caddy  | {"level":"info","ts":1761019859.196494,"logger":"http.log.access","msg":"handled request",'
        '"request":{"remote_ip":"172.19.0.1","proto":"HTTP/1.1","method":"GET","host":"localhost","uri":"/",'
        '"headers":{"Cookie":["REDACTED"]}},"bytes_read":0,"duration":0.001239398,"size":0,"status":304}',
        "GET", "/", 304, "2025-10-21T04:10:59.196494+00:00", 1_239,
    ),
]  # fmt: skip

ELASTIC = [
    # https://github.com/elastic/examples, Common Data Formats/apache_logs/apache_logs
    Case(
        '83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /presentations/logstash-monitorama-2013/images/'
        'kibana-search.png HTTP/1.1" 200 203023 "http://semicomplete.com/presentations/" "Mozilla/5.0"',
        "GET", "/presentations/logstash-monitorama-2013/images/kibana-search.png", 200,
        "2015-05-17T10:05:03+00:00",
    ),
    Case(
        '50.16.19.13 - - [17/May/2015:10:05:10 +0000] "GET /blog/tags/puppet?flav=rss20 HTTP/1.1" 200 14872'
        ' "http://www.semicomplete.com/blog/tags/puppet?flav=rss20" "Tiny Tiny RSS/1.11 (http://tt-rss.org/)"',
        "GET", "/blog/tags/puppet?flav=rss20", 200, "2015-05-17T10:05:10+00:00",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", [*VRL_NGINX, *VRL_APACHE, *BEATS, *LNAV, *ELASTIC])
def test_a_line_is_read_as_its_source_says(case: Case) -> None:
    line = case.line.encode()

    found = entry(detect(line + b"\n", "access.log").log_format, line)

    assert found.rejected == ""
    assert (found.method, found.target.decode(), found.status) == (case.method, case.target, case.status)
    assert (iso_logged(found.time), found.duration_us) == (case.time, case.duration_us)


def test_one_ingress_log_is_one_format() -> None:
    lines = [case.line for case in BEATS if "] [] " in case.line]

    found = detect("".join(line + "\n" for line in lines).encode(), "ingress.log")

    assert (found.log_format.name, found.fitting) == ("ingress-nginx", len(lines))


@pytest.mark.parametrize(
    "line",
    [
        "not a common log line",
        "- - - [1234] - - - - - ",
        '192.168.202.254 [20/Jul/2009:22:59:29 +0000] "GET /vmw/vmkboot.gz HTTP/1.0" 404 46210 "-" "gPXE/0.9.7"',
        'Mar 24 14:02:50 bigproduct-web1 tomcat.log: 127.0.0.1 - - "GET /includes/x.js HTTP/1.1" 200 65508 4.386',
        "Jan  3 09:47:02 veridian sudo: timstack : TTY=pts/6 ; PWD=/auto ; USER=root ; COMMAND=/usr/bin/tail",
    ],
)
def test_what_their_tests_refuse_is_refused(line: str) -> None:
    good = VRL_NGINX[1].line

    found = detect(f"{good}\n{line}\n{good}\n".encode(), "access.log").log_format

    assert entry(found, line.encode()).rejected == "no match"
