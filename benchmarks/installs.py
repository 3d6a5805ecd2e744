"""Install a peer into the cache directory by its own package manager; the machine itself stays as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Package(NamedTuple):
    """What to ask which package manager for, and the program that it brings."""

    manager: str
    name: str
    program: str


def run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    """Run an installer; raise with its last words if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def from_apt(cache: Path, package: Package) -> None:
    """Unpack the Debian package, and those of its dependencies that are not installed, without root."""
    root = cache / "debian"
    root.mkdir(parents=True, exist_ok=True)
    plan = run("apt-get", "-s", "--no-install-recommends", "install", package.name)
    wanted = {line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")} | {package.name}
    run("apt-get", "download", *sorted(wanted), cwd=root)
    for archive in root.glob("*.deb"):
        run("dpkg", "-x", str(archive), str(root))
        archive.unlink()
    link(cache, package.program, root / "usr/bin" / package.program)


def link(cache: Path, program: str, target: Path) -> None:
    """Put a program among the cache's, with the libraries unpacked beside it and a home of its own."""
    libraries = ":".join(str(path) for path in (cache / "debian/usr/lib").glob("*-linux-gnu"))
    script = cache / "bin" / program
    script.parent.mkdir(exist_ok=True)
    home = cache / "home"
    home.mkdir(exist_ok=True)
    settings = f'HOME="{home}" XDG_CONFIG_HOME="{home}" LD_LIBRARY_PATH="{libraries}"'
    script.write_text(f'#!/bin/sh\n{settings} exec "{target}" "$@"\n', encoding="utf-8")
    script.chmod(0o755)


def from_go(cache: Path, package: Package) -> None:
    """Build a program of a Go module; the name is MODULE/…/PROGRAM@VERSION."""
    scratch = cache / "go" / package.program
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    settings = {"GOPATH": str(cache / "go"), "GOBIN": str(cache / "bin"), "GOFLAGS": "-mod=mod -modcacherw"}
    path, _, _version = package.name.partition("@")
    run("go", "mod", "init", "scratch", cwd=scratch, **settings)
    run("go", "get", package.name, cwd=scratch, **settings)
    run("go", "install", path, cwd=scratch, **settings)


def from_cargo(cache: Path, package: Package) -> None:
    """Build a program of a crate."""
    run("cargo", "install", package.name, "--locked", "--root", str(cache))


def from_pip(cache: Path, package: Package) -> None:
    """Install a Python package into an environment of its own; its program is that environment's Python."""
    environment = cache / "python" / package.name
    run(sys.executable, "-m", "venv", str(environment))
    run(str(environment / "bin/python"), "-m", "pip", "install", "-q", package.name)
    link(cache, package.program, environment / "bin/python")


MANAGERS: dict[str, Callable[[Path, Package], None]] = {
    "apt": from_apt,
    "go": from_go,
    "cargo": from_cargo,
    "pip": from_pip,
}


def find(cache: Path, package: Package) -> str | None:
    """Give the path of a program that is installed, in the cache or on the machine."""
    return shutil.which(package.program, path=f"{cache / 'bin'}:{os.environ['PATH']}")


def ensure(cache: Path, package: Package) -> str | None:
    """Give the path of the program, installing it first; None, and why on stderr, if that fails."""
    found = find(cache, package)
    if found:
        return found
    print(f"installing {package.name} by {package.manager}", file=sys.stderr)
    try:
        MANAGERS[package.manager](cache, package)
    except OSError as error:
        print(f"  not installed: {error}", file=sys.stderr)
    return find(cache, package)
