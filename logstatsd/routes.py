"""Router: (method, raw target bytes, host) to a Route, or Undecided; built from a snapshot only."""

from __future__ import annotations

from typing import NamedTuple


class Route(NamedTuple):
    """What a request is labelled with.

    `rule` is shown as it is: the rule's string, with its host or mount prefix where there is one, or the
    fixed label of a request that no rule matched. `endpoint` is None unless `outcome` is "matched".
    """

    rule: str
    endpoint: str | None
    outcome: str


UNMATCHED = Route("(unmatched)", None, "unmatched")
METHOD_NOT_ALLOWED = Route("(method not allowed)", None, "method_not_allowed")
REDIRECT = Route("(redirect)", None, "redirect")
NOT_THE_APP = Route("(not the app)", None, "not_the_app")
