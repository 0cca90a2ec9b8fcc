"""Links that are cut, slow or lossy. All of them go through the relay."""

from collections.abc import Iterable
from itertools import product
from typing import Annotated, ClassVar, Literal

from chaos_faults import Fault, Ongoing, Positive, Scene, nothing
from chaos_links import Link, Rule
from msgspec import Meta

How = Literal["silent", "refused", "either"]
NotNegative = Annotated[float, Meta(ge=0, le=1e12)]


class LinkFault(Fault):
    """Of links."""

    needs_relay: ClassVar[bool] = True


class CutFault(LinkFault):
    """How a link is cut: nothing comes through and nobody is told, or connections are reset."""

    how: How = "silent"

    def rule(self, scene: Scene) -> Rule:
        return Rule(cut=scene.chance.choice(("silent", "refused")) if self.how == "either" else self.how)


class Cut(CutFault):
    """Two nodes, or a client and a node, do not reach each other."""

    clients: Annotated[float, Meta(ge=0, le=1)] = 0.3  # how often it is a client and a node

    def strike(self, scene: Scene) -> Ongoing:
        one, other = _pair(scene, self.clients)
        rule = self.rule(scene)
        return Ongoing(f"{one} and {other} cut ({rule.cut})", nothing, links=both_ways([one], [other], rule))


class OneWay(Cut):
    """What one sends does not reach the other; the other way it does."""

    def strike(self, scene: Scene) -> Ongoing:
        one, other = _pair(scene, self.clients)
        if scene.chance.random() < 0.5:
            one, other = other, one
        rule = self.rule(scene)
        return Ongoing(f"{one} to {other} cut ({rule.cut})", nothing, links=[Link(one, other, rule)])


class Isolate(CutFault):
    """A node is cut from all others; clients still reach it."""

    def strike(self, scene: Scene) -> Ongoing:
        victim, rule = scene.victim(), self.rule(scene)
        others = [name for name in scene.cluster.names if name != victim]
        what = f"{victim} cut from all others ({rule.cut})"
        return Ongoing(what, nothing, victim, both_ways([victim], others, rule))


class Deaf(CutFault):
    """What clients send to a node does not arrive before the end, long after they have turned elsewhere."""

    def strike(self, scene: Scene) -> Ongoing:
        victim, rule = scene.victim(), self.rule(scene)
        links = [Link(client, victim, rule) for client in scene.cluster.places.clients]
        return Ongoing(f"{victim} deaf to clients ({rule.cut})", nothing, links=links)


class Halves(CutFault):
    """The nodes are cut in two, and the clients with them."""

    def strike(self, scene: Scene) -> Ongoing:
        names, rule = _shuffled(scene, scene.cluster.names), self.rule(scene)
        middle = (len(names) + 1) // 2
        one, other = names[:middle], names[middle:]
        what = f"halves {_listed(one)} | {_listed(other)} ({rule.cut})"
        return Ongoing(what, nothing, links=_split(one, other, scene, rule))


class Bridge(CutFault):
    """The nodes are cut in two, but for one that both halves see; it and the clients of both see each other too."""

    nodes_min: ClassVar[int] = 3

    def strike(self, scene: Scene) -> Ongoing:
        bridge, *names = _shuffled(scene, scene.cluster.names)
        rule = self.rule(scene)
        middle = (len(names) + 1) // 2
        one, other = names[:middle], names[middle:]
        what = f"bridge {_listed(one)} - {bridge} - {_listed(other)} ({rule.cut})"
        return Ongoing(what, nothing, links=_split(one, other, scene, rule))


class Slow(LinkFault):
    """All links of a node are slow, both ways."""

    latency_ms: tuple[NotNegative, NotNegative] = (20.0, 200.0)
    jitter_ms: NotNegative = 20.0
    bytes_per_s: NotNegative = 0.0  # of each connection; 0: as fast as it goes

    def strike(self, scene: Scene) -> Ongoing:
        victim = scene.victim()
        rule = Rule(
            latency_ms=round(scene.chance.uniform(*self.latency_ms), 1),
            jitter_ms=self.jitter_ms,
            bytes_per_s=self.bytes_per_s,
        )
        others = [name for name in scene.cluster.everybody if name != victim]
        what = f"links of {victim} slow by {rule.latency_ms:g} ms"
        return Ongoing(what, nothing, links=both_ways([victim], others, rule))


class Lossy(LinkFault):
    """All links of a node reset and stall at random: what loss looks like over TCP."""

    resets_per_s: NotNegative = 0.2  # of each connection
    stalls_per_s: NotNegative = 1.0
    stall_ms: Positive = 200.0

    def strike(self, scene: Scene) -> Ongoing:
        victim = scene.victim()
        rule = Rule(resets_per_s=self.resets_per_s, stalls_per_s=self.stalls_per_s, stall_ms=self.stall_ms)
        others = [name for name in scene.cluster.everybody if name != victim]
        return Ongoing(f"links of {victim} lossy", nothing, links=both_ways([victim], others, rule))


LINK_FAULTS: dict[str, type[Fault]] = {
    "cut": Cut,
    "one-way": OneWay,
    "isolate": Isolate,
    "deaf": Deaf,
    "halves": Halves,
    "bridge": Bridge,
    "slow": Slow,
    "lossy": Lossy,
}


def both_ways(some: Iterable[str], others: Iterable[str], rule: Rule) -> list[Link]:
    pairs = list(product(some, others))
    return [Link(one, other, rule) for one, other in pairs] + [Link(other, one, rule) for one, other in pairs]


def merged(links: Iterable[Link]) -> list[Link]:
    """One rule for each direction, as bad as all of them together."""
    found: dict[tuple[str, str], Rule] = {}
    for link in links:
        place = link.source, link.target
        found[place] = _worse(found[place], link.rule) if place in found else link.rule
    return [Link(source, target, rule) for (source, target), rule in found.items()]


def _worse(one: Rule, other: Rule) -> Rule:
    return Rule(
        cut=min(one.cut, other.cut) or max(one.cut, other.cut),  # refused beats silent beats nothing
        latency_ms=one.latency_ms + other.latency_ms,
        jitter_ms=one.jitter_ms + other.jitter_ms,
        bytes_per_s=min(filter(None, (one.bytes_per_s, other.bytes_per_s)), default=0.0),
        resets_per_s=one.resets_per_s + other.resets_per_s,
        stalls_per_s=one.stalls_per_s + other.stalls_per_s,
        stall_ms=max(one.stall_ms, other.stall_ms),
    )


def _pair(scene: Scene, clients: float) -> tuple[str, str]:
    names, chance = scene.cluster.names, scene.chance
    if chance.random() < clients:
        return chance.choice(scene.cluster.places.clients), chance.choice(names)
    one, other = chance.sample(names, 2)
    return one, other


def _shuffled(scene: Scene, names: list[str]) -> list[str]:
    return scene.chance.sample(names, len(names))


def _split(one: list[str], other: list[str], scene: Scene, rule: Rule) -> list[Link]:
    """The clients are dealt out to the two sides."""
    clients = _shuffled(scene, scene.cluster.places.clients)
    cut = [(one, other), (clients[::2], other), (clients[1::2], one)]
    return [link for some, others in cut for link in both_ways(some, others, rule)]


def _listed(names: list[str]) -> str:
    return "".join(sorted(names)) if all(len(name) == 1 for name in names) else " ".join(sorted(names))
