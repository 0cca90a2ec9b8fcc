"""The full routes of one key: bodies, contexts, siblings, conditions, quorums, and what is wrong with a request."""

from email import message_from_bytes

import pytest
from support.asgi import VALUE_BYTES_MAX, Answer, Http, over_http

from zdynamo.client.requests import make_put
from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.http.siblings import likes_multipart

KEYS = "/v1/buckets/full/keys"


def siblings_at(http: Http, path: str, *bodies: bytes, kind: str = "text/plain") -> None:
    """Writes that have all seen the same."""
    seen = http.put(path, b"0", content_type="text/plain").context
    for body in bodies:
        assert http.put(path, body, content_type=kind, zdynamo_context=seen).status == 204


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", "application/octet-stream"),
        ("application/octet-stream", "application/octet-stream"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("text/plain; charset=latin-1", "text/plain; charset=latin-1"),
        ("application/json", "application/json"),
        ("image/svg+xml", "image/svg+xml"),
    ],
)
def test_a_body_comes_back_as_it_was_with_its_type(http: Http, given: str, shown: str) -> None:
    http.put(f"{KEYS}/typed", b"12", **({"content_type": given} if given else {}))

    found = http.get(f"{KEYS}/typed")

    assert (found.status, found.body, found.headers["content-type"]) == (200, b"12", shown)


def test_python_clients_see_text_data_and_bytes(http: Http, cluster: InProcessCluster) -> None:
    http.put(f"{KEYS}/t", "hällo".encode(), content_type="text/plain")
    http.put(f"{KEYS}/m", b"\x93\x01\x02\x03", content_type="application/msgpack")
    http.put(f"{KEYS}/b", b"\xff\x00")

    with cluster.client() as client:
        assert [client.get(key, bucket="full").value for key in ("t", "m", "b")] == ["hällo", [1, 2, 3], b"\xff\x00"]


def test_a_key_may_be_any_bytes(http: Http, cluster: InProcessCluster) -> None:
    http.put(f"{KEYS}/%FF%00/x", b"1")

    with cluster.client() as client:
        assert client.get(b"\xff\x00/x", bucket="full").value == b"1"


def test_a_stored_page_does_not_run_as_one_of_ours(http: Http) -> None:
    http.put(f"{KEYS}/page", b"<script>1</script>", content_type="text/html")

    found = http.get(f"{KEYS}/page")

    assert found.headers["content-security-policy"].startswith("sandbox")
    assert found.headers["x-content-type-options"] == "nosniff"


def test_a_put_with_a_context_replaces_what_it_has_seen_and_nothing_else(http: Http) -> None:
    seen = http.put(f"{KEYS}/seen", b"one").context

    http.put(f"{KEYS}/seen", b"two", zdynamo_context=seen)
    again = http.put(f"{KEYS}/seen", b"three", zdynamo_context=seen)

    assert again.status == 204
    assert http.get(f"{KEYS}/seen").status == 300


def test_siblings_come_as_json_with_a_context_that_settles_them(http: Http) -> None:
    siblings_at(http, f"{KEYS}/cart", b"milk", b"bread")

    found = http.get(f"{KEYS}/cart")
    http.put(f"{KEYS}/cart", b"all", zdynamo_context=found.context)

    assert found.status == 300
    assert sorted(sibling["value"] for sibling in found.json["siblings"]) == ["bread", "milk"]
    assert {sibling["content_type"] for sibling in found.json["siblings"]} == {"text/plain; charset=utf-8"}
    assert found.json["context"] == found.context
    assert http.get(f"{KEYS}/cart").body == b"all"


def test_siblings_come_as_multipart_if_the_reader_prefers_it(http: Http) -> None:
    siblings_at(http, f"{KEYS}/parts", b"one\r\n--", b"\xff\x00", kind="image/png")

    found = http.get(f"{KEYS}/parts", accept="application/json;q=0.5, multipart/mixed")
    message = message_from_bytes(b"Content-Type: " + found.headers["content-type"].encode() + b"\r\n\r\n" + found.body)

    assert found.status == 300
    assert [part.get_content_type() for part in message.get_payload()] == ["image/png", "image/png"]
    assert found.body.count(b"\xff\x00") == 1
    assert http.get(f"{KEYS}/parts", accept="multipart/mixed;q=0.1, application/json").json["context"]


