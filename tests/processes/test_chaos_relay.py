"""The relay of the chaos tool: what goes through, and what each kind of bad link does to it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from chaos_links import Link, Places, Relay, Rule
from killable import wait_until

ENOUGH = 5.0
SHORT = 0.3  # in which nothing comes


class Wires:
    """A relay before one node that a test plays itself, and a client."""

    def __init__(self, stack: ExitStack) -> None:
        self.places = Places(["a", "b"], 1)
        setup = self.places.setup(seed=1)
        self.door = next(door for door in setup.doors if door.node == "b")
        self.stack = stack
        self.listener = self.listening()
        self.relay = Relay(setup)
        stack.callback(self.relay.close)

    def listening(self) -> socket.socket:
        host, port = self.door.target.split(":")
        return self.stack.enter_context(socket.create_server((host, int(port))))

    def connected(self, source: str = "a") -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection from there to b."""
        near = self.knocking(source)
        far = self.stack.enter_context(self.listener.accept()[0])
        far.settimeout(ENOUGH)
        return near, far

    def knocking(self, source: str = "a") -> socket.socket:
        host, port = self.door.address.split(":")
        own = self.places.node(source) if source in self.places.nodes else self.places.client(source)
        near = socket.create_connection((host, int(port)), ENOUGH, source_address=(own, 0))
        return self.stack.enter_context(near)


@pytest.fixture
def wires() -> Iterator[Wires]:
    with ExitStack() as stack:
        yield Wires(stack)


def arrives(far: socket.socket) -> bytes:
    """What comes within a short time, b"" if nothing does."""
    far.settimeout(SHORT)
    try:
        return far.recv(1000)
    except TimeoutError:
        return b""


def test_megabytes_go_through_both_ways_unchanged(wires: Wires) -> None:
    near, far = wires.connected()
    sent = bytes(range(256)) * 20_000

    for one, other in ((near, far), (far, near)):
        sender = threading.Thread(target=one.sendall, args=(sent,))
        sender.start()
        with other.dup() as reading, reading.makefile("rb") as file:
            received = file.read(len(sent))
        sender.join()
        assert received == sent


def test_over_a_silent_cut_nothing_moves_until_it_heals_and_then_all_of_it_does(wires: Wires) -> None:
    near, far = wires.connected()
    wires.relay.set([Link("a", "b", Rule(cut="silent")), Link("b", "a", Rule(cut="silent"))])
    near.sendall(b"waits")
    held = wires.knocking()
    held.sendall(b"waits as well")
    nothing = arrives(far)

    wires.relay.set([])

    assert nothing == b""
    assert arrives(far) == b"waits"
    with wires.listener.accept()[0] as other:
        assert arrives(other) == b"waits as well"


def test_a_link_that_is_cut_one_way_carries_the_other_way(wires: Wires) -> None:
    near, far = wires.connected()

    wires.relay.set([Link("a", "b", Rule(cut="silent"))])
    near.sendall(b"stuck")
    far.sendall(b"passes")

    assert (arrives(far), arrives(near)) == (b"", b"passes")


def test_a_cut_between_two_places_leaves_others_alone(wires: Wires) -> None:
    wires.relay.set([Link("a", "b", Rule(cut="silent"))])

    near, far = wires.connected("client-0")
    near.sendall(b"passes")

    assert arrives(far) == b"passes"


def test_a_refused_link_resets_what_is_there_and_what_comes(wires: Wires) -> None:
    near, _ = wires.connected()

    wires.relay.set([Link("a", "b", Rule(cut="refused"))])

    with pytest.raises(ConnectionResetError):
        near.recv(1)
    with pytest.raises(ConnectionResetError):
        wires.knocking().recv(1)


def test_a_slow_link_delays_and_never_reorders(wires: Wires) -> None:
    near, far = wires.connected()
    wires.relay.set([Link("a", "b", Rule(latency_ms=100, jitter_ms=50))])
    began = time.monotonic()

    for number in range(20):
        near.sendall(b"%02d" % number)
    with far.makefile("rb") as file:
        received = file.read(40)

    assert received == b"".join(b"%02d" % number for number in range(20))
    assert 0.1 <= time.monotonic() - began < 1.0


def test_a_narrow_link_takes_as_long_as_its_bandwidth_says(wires: Wires) -> None:
    near, far = wires.connected()
    wires.relay.set([Link("a", "b", Rule(bytes_per_s=1_000_000))])
    began = time.monotonic()

    near.sendall(bytes(300_000))
    with far.makefile("rb") as file:
        file.read(300_000)

    assert 0.2 <= time.monotonic() - began < 1.5


def test_a_stall_holds_up_what_comes_and_loses_nothing(wires: Wires) -> None:
    near, far = wires.connected()
    wires.relay.set([Link("a", "b", Rule(stalls_per_s=1_000, stall_ms=60_000))])
    near.sendall(b"soon")
    while arrives(far):  # the first stall is due within milliseconds, yet at any of them
        near.sendall(b"late")

    wires.relay.set([])

    assert arrives(far) in (b"soon", b"late")


def test_a_lossy_link_resets_connections_on_both_sides(wires: Wires) -> None:
    near, far = wires.connected()

    wires.relay.set([Link("a", "b", Rule(resets_per_s=100))])

    for each in (near, far):
        with pytest.raises(ConnectionResetError):
            each.recv(1)


def test_a_door_is_shut_while_its_node_does_not_listen(wires: Wires) -> None:
    near, far = wires.connected()
    wires.listener.close()
    far.close()
    assert near.recv(1) == b""

    def is_shut() -> bool:
        try:
            with wires.knocking() as near:
                near.recv(1)  # who goes at once is not brought to the node, and the door is not shut for it
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass
        return False

    def opens() -> bool:
        try:
            wires.knocking().close()
        except ConnectionRefusedError:
            return False
        return True

    wait_until(is_shut)
    wires.listener = wires.listening()
    wait_until(opens)
