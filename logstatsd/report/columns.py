"""Choose the columns of a table that fit a width: each gives way by its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = 2
"""Columns of the terminal between two of the table."""

NARROWEST = 8
"""What is left of a name, at least."""


class Title(NamedTuple):
    """A column's head: `drop` is its turn to go when the terminal is narrow, 0 never. Names are left-aligned
    and may be folded, figures are not.
    """

    text: str
    drop: int = 0
    is_name: bool = False


def fitting(titles: Sequence[Title], widths: Sequence[int], available: int) -> dict[int, int]:
    """Which columns fit, and how wide they are; names get what figures leave.

    Long names that stay would leave figures no room: they get a share of it before any column is dropped.
    """
    names = [n for n, title in enumerate(titles) if title.is_name]
    staying = [n for n in names if not titles[n].drop]
    long = sum(widths[n] > available // 4 for n in staying)
    most = max(NARROWEST, 2 * available // (3 + 2 * long))
    kept = {n: min(width, most) if n in staying else width for n, width in enumerate(widths)}

    def room() -> int:
        return available - sum(kept.values()) - GAP * (len(kept) - 1)

    while room() < 0 and any(titles[n].drop for n in kept):
        del kept[min((n for n in kept if titles[n].drop), key=lambda n: titles[n].drop)]
    for n in names:
        if n in kept:
            kept[n] = min(widths[n], max(NARROWEST, kept[n] + room()))
    return kept
