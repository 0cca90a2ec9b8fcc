#!/usr/bin/env python3
"""A whole client in little: hello, put, get, delete. It needs pyzmq, msgpack and xxhash, and nothing of zdynamo."""

import os
import sys
import time

import msgpack
import xxhash
import zmq

GET, PUT, DELETE, DESCRIBE_CLUSTER = range(4)
FOUND, ABSENT, DONE, QUORUM_NOT_MET, OUTCOME_UNKNOWN, OVERLOADED, REFUSED, TOPOLOGY = range(8)


class MinimalClient:
    def __init__(self, address: str, timeout_ms: int = 2000) -> None:
        self.context, self.sockets = zmq.Context(), {}
        self.address, self.timeout_ms = address, timeout_ms
        self.cluster, self.owners = "", []
        self.hello()

    def hello(self) -> None:
        """Learn the cluster's id, and the addresses of the owners of each partition that are alive."""
        topology = self.ask([DESCRIBE_CLUSTER], [], at=self.address)
        alive = {record[0]: record[6][0] for record, state, *_ in topology[5] if state == "alive"}
        self.cluster = topology[2]
        self.owners = [[alive[owner] for owner in owners if owner in alive] for owners in topology[7]]

    def get(self, key: bytes, bucket: str = "default") -> tuple[list[bytes], bytes]:
        answer = self.ask([GET], [bucket, key], key=key, bucket=bucket)
        return ([value for _, value, *_ in answer[3]] if answer[0] == FOUND else []), answer[2]

    def put(self, key: bytes, value: bytes, context: bytes = b"", bucket: str = "default") -> bytes:
        return self.ask([PUT], [bucket, key, value, "", 1, context], key=key, bucket=bucket)[2]

    def delete(self, key: bytes, context: bytes = b"", bucket: str = "default") -> bool:
        return self.ask([DELETE], [bucket, key, 1, context], key=key, bucket=bucket)[3]

    def ask(self, tag: list[int], rest: list[object], *, at: str = "", key: bytes = b"", bucket: str = "") -> list:
        """One request, sent to a node and, while that says *not now*, again. A retry keeps its request id."""
        request, due = os.urandom(16), time.monotonic() + self.timeout_ms / 1000
        for attempt in range(1, 100):
            left_ms = int((due - time.monotonic()) * 1000)
            if left_ms <= 0:
                break
            message = [*tag, request, self.cluster, *([left_ms, *rest] if rest else [])]
            address = at or self.owner_of(bucket.encode(), key, attempt)
            answer = self.exchange(address, message, left_ms)
            if answer and answer[0] in (OVERLOADED, REFUSED) and (answer[0] == OVERLOADED or answer[3]):
                time.sleep(0.02)  # nothing was done, and another node or a later try may do it
            elif answer and answer[0] in (QUORUM_NOT_MET, OUTCOME_UNKNOWN, REFUSED):
                raise RuntimeError(f"answer {answer}")
            elif answer:
                return answer
        raise TimeoutError("no answer: a write may or may not have been kept")

    def owner_of(self, bucket: bytes, key: bytes, attempt: int) -> str:
        if not self.owners:  # no layout yet: the first put makes it
            return self.address
        hashed = xxhash.xxh3_64_intdigest(bytes([len(bucket)]) + bucket + key)
        owners = self.owners[hashed * len(self.owners) >> 64] or [self.address]
        return owners[attempt % len(owners)]

    def exchange(self, address: str, message: list[object], timeout_ms: int) -> list | None:
        if address not in self.sockets:
            self.sockets[address] = self.context.socket(zmq.DEALER)
            self.sockets[address].connect(f"tcp://{address}")
        socket = self.sockets[address]
        socket.send(msgpack.packb([message]))  # a frame is an array of requests
        while socket.poll(timeout_ms):
            for answer in msgpack.unpackb(socket.recv()):  # and one of answers, in any order
                if answer[1] == message[1]:
                    return answer
        return None

    def close(self) -> None:
        self.context.destroy(linger=0)


if __name__ == "__main__":
    client = MinimalClient(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7400")
    client.put(b"greeting", b"hello")
    values, context = client.get(b"greeting")
    print(values)
    client.put(b"greeting", b"hello again", context)
    print(client.get(b"greeting")[0], client.delete(b"greeting"), client.get(b"greeting")[0])
    client.close()
