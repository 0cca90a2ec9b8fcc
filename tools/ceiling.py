#!/usr/bin/env python3
"""What bare pyzmq can do with zdynamo's messages, and no store: the denominator for `zdynamo bench --ceiling`.

Three processes keep three copies of each value in dictionaries. Whoever is asked passes the request on to the two
others and answers at the second copy. What one round has for one addressee travels in one frame, as in zdynamo; with
`--client-frames single` each request and each answer of a client has a frame of its own. There are no versions,
deadlines, members or disks here.

    tools/ceiling.py --shape threads --op put --in-flight 256
    tools/ceiling.py --shape single --op get --in-flight 16 --seconds 5 --json
"""

import argparse
import json
import multiprocessing
import os
import threading
import time
from collections import defaultdict

import msgpack
import zmq

COPIES = 3
ENOUGH = 2  # copies at which the client is answered: W and R
FRAMES_A_ROUND = 256
PUT, GET, KEEP, FETCH, HELD = range(5)

Message = tuple
Socket = zmq.Socket


class Copies:
    """One node's dictionary, and the requests that wait for their second copy."""

    def __init__(self, me: int) -> None:
        self.others = [node for node in range(COPIES) if node != me]
        self.values: dict[bytes, bytes] = {}
        self.waiting: dict[int, list] = {}  # number to [client, client's number, copies so far]
        self.started = 0
        self.for_nodes: dict[int, list[Message]] = defaultdict(list)
        self.for_clients: dict[bytes, list[Message]] = defaultdict(list)

    def client_asks(self, client: bytes, message: Message) -> None:
        kind, number, key, value = message
        self.started += 1
        self.waiting[self.started] = [client, number, 1]
        if kind == PUT:
            self.values[key] = value
            passed_on: Message = (KEEP, self.started, key, value)
        else:
            passed_on = (FETCH, self.started, key)
        for node in self.others:
            self.for_nodes[node].append(passed_on)

    def node_says(self, node: int, message: Message) -> None:
        if message[0] == KEEP:
            self.values[message[2]] = message[3]
            self.for_nodes[node].append((HELD, message[1], None))
        elif message[0] == FETCH:
            self.for_nodes[node].append((HELD, message[1], self.values.get(message[2])))
        else:
            self.held(message[1], message[2])

    def held(self, number: int, value: bytes | None) -> None:
        request = self.waiting[number]
        request[2] += 1
        if request[2] == ENOUGH:
            self.for_clients[request[0]].append((request[1], value))
        elif request[2] == COPIES:
            del self.waiting[number]


class Bare:
    """One node's sockets: all in one thread, or behind C pumps and a send thread as a zdynamo node has them."""

    def __init__(self, me: int, port: int, shape: str, single: bool) -> None:
        self.context = zmq.Context()
        self.single = single
        self.copies = Copies(me)
        self.clients = self.listen(port + me)
        self.peers = self.listen(port + COPIES + me)
        self.dealers = {node: self.dealer(me, port + COPIES + node) for node in self.copies.others}
        self.outbox: Socket | None = None
        if shape == "threads":
            self.clients = self.pumped(self.clients, zmq.DEALER, zmq.DEALER)
            self.peers = self.pumped(self.peers, zmq.PUSH, zmq.PULL)
            self.outbox, leaving = self.pipe(zmq.PUSH, zmq.PULL)
            threading.Thread(target=self.send_from, args=(leaving,), daemon=True).start()

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self.clients, zmq.POLLIN)
        poller.register(self.peers, zmq.POLLIN)
        while True:
            for ready, _ in poller.poll():
                for sender, frame in arrived(ready):
                    for message in msgpack.unpackb(frame):
                        if ready is self.clients:
                            self.copies.client_asks(sender, message)
                        else:
                            self.copies.node_says(sender[0] - 1, message)
            self.flush()

    def flush(self) -> None:
        for node, messages in self.copies.for_nodes.items():
            if self.outbox:
                self.outbox.send_multipart([bytes((node,)), msgpack.packb(messages)])
            else:
                self.dealers[node].send(msgpack.packb(messages))
        for client, answers in self.copies.for_clients.items():
            for batch in batches_of(answers, self.single):
                self.clients.send_multipart([client, msgpack.packb(batch)])
        self.copies.for_nodes.clear()
        self.copies.for_clients.clear()

    def send_from(self, leaving: Socket) -> None:
        while True:
            node, frame = leaving.recv_multipart()
            self.dealers[node[0]].send(frame)

    def pumped(self, border: Socket, pump_end: int, our_end: int) -> Socket:
        sink, source = self.pipe(pump_end, our_end)
        threading.Thread(target=zmq.proxy, args=(border, sink), daemon=True).start()
        return source

    def pipe(self, sink_kind: int, source_kind: int) -> tuple[Socket, Socket]:
        sink, source = opened(self.context, sink_kind), opened(self.context, source_kind)
        name = f"inproc://{id(sink)}"
        sink.bind(name)
        source.connect(name)
        return sink, source

    def listen(self, port: int) -> Socket:
        router = opened(self.context, zmq.ROUTER)
        router.bind(f"tcp://127.0.0.1:{port}")
        return router

    def dealer(self, me: int, port: int) -> Socket:
        dealer = opened(self.context, zmq.DEALER)
        dealer.routing_id = bytes((me + 1,))  # none may begin with a zero byte
        dealer.connect(f"tcp://127.0.0.1:{port}")
        return dealer


