"""Errors as answers: the status says what is known of a write, and all have one shape."""

import re
from pathlib import Path

import pytest
from support.asgi import Http

from zdynamo import errors
from zdynamo.http.door import BODIES_BYTES_MAX, Door
from zdynamo.http.problems import Problem, problem_of


@pytest.mark.parametrize(
    ("error", "status", "code", "more"),
    [
        (errors.QuorumNotMet(2, 1, "two are down"), 503, "quorum_not_met", {"needed": 2, "got": 1}),
        (errors.OutcomeUnknown(2, 1), 504, "outcome_unknown", {"needed": 2, "got": 1}),
        (errors.DeadlineExceeded("too late"), 504, "deadline_exceeded", {}),
        (errors.ConditionFailed(b"\x01"), 412, "condition_failed", {"context": "AQ"}),
        (errors.Overloaded(1500), 429, "overloaded", {"retry_after_ms": 1500}),
        (errors.Refused("no"), 400, "refused", {}),
        (errors.Refused("not yet", retry=True), 503, "refused_for_now", {"retry_after_ms": 1000}),
        (errors.Unreachable("nobody"), 503, "unreachable", {}),
        (errors.Malformed("bytes"), 500, "stored_malformed", {}),
        (errors.MergeFunctionError("bad"), 500, "merge_function", {}),
        (errors.RequestError("the client is closed"), 503, "stopping", {}),
    ],
)
def test_each_error_has_its_status(error: errors.ZdynamoError, status: int, code: str, more: dict[str, object]) -> None:
    problem = problem_of(error)

    assert (problem.status, problem.error["code"]) == (status, code)
    assert more.items() <= problem.error.items()


@pytest.mark.parametrize(("retry_after_ms", "seconds"), [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")])
def test_who_is_overloaded_says_in_whole_seconds_when_to_come_again(retry_after_ms: int, seconds: str) -> None:
    assert problem_of(errors.Overloaded(retry_after_ms)).headers == {"retry-after": seconds}


def test_what_passes_by_itself_says_when_to_come_again_and_what_does_not_says_nothing() -> None:
    assert problem_of(errors.Refused("the cluster is forming", retry=True)).headers == {"retry-after": "1"}
    assert problem_of(errors.Refused("the key is too long")).headers == {}


def test_a_message_is_one_line_whatever_it_is_made_of() -> None:
    assert Problem(400, "code", "two\nlines").error["message"] == "two lines"


def test_large_requests_beyond_what_there_is_room_for_are_told_to_come_again(http: Http) -> None:
    http.door.hold(BODIES_BYTES_MAX)

    refused = http.put("/v1/buckets/b/keys/room", b"1")
    http.door.release(BODIES_BYTES_MAX)

    assert refused.said == (429, "overloaded")
    assert http.put("/v1/buckets/b/keys/room", b"1").status == 204


def test_the_room_of_a_request_is_given_back_however_it_ends(http: Http) -> None:
    door: Door = http.door

    http.put("/v1/buckets/b/keys/k", b"x" * 1000)
    http.put("/v1/buckets/b/keys/k?w=9", b"x" * 1000)
    http.ask("POST", "/kvstore", b"{")

    assert door._bytes_held == 0


def test_a_fault_of_our_own_is_500_and_the_next_request_is_served(
    http: Http, capsys: pytest.CaptureFixture[str]
) -> None:
    http.door.client = None  # type: ignore[assignment]
    failed = http.get("/kvstore/k")
    http.door.client = http.client

    assert failed.said == (500, "unexpected")
    assert "Traceback" in capsys.readouterr().err
    assert http.get("/ping").status == 200


def test_every_code_of_an_error_is_documented() -> None:
    root = Path(__file__).parents[2]
    code = "".join(path.read_text() for path in (root / "zdynamo" / "http").glob("*.py"))
    raised = set(re.findall(r"(?:Problem|_later)\(\s*\d+,\s*\"(\w+)\"", code)) | set(
        re.findall(r"_judged\(.*\"(\w+)\"\)", code)
    )
    documented = set(re.findall(r"`(\w+)`", (root / "docs" / "http.md").read_text().partition("## Errors")[2]))

    assert len(raised) > 20
    assert raised - documented == set()
