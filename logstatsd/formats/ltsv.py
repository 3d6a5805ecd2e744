"""Make a format of LTSV lines, `label:value` joined by tabs, from the labels that they have."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from logstatsd.errors import FormatError
from logstatsd.formats.logformat import LogFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "ltsv"
_LINE = re.compile(rb"[\w.-]+:[^\t\n]*(?:\t[\w.-]+:[^\t\n]*)+\r?")


def ltsv_format(block: bytes, roles: Mapping[str, str]) -> tuple[LogFormat | None, str]:
    """Find the format of LTSV lines by the labels that most of them have.

    `roles` are to be taken from other labels than the usual ones. None where fewer than half of the lines are
    LTSV; or where the needed labels are not found, with what to do about it.
    """
    lines = block.split(b"\n")[:-1]
    labelled = [line for line in lines if _LINE.fullmatch(line)]
    if 2 * len(labelled) <= len(lines):
        return None, ""
    layouts = Counter(tuple(part.partition(b":")[0] for part in line.split(b"\t")) for line in labelled)
    labels = [label.decode("ascii") for label in layouts.most_common(1)[0][0]]
    log_format = LogFormat(NAME, layout_of(labels), NAME)
    try:
        for role, name in roles.items():
            log_format = log_format.assign(role, name)
        log_format.validate()
    except FormatError:
        return None, (
            f"the LTSV lines have no status, no method or no target; they have {', '.join(labels[:12])}; "
            "name them, as in --field method=verb --field target=url --field status=code"
        )
    return log_format, ""


def layout_of(labels: Sequence[str]) -> str:
    """Write the layout of lines that have these labels, in their order.

    >>> layout_of(["time", "x-id"])
    'time:$time\\tx-id:${x-id}'
    """
    return "\t".join(
        f"{label}:${label}" if label.isidentifier() else f"{label}:${{{label}}}" for label in labels
    )
