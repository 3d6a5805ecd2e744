"""Match paths with one url_map: a tree of precompiled parts, walked exactly as Werkzeug walks its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from logstatsd.model.route import METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED, Route, Undecided
from logstatsd.routing.values import FailedError, RefusedError, Value

# Below this many dynamic siblings, trying each in turn is quicker than choosing among them.
FEW_SIBLINGS: Final = 8

# Each part may take a call more; Werkzeug too fails at about twice as many.
MOST_PARTS: Final = 400

_SLASHES: Final = re.compile("/{2,}")


class Rule:
    """A rule, as far as a leaf of the tree needs to know it."""

    __slots__ = (
        "merge",
        "methods",
        "plain_upto",
        "redirects",
        "route",
        "strict",
        "twins",
        "values",
        "websocket",
    )

    def __init__(self, data: Mapping[str, Any], route: Route, number_error: type[Exception]) -> None:
        self.route = route
        self.methods = _methods(data)
        self.strict = bool(data.get("strict_slashes", True))
        self.merge = bool(data.get("merge_slashes", True))
        self.websocket = bool(data.get("websocket", False))
        self.redirects = bool(data.get("redirects", False))
        self.values = [Value(each, number_error) for each in data.get("converters", ())]
        #: (methods, {variable: default}) of rules for the same endpoint that Werkzeug redirects to.
        self.twins: list[tuple[frozenset[str] | None, dict[str, Any]]] = [
            (_methods(each), dict(each["when"])) for each in data.get("default_redirects", ())
        ]
        #: The length of path up to which a hit is a match, without a look at the values.
        self.plain_upto = -1 if self.redirects or self.twins else sys.maxsize
        for value in self.values:
            self.plain_upto = min(self.plain_upto, value.safe)
        if isinstance(data["parts"][0], dict):  # values of the host, which the path's length says nothing of
            self.plain_upto = min(self.plain_upto, -1 if self.values else sys.maxsize)


def _methods(data: Mapping[str, Any]) -> frozenset[str] | None:
    methods = data["methods"]
    if methods is None:
        return None
    if not isinstance(methods, list) or not all(isinstance(each, str) and each.isascii() for each in methods):
        raise TypeError("'methods' must be a list of names, or null for any")
    return frozenset(methods)


# (the pattern's match, whether it takes all that remains, its last group if that is a slash, groups, next)
Transition = tuple[Callable[[str], "re.Match[str] | None"], bool, int, tuple[int, ...], "State"]


class State:
    """A node: the transitions by text, those by pattern in the order Werkzeug tries them, and the rules.

    `through` are the transitions by text after whose failure nothing else is left to try, `ready` the
    rule of a method where it is the first one.
    """

    __slots__ = ("dynamic", "keys", "ready", "rules", "siblings", "static", "through")

    def __init__(self) -> None:
        self.static: dict[str, State] = {}
        self.dynamic: list[Transition] = []
        self.rules: list[Rule] = []
        self.siblings: Siblings | None = None
        self.through: dict[str, State] = {}
        self.ready: dict[str, Rule] = {}
        self.keys: dict[object, tuple[State, str]] = {}

    def finish(self) -> None:
        if len(self.dynamic) > FEW_SIBLINGS:
            self.siblings = Siblings(self.dynamic, [pattern for _, pattern in self.keys.values()])
        if not self.dynamic:  # an empty part may be a slash too many, which this state's own rules forgive
            self.through = {part: state for part, state in self.static.items() if part}
        if self.rules and not self.rules[0].websocket:
            self.ready = dict.fromkeys(self.rules[0].methods or (), self.rules[0])
        self.keys = {}


class Siblings:
    """Many dynamic transitions of one state, chosen by the literal text their patterns begin or end with.

    Literal text is a necessary condition, so what is left out could not have matched, and the order stays.
    """

    __slots__ = ("_always", "_heads", "_tails", "_transitions")

    def __init__(self, transitions: Sequence[Transition], patterns: Iterable[str]) -> None:
        self._transitions = transitions
        self._always: list[int] = []
        self._heads: dict[int, dict[str, list[int]]] = {}
        self._tails: dict[int, dict[str, list[int]]] = {}
        for at, pattern in enumerate(patterns):
            head, tail = _literal_ends(pattern)
            if transitions[at][1]:  # takes what follows too, so its end is not the end of this part
                tail = ""
            if max(head, tail, key=len) == "":
                self._always.append(at)
            elif len(head) >= len(tail):
                self._heads.setdefault(len(head), {}).setdefault(head, []).append(at)
            else:
                self._tails.setdefault(len(tail), {}).setdefault(tail, []).append(at)

    def that_may_match(self, part: str) -> list[Transition]:
        chosen = list(self._always)
        for length, by_head in self._heads.items():
            chosen += by_head.get(part[:length], ())
        for length, by_tail in self._tails.items():
            chosen += by_tail.get(part[-length:], ())
        chosen.sort()
        return [self._transitions[at] for at in chosen]


def _literal_ends(pattern: str) -> tuple[str, str]:
    """Find the plain text before the first group of a pattern and after its last one."""
    head = re.match(r"(?:[^\\(]|\\.)*", pattern, re.DOTALL)
    tail = re.search(r"(?<!\\)(?:\\\\)*\)((?:[^\\)]|\\.)*)\\Z\Z", pattern, re.DOTALL)
    return _unescaped(head[0] if head else ""), _unescaped(tail[1] if tail else "")


def _unescaped(escaped: str) -> str:
    """Undo `re.escape`; give nothing if this is not such text."""
    text = re.sub(r"\\(.)", r"\1", escaped, flags=re.DOTALL)
    return text if re.escape(text) == escaped else ""


# In what a walk has seen: a rule that fits but for the method. And what stands for Werkzeug's SlashRequired.
WRONG_METHOD: Final = None
SLASH_REQUIRED: Final = "/"

Seen = list["tuple[re.Match[str], tuple[int, ...]] | None"]


def _walk(  # noqa: C901, PLR0912, PLR0917 - the hot loop: every call saved is a tenth of its time
    state: State, parts: list[str], at: int, end: int, method: str, websocket: bool, seen: Seen
) -> Rule | str | None:
    """Match parts[at:end] as Werkzeug's `_match` does; the groups are left in `seen`, last part first."""
    for at in range(at, end):  # noqa: B020, PLR1704
        part = parts[at]
        child = state.through.get(part)
        if child is None:
            break
        state = child
    else:
        if method in state.ready and not websocket:
            return state.ready[method]
        return _leaf(state, method, websocket, seen)
    after = at + 1
    child = state.static.get(part)
    if child is not None:
        found = _walk(child, parts, after, end, method, websocket, seen)
        if found is not None:
            return found
    transitions = state.dynamic if state.siblings is None else state.siblings.that_may_match(part)
    for match, final, slash, groups, child in transitions:
        hit = match("/".join(parts[at:end]) if final else part)
        if hit is None:
            continue
        if not final and after < end:
            found = _walk(child, parts, after, end, method, websocket, seen)
        elif slash and hit[slash] == "/":
            found = _walk(child, [""], 0, 1, method, websocket, seen)
        elif method in child.ready and not websocket:
            found = child.ready[method]
        else:
            found = _leaf(child, method, websocket, seen)
        if found is not None:
            seen.append((hit, groups))
            return found
    if not part and after == end:  # a slash too many is forgiven where slashes are not strict
        return _first([rule for rule in state.rules if not rule.strict], method, websocket, seen)
    return None


