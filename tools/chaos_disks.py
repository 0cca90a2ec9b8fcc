"""The data folders of a chaos cluster on disks that can be filled: one small tmpfs a node."""

import shutil
import subprocess
from pathlib import Path

from zdynamo.cli.cluster import ClusterFailed

SIZE_MIB = 512  # memory that a node's disk may take
FREE_MIN_MIB = 96  # storage.disk_free_min of these nodes: below, client puts are refused


class Disks:
    """Mounted one by one; leaving the mount namespace of this process unmounts what is left."""

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}

    def mount(self, name: str, folder: Path) -> None:
        """Raises: ClusterFailed."""
        folder.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder))
        self._folders[name] = folder

    def fill(self, name: str, left_mib: int) -> None:
        """Shrink it to what it holds and so much more."""
        used_mib = -(-shutil.disk_usage(self._folders[name]).used // 2**20)
        self._resize(name, used_mib + left_mib)

    def free(self, name: str) -> None:
        self._resize(name, SIZE_MIB)

    def unmount(self) -> None:
        for folder in self._folders.values():
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)

    def _resize(self, name: str, mib: int) -> None:
        _mount("-o", f"remount,size={mib}m", str(self._folders[name]))


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterFailed(f"mount: {done.stderr.strip()}")
