"""docs/protocol.md and its test vectors say what the code says."""

import ast
import json
import runpy
import typing
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
import xxhash

from zdynamo import codec
from zdynamo.errors import Malformed
from zdynamo.messages import ClientAnswer, ClientRequest

ROOT = Path(__file__).parent.parent
VECTORS = json.loads((ROOT / "docs" / "vectors.json").read_text())
DECODE = {"requests": codec.decode_requests, "answers": codec.decode_answers}
KINDS = {"requests": ClientRequest, "answers": ClientAnswer}
MESSAGES = [pytest.param(family, each, id=each["name"]) for family in DECODE for each in VECTORS[family]]
ID = bytes(16)
GET = [0, ID, "", 5000, "default", b"key", 0, 0, b""]


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "protocol.py"))


def of_json(part: Any) -> Any:
    if isinstance(part, dict) and part.keys() == {"hex"}:
        return bytes.fromhex(part["hex"])
    if isinstance(part, dict):
        return {key: of_json(item) for key, item in part.items()}
    return [of_json(item) for item in part] if isinstance(part, list) else part


def test_the_page_is_what_the_code_makes_it(generator: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()

    assert page == generator["page"](page), "run `make protocol`"


def test_the_vectors_are_what_the_code_makes_them(generator: dict[str, Any]) -> None:
    assert (ROOT / "docs" / "vectors.json").read_text() == generator["vectors"](), "run `make protocol`"


@pytest.mark.parametrize(("family", "vector"), MESSAGES)
def test_a_vector_is_the_same_for_the_code_and_for_plain_messagepack(family: str, vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["hex"])

    (message,) = DECODE[family](b"\x91" + encoded)  # type: ignore[operator]

    assert type(message).__name__ == vector["message"]
    assert codec.encode(message) == encoded
    assert msgpack.unpackb(encoded) == of_json(vector["array"])


@pytest.mark.parametrize("family", DECODE)
def test_every_message_has_a_vector(family: str) -> None:
    assert {each["message"] for each in VECTORS[family]} == {kind.__name__ for kind in typing.get_args(KINDS[family])}


def test_frames_are_arrays_of_messages() -> None:
    requests, answers = (bytes.fromhex(frame["hex"]) for frame in VECTORS["frames"])

    assert len(codec.decode_requests(requests)) == len(codec.decode_answers(answers)) == 2


@pytest.mark.parametrize("vector", VECTORS["partitions"], ids=str)
def test_a_partition_is_found_as_the_page_says(vector: dict[str, Any]) -> None:
    bucket, key, partitions = vector["bucket"].encode(), bytes.fromhex(vector["key"]["hex"]), vector["of"]
    bits = partitions.bit_length() - 1

    hashed = xxhash.xxh3_64_intdigest(len(bucket).to_bytes(1, "big") + bucket + key, seed=0)

    assert (hashed >> (64 - bits) if bits else 0) == vector["partition"]


@pytest.mark.parametrize(
    ("place", "wrong"),
    [(1, bytes(15)), (1, bytes(17)), (2, b""), (3, 5000.0), (4, b"default"), (5, "key"), (6, True), (6, None), (0, 99)],
)
def test_types_are_as_strict_as_the_page_says(place: int, wrong: object) -> None:
    request = [*GET[:place], wrong, *GET[place + 1 :]]

    with pytest.raises(Malformed):
        codec.decode_requests(msgpack.packb([request]))


def test_what_may_be_left_out_and_what_may_be_added() -> None:
    read = codec.decode_requests(msgpack.packb([GET[:6], GET, [*GET, {"of": "later"}]]))

    assert read[0] == read[1] == read[2]
    with pytest.raises(Malformed):
        codec.decode_requests(msgpack.packb([GET[:5]]))
    with pytest.raises(Malformed):
        codec.decode_requests(msgpack.packb([GET] * (codec.REQUESTS_MAX + 1)))


def test_the_number_of_requests_in_a_frame_stands_on_the_page() -> None:
    assert f"{codec.REQUESTS_MAX:,} requests" in (ROOT / "docs" / "protocol.md").read_text()


def test_fields_with_a_default_come_last(generator: dict[str, Any]) -> None:
    for kind in [*typing.get_args(ClientRequest), *typing.get_args(ClientAnswer), *generator["parts"]()]:
        required = [field.required for field in msgspec.structs.fields(kind)]

        assert required == sorted(required, reverse=True)


def test_the_minimal_client_uses_nothing_of_zdynamo() -> None:
    tree = ast.parse((ROOT / "docs" / "examples" / "minimal_client.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    assert imported == {"msgpack", "os", "sys", "time", "xxhash", "zmq"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
