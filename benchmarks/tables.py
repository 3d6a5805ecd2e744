"""Print rows of text as a table, plain or Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Align the columns; with Markdown, bar them."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    between, edge = (" | ", "| {} |") if markdown else ("  ", "{}")
    rule = ["-" * width for width in widths]
    lines = [header, *([rule] if markdown else []), *rows]
    return "\n".join(
        edge.format(
            between.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
