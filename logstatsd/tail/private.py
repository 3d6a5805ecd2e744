"""Keep files that only their owner may read, and follow no link on the way to them."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from logstatsd.errors import StateError

FILE_MODE, FOLDER_MODE = 0o600, 0o700
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_TEMPORARY = ".{name}.{token}.tmp"
_TOKEN_BYTES = 8


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; each that was missing is its owner's alone, whatever the umask."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(FOLDER_MODE)
        folder.chmod(FOLDER_MODE)
    if not folder.is_dir():
        raise NotADirectoryError(20, os.strerror(20), str(folder))


def open_lock(path: Path) -> int:
    """Open the file of a lock, made if there is none. A file that was there keeps its mode."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, FILE_MODE)
    except FileExistsError:
        fd = _refuse_irregular(path, os.open(path, os.O_RDWR | _OPEN, FILE_MODE))
    else:
        os.fchmod(fd, FILE_MODE)
    return fd


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Read a file. Raises StateError for one that is larger, or is a link, a pipe or the like; OSError."""
    _refuse_link(path)
    fd = _refuse_irregular(path, os.open(path, os.O_RDONLY | _OPEN))
    with os.fdopen(fd, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise StateError(
            f"{path}: is not a checkpoint, and is left as it is: it has more than {most_bytes >> 20} MiB; "
            "give another path"
        )
    return content


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise StateError(f"{path}: is a symbolic link, and is left as it is; name the file itself")


def _refuse_irregular(path: Path, fd: int) -> int:
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    what = "Is a directory" if stat.S_ISDIR(mode) else "is not a regular file"
    raise StateError(f"{path}: {what}, and is left as it is; give another path")


def replace_durably(path: Path, content: bytes) -> None:
    """Replace a file by way of a new one beside it, synced before and after. Raises OSError."""
    _refuse_link(path)
    temporary = path.with_name(_TEMPORARY.format(name=path.name, token=secrets.token_hex(_TOKEN_BYTES)))
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, FILE_MODE)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(fd)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove_temporaries(path: Path) -> None:
    """Remove what killed runs left beside a file that they were about to replace. Raises OSError."""
    token = rf"[0-9a-f]{{{2 * _TOKEN_BYTES}}}"
    pattern = re.compile(_TEMPORARY.format(name=re.escape(path.name), token=token).replace(".", r"\.", 1))
    for entry in list(os.scandir(path.parent)):
        if pattern.fullmatch(entry.name):
            Path(entry.path).unlink(missing_ok=True)
