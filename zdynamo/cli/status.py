"""The verb `status`: the figures of every node in a table, or all that one of them has to tell."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zdynamo.cli.data import DEFAULT_TIMEOUT_MS
from zdynamo.cli.moments import look
from zdynamo.cli.options import DEFAULT_NODE, JsonOption, NodeOption, TimeoutOption, connect
from zdynamo.cli.output import one_line, show_json, show_table
from zdynamo.cli.tables import short_bytes, short_count, short_latency, short_span
from zdynamo.figures.documents import hints_document, store_document
from zdynamo.figures.loads import Latency, Load, load_document, load_of
from zdynamo.figures.moments import Moment, notices

if TYPE_CHECKING:
    from zdynamo.messages import Figures, MemberView, NodeDescription

COLUMNS = (
    "NAME", "ADDRESS", "STATE", "UPTIME", "REQUESTS", "FAILED", "PUT MS", "GET MS", "HELD", "DIFFER", "UNSETTLED",
    "KEYS", "DISK", "FREE",
)  # fmt: skip
TEXTS = 3  # columns; the others are numbers
TOLD = (  # in JSON, by a node that answers
    "engine", "durability", "uptime_ms", "notices", "hints", "counters", "requests", "latency_ms", "store", "digests",
)  # fmt: skip

NodeArgument = Annotated[
    str, typer.Argument(metavar="NODE", help="One node, by its name, id or address. Without it: all of them.")
]


def status(
    only: NodeArgument = "",
    node: NodeOption = DEFAULT_NODE,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Show the figures of every node, or all those of one.

    They count from the start of each node, which is its uptime ago. REQUESTS: of its own clients; with the median and
    the 99th percentile of their time. HELD: records kept for members that are away. DIFFER: partitions known to differ
    from another owner. UNSETTLED: partitions of which it may lack records. What an operator should know is noted below.

    Example: zdynamo status; of one node: zdynamo status node-2
    """
    with connect(node, timeout_ms) as client:
        moment = look(client, timeout_ms)
    members = [member for member in moment.members if only in ("", *_names(member))]
    if not members:
        names = ", ".join(member.record.name for member in moment.members)
        raise typer.BadParameter(f"there is no node {only!r}: use one of {names}", param_hint="NODE")
    if as_json:
        show_json([document(member, moment.of(member)) for member in members])
        return
    if only:
        for member in members:
            show_table(("", member.record.name), list(_rows(member, moment)), right=(member.record.name,))
    else:
        show_table(COLUMNS, [row(member, moment.of(member)) for member in members], right=COLUMNS[TEXTS:])
    for notice in notices(moment, members):
        print(one_line(notice))


def document(member: "MemberView", answer: "NodeDescription | str") -> dict[str, Any]:
    """For scripts; what a node does not tell is null."""
    record = member.record
    named = {"name": record.name, "id": record.id, "address": record.addresses.client, "state": member.state}
    unknown = dict.fromkeys(TOLD)
    if isinstance(answer, str):
        return {**named, "reachable": False, "error": answer, **unknown}
    return {
        **named,
        "reachable": True,
        "error": None,
        **unknown,
        "engine": answer.engine,
        "durability": answer.durability,
        "uptime_ms": answer.uptime_ms,
        "notices": answer.notices,
        "hints": hints_document(answer),
        "counters": answer.counters,
        **(_figures(answer, answer.figures) if answer.figures is not None else {}),
    }


def _figures(answer: "NodeDescription", figures: "Figures") -> dict[str, Any]:
    digests = figures.digests
    return {
        "requests": {of.kind: of.outcomes for of in figures.requests},
        "latency_ms": load_document(load_of(None, answer))["latency_ms"],
        "store": store_document(figures.store),
        "digests": {
            "table": f"{digests.table:016x}",
            "layout": f"{digests.layout:016x}",
            "buckets": f"{digests.buckets:016x}",
        },
    }


def row(member: "MemberView", answer: "NodeDescription | str") -> tuple[object, ...]:
    """Of the table of all nodes."""
    record = member.record
    named = (record.name, record.addresses.client, member.state)
    if isinstance(answer, str):
        return (*named, *("-",) * (len(COLUMNS) - TEXTS))
    counters, load = answer.counters, load_of(None, answer)
    return (
        *named,
        short_span(answer.uptime_ms),
        *_requests(answer.figures, load),
        short_count(sum(held.count for held in answer.hints)),
        counters.get("compare.known", 0),
        counters.get("partitions.unsettled", 0),
        *_store(answer.figures),
    )


def _requests(figures: "Figures | None", load: Load) -> tuple[str, str, str, str]:
    if figures is None:
        return ("-",) * 4
    asked = sum(sum(of.outcomes.values()) for of in figures.requests)
    put, get = (load.latency.get(kind, Latency(None, None)) for kind in ("put", "get"))
    return short_count(asked), short_count(load.failures), short_latency(*put), short_latency(*get)


def _store(figures: "Figures | None") -> tuple[str, str, str]:
    if figures is None:
        return ("-",) * 3
    store = figures.store
    if store.free_bytes < 0:
        return short_count(store.keys), "-", "-"
    return short_count(store.keys), short_bytes(store.disk_bytes), short_bytes(store.free_bytes)


def _rows(member: "MemberView", moment: Moment) -> Iterator[tuple[str, object]]:
    """All of one node: title, cell."""
    answer = moment.of(member)
    yield "address", member.record.addresses.client
    yield "id", member.record.id
    yield "state", member.state
    if isinstance(answer, str):
        return
    yield "engine", answer.engine
    yield "durability", answer.durability
    yield "uptime", short_span(answer.uptime_ms)
    if answer.figures is not None:
        keys, disk, free = _store(answer.figures)
        yield from (("keys, about", keys), ("on disk", disk), ("free", free))
        yield from _rows_of_requests(answer)
    names = {each.record.id: each.record.name for each in moment.members}
    for held in answer.hints:
        size = f"{held.count:,} records, {short_bytes(held.bytes)}"
        since = f", since {short_span(held.held_ms)}" if held.held_ms >= 0 else ""
        yield f"held for {names.get(held.target, held.target)}", size + since
    yield from sorted(answer.counters.items())


def _rows_of_requests(answer: "NodeDescription") -> Iterator[tuple[str, object]]:
    assert answer.figures is not None
    latency = load_of(None, answer).latency
    for of in answer.figures.requests:
        for outcome, count in sorted(of.outcomes.items()):
            yield f"{of.kind}: {outcome}", count
        if any(of.took.counts):
            yield f"{of.kind}: ms p50/p99", short_latency(*latency[of.kind])


def _names(member: "MemberView") -> tuple[str, str, str]:
    return member.record.name, member.record.id, member.record.addresses.client
