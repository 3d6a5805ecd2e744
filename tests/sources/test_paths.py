"""The files that a path, a glob or a folder stands for, and their order."""

from __future__ import annotations

import grp  # noqa: F401 - what an unprivileged user could not import from root's Python
import os
from pathlib import Path

import pytest

from logstatsd.errors import InputError
from logstatsd.sources.paths import expand, split_rotation
from logstatsd.sources.source import find

# Each row: the files of one log, oldest first, as some rotation writes them.
ROTATIONS = {
    "logrotate": ["access.log.10.gz", "access.log.3.gz", "access.log.2.gz", "access.log.1", "access.log"],
    "logrotate dateext": [
        "access.log-20261118.gz",
        "access.log-20261119.gz",
        "access.log-20261120",
        "access.log",
    ],
    "logrotate dateext hourly": ["access.log-2026112009.gz", "access.log-2026112010", "access.log"],
    "logrotate dateformat -%s": ["access.log-1795000000.gz", "access.log-1795086400", "access.log"],
    "logrotate extension .log": ["access-20261119.log.gz", "access-20261120.log", "access.log"],
    "numbers before the extension": ["access.2.log.xz", "access.1.log", "access.log"],
    "cronolog": ["access.2026-11-19.log.bz2", "access.2026-11-20.log"],
    "Python's TimedRotatingFileHandler": [
        "access.log.2026-11-19_23-59",
        "access.log.2026-11-20_00-00",
        "access.log",
    ],
    "underscores": ["access_2026_11_19.log.zst", "access_2026_11_20.log"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def create(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode() + b"\n")


@pytest.mark.parametrize("names", ROTATIONS.values(), ids=ROTATIONS.keys())
@pytest.mark.parametrize("given", [["."], ["access*"], None], ids=["folder", "glob", "names"])
def test_rotated_files_come_in_time_order(folder, names, given):
    create(*names)
    assert expand(given or sorted(names)) == names
    assert len({split_rotation(name)[0] for name in names}) == 1


@pytest.mark.parametrize(
    "name", ["access.10.0.0.1.log", "api.v1.log", "shop-2.log", "port8000.log", "a.99991399.log"]
)
def test_other_numbers_are_part_of_the_name(name):
    assert (
        split_rotation(name)[1] == (True, "", 0) or split_rotation(name)[0] != split_rotation("access.log")[0]
    )


def test_logs_of_one_folder_stay_apart(folder):
    create("shop.log", "shop.log.1", "admin.log", "admin.log.2.gz", "admin.log.1")
    assert expand(["."]) == ["admin.log.2.gz", "admin.log.1", "admin.log", "shop.log.1", "shop.log"]
    assert expand(["shop.log", "."])[:2] == ["shop.log.1", "shop.log"]


def test_a_folder_of_nginx_is_its_access_logs(folder):
    create("access.log", "error.log", "error.log.1", "shop_error.log", ".access.log.swp", "old/access.log")
    assert expand(["."]) == ["access.log"]
    assert expand(["error.log*"]) == ["error.log.1", "error.log"]


def test_a_folder_of_nothing_but_error_logs_is_read(folder):
    create("error.log")
    assert expand(["."]) == ["error.log"]


def test_globs_reach_into_folders(folder):
    create("a/access.log", "b/c/access.log", "b/c/access.log.1")
    assert expand(["**/access.log*"]) == ["a/access.log", "b/c/access.log.1", "b/c/access.log"]


def test_a_file_with_a_globs_characters_is_itself(folder):
    create("access[1].log", "access1.log")
    assert expand(["access[1].log"]) == ["access[1].log"]


def test_a_file_being_compressed_is_read_once(folder):
    create("access.log.1", "access.log.1.gz", "access.log")
    assert expand(["."]) == ["access.log.1", "access.log"]
    assert expand(["access.log.1", "access.log.1.gz"]) == ["access.log.1", "access.log.1.gz"]


def test_one_file_by_several_names_is_read_once(folder):
    create("access.log")
    Path("link.log").symlink_to("access.log")
    Path("hard.log").hardlink_to("access.log")
    found = find(["access.log", "*.log", ".", "./access.log", str(folder / "access.log"), "-", "-"])
    assert [source.name for source in found] == ["access.log", "-"]


def refusal(path: str) -> str:
    with pytest.raises(InputError) as error:
        find([path])
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_file_names_its_neighbours(folder):
    create("access.log", "access.log.1", "shop.log")
    assert refusal("acess.log") == "acess.log: no such file; did you mean access.log, access.log.1"
    assert refusal("z") == "z: no such file; . holds access.log, access.log.1, shop.log"
    assert refusal("z*") == "z*: no file matches this; . holds access.log, access.log.1, shop.log"
    assert refusal("no/access.log") == "no/access.log: no such file, nor a folder no; check the spelling"
    assert refusal("access.log/x").startswith("access.log/x: no such file")
    assert refusal("a\0b").startswith("a\0b: no such file")


def test_an_empty_folder_asks_for_a_log(folder):
    assert refusal(".").startswith(".: no file in this folder; name a log")


def test_a_socket_is_refused(folder):
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert refusal("s") == "s: cannot be read: No such device or address"


@pytest.fixture
def nobody():
    """Tests run by root would be let in everywhere."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


@pytest.mark.parametrize("closed", ["logs", "logs/access.log"])
@pytest.mark.parametrize("given", ["logs", "logs/access.log"])
def test_what_may_not_be_read_names_its_group(folder, request, closed, given):
    create("logs/access.log")
    for parent in (folder, *folder.parents[:-2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    Path(closed).chmod(0o040)
    if os.geteuid() == 0:
        os.chown(closed, 0, 4)
    request.getfixturevalue("nobody")
    try:
        message = refusal(given)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        Path(closed).chmod(0o755)
    assert "may not read it" in message
    assert f"{closed} is " in message
    assert "join that group (sudo usermod -aG " in message
    assert message.endswith("use sudo")
