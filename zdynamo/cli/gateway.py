"""The verb `gateway`: HTTP without a node, in processes that hold no state."""

import os
import select
import socket
import time
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from zdynamo.cli.output import as_usage
from zdynamo.errors import ConfigError, Unreachable, ZdynamoError

if TYPE_CHECKING:
    from zdynamo.threads.beside import Beside
    from zdynamo.threads.log import Log

DEFAULT_PORT = 7480
SEED_MS = 500  # that a seed has to answer when the gateway starts, and until it is asked again
SAY_AFTER_SECONDS = 1.0  # of seeds that do not answer
SAY_AGAIN_SECONDS = 5.0


def gateway(
    seed: Annotated[
        list[str], typer.Option("--seed", metavar="HOST:PORT", help="The public address of any member; repeatable.")
    ],
    workers: Annotated[
        int, typer.Option("--workers", metavar="K", min=1, max=256, help="How many processes share the port.")
    ] = 1,
    host: Annotated[str, typer.Option("--host", metavar="TEXT", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=1, max=65535, help="The port to listen on.")
    ] = DEFAULT_PORT,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow an address beyond loopback.")] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="TEXT",
            help="A name under which a gateway on loopback is reached, such as by a proxy; repeatable.",
        ),
    ] = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="debug|info|warning|error", help="The lowest level logged.")
    ] = "info",
    as_json: Annotated[bool, typer.Option("--json", help="Log JSON lines, even on a terminal.")] = False,
) -> None:
    """Serve HTTP for a cluster, until Ctrl-C.

    It is no node and holds no state: start as many as you like. Give several seeds, so that it can start while one of
    them is down. A worker that dies is started again.

    Example: zdynamo gateway --seed 10.0.0.1:7400 --seed 10.0.0.2:7400 --workers 2 --port 8080
    """
    from zdynamo.http.settings import Serving, command
    from zdynamo.loading import check_address, load
    from zdynamo.threads.beside import Beside, listen
    from zdynamo.threads.foreground import raise_file_limit, signals
    from zdynamo.threads.log import Log, configure
    from zdynamo.tracing.setup import check_installed

    with as_usage(ConfigError):
        for address in seed:
            check_address("--seed", address)
        flags = {"log.level": log_level, "log.format": "json" if as_json else None}
        settings = load(None, os.environ, flags, {"log.level": "--log-level"})
        check_installed(settings.tracing)
    _check(host, name or [], insecure=insecure)
    configure(settings.log)
    raise_file_limit()
    served_by, names = f"{host}:{port}", tuple(name or ())
    with listen("--host", host, "--port", port) as listening:
        log = Log(served_by)
        wake = signals()
        Thread(target=_look_for_seeds, args=(seed, Log(served_by)), name="seeds", daemon=True).start()
        _keep(
            [
                Beside(
                    "gateway",
                    lambda fd: command(Serving(fd, tuple(seed), served_by, names=names, tracing=settings.tracing)),
                    listening,
                    log,
                )
                for _ in range(workers)
            ],
            wake,
        )


def _check(host: str, names: list[str], *, insecure: bool) -> None:
    """Raises: typer.BadParameter."""
    from zdynamo.loading import is_loopback

    if not is_loopback(host) and not insecure:
        raise typer.BadParameter(
            f"{host} is beyond loopback, and whoever reaches it can read and write: add --insecure if the network is "
            "trusted",
            param_hint="--host",
        )
    if "" in names:
        raise typer.BadParameter("it is empty: give the name, or leave it out", param_hint="--name")


def _look_for_seeds(seeds: list[str], log: "Log") -> None:
    """Until one of them has answered. Who waits for that should read why, beside the 503 that workers answer."""
    from zdynamo.cli.ask import topology_of

    began = time.monotonic()
    say_due = began + SAY_AFTER_SECONDS
    while True:
        refused: dict[str, object] = {}
        for address in seeds:
            try:
                topology_of(address, SEED_MS)
            except Unreachable:
                continue
            except ZdynamoError as error:
                refused = {"seed": address, "reason": str(error)}
                continue
            return
        now = time.monotonic()
        if now >= say_due and refused:
            log.note("warning", "seed.refused", refused)
        elif now >= say_due:
            log.note("warning", "seeds.unanswered", {"seeds": seeds, "for_ms": round((now - began) * 1000)})
        say_due = say_due if now < say_due else now + SAY_AGAIN_SECONDS
        time.sleep(SEED_MS / 1000)


def _keep(workers: "list[Beside]", wake: socket.socket) -> None:
    """All of them running, until this process is to end."""
    from zdynamo.threads.foreground import is_ending

    for worker in workers:
        worker.start()
    while not is_ending(wake):
        due_s = min((worker.due_s for worker in workers if worker.due_s is not None), default=None)
        select.select([wake], [], [], None if due_s is None else max(0.0, due_s - time.monotonic()))
        for worker in workers:
            worker.look()
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.reap()