@pytest.mark.parametrize(
    ("accept", "multipart"),
    [
        ("", False),
        ("*/*", False),
        ("multipart/mixed", True),
        ("multipart/*;q=0.5", True),
        ("application/json;q=0.4, multipart/mixed;q=0.5", True),
        ("application/json, multipart/mixed;q=0.5", False),
        ("multipart/mixed;q=0", False),
        ("multipart/mixed;q=\xb2", False),
        ("multipart/mixed;q=nonsense, ,;;", False),
    ],
)
def test_what_a_reader_prefers_is_read_from_accept(accept: str, multipart: bool) -> None:
    assert likes_multipart(accept) is multipart


def test_a_stored_type_that_is_none_is_not_passed_on(http: Http, cluster: InProcessCluster) -> None:
    stored = make_put("odd", ("text/x\r\nset-cookie: a=b", b"1"), "full")
    http.run(http.client.ask(stored))

    assert http.get(f"{KEYS}/odd").headers["content-type"] == "application/octet-stream"


def test_a_value_that_is_nested_too_deeply_for_json_is_an_error_of_its_own(
    http: Http, cluster: InProcessCluster
) -> None:
    nested: list[object] = []
    for _ in range(500):
        nested = [nested]
    with cluster.client() as client:
        client.put("deep", nested)

    assert http.get("/kvstore/deep").said == (500, "stored_malformed")
    assert http.get("/v1/buckets/default/keys/deep").status == 200


def test_the_function_of_a_bucket_makes_one_value_of_siblings(http: Http) -> None:
    siblings_at(http, "/v1/buckets/sets/keys/s", b'["a"]', b'["b"]', kind="application/json")

    found = http.get("/v1/buckets/sets/keys/s")

    assert (found.status, found.headers["content-type"]) == (200, "application/json")
    assert sorted(found.json) == ["a", "b"]


def test_siblings_are_shown_where_the_function_of_a_bucket_cannot_be_used(http: Http) -> None:
    siblings_at(http, "/v1/buckets/broken/keys/s", b"a", b"b")

    assert http.get("/v1/buckets/broken/keys/s").status == 300


def test_an_absent_key_has_the_context_of_its_tombstone(http: Http) -> None:
    http.put(f"{KEYS}/dead", b"1")
    deleted = http.ask("DELETE", f"{KEYS}/dead")

    absent = http.get(f"{KEYS}/dead")
    http.put(f"{KEYS}/dead", b"2", zdynamo_context=absent.context)

    assert (deleted.status, absent.said) == (204, (404, "absent"))
    assert absent.error["context"] == absent.context
    assert http.get(f"{KEYS}/dead").body == b"2"


def test_a_delete_of_nothing_is_404(http: Http) -> None:
    assert http.ask("DELETE", f"{KEYS}/never").said == (404, "absent")


def test_a_delete_with_a_context_leaves_what_that_has_not_seen(http: Http) -> None:
    seen = http.put(f"{KEYS}/later", b"1").context
    http.put(f"{KEYS}/later", b"2", zdynamo_context=seen)

    http.ask("DELETE", f"{KEYS}/later", headers={"zdynamo_context": seen})

    assert http.get(f"{KEYS}/later").body == b"2"


def test_if_none_match_writes_only_where_nothing_is(http: Http) -> None:
    first = http.put(f"{KEYS}/job", b"mine", if_none_match="*")
    second = http.put(f"{KEYS}/job", b"yours", if_none_match="*")
    third = http.put(f"{KEYS}/job", b"ours", if_match=f'"{second.context}"')

    assert (first.status, second.said, third.status) == (204, (412, "condition_failed"), 204)
    assert http.put(f"{KEYS}/job", b"late", if_match=second.context).said == (412, "condition_failed")
    assert http.get(f"{KEYS}/job").body == b"ours"


def test_a_time_to_live_ends_a_value(http: Http) -> None:
    http.put(f"{KEYS}/short?ttl_ms=1", b"1")

    assert http.get(f"{KEYS}/short").status in (200, 404)
    assert wait_for(http, f"{KEYS}/short", 404).said == (404, "absent")


def test_quorums_and_deadlines_are_taken_from_the_query(http: Http) -> None:
    assert http.put(f"{KEYS}/q?w=3&pw=3&timeout_ms=2000&ttl_ms=0", b"1").status == 204
    assert http.get(f"{KEYS}/q?r=3&pr=3&timeout_ms=2000").status == 200
    assert http.ask("DELETE", f"{KEYS}/q?r=1&w=3").status == 204


