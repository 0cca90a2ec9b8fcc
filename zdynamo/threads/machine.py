"""Which boot of the machine this is, and which folder: a node started again with the same of both has lost nothing."""

import platform
import subprocess
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT_TIME = ("/usr/sbin/sysctl", "-n", "kern.boottime")
LINUX_BIRTH = ("stat", "-c", "%i:%W", "--")
DARWIN_BIRTH = ("/usr/bin/stat", "-f", "%i:%B", "--")
ANSWER_S = 2.0


def machine_boot() -> str:
    """The same text until the machine is started again; "" where that cannot be known: then any boot may be another."""
    try:
        return _said(*BOOT_TIME) if platform.system() == "Darwin" else BOOT_ID.read_text().strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def place_of(folder: Path) -> str:
    """The same text as long as this is the same folder, another for every copy of it; "" where that cannot be known.

    It is the inode, which a copy that takes the folder's place is often given again, and the second in which the folder
    was made. A snapshot of the whole disk has the same, and a folder whose files are written over in place.
    """
    try:
        return _said(*(DARWIN_BIRTH if platform.system() == "Darwin" else LINUX_BIRTH), str(folder))
    except (OSError, subprocess.SubprocessError):
        return ""


def _said(*command: str) -> str:
    """Raises: OSError, SubprocessError."""
    return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=True).stdout.strip()
