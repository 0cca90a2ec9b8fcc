"""Where keys live and who can be asked for them, as far as this node knows (paper 4.3, 4.6)."""

from collections.abc import Iterable

from zdynamo.core.owners.ring import ring_of
from zdynamo.messages import MemberView, NodeId, View
from zdynamo.partition import partition_of_storage_key

NOT_THERE = ("down", "unreachable")  # whether or not others reach it: this node does not


class Placement:
    """A view with its ring worked out; immutable."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.me = view.me.id
        self.partitions = view.constants.partitions
        self.members: dict[NodeId, MemberView] = {member.record.id: member for member in view.members}
        self.down = frozenset(member.record.id for member in view.members if member.state in NOT_THERE)
        self.suspects = frozenset(member.record.id for member in view.members if member.state == "suspect")
        layout = view.layout
        self._ring = ring_of(layout, view.constants.partitions, view.constants.n) if layout else None
        self.owners = self._ring.owners if self._ring else ()
        self.sharers = tuple(member.id for member in layout.members) if layout else ()  # who is in the layout
        self._up = tuple(
            tuple(owner for owner in owning if owner != self.me and not self.is_down(owner)) for owning in self.owners
        )
        self.layouts: tuple[int, ...] = (layout.digest,) if layout else ()

    def owners_of(self, key: bytes) -> tuple[NodeId, ...]:
        """The N owners of a storage key's partition; fewer while there are fewer members."""
        return self.owners[partition_of_storage_key(key)]

    def others_up(self, key: bytes) -> tuple[NodeId, ...]:
        """The other owners of a storage key's partition that are not known to be down."""
        return self._up[partition_of_storage_key(key)]

    def fallbacks_of(self, key: bytes) -> tuple[NodeId, ...]:
        """Who may stand in for an owner of a storage key's partition, in order: other sharers that are not down."""
        assert self._ring is not None
        return tuple(
            node
            for node in self._ring.fallbacks(partition_of_storage_key(key))
            if node != self.me and not self.is_down(node)
        )

    def name_of(self, node: NodeId) -> str:
        member = self.members.get(node)
        return member.record.name if member else node

    def is_down(self, node: NodeId) -> bool:
        return node in self.down or node not in self.members

    def down_of(self, key: bytes) -> str:
        """The names of the owners that are down, for people."""
        return self.names(owner for owner in self.owners_of(key) if self.is_down(owner))

    def names(self, nodes: Iterable[NodeId]) -> str:
        return ", ".join(self.name_of(node) for node in nodes)
