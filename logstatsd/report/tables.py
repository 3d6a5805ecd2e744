"""Tables that fit the terminal: columns give way by their turn, long names are folded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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


def fitted(
    titles: Sequence[Title],
    lines: Sequence[Sequence[str]],
    *,
    faint: Callable[[int], bool] = lambda _: False,
    section_after: int = -1,
) -> Any:
    """A table as a rich renderable that fits wherever it is printed; cells are taken as plain text.

    `faint` tells which lines are dim, and a blank line follows line `section_after`.
    """

    columns = zip([title.text for title in titles], *lines, strict=True)
    widths = [max(map(cell_len, cells)) for cells in columns]

    class Fitted:
        def __rich_console__(self, console: Any, options: Any) -> Iterable[Any]:
            kept = fitting(titles, widths, options.max_width)
            table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
            for n, width in kept.items():
                table.add_column(
                    Text(titles[n].text),
                    justify="left" if titles[n].is_name else "right",
                    width=width,
                    no_wrap=True,
                )
            for number, line in enumerate(lines):
                cells = [folded(line[n], w) if titles[n].is_name else line[n] for n, w in kept.items()]
                style = "dim" if faint(number) else ""
                end = number == section_after < len(lines) - 1
                table.add_row(*map(Text, cells), style=style, end_section=end)
            yield table

    return Fitted()


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


def folded(name: str, width: int) -> str:
    """Break a name that is too long: before a slash or after a blank, where it can."""

    lines = [""]
    for part in re.split(r"(?=/)|(?<= )", name):
        if cell_len(lines[-1] + part) <= width:
            lines[-1] += part
            continue
        lines.append("  ")
        for char in part:
            if cell_len(lines[-1] + char) > width:
                lines.append("  ")
            lines[-1] += char
    return "\n".join(filter(None, lines)).removeprefix("  ")
