"""Tables: columns that fit a terminal, and long names folded to its width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from logstatsd.report.columns import Title, fitting
from logstatsd.report.tables import folded


@given(
    st.lists(st.tuples(st.integers(1, 200), st.booleans(), st.booleans()), min_size=1, max_size=12),
    st.integers(20, 300),
)
def test_what_fits_fits(columns: list[tuple[int, bool, bool]], available: int) -> None:
    titles = [Title("", n * drops, is_name) for n, (_, drops, is_name) in enumerate(columns, 1)]
    widths = [width for width, *_ in columns]
    kept = fitting(titles, widths, available)
    assert all(n in kept for n, title in enumerate(titles) if not title.drop)
    assert all(kept[n] == widths[n] for n in kept if not titles[n].is_name), "figures are never cut"
    least = [min(widths[n], 8) if titles[n].is_name else widths[n] for n in kept if not titles[n].drop]
    assert sum(kept.values()) + 2 * (len(kept) - 1) <= max(available, sum(least) + 2 * (len(least) - 1))


@given(st.text(st.sampled_from("ab/<>日 "), min_size=1), st.integers(8, 20))
def test_a_folded_name_is_the_name(name: str, width: int) -> None:
    lines = folded(name, width).split("\n")
    assert all(cell_len(line) <= width for line in lines)
    assert "".join([lines[0], *(line[2:] for line in lines[1:])]) in (name, name.removeprefix("  "))
