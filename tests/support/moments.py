"""The cluster at moments, as `zdynamo top` and `status` see it."""

from msgspec.structs import replace

from support.nodes import view
from zdynamo.core.served import BOUNDS_US, Served
from zdynamo.figures.moments import Moment
from zdynamo.messages import (
    Constants,
    Digests,
    Done,
    Figures,
    Found,
    Get,
    HintsHeld,
    NodeDescription,
    Put,
    QuorumNotMet,
    Spread,
    StoreSizes,
    Topology,
)

NOTHING = Spread(0, (0,) * (len(BOUNDS_US) + 1))
CONSTANTS = Constants(16, 3, 1, 1, "a")


def description(
    name: str = "a",
    *,
    uptime_ms: int = 10_000,
    puts_us: tuple[int, ...] = (),
    gets_us: tuple[int, ...] = (),
    missed: int = 0,
    busy_us: int = 0,
    held: tuple[HintsHeld, ...] = (),
    notices: tuple[str, ...] = (),
    free_bytes: int = -1,
    **counters: int,
) -> NodeDescription:
    """`puts_us` and `gets_us`: how long each took; `missed`: puts short of W; in `counters`, `__` stands for a dot."""
    served = Served()
    for took_us in puts_us:
        served.taken([Put(bytes(16), "", 1, "b", b"k", b"", "")], 0)
        served.answered([Done(bytes(16), b"")], took_us)
    for took_us in gets_us:
        served.taken([Get(bytes(16), "", 1, "b", b"k")], 0)
        served.answered([Found(bytes(16), b"", ())], took_us)
    for _ in range(missed):
        served.taken([Put(bytes(16), "", 1, "b", b"k", b"", "")], 0)
        served.answered([QuorumNotMet(bytes(16), 2, 1)], 0)
    figures = Figures(
        2, 2, BOUNDS_US, served.requests(), replace(NOTHING, sum_us=busy_us), StoreSizes(7, 4096, free_bytes),
        Digests(1, 2, 3), (), (),
    )  # fmt: skip
    counted = {key.replace("__", "."): count for key, count in counters.items()}
    return NodeDescription(bytes(16), name, name, "c", counted, notices, "memory", "never", uptime_ms, held, figures)


def moment(*told: NodeDescription | str, down: str = "") -> Moment:
    """Of nodes a, b, c, as many as have told something; a text: why one does not answer."""
    names = "abc"[: len(told)]
    seen = view(others=names[1:], down=down, layout=names)
    topology = Topology(bytes(16), "c", "a", CONSTANTS, seen.members, seen.layout, (), 1, 0)
    return Moment(topology, topology.members, dict(zip(names, told, strict=True)))
