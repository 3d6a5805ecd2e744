"""A terminal of a given width, and what a command prints on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

from command import COMMAND
from servers import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def terminal(columns: int = 80) -> Iterator[tuple[int, int]]:
    """A terminal, as the file of the person before it and the file of the program that runs on it."""
    person, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        yield person, program
    finally:
        os.close(person)


def wait_for(person: int, words: str) -> None:
    """Return once these words have appeared on a terminal."""
    shown = ""
    while words not in plain(shown):
        readable, _, _ = select.select([person], [], [], PATIENCE_S)
        if not readable:
            raise TimeoutError(f"waited {PATIENCE_S:g} s for {words!r}; there is {plain(shown)!r}")
        shown += os.read(person, 65_536).decode(errors="replace")


def plain(shown: str) -> str:
    """Text without what sets colours or moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def seen(person: int) -> bytes:
    """All that appears on a terminal until the program on it ends."""
    found = b""
    while True:
        try:
            found += os.read(person, 65_536)
        except OSError:  # Linux's way to say that the other side has closed
            return found


def on_a_terminal(*arguments: str, columns: int, **env: str) -> str:
    """Run the command on a terminal of so many columns; return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with terminal(columns) as (person, program):
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=program, stdout=program, stderr=subprocess.PIPE,
            env={**inherited, "TERM": "xterm-256color", **env},
        )  # fmt: skip
        os.close(program)
        found = seen(person)
        process.communicate(timeout=20)
    return found.decode().replace("\r\n", "\n")
