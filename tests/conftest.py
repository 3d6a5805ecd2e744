"""Share with all tests a clean environment, the real programs that they need, and hypothesis' profiles."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command import forget_settings
from hypothesis import settings
from servers import path_of

if TYPE_CHECKING:
    from collections.abc import Callable


# commands of this environment are found, also where it is not activated
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
forget_settings()

# a busy machine is no reason to fail; what failed once is printed so that it can be tried again
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--require-real`: what CI passes, so that nothing is skipped there."""
    parser.addoption(
        "--require-real",
        action="store_true",
        help="fail, rather than skip, where a real server (nginx, node, npm's statsd) is missing",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail `@pytest.mark.real_server("nginx", "statsd")` where one of the programs is missing."""
    for marker in item.iter_markers("real_server"):
        for program in marker.args:
            require(item.config, program)


@pytest.fixture
def need(pytestconfig: pytest.Config) -> Callable[[str], str]:
    """`need("nginx")` gives the program's path, or ends the test: skipped, or failed with --require-real."""
    return lambda program: require(pytestconfig, program)


def require(config: pytest.Config, program: str) -> str:
    """The path of a program, which a test cannot do without."""
    path = path_of(program)
    if path is not None:
        return path
    missing = f"{program} is not installed (npm's statsd: see tests/support/servers.py)"
    if config.getoption("--require-real"):
        pytest.fail(f"{missing}, and --require-real was given", pytrace=False)
    pytest.skip(missing)
