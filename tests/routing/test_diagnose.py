"""A log that hardly matches is explained in one line, with the likeliest cause."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from logstatsd.routing import app as apps
from logstatsd.routing.diagnose import Requests, explain_few_rules, explain_missing_host, explain_unmatched
from logstatsd.routing.router import Router


def router(*rules: str, static: bool = False, prefix: str = "", **options: Any) -> Router:
    app = Flask("shop", static_folder="static" if static else None, **options)
    for rule in rules:
        app.add_url_rule(rule, rule, lambda **_: "")
    return Router(apps.from_object(app).snapshot(), strip_prefix=prefix)


MANY = [f"/r{number}/<name>" for number in range(30)]
HARDLY = {
    "matched": Requests(3, 0),
    "unmatched": Requests(180, 10),
    "not_the_app": Requests(17, 17),
}
SHOP = [b"/shop/r1/x", b"/shop/r2/y?z", b"/favicon.ico", b"/shop/r3/z"]


def test_nothing_is_said_of_a_log_that_matches() -> None:
    few = router("/x")
    for counts in (
        {},
        {"unmatched": Requests(19, 0)},  # too few to tell
        {"matched": Requests(100, 0), "unmatched": Requests(50, 0)},
        {"matched": Requests(1, 0), "unmatched": Requests(100, 60)},  # a scanner's requests, and 404 for them
        {"not_the_app": Requests(1_000, 0), "matched": Requests(1, 0)},  # a front end's own files
        {"redirect": Requests(1_000, 0)},
    ):
        assert explain_unmatched(counts, few) is None, counts


@pytest.mark.parametrize(
    ("rules", "options", "says"),
    [
        (["/x"], {}, "only 1 rule;"),
        (["/x", "/y"], {}, "only 2 rules; is another app served, or was its factory called here without"),
        (MANY, {}, "is another app served, or an older one, or this one under a prefix"),
        (MANY, {"from_snapshot": True}, "the snapshot may be older than the log"),
        (MANY, {"targets": SHOP}, "they fit with --strip-prefix /shop"),
        (["/r1/<x>", "/r2/<x>", "/r3/<x>"], {"targets": SHOP}, "they fit with --strip-prefix /shop"),
        (MANY, {"targets": [b"/a/b/r1/x", b"/a/b/r2/x"]}, "--strip-prefix /a/b"),
        (MANY, {"targets": [b"/none", b"/a/none"]}, "is another app served"),
        (MANY, {"targets": [b"\xff\xfe/x", b"*", b"", b"http://a/b/c/d"]}, "is another app served"),
    ],
)
def test_the_likeliest_cause_is_named(rules: list[str], options: dict[str, Any], says: str) -> None:
    said = explain_unmatched(HARDLY, router(*rules), **options)
    assert said is not None
    assert said.startswith("98 % of 183 requests match no rule of the app 'shop', though 94 % of them were")
    assert says in said
    assert "\n" not in said


def test_a_prefix_that_leaves_everything_out_is_named() -> None:
    counts = {"not_the_app": Requests(199, 0), "matched": Requests(1, 0)}
    said = explain_unmatched(counts, router(*MANY, prefix="/shop"))
    assert said == (
        "99 % of 200 requests are outside of the prefix '/shop': is that what the server in front strips?"
    )
    assert explain_unmatched(HARDLY, router(*MANY, prefix="/shop"), targets=[b"/shop/r1/x"]) is not None


def hosts() -> Router:
    app = Flask("shop", host_matching=True, static_host="static.test")
    for number in range(30):
        app.add_url_rule(f"/r{number}/<x>", f"r{number}", lambda **_: "", host="www.shop.test")
    app.add_url_rule("/x", "x", lambda **_: "", host="<user>.shop.test")
    return Router(apps.from_object(app).snapshot())


def test_hosts_that_the_log_lacks_or_has_otherwise_are_named() -> None:
    shop = hosts()
    assert shop.hosts == ("static.test", "www.shop.test")
    lacks = explain_unmatched(HARDLY, shop, has_host=False)
    assert lacks is not None
    assert "the app's rules depend on the host, which the log does not have" in lacks
    assert "they fit for the host www.shop.test" in str(explain_unmatched(HARDLY, shop, targets=[b"/r1/x"]))
    assert "its rules are for static.test, www.shop.test" in str(explain_unmatched(HARDLY, shop))


def test_an_app_without_rules_of_its_own_is_told_of() -> None:
    assert "no rules but for static files" in str(explain_few_rules(router(static=True)))
    assert explain_few_rules(router()) is not None
    assert explain_few_rules(router("/x", static=True)) is None


class OldFlask(Flask):
    """Binds its map as Flask did before 3.1: to SERVER_NAME, also where subdomains are not matched."""

    def create_url_adapter(self, request: Any) -> Any:
        if request is None:
            return super().create_url_adapter(request)
        subdomain = None if self.subdomain_matching else self.url_map.default_subdomain or None
        return self.url_map.bind_to_environ(
            request.environ, server_name=self.config["SERVER_NAME"], subdomain=subdomain
        )


def test_old_flasks_server_name_is_told_apart_from_rules_for_hosts() -> None:
    app = OldFlask("shop", static_folder=None)
    app.config["SERVER_NAME"] = "shop.test"
    app.add_url_rule("/x", "x", lambda: "")
    shop = Router(apps.from_object(app).snapshot())

    def outcome(host: str) -> str:
        answer = shop.match("GET", b"/x", host)
        return answer.outcome  # type: ignore[union-attr]

    assert (outcome("shop.test"), outcome("other.test"), outcome("")) == ("matched", "unmatched", "matched")
    said = explain_missing_host(shop)
    assert said is not None
    assert "its SERVER_NAME (shop.test)" in said
    assert "match nothing" not in said
    assert "those rules match nothing" in str(explain_missing_host(hosts()))
    assert explain_missing_host(router("/x")) is None
