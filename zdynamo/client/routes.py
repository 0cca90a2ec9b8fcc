"""Which node a request goes to: an owner of its key that is up and answers, else anyone (paper 4.5, client-driven).

What a connection shows (up, silent) counts before what the topology says of a member.
"""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from zdynamo.messages import ClientRequest, Delete, Get, ListKeys, MemberState, Put, Topology
from zdynamo.partition import partition_of

if TYPE_CHECKING:
    from zdynamo.client.calls import Call

KEYED = (Get, Put, Delete)


class Link(Struct, eq=False):
    """One node as this client knows it."""

    address: str
    bootstrap: bool = False
    member: MemberState | None = None  # as the topology says; None: no member, or not known yet
    opened: bool = False  # the driver was told to connect
    up: bool = False
    failed: bool = False  # the last attempt to connect failed
    silent: bool = False  # it let a call wait; avoided until it says anything
    heard_at_ms: int = -1
    outstanding: "dict[bytes, Call]" = {}  # every attempt that it may still answer

    @property
    def good(self) -> bool:
        return self.up and not self.silent and self.member == "alive"


class Routes:
    """All links, and the owners among them by partition."""

    def __init__(self, bootstrap: Iterable[str]) -> None:
        self._links = {address: Link(address, bootstrap=True) for address in map(endpoint, bootstrap)}
        self._owners: tuple[tuple[Link, ...], ...] = ()
        self._turn = 0
        self.topology: Topology | None = None

    def at(self, address: str) -> Link:
        """The link to an address, made if need be."""
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = Link(address)
        return link

    def known(self, address: str) -> Link | None:
        return self._links.get(address)

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(self._links)

    @property
    def nobody_there(self) -> bool:
        """Whether every node given has turned the connection down."""
        return self.topology is None and self.all_failed

    @property
    def all_failed(self) -> bool:
        """Whether every node that calls may go to has turned the connection down; not while one still may take it."""
        return all(link.failed for link in self._links.values() if link.bootstrap or (link.member and link.opened))

    def unopened(self) -> list[Link]:
        """Links that should be connected and are not yet: bootstrap nodes, and members that are not down."""
        return [
            link
            for link in self._links.values()
            if not link.opened and (link.bootstrap or link.member in ("alive", "suspect", "unreachable"))
        ]

    def pick(self, request: ClientRequest, tried: Collection[Link]) -> Link | None:
        """The owner with the fewest requests outstanding; if none is good, the best of the rest. None: nobody is up.

        Conditional puts go to the first owner, whoever sends them: one node that has them all lets one of them win.
        """
        owners, best = self.owners(request), None
        for link in owners:
            if link.good and link not in tried and (best is None or len(link.outstanding) < len(best.outstanding)):
                best = link
                if isinstance(request, Put) and request.condition:
                    break
        return best or self._pick_any(owners, list(tried))

    def owners(self, request: ClientRequest) -> tuple[Link, ...]:
        """Of its key or partition; none while nobody has told."""
        if self._owners and isinstance(request, KEYED):
            return self._owners[partition_of(request.bucket.encode(), request.key, len(self._owners))]
        if isinstance(request, ListKeys) and request.partition < len(self._owners):
            return self._owners[request.partition]
        return ()

    def up(self) -> list[Link]:
        """Links that a call may go to, whoever owns its key."""
        return [link for link in self._links.values() if link.up and (link.member or link.bootstrap)]

    def informant(self) -> Link | None:
        """A node to ask for the topology: each in turn, the good ones if there are any."""
        up = [link for link in self.up() if not link.silent]
        good = [link for link in up if link.member == "alive"] or up
        self._turn += 1
        return good[self._turn % len(good)] if good else None

    def learn(self, topology: Topology, wanted: Collection[Link] = ()) -> list[Link]:
        """Replace what is known of the cluster. Returns the links that nobody needs any more; calls want some."""
        by_id = {member.record.id: self.at(endpoint(member.record.addresses.client)) for member in topology.members}
        for link in self._links.values():
            link.member = None
        for member in topology.members:
            by_id[member.record.id].member = member.state
        self._owners = tuple(tuple(by_id[id] for id in owners if id in by_id) for owners in topology.owners)
        self.topology = topology
        needed = set(wanted)
        gone = [
            link
            for link in self._links.values()
            if not (link.member or link.bootstrap or link.outstanding or link in needed)
        ]
        for link in gone:
            del self._links[link.address]
        return gone

    def _pick_any(self, owners: Collection[Link], tried: list[Link]) -> Link | None:
        def preference(link: Link) -> tuple[bool, int, bool, bool, int]:
            tried_at = tried.index(link) if link in tried else -1  # who was tried longest ago comes first
            return link.silent, tried_at, link.member != "alive", link not in owners, len(link.outstanding)

        return min(self.up(), key=preference, default=None)


def endpoint(address: str) -> str:
    """A ZeroMQ endpoint: `HOST:PORT` is TCP."""
    return address if "://" in address else f"tcp://{address}"
