"""`replay` to stream servers that take connections and do not read: a failure, with the checkpoint kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sample
from command import invoke
from odd_streams import MANNERS, close_after_some, close_at_once, serving
from places import SAMPLE_LOGS

from logstatsd.routing.snapshot import dump_snapshot

if TYPE_CHECKING:
    from odd_streams import Manner

KINDS = ["tcp", "unixstream"]
LINES = (SAMPLE_LOGS / "nginx.log").read_bytes().splitlines(keepends=True)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("routes.json").write_text(dump_snapshot(sample.loaded().snapshot()))
    Path("access.log").write_bytes(b"".join(LINES))


def replay(*options: str) -> tuple[int, dict[str, Any], str]:
    done = invoke(
        "replay", "access.log", "--routes", "routes.json", "--timeout", "0.3", "--json", *options, code=None
    )
    told = json.loads(done.stdout)
    assert told["due"] == told["sent"] + told["dropped"] + told["unconfirmed"]
    return done.exit_code, told, done.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("manner", [*MANNERS, None])
def test_a_server_that_does_not_read_to_the_end_is_exit_4_and_the_checkpoint_stays(
    kind: str, manner: Manner | None, tmp_path: Path
) -> None:
    with serving(kind, manner, tmp_path) as where:
        code, told, said = replay(*where)
        assert (code, told["sent"] < told["due"]) == (4, True), said
        assert f"{told['sent']:,} of {told['due']:,} values delivered" in said.splitlines()[-1]
        assert "UDP" not in said
        code, told, _ = replay(*where, "--checkpoint", "state.json")
        assert (code, told["lines"]) == (4, len(LINES))
    state = json.loads(Path("state.json").read_text())
    [log] = state["logs"].values()
    assert not any(position["points"] for position in log["positions"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_confirmed_before_it_closed_counts_as_sent(kind: str, tmp_path: Path) -> None:
    Path("access.log").write_bytes(b"".join(LINES * 20))
    with serving(kind, close_after_some, tmp_path) as where:
        code, told, _ = replay(*where)
    assert (code, told["sent"] > 0, told["unconfirmed"] > 0) == (4, True, True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_closes_every_connection_is_given_up(kind: str, tmp_path: Path) -> None:
    Path("access.log").write_bytes(b"".join(LINES * 300))
    with serving(kind, close_at_once, tmp_path) as where:
        code, told, said = replay(*where)
    assert code == 4
    assert told["dropped"] > 0
    assert "takes connections and closes them, and has read nothing for 0.3 s" in said


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_run_to_a_server_that_reads_sends_all_of_it(kind: str, tmp_path: Path) -> None:
    with serving(kind, close_at_once, tmp_path) as where:
        assert replay(*where, "--checkpoint", "state.json")[0] == 4
    Path("stream.sock").unlink(missing_ok=True)

    def read_all(connection: Any, _over: object) -> None:
        while connection.recv(65_536):
            pass

    with serving(kind, read_all, tmp_path) as where:
        # The port is another one; the checkpoint knows the server by it.
        state = Path("state.json").read_text()
        Path("state.json").write_text(state.replace(json.loads(state)["destination"], _name(where)))
        code, told, said = replay(*where, "--checkpoint", "state.json")
    assert (code, told["sent"]) == (0, told["due"]), said
    assert told["lines"] == len(LINES)


def _name(where: list[str]) -> str:
    return f"tcp:localhost:{where[2]}" if where[0] == "--tcp" else f"unix:{where[1]}"
