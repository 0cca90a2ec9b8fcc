"""Disks that fill up, are lost, or take nothing more.

A full disk is a tmpfs that is made as small as what it holds. To mount it the tool starts itself anew in a mount
namespace of its own (and a user namespace, unless it is root), so nothing is left mounted however it ends.
"""

import os
import subprocess
import sys
from typing import Annotated, ClassVar

from chaos_faults import Fault, Ongoing, Scene, Skipped
from msgspec import Meta, field

Amounts = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]
MARK = "CHAOS_MAY_MOUNT"  # in the environment of a tool that runs in its own mount namespace
UNSHARE_SECONDS = 5.0


class FullDisk(Fault):
    """The disk of a node is full, or nearly."""

    needs_mounts: ClassVar[bool] = True
    ends_nodes: ClassVar[bool] = True

    left_mib: Amounts = field(default_factory=lambda: [0, 40, 72])  # free: one of them is drawn

    def strike(self, scene: Scene) -> Ongoing:
        if not may_mount():
            raise Skipped("full-disk needs mounts: run it as root, or where unprivileged user namespaces are allowed")
        victim, left_mib = scene.victim(), scene.chance.choice(self.left_mib)
        scene.cluster.disks.fill(victim, left_mib)
        return Ongoing(f"disk of {victim} full but for {left_mib} MiB", lambda: scene.cluster.disks.free(victim))


class Stuck(Fault):
    """No file of a node grows (RLIMIT_FSIZE), as on a disk that fails: the node may end, and is started again."""

    ends_nodes: ClassVar[bool] = True

    def strike(self, scene: Scene) -> Ongoing:
        victim = scene.victim()
        scene.cluster.limit_files(victim, limited=True)
        return Ongoing(f"no file of {victim} grows", lambda: scene.cluster.limit_files(victim, limited=False))


class LostDisk(Fault):
    """kill -9 and an empty folder. A second one only once the first has all back: W-1 lost copies are survivable.

    A fallback that lost what it held for others does not get it back. So where there are fallbacks, a second one may be
    one too many until the replicas have been made equal.
    """

    nodes_min: ClassVar[int] = 3

    most: Annotated[int, Meta(ge=1)] = 1  # in a run

    def strike(self, scene: Scene) -> Ongoing:
        if not scene.cluster.all_settled():
            raise Skipped("lost-disk: a node has not got all back yet")
        if scene.cluster.lost_disk:
            raise Skipped("lost-disk: another one is lost")
        if scene.cluster.lost_disks >= self.most:
            raise Skipped(f"lost-disk: there were {self.most} already")
        victim = scene.victim()
        scene.cluster.kill_node(victim)
        scene.cluster.lose_disk(victim)
        return Ongoing(f"disk of {victim} lost", lambda: scene.cluster.restart_node(victim), down=victim)


DISK_FAULTS: dict[str, type[Fault]] = {"full-disk": FullDisk, "stuck": Stuck, "lost-disk": LostDisk}


def may_mount() -> bool:
    return MARK in os.environ


def start_again_to_mount() -> None:
    """Does not return if it can; otherwise full disks are skipped."""
    for flags in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        command = ["unshare", *flags, "--propagation", "private"]
        try:
            allowed = subprocess.run([*command, "true"], capture_output=True, timeout=UNSHARE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if allowed.returncode == 0:
            os.environ[MARK] = "1"
            os.execvp("unshare", [*command, sys.executable, *sys.argv])