class Client:
    """Keeps so many requests in flight, and times each."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        context = zmq.Context()
        self.single = arguments.client_frames == "single"
        self.op = PUT if arguments.op == "put" else GET
        self.value = os.urandom(arguments.value_bytes) if arguments.op == "put" else None
        self.keys = [b"key-%07d" % number for number in range(arguments.keys)]
        self.nodes = [opened(context, zmq.DEALER) for _ in range(COPIES)]
        self.poller = zmq.Poller()
        for at, node in enumerate(self.nodes):
            node.connect(f"tcp://127.0.0.1:{arguments.port + at}")
            self.poller.register(node, zmq.POLLIN)
        self.started: dict[int, float] = {}
        self.number = 0

    def drive(self, in_flight: int, seconds: float, requests: int) -> tuple[float, list[float]]:
        """Operations a second, and the time each took."""
        took: list[float] = []
        first = self.number
        began = now = time.perf_counter()
        while self.number - first < requests if requests else now < began + seconds:
            room = in_flight - len(self.started)
            self.issue(min(room, requests - self.number + first) if requests else room)
            now = self.collect(took)
        in_time = len(took)
        while self.started:
            now = self.collect(took)
        return (len(took) / (now - began) if requests else in_time / seconds), took

    def issue(self, count: int) -> None:
        batches: dict[int, list[Message]] = defaultdict(list)
        now = time.perf_counter()
        for _ in range(count):
            self.number += 1
            self.started[self.number] = now
            key = self.keys[self.number % len(self.keys)]
            batches[self.number % COPIES].append((self.op, self.number, key, self.value))
        for node, requests in batches.items():
            for batch in batches_of(requests, self.single):
                self.nodes[node].send(msgpack.packb(batch))

    def collect(self, took: list[float]) -> float:
        ready = self.poller.poll()
        now = time.perf_counter()
        for node, _ in ready:
            for (frame,) in arrived(node):
                for number, _ in msgpack.unpackb(frame):
                    took.append(now - self.started.pop(number))
        return now


def batches_of(messages: list[Message], single: bool) -> list[list[Message]]:
    return [[message] for message in messages] if single else [messages]


def opened(context: zmq.Context, kind: int) -> Socket:
    made = context.socket(kind)
    made.linger = 0
    made.sndhwm = made.rcvhwm = 0
    return made


def arrived(source: Socket) -> list[list[bytes]]:
    frames: list[list[bytes]] = []
    try:
        while len(frames) < FRAMES_A_ROUND:
            frames.append(source.recv_multipart(zmq.NOBLOCK))
    except zmq.Again:
        pass
    return frames


def run_node(me: int, port: int, shape: str, single: bool) -> None:
    Bare(me, port, shape, single).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=("single", "threads"), default="threads")
    parser.add_argument("--op", choices=("put", "get"), default="put")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--requests", type=int, default=0, help="so many, not seconds")
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--port", type=int, default=24_700, help="the first of six")
    parser.add_argument("--client-frames", choices=("batch", "single"), default="batch")
    parser.add_argument("--json", action="store_true")
    measure(parser.parse_args())


def measure(arguments: argparse.Namespace) -> None:
    spawn = multiprocessing.get_context("spawn")
    shared = (arguments.port, arguments.shape, arguments.client_frames == "single")
    nodes = [spawn.Process(target=run_node, args=(me, *shared), daemon=True) for me in range(COPIES)]
    for node in nodes:
        node.start()
    client = Client(arguments)
    client.drive(in_flight=COPIES, seconds=0, requests=arguments.keys // 10 + COPIES)  # connects all, and warms up
    ops_s, took = client.drive(arguments.in_flight, arguments.seconds, arguments.requests)
    for node in nodes:
        node.kill()
    took.sort()
    result = {"shape": arguments.shape, "op": arguments.op, "in_flight": arguments.in_flight, "ops_s": round(ops_s, 1)}
    result |= {"p50_ms": round(took[len(took) // 2] * 1000, 3), "p99_ms": round(took[len(took) * 99 // 100] * 1000, 3)}
    print(json.dumps(result) if arguments.json else "  ".join(f"{name} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
