"""Every kind of fault by its name: what it breaks, what no other may touch meanwhile, and how it ends."""

from collections.abc import Callable

from zdynamo.testing.disk import SimulatedStore
from zdynamo.testing.faults import Faults, Started
from zdynamo.testing.network import Link

MEMBERS_MAX = 10  # nodes that have joined, at most
TELLING = ("links", "loss", "delay", "slow links")  # what may keep a node from being told of its past
TOLD_WITHIN_MS = 1_000  # while all of these work; it takes some milliseconds

# Processes


def _kill(faults: Faults) -> Started | None:
    name = faults.victim()
    if name is None:
        return None
    faults.down.add(name)
    faults.simulation.kill(name)
    return Started(name, (name,), faults.span(50, 6_000), lambda: faults.up(name))


def _pause(faults: Faults) -> Started | None:
    name = faults.victim()
    if name is None:
        return None
    faults.simulation.pause(name)
    return Started(name, (name,), faults.span(100, 8_000), lambda: faults.simulation.resume(name))


def _restart(faults: Faults) -> Started | None:
    name = faults.victim()
    if name is None or not faults.simulation.disks[name].store.room():
        return None
    faults.down.add(name)
    faults.simulation.stop(name)
    return Started(name, (name,), faults.span(10, 2_000), lambda: faults.up(name))


def _join(faults: Faults) -> Started | None:
    names = sorted(faults.simulation.disks)
    if len(names) >= MEMBERS_MAX or not faults.is_free("joining"):
        return None
    name = f"j{len(names)}"
    faults.simulation.start(name, *names)
    return Started(name, ("joining",), 1_000, lambda: None)


# Links


def _loss(faults: Faults) -> Started | None:
    if not faults.is_free("loss"):
        return None
    network, chance = faults.simulation.network, faults.random.choice((0.01, 0.05, 0.2))
    network.loss = chance
    return Started(
        f"{chance:.0%} of messages", ("loss",), faults.span(500, 5_000), lambda: setattr(network, "loss", 0.0)
    )


def _duplicate(faults: Faults) -> Started | None:
    if not faults.is_free("duplicate"):
        return None
    network, chance = faults.simulation.network, faults.random.choice((0.05, 0.2, 0.5))
    network.duplication = chance
    end = lambda: setattr(network, "duplication", 0.0)  # noqa: E731
    return Started(f"{chance:.0%} of messages", ("duplicate",), faults.span(500, 5_000), end)


def _delay(faults: Faults) -> Started | None:
    if not faults.is_free("delay"):
        return None
    network, most_ms = faults.simulation.network, faults.random.choice((30, 100, 400))
    usual, network.delay_ms = network.delay_ms, (1, most_ms)
    end = lambda: setattr(network, "delay_ms", usual)  # noqa: E731
    return Started(f"up to {most_ms} ms, out of order", ("delay",), faults.span(500, 5_000), end)


def _slow_link(faults: Faults) -> Started | None:
    names = sorted(faults.simulation.disks)
    if not faults.is_free("slow links"):
        return None
    one, other = faults.random.sample(names, 2)
    network, low_ms = faults.simulation.network, faults.random.choice((20, 80, 250))
    span = (low_ms, 2 * low_ms)
    network.slow |= {(one, other): span, (other, one): span}
    what = f"{one} and {other}, {low_ms} to {2 * low_ms} ms"
    return Started(what, ("slow links",), faults.span(1_000, 8_000), network.slow.clear)


def _one_way(faults: Faults) -> Started | None:
    one, other = faults.random.sample(sorted(faults.simulation.disks), 2)
    return _broken(faults, f"{one} to {other}", {(one, other)})


def _isolate(faults: Faults) -> Started | None:
    names = sorted(faults.simulation.disks)
    one = faults.random.choice(names)
    return _broken(faults, one, _between([one], [name for name in names if name != one]))


def _halves(faults: Faults) -> Started | None:
    names = sorted(faults.simulation.disks)
    faults.random.shuffle(names)
    at = len(names) // 2
    return _broken(faults, f"{''.join(names[:at])} and {''.join(names[at:])}", _between(names[:at], names[at:]))


def _bridge(faults: Faults) -> Started | None:
    """Two halves that only one node can reach both of."""
    names = sorted(faults.simulation.disks)
    faults.random.shuffle(names)
    bridge, others = names[0], names[1:]
    at = len(others) // 2
    what = f"{''.join(others[:at])} and {''.join(others[at:])} by {bridge}"
    return _broken(faults, what, _between(others[:at], others[at:]))


def _broken(faults: Faults, what: str, links: set[Link]) -> Started | None:
    """Links that lose what is sent, or keep it and deliver it late."""
    if not faults.is_free("links"):
        return None
    network, keeps = faults.simulation.network, faults.random.random() < 0.5
    if keeps:
        network.stall(links)
    else:
        network.cut |= links

    def end() -> None:
        network.resume(links)
        network.cut -= links

    how = "messages come late" if keeps else "messages are lost"
    return Started(f"{what}, {how}", ("links",), faults.span(500, 8_000), end)


def _between(some: list[str], others: list[str]) -> set[Link]:
    return {link for one in some for other in others for link in ((one, other), (other, one))}


# Disks


