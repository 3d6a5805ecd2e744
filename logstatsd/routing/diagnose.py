"""Explain in one line why a log hardly matches an app's routes, with the likeliest cause."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from logstatsd.model.route import Undecided
from logstatsd.routing.snapshot import AGAIN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from logstatsd.routing.router import Router

FEW_REQUESTS: Final = 20
"""Fewer requests than this say nothing about an app."""
NEARLY_ALL: Final = 0.9
FEW_RULES: Final = 13
"""What apps register where a factory lacks its settings; other apps have as few, but their logs match."""
DEEPEST_PREFIX: Final = 3


_WRONG_APP: Final = "is another app served, or was its factory called here without its settings?"


class Requests(NamedTuple):
    """The requests of one outcome, and how many of them were answered with an error: 4xx or 5xx."""

    requests: int
    errors: int


def explain_unmatched(
    counts: Mapping[str, Requests],
    router: Router,
    *,
    targets: Iterable[bytes] = (),
    has_host: bool = True,
    from_snapshot: bool = False,
) -> str | None:
    """Explain in one line why requests that were answered have no rule; None unless nearly all have none.

    `counts` are by `Route.outcome`. `targets` are some that no rule matched, `has_host` says whether the log
    has the host, `from_snapshot` whether the router was made from a file.
    """
    total = sum(each.requests for each in counts.values())
    if total < FEW_REQUESTS:
        return None
    outside = counts.get("not_the_app", Requests(0, 0))
    if router.strip_prefix and outside.requests >= NEARLY_ALL * total:
        return (
            f"{_share(outside.requests, total)} of {total:,} requests are outside of the prefix"
            f" {router.strip_prefix!r}: is that what the server in front strips?"
        )
    unmatched = counts.get("unmatched", Requests(0, 0))
    came = total - outside.requests
    answered = unmatched.requests - unmatched.errors
    if unmatched.requests < NEARLY_ALL * came or came < FEW_REQUESTS or answered <= unmatched.errors:
        return None
    causes = _causes(router, list(targets), has_host=has_host, from_snapshot=from_snapshot)
    matching = f"{_share(unmatched.requests, came)} of {came:,} requests match no rule of the app"
    answers = f"{_share(answered, unmatched.requests)} of them were answered without an error"
    return f"{matching} {router.app_name!r}, though {answers}: {next(filter(None, causes))}"


def explain_few_rules(router: Router) -> str | None:
    """Explain a map without rules of the app's own; None where there are some."""
    if _own_rules(router):
        return None
    return f"the app {router.app_name!r} has no rules but for static files; {_WRONG_APP}"


def explain_missing_host(router: Router) -> str | None:
    """Explain what cannot be known of a log without the host; None where the host makes no difference."""
    if not router.uses_host:
        return None
    remedy = "add $http_host or %({host}i)s to its format"
    if router.rules_use_host:
        return (
            f"the app's rules depend on the host, which the log does not have: {remedy};"
            " until then those rules match nothing"
        )
    return (
        f"the app answers only for its SERVER_NAME ({', '.join(router.hosts)}), and the log does not have the"
        f" host: requests for any other are labelled as for this one; {remedy} to tell them apart"
    )


def _share(part: int, whole: int) -> str:
    return f"{int(100 * part / whole)} %"


def _own_rules(router: Router) -> int:
    return sum(not info.redirects and info.endpoint.rpartition(".")[2] != "static" for info in router.rules)


def _causes(
    router: Router, targets: Collection[bytes], *, has_host: bool, from_snapshot: bool
) -> Iterator[str | None]:
    """Name the causes there may be, likeliest first: what a trial shows, then what is known of the app."""
    if prefix := _fitting_prefix(router, targets):
        yield f"they fit with --strip-prefix {prefix}"
    if not has_host:
        yield explain_missing_host(router)
    if host := _fitting_host(router, targets):
        yield f"they fit for the host {host}, which the log does not say; see --host-header"
    rules = _own_rules(router)
    if rules <= FEW_RULES:
        count = "only 1 rule" if rules == 1 else f"only {rules} rules"
        yield f"the app has {count}; {_WRONG_APP}"
    if from_snapshot:
        yield f"the snapshot may be older than the log, or another app's; {AGAIN}"
    if router.rules_use_host:
        yield f"its rules are for {_some(router.hosts)}; are those the log's hosts (--host-header)?"
    yield "is another app served, or an older one, or this one under a prefix (--strip-prefix)?"


def _some(hosts: Collection[str]) -> str:
    return ", ".join([*hosts][:3]) + (" and others" if len(hosts) > 3 else "")


def _fitting_prefix(router: Router, targets: Collection[bytes]) -> str:
    """The shortest prefix without which most targets match; "" if there is none."""
    if router.strip_prefix:
        return ""
    for depth in range(1, DEEPEST_PREFIX + 1):
        starts = Counter(start for target in targets if (start := _start(target, depth)))
        for start, _ in starts.most_common(1):
            inside = [target[len(start) :] for target in targets if target.startswith(start)]
            if 2 * sum(_fits(router, target) for target in inside) > len(targets):
                return start.decode("ascii", "backslashreplace")
    return ""


def _start(target: bytes, depth: int) -> bytes:
    """The first segments of a path, where more follows."""
    parts = target.partition(b"?")[0].split(b"/", depth + 1)
    return b"/".join(parts[: depth + 1]) if len(parts) > depth + 1 and not parts[0] else b""


def _fitting_host(router: Router, targets: Collection[bytes]) -> str:
    """A host for which most targets match; "" if there is none."""
    for host in router.hosts:
        if 2 * sum(_fits(router, target, host) for target in targets) > len(targets):
            return host
    return ""


def _fits(router: Router, target: bytes, host: str = "") -> bool:
    answer = router.walk("GET", target, host)
    return isinstance(answer, Undecided) or answer.outcome in {"matched", "method_not_allowed", "redirect"}