def _leaf(state: State, method: str, websocket: bool, seen: Seen) -> Rule | str | None:
    """Find the rule that ends here, where all parts are taken, or that does with a slash more."""
    if state.rules:
        found = _first(state.rules, method, websocket, seen)
        if found is not None:
            return found
    slash = state.static.get("")
    if slash is not None:
        for rule in slash.rules:
            if rule.websocket is websocket and (rule.methods is None or method in rule.methods):
                return SLASH_REQUIRED if rule.strict else rule
    return None


def _first(rules: list[Rule], method: str, websocket: bool, seen: Seen) -> Rule | None:
    for rule in rules:
        if rule.methods is not None and method not in rule.methods:
            if rule.methods:
                seen.append(WRONG_METHOD)
        elif rule.websocket is websocket:
            return rule
    return None


class _Broken:
    """A pattern that is none: Werkzeug compiles it when it comes to it, and the app answers 500."""

    def __init__(self, text: str) -> None:
        self.pattern = f"*{text}"  # no engine takes it for one

    def match(self, _part: str) -> NoReturn:
        raise FailedError


class UrlMap:
    """A url_map, built from its rules in a snapshot; `decide` answers as `MapAdapter.match` would."""

    def __init__(self, data: Mapping[str, Any], mount: int) -> None:
        self._mount = mount
        self._merge = bool(data["merge_slashes"])
        self._merges_all = bool(data["werkzeug"]["merges_all_slashes"])
        self._refuses_merged = bool(data["werkzeug"]["merged_rule_must_merge"])
        self.number_error: type[Exception] = (
            RefusedError if data["werkzeug"]["refuses_numbers"] else FailedError
        )
        self._root = State()
        self._states = [self._root]
        self._starts: dict[str, State] = {}
        self._patterns: dict[str, re.Pattern[str]] = {}

    def add(self, rule: Rule, parts: Sequence[str | Mapping[str, Any]]) -> None:
        """Add a rule; the snapshot lists them in the order in which Werkzeug's tree holds them."""
        if len(parts) > MOST_PARTS:
            raise ValueError(f"{len(parts):,} parts are too many")
        state = self._root
        for part in parts:
            if isinstance(part, str):
                child = state.static.get(part)
                if child is None:
                    child = state.static[part] = self._new_state()
            else:
                child = self._by_pattern(state, part)
            state = child
        state.rules.append(rule)

    def _new_state(self) -> State:
        self._states.append(State())
        return self._states[-1]

    def _by_pattern(self, state: State, part: Mapping[str, Any]) -> State:
        # Werkzeug tells parts apart by weight too, even where the pattern is the same.
        key = (part["pattern"], part["weight"], part.get("final", False), part.get("suffixed", False))
        if key in state.keys:
            return state.keys[key][0]
        if part.get("broken", False):
            child = self._new_state()
            state.dynamic.append((_Broken(part["pattern"]).match, False, 0, (), child))
            state.keys[key] = (child, "")
            return child
        pattern = self._patterns.get(part["pattern"])
        if pattern is None:
            pattern = self._patterns[part["pattern"]] = re.compile(part["pattern"])
        groups = tuple(part.get("groups", (1,)))
        if not all(isinstance(group, int) and 0 < group <= pattern.groups for group in groups):
            raise ValueError(f"groups {groups} are not in pattern {pattern.pattern}")
        child = self._new_state()
        slash = pattern.groups if part.get("suffixed", False) else 0
        state.dynamic.append((pattern.match, bool(part.get("final", False)), slash, groups, child))
        state.keys[key] = (child, pattern.pattern)
        return child

    def finish(self) -> None:
        """Prepare for matching: all rules are in."""
        for state in self._states:
            state.finish()
        self._states = []
        if not self._root.dynamic:  # where only text leads past the host, it is looked up at once
            for domain, state in self._root.static.items():
                if not state.dynamic and "" in state.static:
                    self._starts[domain] = state.static[""]

    def decide(self, domain: str, path: str, method: str, websocket: bool) -> Route | Undecided:
        """Give the label of a request, or the question that only the app can answer."""
        parts = path.split("/")
        end = len(parts)
        start = self._starts.get(domain)
        seen: Seen = []
        try:
            if start is None or end < 2 or parts[0] or (not parts[1] and end > 2):
                path = "/" + path.lstrip("/") if path else ""
                parts = [domain, *path.split("/")]
                found = _walk(self._root, parts, 0, len(parts), method, websocket, seen)
            else:
                found = _walk(start, parts, 1, end, method, websocket, seen)
            if isinstance(found, Rule):
                if len(path) <= found.plain_upto:
                    return found.route
                return self._converted(found, seen, domain, path, method, websocket)
            if found is None and self._merge and "//" in path:
                parts = [domain, *self._merged(path).split("/")]
                found = _walk(self._root, parts, 0, len(parts), method, websocket, seen)
                if isinstance(found, Rule) and self._refuses_merged and not found.merge:
                    found = None
        except FailedError:
            return UNMATCHED
        if found is not None:
            return REDIRECT
        return METHOD_NOT_ALLOWED if seen and seen[0] is WRONG_METHOD else UNMATCHED

    def _merged(self, path: str) -> str:
        return _SLASHES.sub("/", path) if self._merges_all else path.replace("//", "/")

    def _converted(  # noqa: PLR0917
        self, rule: Rule, seen: Seen, domain: str, path: str, method: str, websocket: bool
    ) -> Route | Undecided:
        """Look at the values of a hit, and give what it comes to."""
        texts = [hit[0][group] for hit in reversed(seen) if hit is not None for group in hit[1]]
        values: dict[str, Any] = {}
        custom: list[str] = []
        answer = rule.route
        try:
            for at, value in enumerate(rule.values):
                if value.custom:
                    custom.append(value.custom)
                elif at < len(texts):
                    values[value.name] = value.convert(texts[at])
        except RefusedError:
            answer = METHOD_NOT_ALLOWED if seen[0] is WRONG_METHOD else UNMATCHED
        except FailedError:
            answer = UNMATCHED
        else:
            if rule.redirects or any(
                (methods is None or method in methods)
                and all(name in values and values[name] == default for name, default in when.items())
                for methods, when in rule.twins
            ):
                answer = REDIRECT
        if custom:
            return Undecided(self._mount, method, domain, path, websocket, answer, tuple(custom))
        return answer