def test_no_quorum_is_the_default_as_what_refuses_too_many_says(http: Http) -> None:
    refused = http.get(f"{KEYS}/q?r=9")

    assert refused.error["message"] == "r is 9: use 1 to 3, the number of copies, or 0 for the default"
    assert http.put(f"{KEYS}/q?w=0&pw=0", b"1").status == 204
    assert http.get(f"{KEYS}/q?r=0&pr=0").status == 200
    assert http.ask("DELETE", f"{KEYS}/q?r=0&w=0").status == 204


@pytest.mark.parametrize(
    "query",
    [
        "r=4",
        "r=17",
        "r=x",
        "r=-1",
        "r=1&r=2",
        "r",
        "r=",
        "w=1",
        "x=1",
        "r=%zz",
        "timeout_ms=0",
        "timeout_ms=60001",
        "&",
    ],
)
def test_a_query_that_is_wrong_is_400(http: Http, query: str) -> None:
    assert http.get(f"{KEYS}/any?{query}").status == 400


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content_type": "text/plain"}, b"\xff", 400),
        ({"content_type": "application/json"}, b"{", 400),
        ({"content_type": "application/msgpack"}, b"\xc1", 400),
        ({"content_type": "nonsense"}, b"1", 415),
        ({"content_type": "multipart/mixed; boundary=x"}, b"1", 415),
        ({"content_type": "text/" + "x" * 300}, b"1", 415),
        ({"zdynamo_context": "?"}, b"1", 400),
        ({"zdynamo_context": "AAAA"}, b"1", 400),
        ({"zdynamo_context": ""}, b"1", 400),
        ({"if_none_match": '"etag"'}, b"1", 400),
        ({"if_none_match": "*", "if_match": "AAAA"}, b"1", 400),
        ({"content_length": str(VALUE_BYTES_MAX + 1)}, b"1", 413),
        ({}, b"x" * (VALUE_BYTES_MAX + 1), 413),
    ],
)
def test_a_put_that_is_wrong_stores_nothing(http: Http, headers: dict[str, str], body: bytes, status: int) -> None:
    assert http.put(f"{KEYS}/wrong", body, **headers).status == status
    assert http.get(f"{KEYS}/wrong").status == 404


def test_a_body_in_pieces_is_put_together_and_a_large_one_is_refused_before_its_end(http: Http) -> None:
    pieces = [b"x" * 60_000, b"y" * 40_000]

    assert http.ask("PUT", f"{KEYS}/pieces", [*pieces]).status == 204
    assert http.ask("PUT", f"{KEYS}/pieces", [*pieces, b"z", b"never read"]).said == (413, "too_large")
    assert http.get(f"{KEYS}/pieces").body == b"".join(pieces)


def test_a_bucket_that_is_none_is_400(http: Http) -> None:
    for bucket in ("", "%ff", "b" * 256):
        assert http.get(f"/v1/buckets/{bucket}/keys/k").status == 400


def test_with_too_few_nodes_a_get_is_503_with_needed_and_got_and_a_put_too() -> None:
    with InProcessCluster() as cluster:
        cluster.wait_until_ready()
        with over_http(cluster, "a") as http:
            http.put(f"{KEYS}/few", b"1")
            for name in ("b", "c"):
                cluster.kill(name)
                cluster.wait_until_down(name)

            got, put = http.get(f"{KEYS}/few?timeout_ms=1000"), http.put(f"{KEYS}/few?timeout_ms=1000", b"2")

    for answer in (got, put):
        assert answer.said == (503, "quorum_not_met")
        assert (answer.error["needed"], answer.error["got"]) == (2, 1)


def test_with_no_node_at_all_it_is_503_or_504_and_says_so() -> None:
    with InProcessCluster() as cluster:
        cluster.wait_until_ready()
        with over_http(cluster, "a") as http:
            for name in ("a", "b", "c"):
                cluster.kill(name)

            assert http.get(f"{KEYS}/none?timeout_ms=300").status in (503, 504)


def wait_for(http: Http, path: str, status: int) -> Answer:
    """Polls: the moment comes by itself."""
    for _ in range(1_000):
        answer = http.get(path)
        if answer.status == status:
            return answer
    raise AssertionError(f"{path} did not come to be {status}")