def _slow_disk(faults: Faults) -> Started | None:
    name = faults.victim()
    if name is None:
        return None
    disk, most_ms = faults.simulation.disks[name], faults.random.choice((20, 100, 500))
    disk.slow_ms = (1, most_ms)
    end = lambda: setattr(disk, "slow_ms", (0, 0))  # noqa: E731
    return Started(f"{name}, commits of up to {most_ms} ms", (name,), faults.span(500, 6_000), end)


def _full_disk(faults: Faults) -> Started | None:
    name = faults.victim()
    if name is None:
        return None
    store, nearly = faults.simulation.disks[name].store, faults.random.random() < 0.3
    store.full, store.nearly_full = not nearly, True

    return Started(f"{name}{', nearly' * nearly}", (name,), faults.span(500, 6_000), lambda: _make_room(store))


def _make_room(store: SimulatedStore) -> None:
    store.full = store.nearly_full = False


def _broken_disk(faults: Faults) -> Started | None:
    """The next commit fails, and the node stops."""
    name = faults.victim()
    if name is None:
        return None
    store = faults.simulation.disks[name].store
    store.breaks = faults.random
    faults.down.add(name)

    def end() -> None:
        store.breaks = None
        faults.up(name)

    return Started(name, (name,), faults.span(500, 3_000), end)


def _power(faults: Faults) -> Started | None:
    name = faults.victim(losing=True)
    if name is None:
        return None
    faults.lose(name)
    kept = faults.random.randint(0, faults.simulation.disks[name].store.unsynced)
    faults.simulation.cut_power(name, kept=kept)
    return Started(name, (name,), faults.span(500, 6_000), lambda: faults.up(name))


def _lost_disk(faults: Faults) -> Started | None:
    name = faults.victim(losing=True)
    if name is None:
        return None
    faults.lose(name)
    simulation = faults.simulation
    simulation.kill(name)
    simulation.disks[name] = simulation.make_disk(name)
    full = faults.random.random() < 0.3

    def end() -> None:
        faults.up(name)
        if full:  # no sooner than it runs
            store = simulation.disks[name].store
            store.full = store.nearly_full = True
            faults.later(faults.span(500, 3_000), lambda: _make_room(store))

    return Started(f"{name}{', and no room on the new one' * full}", (name,), faults.span(50, 6_000), end)


def _old_copy(faults: Faults) -> Started | None:
    """A backup is made, and restored some seconds later, if no more than may be lost is being lost by then."""
    name = faults.victim()
    if name is None:
        return None
    simulation = faults.simulation
    at_ms, backup = faults.backup(name)
    what = f"{name}, of {at_ms} ms"

    def end() -> None:
        if name in simulation.nodes and faults.may_lose():
            simulation.kill(name)
            simulation.disks[name] = backup
            faults.up(name)

    return Started(what, (name,), faults.span(500, 10_000), end)


def _snapshot(faults: Faults) -> Started | None:
    """A machine is put back to before the last start of its node, often with its clock: only the others can tell.

    Until they do, it vouches for what it does not have, and for what has been replaced. So links work meanwhile.
    """
    name = faults.victim()
    if name is None or not all(map(faults.is_free, TELLING)):
        return None
    simulation, began_ms = faults.simulation, faults.simulation.time_ms
    at_ms, snapshot = faults.backup(name, snapshot=True)
    simulation.kill(name)
    faults.up(name)

    def put_back() -> None:
        if name not in simulation.nodes or not faults.may_lose():
            return
        simulation.kill(name)
        simulation.disks[name] = snapshot
        if faults.random.random() < 0.5:
            simulation.clock_skew_ms[name] = began_ms - simulation.time_ms
        faults.put_back.append((name, simulation.time_ms))
        faults.up(name)
        faults.losing.add(name)

    def end() -> None:
        simulation.clock_skew_ms.pop(name, None)
        faults.losing.discard(name)

    for_ms = faults.span(1_000, 8_000)
    faults.later(for_ms, put_back)
    what = f"{name}, of {at_ms} ms"
    return Started(what, (name, f"clock of {name}", *TELLING), for_ms + TOLD_WITHIN_MS, end)


# Clocks


def _skew(faults: Faults) -> Started | None:
    return _clock(faults, faults.random.choice((-200, -50, 50, 200)), faults.span(1_000, 10_000))


def _jump(faults: Faults) -> Started | None:
    return _clock(
        faults, faults.random.choice((-3_600_000, -5_000, -600, 600, 5_000, 3_600_000)), faults.span(100, 8_000)
    )


def _clock(faults: Faults, off_ms: int, for_ms: int) -> Started | None:
    name = faults.random.choice(sorted(faults.simulation.disks))
    token, off = f"clock of {name}", faults.simulation.clock_skew_ms
    if not faults.is_free(token):
        return None
    off[name] = off_ms
    return Started(f"{name} by {off_ms} ms", (token,), for_ms, lambda: off.__setitem__(name, 0))


KINDS: dict[str, Callable[[Faults], Started | None]] = {
    "kill": _kill,
    "pause": _pause,
    "restart": _restart,
    "join": _join,
    "loss": _loss,
    "duplicate": _duplicate,
    "delay": _delay,
    "slow-link": _slow_link,
    "one-way": _one_way,
    "isolate": _isolate,
    "halves": _halves,
    "bridge": _bridge,
    "slow-disk": _slow_disk,
    "full-disk": _full_disk,
    "broken-disk": _broken_disk,
    "power-cut": _power,
    "lost-disk": _lost_disk,
    "old-copy": _old_copy,
    "snapshot": _snapshot,
    "skew": _skew,
    "jump": _jump,
}
