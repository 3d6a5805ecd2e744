"""Build hook: compile the scanner where cargo is; where that fails, the package is pure Python.

LOGSTATSD_BUILD=pure leaves it out, LOGSTATSD_BUILD=native makes a failure an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMAND = ("cargo", "build", "--release", "--locked", "--features", "extension-module")
# Where the registry is out of reach, say so soon; a later environment variable of the user's own wins.
QUICK = {"CARGO_NET_RETRY": "0", "CARGO_HTTP_TIMEOUT": "10"}
NAMES = ("lib_native.so", "lib_native.dylib")
MODULE = "logstatsd/_native.abi3.so"


class ScannerHook(BuildHookInterface[Any]):
    """Adds the compiled scanner to a wheel, or to the source tree of an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tag the wheel as what it is."""
        if self.target_name != "wheel":
            return
        module = Path(self.root, MODULE)
        library = self.compiled()
        if version == "editable":
            module.unlink(missing_ok=True)  # of an earlier one, maybe of other sources
        if library is None:
            return
        build_data["pure_python"] = False
        build_data["tag"] = "cp311-abi3-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
        if version == "editable":
            shutil.copy(library, module)
        else:
            build_data["force_include"][str(library)] = MODULE

    def compiled(self) -> Path | None:
        """The library, None where it cannot be built here."""
        wanted = os.environ.get("LOGSTATSD_BUILD", "")
        if wanted == "pure":
            return None
        crate = Path(self.root, "native")
        target = Path(os.environ.get("CARGO_TARGET_DIR", crate / "target"), "release")
        try:
            subprocess.run(COMMAND, cwd=crate, env={**QUICK, **os.environ}, capture_output=True, check=True)
            return next(target / name for name in NAMES if (target / name).exists())
        except (OSError, subprocess.CalledProcessError, StopIteration) as error:
            if wanted == "native":
                raise
            self.app.display_info(f"without the compiled scanner: {error}")
            return None
