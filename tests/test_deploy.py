"""The files of docs/deploy, each given to the program that it is for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sample
from places import DOCS, ROOT, SAMPLE_LOGS

from logstatsd.routing.snapshot import dump_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = sorted((DOCS / "deploy").iterdir())


def test_every_file_is_in_the_table_and_the_other_way_round() -> None:
    linked = re.findall(r"\]\(deploy/([^)]+)\)", (DOCS / "deploy.md").read_text())
    assert sorted(linked) == [file.name for file in FILES]


def test_systemd_takes_the_units(need: Callable[[str], str], tmp_path: Path) -> None:
    """Verify the units as installed, but for the program, which must exist."""
    program = tmp_path / "logstatsd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = []
    for file in FILES:
        if file.suffix in {".service", ".timer"}:
            units.append(tmp_path / file.name)
            units[-1].write_text(file.read_text().replace("/opt/shop/venv/bin/logstatsd", str(program)))
    verified = subprocess.run(
        [need("systemd-analyze"), "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert len(units) == 3
    assert (verified.returncode, verified.stderr) == (0, "")


def test_logrotate_takes_its_example(need: Callable[[str], str], tmp_path: Path) -> None:
    config = tmp_path / "logrotate.conf"
    text = (DOCS / "deploy" / "logrotate.conf").read_text().replace("/var/log/nginx", str(tmp_path))
    config.write_text(text.replace("www-data adm", f"{os.getuid()} {os.getgid()}"))
    (tmp_path / "access.log").write_text("a line\n")
    command = [need("logrotate"), "-d", "-f", "-s", str(tmp_path / "state"), str(config)]
    tried = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "error" not in tried.stderr
    assert f"renaming {tmp_path}/access.log to {tmp_path}/access.log.1" in tried.stderr


def test_the_crontab_has_the_form_of_cron_d() -> None:
    jobs = [
        line
        for line in (DOCS / "deploy" / "logstatsd.crontab").read_text().splitlines()
        if not line.startswith("#") and not re.match(r"\w+=", line)
    ]
    assert len(jobs) == 1
    assert re.fullmatch(r"(\S+ ){5}root .* runuser -u www-data -- logstatsd replay .* --resume .*-q", jobs[0])
    assert "%" not in jobs[0], "cron makes a newline of it"


def test_cron_runs_the_crontab(need: Callable[[str], str]) -> None:
    """Debian's cron takes the same lines without the user's name; `crontab -T` only checks."""
    lines = (DOCS / "deploy" / "logstatsd.crontab").read_text().replace(" root ", " ")
    help_text = subprocess.run([need("crontab"), "-h"], capture_output=True, text=True, check=False).stderr
    if "-T" not in help_text and "-n" not in help_text:
        pytest.skip("this crontab cannot check a file without installing it")
    check = "-T" if "-T" in help_text else "-n"
    subprocess.run(["crontab", check, "-"], input=lines, text=True, check=True, capture_output=True)


INSTALLED = r"""
set -eu
for folder in etc/cron.d etc/logstatsd opt var/log/nginx var/lib var/spool/cron run; do
    mkdir -p "/$folder"
    mount -t tmpfs -o mode=0755 tmpfs "/$folder"
done
mkdir -p /opt/shop/venv/bin /opt/python /opt/site /opt/source /var/spool/cron/crontabs
mount --bind "$PYTHON" /opt/python
mount --bind "$SITE" /opt/site
mount --bind "$SOURCE" /opt/source
cat > /opt/shop/venv/bin/logstatsd << END
#!/bin/sh
PYTHONPATH=/opt/source:/opt/site /opt/python/bin/python3 -m logstatsd "\$@" > /run/said/words 2>&1
echo "\$(id -un) \$?" > /run/said/ended
END
chmod 0755 /opt/shop/venv/bin/logstatsd
install -d -o www-data /run/said
install -m 0644 "$HERE/logstatsd.crontab" /etc/cron.d/logstatsd
install -m 0644 "$HERE/routes.json" /etc/logstatsd/routes.json
install -o www-data -g adm -m 0640 "$HERE/access.log" /var/log/nginx/access.log
"$EXECUTABLE" -c "$RECEIVER" "$HERE/came" &
receiver=$!
cron -f &
cron=$!
for _ in $(seq 800); do
    [ -s /run/said/ended ] && break
    sleep 0.1
done
kill $cron $receiver
cat /run/said/ended /run/said/words
stat -c '%U %a %n' /var/lib/logstatsd /var/lib/logstatsd/*.json
"""
RECEIVER = """
import fcntl, socket, struct, sys
up = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(up, 0x8914, struct.pack("16sh", b"lo", 0x49))
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 8125))
with open(sys.argv[1], "ab", buffering=0) as came:
    while True:
        came.write(server.recv(65536) + b"\\n")
"""


@pytest.mark.slow
def test_the_crontab_works_as_it_stands_for_www_data(need: Callable[[str], str], tmp_path: Path) -> None:
    """A real cron, with files and a network of its own; logs are owned as Debian's nginx has them."""
    need("cron")
    (tmp_path / "logstatsd.crontab").write_text((DOCS / "deploy" / "logstatsd.crontab").read_text())
    (tmp_path / "routes.json").write_text(dump_snapshot(sample.loaded().snapshot()))
    lines = (SAMPLE_LOGS / "nginx.log").read_bytes().splitlines(keepends=True)[:50]
    (tmp_path / "access.log").write_bytes(b"".join(lines))
    environment = {
        **os.environ,
        "HERE": str(tmp_path),
        "PYTHON": sys.base_prefix,
        "SITE": sysconfig.get_path("purelib"),
        "SOURCE": str(ROOT),
        "EXECUTABLE": sys.executable,
        "RECEIVER": RECEIVER,
    }
    namespaces = ["unshare", "--mount", "--net"]
    if subprocess.run([*namespaces, "true"], check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own needs root")
    ran = subprocess.run(
        [*namespaces, "bash", "-c", INSTALLED], env=environment, capture_output=True, text=True, check=False
    )
    told = ran.stdout.splitlines()
    assert told[:2] == ["www-data 0", "www-data 700 /var/lib/logstatsd"], ran
    assert re.fullmatch(r"www-data 600 /var/lib/logstatsd/access\.log-udp-\S+\.json", told[2])
    assert (tmp_path / "came").read_bytes().count(b"|ms") == 50


def test_the_sidecar_runs_what_the_service_runs() -> None:
    text = (DOCS / "deploy" / "Dockerfile").read_text()
    sidecar = [
        part
        for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)", text, re.MULTILINE)
        for part in json.loads(line)
    ]
    service = (DOCS / "deploy" / "logstatsd-follow.service").read_text()
    program, *arguments = re.search(r"^ExecStart=(.*)", service, re.MULTILINE)[1].split()
    assert sidecar == [Path(program).name, *arguments]
