"""Many keys: in one POST with an answer for each, and listed line by line."""

import json
from typing import Any

import pytest
from support.asgi import Answer, Http

MANY = "/v1/buckets/many/keys"


def many(http: Http, *operations: dict[str, Any], query: str = "") -> Answer:
    return http.ask("POST", MANY + query, {"operations": list(operations)})


def lines(answer: Answer) -> list[dict[str, Any]]:
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.body.splitlines()]


def test_each_operation_has_the_answer_that_it_would_have_by_itself(http: Http) -> None:
    many(http, {"op": "put", "key": "there", "value": {"a": 1}}, {"op": "put", "key": "goes", "value": 1})

    done = many(
        http,
        {"op": "get", "key": "there"},
        {"op": "get", "key": "never"},
        {"op": "delete", "key": "goes"},
        {"op": "delete", "key": "never either"},
        {"op": "put", "key": "new", "value": None},
        query="?r=2&w=2&pr=1&pw=1&timeout_ms=2000&ttl_ms=60000",
    )

    answers = done.json["answers"]
    assert [(answer["key"], answer["status"]) for answer in answers] == [
        ("there", 200),
        ("never", 404),
        ("goes", 204),
        ("never either", 404),
        ("new", 204),
    ]
    assert answers[0]["value"] == {"a": 1}
    assert answers[1]["error"]["code"] == "absent"


def test_a_context_leaves_siblings_as_with_single_puts(http: Http) -> None:
    seen = many(http, {"op": "put", "key": "cart", "value": 0}).json["answers"][0]["context"]
    for value in (1, 2):
        many(http, {"op": "put", "key": "cart", "value": value, "context": seen})

    found = many(http, {"op": "get", "key": "cart"}).json["answers"][0]

    assert (found["status"], sorted(sibling["value"] for sibling in found["siblings"])) == (300, [1, 2])


def test_of_what_is_refused_for_its_size_the_others_know_nothing(http: Http) -> None:
    done = many(
        http, {"op": "put", "key": "large", "value": "x" * 150_000}, {"op": "put", "key": "small", "value": "x"}
    )

    assert [answer["status"] for answer in done.json["answers"]] == [400, 204]


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "put", "key": "form"}],
        [{"op": "get", "key": "form", "value": 1}],
        [{"op": "get", "key": "form", "context": "AAAA"}],
        [{"op": "put", "key": "form", "value": 1}, {"op": "get", "key": "form"}],
        [{"op": "put", "key": "form", "value": 1}, {"op": "sing", "key": "x"}],
        [{"op": "put", "key": "form", "value": 1}, {"op": "get", "key": ""}],
        [{"op": "put", "key": "form", "value": 1, "more": 2}],
        [{"op": "put", "key": "form", "value": 1, "context": "?"}],
        [{"op": "put", "key": "form", "value": 1}, *({"op": "get", "key": str(key)} for key in range(1000))],
    ],
)
def test_what_is_wrong_in_its_form_is_refused_as_a_whole(http: Http, operations: list[dict[str, Any]]) -> None:
    assert many(http, *operations).status == 400
    assert http.get(f"{MANY}/form").status == 404


def test_nothing_is_asked_of_a_bucket_that_cannot_be(http: Http) -> None:
    assert http.ask("POST", f"/v1/buckets/{'b' * 256}/keys", {"operations": []}).said == (400, "refused")
    assert many(http).json == {"answers": []}


def test_keys_are_listed_a_line_each_and_then_a_cursor(http: Http) -> None:
    many(http, *({"op": "put", "key": f"user/{number}", "value": number} for number in range(5)))

    *keys, end = lines(http.get(f"{MANY}?prefix=user/"))

    assert sorted(line["key"] for line in keys) == [f"user/{number}" for number in range(5)]
    assert (set(end), end["done"]) == ({"cursor", "done"}, True)


def test_a_listing_goes_on_behind_its_cursor(http: Http) -> None:
    many(http, *({"op": "put", "key": f"page/{number}", "value": number} for number in range(7)))
    found: list[str] = []
    after = ""

    while True:
        *keys, end = lines(
            http.get(f"{MANY}?prefix=page/&limit=3&r=2&after={after}" if after else f"{MANY}?prefix=page/&limit=3")
        )
        assert len(keys) <= 3
        found += [line["key"] for line in keys]
        after = end["cursor"]
        if end["done"]:
            break

    assert sorted(found) == [f"page/{number}" for number in range(7)]


def test_a_key_that_is_no_text_is_listed_as_base64(http: Http) -> None:
    http.put("/v1/buckets/odd/keys/%FF", b"1")

    assert lines(http.get("/v1/buckets/odd/keys"))[0] == {"key": {"base64": "/w=="}}


@pytest.mark.parametrize("query", ["after=nonsense", "limit=0", "limit=x", "prefix=%z", "r=9"])
def test_a_listing_that_cannot_begin_is_400(http: Http, query: str) -> None:
    assert http.get(f"{MANY}?{query}").status == 400
