"""Draw docs/report.svg: the report of the sample log, as a terminal shows it."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from logstatsd.report.render import as_table
from logstatsd.report.summary import Summary
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router
from logstatsd.scan.logs import open_logs
from logstatsd.scan.run import Run
from logstatsd.scan.settle import Settler

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Write the picture beside this script."""
    app = apps.load([f"{ROOT / 'sample_logs/shop.py'}:app"])
    summary, settler = Summary(), Settler(app)
    for piece in Run(open_logs([str(ROOT / "sample_logs/nginx.log")]), Router(app.snapshot())).pieces():
        summary.add(settler.settle(piece.batch))
    console = Console(record=True, width=140, file=io.StringIO(), highlight=False)
    console.print(as_table(summary, "total"))
    console.save_svg(str(ROOT / "docs/report.svg"), title="logstatsd report access.log --app shop:app")


if __name__ == "__main__":
    main()
