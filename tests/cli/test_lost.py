"""What could not be read: told in every command however quiet, in every JSON, and by the exit code."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import sys
from typing import TYPE_CHECKING

import pytest
from command import invoke
from places import SAMPLE_LOGS

from logstatsd.sources.source import Chunk

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path

LOG = b"".join((SAMPLE_LOGS / "nginx.log").read_bytes().splitlines(keepends=True)[:1_000])
LINES = LOG.count(b"\n")
COMPRESS = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zstd": zstd.compress}


def broken(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(200) + data[middle + 200 :]


DAMAGES = {
    "cut": lambda whole: whole[: len(whole) * 3 // 4],
    "three bytes": lambda whole: whole[:3],
    "broken": broken,
    "garbage": lambda whole: whole + b"garbage" * 100,
}
QUIET = {"normalize": ("-q",), "check": ()}
JSON = {
    "report": ("report", "--json"),
    "replay": ("replay", "--dry-run", "--json"),
    "routes": ("routes", "--json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("command", JSON)
@pytest.mark.parametrize("stdin", [False, True])
def test_damage_is_in_the_json_and_fails(
    command: str, kind: str, damage: str, stdin: bool, tmp_path: Path, routes: tuple[str, str]
) -> None:
    data = DAMAGES[damage](COMPRESS[kind](LOG))
    (tmp_path / "access.log").write_bytes(data)
    name, *options = JSON[command]
    log = "-" if stdin else tmp_path / "access.log"
    done = invoke(name, log, *options, "-q", *routes, stdin=data, code=1)
    found = json.loads(done.stderr.splitlines()[-1] if command == "replay" else done.stdout)
    [text] = found["lost"]
    assert text.startswith(f"{log}: ")
    assert kind in text
    assert done.stderr.splitlines()[0] == text
    assert "empty" not in done.stderr
    if damage == "garbage" and command != "routes":
        assert (found["lines"], found["parsed"]) == (LINES, LINES)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("command", ["normalize", "check"])
def test_damage_is_told_and_fails(
    command: str, kind: str, damage: str, tmp_path: Path, routes: tuple[str, str]
) -> None:
    (tmp_path / "access.log").write_bytes(DAMAGES[damage](COMPRESS[kind](LOG)))
    done = invoke(command, tmp_path / "access.log", *QUIET[command], *routes, code=1)
    assert f"access.log: {'followed by' if damage == 'garbage' else 'c'}" in done.stderr
    assert "empty" not in done.stderr


def long_window(bits: int) -> bytes:
    """A frame that asks for a window of 2**bits bytes and does not say how long it is; its blocks are raw."""
    size = 25_000
    blocks = [LOG[at : at + size] for at in range(0, 50_000, size)]
    heads = [
        (len(block) << 3 | (n == len(blocks) - 1)).to_bytes(3, "little") for n, block in enumerate(blocks)
    ]
    return b"\x28\xb5\x2f\xfd\x00" + bytes([bits - 10 << 3]) + b"".join(map(bytes.__add__, heads, blocks))


def test_a_long_window_of_zstd_is_decoded(tmp_path: Path, routes: tuple[str, str]) -> None:
    (tmp_path / "access.log.zst").write_bytes(long_window(29))
    found = json.loads(invoke("report", tmp_path / "access.log.zst", "--json", *routes).stdout)
    assert found["lost"] == []
    assert found["lines"] == LOG[:50_000].count(b"\n") + 1


def test_a_window_that_needs_too_much_memory_is_told(tmp_path: Path, routes: tuple[str, str]) -> None:
    (tmp_path / "access.log.zst").write_bytes(long_window(31))
    done = invoke("report", tmp_path / "access.log.zst", "--json", "-q", *routes, code=1)
    [text] = json.loads(done.stdout)["lost"]
    assert "a window of more than 512 MiB" in text
    assert "try: zstdcat --long=31" in text


@pytest.mark.parametrize("command", JSON)
@pytest.mark.parametrize("how", ["truncated", "replaced", "rewritten"])
def test_a_log_that_changes_while_it_is_read(
    command: str, how: str, tmp_path: Path, routes: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(LOG)
    whole = Chunk._open

    def change(chunk: Chunk) -> int:
        if how == "truncated":
            os.truncate(log, 10_000)
        elif how == "rewritten":
            log.write_bytes(LOG[5_000:] + LOG[:5_000])
        else:
            (tmp_path / "new").write_bytes(LOG)
            (tmp_path / "new").replace(log)
        return whole(chunk)

    monkeypatch.setattr(Chunk, "_open", change)
    name, *options = JSON[command]
    done = invoke(name, log, *options, "-q", *routes, code=1)
    found = json.loads(done.stderr.splitlines()[-1] if command == "replay" else done.stdout)
    [text] = found["lost"]
    assert text.startswith(f"{log}: {'rewritten' if how == 'rewritten' else 'cut short or replaced'} while")
    kept = {"truncated": LOG[:10_000].count(b"\n"), "replaced": 0, "rewritten": LINES + 1}[how]
    assert command == "routes" or found["lines"] == kept
