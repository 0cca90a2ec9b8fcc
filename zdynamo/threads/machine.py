"""Which boot of the machine this is: a node started again in the same one has lost nothing that it had written."""

import platform
import subprocess
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT_TIME = ("/usr/sbin/sysctl", "-n", "kern.boottime")
ANSWER_S = 2.0


def machine_boot() -> str:
    """The same text until the machine is started again; "" where that cannot be known: then any boot may be another."""
    try:
        if platform.system() == "Darwin":
            return subprocess.run(
                BOOT_TIME, capture_output=True, text=True, timeout=ANSWER_S, check=True
            ).stdout.strip()
        return BOOT_ID.read_text().strip()
    except (OSError, subprocess.SubprocessError):
        return ""
