"""Tables that fit the terminal: columns give way by their turn, long names are folded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from logstatsd.report.columns import GAP, Title, fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


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
