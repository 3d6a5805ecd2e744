"""Requests for the apps of `odd_app`: each rule's own paths, and what can be done to a path on its way."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from traffic import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AGENT = {"User-Agent": "odd/1.0"}
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}
METHODS = [*["GET"] * 6, "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "PURGE", "PROPFIND"]


def words(text: str) -> list[str]:
    """Split a text at its blanks."""
    return text.split()


PATHS = words(r"""
    / /leaf /leaf/ /branch/ /branch /branch/x /branch/x/ /stopped /nothing /unicode/%C3%A9/x
    /unicode/e/x /unicode/%C3%A9/%F0%9F%8E%81 /unicode/%E9/x /a%20b /a+b /dot/./x /dot/x /dot/%2e/x
    /leaf/. /leaf/.. /branch/../leaf /./leaf /../leaf /%2e%2e/leaf //leaf ///leaf //branch//x /branch//x
    /branch/x// // /? /leaf?a=/b /leaf#top /leaf%3Fa /leaf%23a /%6ceaf /leaf% /leaf%2 /branch/%
    /branch/%zz /branch/%FF /branch/%FF%FE /branch/%00 /branch/a%2Fb /branch%2Fx /branch/%2F /branch%2F
    /branch/%3Fx /branch/%23x /branch/%2541 /branch/%25 /branch/a;b=c /branch/a:b /branch/|
    /branch/%22%5C /branch/'"<> /branch/\x41 /files/a /files/a/b/c /files/ /files// /files//a
    /files/a//b /files/a/ /files/a/edit /files/edit /files//edit /files/edit/edit /files/a/b/edit/
    /files/a%2Fedit /files/a/v7 /files/a/vx /files/v7 /between/a/and/b/ /between/a/b/and/c/d
    /between/and/and/and/ /between//and// /int/7 /int/007 /int/-7 /int/%D9%A3 /int/7.0 /int/small/1
    /int/small/2 /int/small/9 /int/small/10 /int/small/-2 /int/signed/-7 /int/signed/7 /int/signed/--7
    /int/signed/-0 /int/fixed/0007 /int/fixed/7 /int/fixed/00007 /float/1.5 /float/1 /float/-1.5
    /float/1.5e3 /float/.5 /float/nan /float/signed/-1.5 /float/signed/1.50 /float/bounded/0.5
    /float/bounded/1.51 /float/bounded/0.4 /uuid/6f1c1e9e-8a4d-4f27-9d53-0d7a1f3f8a11
    /uuid/6F1C1E9E-8A4D-4F27-9D53-0D7A1F3F8A11 /uuid/6f1c1e9e-8a4d-4f27-9d53-0d7a1f3f8a1
    /uuid/6f1c1e9e-8a4d-4f27-9d53-0d7a1f3f8a11/ /uuid/6f1c1e9e-8a4d-4f27-9d53-0d7a1f3f8a11/parts/3
    /uuid/{6f1c1e9e-8a4d-4f27-9d53-0d7a1f3f8a11} /uuid/6f1c1e9e8a4d4f279d530d7a1f3f8a11 /any/red
    /any/blue%20green /any/green /any/red/ /any/red/x /any/x/x/x /any/RED /string/abc /string/ab
    /string/%C3%A9%C3%A9b /string/most/a /string/most/ab /string/most/abcde /part-7.b.html /part-7.8.txt
    /part-.x.html /part-7.x.y.html /part-7..html /v1.5/x /v1/x /v1.5/ /code/AB-1 /code/ab-1 /code/AB-
    /tree/a /tree/a/b/c /tree/a/leaf /tree/leaf /tree/a/leaf/leaf /tree/a//b /tree/A /tree/
    /custom/even/2 /custom/even/3 /custom/even/x /custom/even/2/more /custom/even/3/more
    /custom/even/2/less /custom/even/3/less /custom/even/x/less /custom/even/%32 /custom/even/2/
    /custom/stock/lamp /custom/stock/%FF /custom/stock/a/b /custom/former/new /custom/former/old
    /custom/former/older /custom/dated/2024/12/ /custom/dated/2024/13/ /custom/dated/2024/12
    /custom/dated/2024/13 /custom/dated/2024%2F1/ /custom/dated/24/1/ /custom/dated/2024//1/ /loose/
    /loose /loose// /looseleaf /looseleaf/ /unmerged/x /unmerged//x //unmerged/x /raw//twice/x
    /raw/twice/x /raw//twice//x//y /raw//twice/x/ /new/7 /older/7 /older/x /moved/7 /moved/x /moved/7/
    /called/7 /called//7 /pages/ /pages /pages/1 /pages/2 /pages/01 /only/post /only/post/ /verbs/7
    /purge /no/options /built /failing /aborted/404 /aborted/405 /aborted/410 /aborted/503 /everything
    /everything/ /socket/x /both /static/none.css /static/../leaf /favicon.ico /* /http://a/b /;x /é
""")
PATHS += ["/branch/" + "x" * 3000, "/branch/" + "%41" * 900, "/int/" + "9" * 4200, "/int/" + "9" * 4400]

MOUNTED = words(r"""
    / /own/ /own /items/7 /items/x /shop /shop/ /shop// /shop/items/7 /shop/own /shop/own/ /shopping
    /shop/items/7/ /shop%2Fitems/7 /%73hop/items/7 //shop/items/7 /shop//items/7 /blog /blog/
    /blog/items/7 /blog/news /blog/news/ /blog/news/items/7 /blog/newsy /blog//news/items/7 /metrics
    /metrics/ /metrics/x/y /metricsx /nothing /shop/static/none.css /shop/../items/7 /shop/./own/
    /shop?x=1 /SHOP/items/7
""")

HOSTED = ["/", "/x/7", "/x/ann/", "/x/ann", "/x/", "/x", "/x//7", "//x/7", "/nothing", "/static/x.css"]
HOSTS = words(r"""
    www.test WWW.Test www.test:80 www.test:8080 api.test:8080 api.test ann.blog.test ann.blog.test:80
    a.b.blog.test blog.test 7.ann.test other.test static.test 127.0.0.1 [::1]:80 xn--bcher-kva.test
    shop.test api.shop.test API.shop.test:80 ann.shop.test a.b.shop.test shop.test:8000 notshop.test
    www.test. a_b.blog.test - www.test:99999
""")


def request(target: str, method: str = "GET", **headers: str) -> Request:
    """A request whose line is written as it stands."""
    return Request(target.encode(), method.encode(), {**AGENT, **headers})


def varied(target: str, dice: random.Random) -> str:
    """A target with something done to it that a client, a proxy or an attacker may do."""
    return dice.choice(WAYS)(target, dice)


def _encode_one(target: str, dice: random.Random) -> str:
    at = dice.randrange(len(target))
    return f"{target[:at]}%{ord(target[at]):02{dice.choice('xX')}}{target[at + 1 :]}"


def _insert(target: str, dice: random.Random) -> str:
    at = dice.choice([n for n, each in enumerate(target) if each == "/"])
    what = dice.choice(["/", "/.", "/..", "//", "/%2e", "%2F", "/x", "%00"])
    return target[:at] + what + target[at:]


WAYS: list[Callable[[str, random.Random], str]] = [
    lambda target, dice: target,
    lambda target, dice: target,
    _encode_one,
    _insert,
    lambda target, dice: target.removesuffix("/") if target.endswith("/") else target + "/",
    lambda target, dice: f"{target}?{dice.choice(['', 'a=1', '/x', '?', 'q=%2F#y'])}",
    lambda target, dice: f"{dice.choice(['http', 'HTTPS', 'ws'])}://{dice.choice(HOSTS)}{target}",
    lambda target, dice: "/" + target,
]

ODDITIES = [
    request("*", "OPTIONS"),
    request("/leaf", "get"),
    request("/leaf", "TRACE"),
    request("/leaf", "M_SEARCH"),
    request("/leaf", "G@T"),
    request("leaf"),
    request("http://odd.test"),
    request("http://odd.test?x"),
    request("http://odd.test?x=/leaf"),
    request("http:///leaf"),
    request("http:/leaf"),
    request("http://odd.test//leaf"),
    replace(request("/leaf"), version=b"HTTP/1.0"),
    replace(request("/leaf"), version=b"HTTP/9.9"),
    replace(request("/leaf"), version=b"HTTP/2.0"),
    Request(b"/branch/j\xfcrgen", headers=AGENT),
    Request(b"/branch/a b", headers=AGENT),
    Request(b"/branch/a\x01b", headers=AGENT),
    Request(b"/branch/\x7f", headers=AGENT),
    Request(raw=b"GET /leaf\r\n\r\n"),
    Request(raw=b"GET /branch/x%2Fy?q\r\n\r\n"),
    Request(raw=b"GET\r\n\r\n"),
    Request(raw=b"\x16\x03\x01\x00\xca\x01\x00\x00\xc6\x03\x03" + bytes(range(32)) + b"\r\n\r\n"),
    Request(raw=b'\x00\x01"\\\xff /leaf HTTP/1.1\r\n\r\n'),
    Request(raw=b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    Request(raw=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Request(raw=b"GET /leaf HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n"),
]

TARGETS = (
    "odd.test:443 odd.test odd.test:443/x?y odd.test:443//x odd.test:/leaf a_b:443 1.2.3.4:443 [::1]:443"
)
TUNNELS = [request(target, "CONNECT") for target in words(f"{TARGETS} http://odd.test/leaf /leaf *")]
"""What gunicorn takes from a client that holds it for a proxy: the path is what stands after a scheme."""

SOCKETS = [request(target, **UPGRADE) for target in ("/socket/x", "/socket/%FF", "/both", "/both?x=1")]


def odd_requests(seed: int, count: int, methods: Iterable[str] = METHODS) -> list[Request]:
    """Every path of PATHS as it stands, each oddity, and `count` variations."""
    dice = random.Random(seed)
    verbs = list(methods)
    some = [request(varied(dice.choice(PATHS), dice), dice.choice(verbs)) for _ in range(count)]
    posted = [
        request("/only/post", "POST"),
        request("/purge", "PURGE"),
        request("/verbs/7", "PUT"),
        request("/everything", "PATCH"),
    ]
    return [*map(request, PATHS), *posted, *ODDITIES, *TUNNELS, *SOCKETS, *some]


def hosted_requests() -> list[Request]:
    """Every path at every host."""
    return [request(path, Host=host) for path in HOSTED for host in HOSTS]


def mounted_requests(seed: int, count: int) -> list[Request]:
    """Every path of MOUNTED, and `count` variations."""
    dice = random.Random(seed)
    some = [request(varied(dice.choice(MOUNTED), dice), dice.choice(METHODS)) for _ in range(count)]
    return [*map(request, MOUNTED), request("*", "OPTIONS"), *TUNNELS, *some]


def caught_requests() -> list[Request]:
    """Requests that only a rule that takes every path has a chance to take."""
    return [request("*", "OPTIONS"), *TUNNELS, *map(request, PATHS)]
