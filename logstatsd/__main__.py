"""Run `logstatsd`; nothing else is imported until then, so that worker processes stay light."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and leave at once."""
    code: object = 0
    _open_standard_streams()
    _prefer_own_library()
    try:
        from logstatsd.cli import cli  # noqa: PLC0415

        cli(prog_name="logstatsd")
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
    except KeyboardInterrupt:
        code = 130
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it has gone
            continue
    os._exit(code if isinstance(code, int) else 1 if code else 0)


def _prefer_own_library() -> None:
    """Look for modules in Python's library first, and where `python -m` is run last: those are the app's."""
    library = os.path.dirname(os.__file__)  # noqa: PTH120 - a `pathlib.py` would be the app's too
    own = [path for path in sys.path if path in {library, os.path.join(library, "lib-dynload")}]  # noqa: PTH118
    others = [path for path in sys.path if path not in own]
    first = 1 if others and others[0] == _here() else 0
    sys.path[:] = [*own, *others[first:], *others[:first]]


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return ""


def _open_standard_streams() -> None:
    """Put /dev/null where a stream was closed (`>&-`, a bare daemon): no file of ours may take its number."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(spare, True)
    os.close(spare)
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


if __name__ == "__main__":
    main()
