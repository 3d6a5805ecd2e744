"""Statement coverage by room; exits 1 where the whole, or one room, has too little.

    coverage run -m pytest -m "not measured"
    python tests/support/coverage_by_room.py

The whole has to have what `fail_under` in pyproject.toml says, and a room ROOM_AT_LEAST.
"""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import coverage

PACKAGE = "logstatsd"
ROOM_AT_LEAST = 90.0


class Tally(NamedTuple):
    """Statements, and those of them that no test ran."""

    statements: int = 0
    missed: int = 0

    @property
    def percent(self) -> float:
        """The share of the statements that were run."""
        return 100 * (1 - self.missed / self.statements) if self.statements else 100.0

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.statements + other.statements, self.missed + other.missed)


def combined() -> coverage.Coverage:
    """Combine what all processes measured; remove the half files of those that were killed."""
    measured = coverage.Coverage()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", coverage.exceptions.CoverageWarning)
        measured.combine()
    measured.save()
    data = Path(measured.get_data().base_filename())
    for left in data.parent.glob(f"{data.name}.*"):
        left.unlink()
    return measured


def room_of(path: Path) -> str:
    """The folder of a module within the package; the package's own name for those in none."""
    inside = path.parts[len(path.parts) - path.parts[::-1].index(PACKAGE) :]
    return inside[0] if len(inside) > 1 else PACKAGE


def by_room(measured: coverage.Coverage) -> dict[str, Tally]:
    """A tally for each room, in the order of their names."""
    rooms: defaultdict[str, Tally] = defaultdict(Tally)
    for path in sorted(measured.get_data().measured_files()):
        _, statements, _, missed, _ = measured.analysis2(path)
        room = room_of(Path(path))
        rooms[room] = rooms[room].plus(Tally(len(statements), len(missed)))
    return dict(sorted(rooms.items()))


def main() -> int:
    """Print the table."""
    measured = combined()
    rooms = by_room(measured)
    least = dict.fromkeys(rooms, ROOM_AT_LEAST)
    rooms["total"] = Tally(*map(sum, zip(*rooms.values(), strict=True)))
    least["total"] = float(measured.get_option("report:fail_under"))
    low = [name for name, tally in rooms.items() if tally.percent < least[name]]
    print(f"{'room':<12}{'statements':>12}{'missed':>9}{'run':>9}")
    for name, tally in rooms.items():
        below = f"  below {least[name]:g} %" if name in low else ""
        print(f"{name:<12}{tally.statements:>12,}{tally.missed:>9,}{tally.percent:>8.1f}%{below}")
    if low:
        print("`coverage report -m` names the lines that no test ran", file=sys.stderr)
    return bool(low)


if __name__ == "__main__":
    sys.exit(main())
