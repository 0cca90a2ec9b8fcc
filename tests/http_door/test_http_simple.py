"""The simple routes: any JSON under a key, members, ping."""

import pytest
from support.asgi import SERVED_BY, Http, over_http

from zdynamo.fixtures.cluster import InProcessCluster

FOREIGN = "/v1/buckets/default/keys/foreign"


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "", "hällo", [], [1, [2, {"a": None}]], {"a": {"b": 1}}, 2**63, {"": ""}]
)
def test_any_json_that_is_posted_comes_back(http: Http, value: object) -> None:
    posted = http.ask("POST", "/kvstore", {"Key": "any", "Value": value})

    assert (posted.status, posted.json) == (200, {"key": "any", "node": SERVED_BY})
    assert http.get("/kvstore/any").json == {"key": "any", "value": value, "node": SERVED_BY}


def test_what_curl_sends_by_itself_is_taken_as_json(http: Http) -> None:
    form = {"content_type": "application/x-www-form-urlencoded"}

    posted = http.ask("POST", "/kvstore", b'{"Key":"curl","Value":1}', form)

    assert posted.status == 200
    assert http.get("/kvstore/curl").json["value"] == 1


def test_python_clients_see_the_same_values(http: Http, cluster: InProcessCluster) -> None:
    http.ask("POST", "/kvstore", {"Key": "shared", "Value": {"items": [1, "x"]}})

    with cluster.client() as client:
        assert client.get("shared").value == {"items": [1, "x"]}
        client.put("shared", b"\xff")
    assert http.get("/kvstore/shared").json["value"] == {"base64": "/w=="}


def test_a_key_may_have_slashes_and_any_letters(http: Http) -> None:
    http.ask("POST", "/kvstore", {"Key": "a/ü ?&", "Value": 1})

    assert http.get("/kvstore/a/%C3%BC%20%3F%26").json["key"] == "a/ü ?&"
    assert http.get("/kvstore/a%2F%C3%BC%20%3F%26").json["value"] == 1


def test_what_is_absent_is_404(http: Http) -> None:
    assert http.get("/kvstore/never").said == (404, "absent")


def test_a_deleted_key_is_gone(http: Http) -> None:
    http.ask("POST", "/kvstore", {"Key": "gone", "Value": 1})

    deleted = http.ask("DELETE", "/kvstore/gone")
    again = http.ask("DELETE", "/kvstore/gone")

    assert deleted.json == {"key": "gone", "deleted": True, "node": SERVED_BY}
    assert again.json["deleted"] is False
    assert http.get("/kvstore/gone").status == 404


def test_siblings_are_300_with_all_of_them_until_a_post_settles_it(http: Http, cluster: InProcessCluster) -> None:
    with cluster.client() as client:
        seen = client.put("both", "old")
        client.put("both", "milk", context=seen)
        client.put("both", "bread", context=seen)

    found = http.get("/kvstore/both")
    http.ask("POST", "/kvstore", {"Key": "both", "Value": "settled"})

    assert (found.status, sorted(found.json["siblings"])) == (300, ["bread", "milk"])
    assert http.get("/kvstore/both").json["value"] == "settled"


def test_members_are_listed_by_their_public_addresses(http: Http, cluster: InProcessCluster) -> None:
    assert http.get("/members").json == sorted(cluster.addresses)


def test_a_member_that_is_down_is_not_listed() -> None:
    with InProcessCluster() as cluster:
        cluster.wait_until_ready()
        cluster.kill("c")
        cluster.wait_until_down("c")

        with over_http(cluster, "a") as http:
            assert http.get("/members").json == [cluster.address("a"), cluster.address("b")]


def test_ping_is_answered_with_pong(http: Http) -> None:
    assert http.get("/ping").json == {"message": "pong"}
    assert http.ask("HEAD", "/ping").status == 200


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `Key`"),
        (b'{"Key":"bad"}', "missing required field `Value`"),
        (b'{"Key":7,"Value":1}', "Expected `str`"),
        (b'{"Key":"bad","Value":"\xff"}', "utf-8"),
        (b'{"Key":"bad","Value":NaN}', "invalid character"),
        (b'{"Key":"bad","Value":1} x', "trailing"),
        (b'{"Key":"bad","Value":123456789012345678901234567890}', "64 bits"),
        (b'{"Key":"","Value":1}', "the key has 0 bytes"),
        (b'{"Key":"bad","Value":' + b"[" * 5000 + b"]" * 5000 + b"}", "recursion"),
    ],
)
def test_what_is_no_pair_is_400_and_nothing_is_stored(http: Http, body: bytes, why: str) -> None:
    refused = http.ask("POST", "/kvstore", body)

    assert refused.status == 400
    assert why in refused.error["message"]
    assert http.get("/kvstore/bad").status == 404


def test_a_body_that_says_it_is_something_else_is_415(http: Http) -> None:
    refused = http.ask("POST", "/kvstore", b'{"Key":"bad","Value":1}', {"content_type": "application/xml"})

    assert refused.said == (415, "content_type")


def test_a_key_that_is_too_long_is_400(http: Http) -> None:
    assert http.ask("POST", "/kvstore", {"Key": "k" * 4097, "Value": 1}).said == (400, "refused")
    assert http.get("/kvstore/" + "k" * 4097).said == (400, "refused")


@pytest.mark.parametrize("path", ["/kvstore/%ff", "/kvstore/%zz", "/kvstore/%", "/kvstore/"])
def test_a_key_that_is_none_is_400(http: Http, path: str) -> None:
    assert http.get(path).status == 400


@pytest.mark.parametrize("path", ["/kvstore/../x", "/nothing", "/page", "/v1", "/ping/", "//ping", "/v1/buckets/a"])
def test_an_unknown_path_is_404(http: Http, path: str) -> None:
    answer = http.get(path)

    assert answer.status == 404 and answer.error["code"] in ("unknown_path", "absent")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_an_unknown_method_is_405_and_told_what_there_is(http: Http, method: str) -> None:
    refused = http.ask(method, "/kvstore")

    assert refused.said == (405, "method")
    assert refused.headers["allow"] == "POST"


def test_a_page_of_another_site_cannot_write(http: Http) -> None:
    body = {"Key": "foreign", "Value": 1}

    here = {"host": "127.0.0.1:7403"}
    for foreign in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        for method, path in (("POST", "/kvstore"), ("PUT", FOREIGN), ("DELETE", FOREIGN)):
            assert http.ask(method, path, body, here | foreign).said == (403, "cross_origin")
    own = http.ask("POST", "/kvstore", body, here | {"origin": "http://127.0.0.1:7403"})
    by_proxy = {"host": "store.example", "origin": "https://store.example"}  # which passes the name on

    assert own.status == 200
    assert http.ask("POST", "/kvstore", body, by_proxy).status == 200
