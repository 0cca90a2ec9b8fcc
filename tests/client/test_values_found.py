"""What a get gives: a value that is there or not, siblings, and who may merge them."""

import sys
import types

import pytest
from scripted_node import ScriptedCluster, ScriptedNode

from zdynamo import Client, errors, merge_function
from zdynamo.messages import Absent, Bucket, ConditionFailed, Found, Get, Put, SiblingValue


@pytest.fixture
def cluster():
    return ScriptedCluster()


def showing(cluster, *texts):
    """Every get finds these siblings."""
    siblings = tuple(SiblingValue("text/plain", text.encode(), 0) for text in texts)
    return lambda request: (
        Found(request.request, b"all", siblings) if isinstance(request, Get) else cluster.answer(request)
    )


def test_an_absent_key_is_false_has_no_value_and_gives_a_context(cluster):
    def absent(request):
        return Absent(request.request, b"tombstone") if isinstance(request, Get) else cluster.answer(request)

    with ScriptedNode(cluster, absent) as node, Client(node.address) as client:
        found = client.get("k")

        assert (bool(found), found.exists, found.siblings, found.value) == (False, False, [], None)
        assert found.context == b"tombstone"


@pytest.mark.parametrize("value", [0, "", b"", None, False])
def test_a_value_that_is_false_itself_exists(cluster, value):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        client.put("k", value)

        found = client.get("k")

        assert found and found.exists
        assert found.value == value


def test_the_resolver_of_the_call_makes_one_value_of_siblings(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        node.script = showing(cluster, "a", "b")

        found = client.get("k", resolver="+".join)

        assert (found.siblings, found.value) == (["a", "b"], "a+b")


def test_a_resolver_is_not_called_for_one_value(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        node.script = showing(cluster, "a")

        assert client.get("k", resolver=lambda _: pytest.fail("called")).value == "a"


@pytest.fixture
def module(monkeypatch):
    """A module that programs could import."""
    made = types.ModuleType("shop_merges")
    made.longest = merge_function(lambda one, other: max(one, other, key=lambda text: (len(text), text)))
    made.unmarked = lambda one, other: pytest.fail("called")
    monkeypatch.setitem(sys.modules, "shop_merges", made)
    return made


def test_the_merge_function_of_the_bucket_makes_one_value_of_siblings(cluster, module):
    cluster.buckets = (Bucket("carts", conflict="merge:shop_merges:longest"),)
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        node.script = showing(cluster, "a", "ccc", "bb")

        assert client.get("k", bucket="carts").value == "ccc"
        assert client.get("k", bucket="carts", resolver=min).value == "a"
        with pytest.raises(errors.SiblingsFound):
            _ = client.get("k", bucket="other").value


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("shop_merges:unmarked", "not marked with @zdynamo.merge_function"),
        ("os:remove", "not marked with @zdynamo.merge_function"),
        ("no_such_module:f", "the module no_such_module cannot be imported"),
        ("shop_merges:missing", "has no function missing"),
    ],
)
def test_a_function_that_may_not_be_called_is_an_error_that_says_why_and_the_siblings_stay(
    cluster, module, function, problem
):
    cluster.buckets = (Bucket("carts", conflict=f"merge:{function}"),)
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        node.script = showing(cluster, "a", "b")
        found = client.get("k", bucket="carts")

        assert found.siblings == ["a", "b"]
        with pytest.raises(errors.MergeFunctionError, match=problem):
            _ = found.value


def test_what_the_merge_function_raises_names_the_bucket_and_the_function(cluster, module):
    cluster.buckets = (Bucket("carts", conflict="merge:zdynamo.merges:union"),)
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        node.script = showing(cluster, "a", "b")

        with pytest.raises(
            errors.MergeFunctionError,
            match=r"bucket carts: merge:zdynamo.merges:union raised TypeError: union merges lists",
        ):
            _ = client.get("k", bucket="carts").value


def test_an_update_of_a_bucket_whose_merge_function_cannot_be_used_writes_nothing(cluster, module):
    cluster.buckets = (Bucket("carts", conflict="merge:no_such_module:f"),)
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        node.script = showing(cluster, "a")

        with pytest.raises(errors.MergeFunctionError, match="bucket carts: no_such_module:f: the module"):
            client.update("k", lambda text: text + "!", bucket="carts")

        assert not [request for request in node.received if isinstance(request, Put)]


def test_an_update_uses_the_merge_function_of_the_bucket(cluster, module):
    cluster.buckets = (Bucket("carts", conflict="merge:shop_merges:longest"),)
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        answers = [showing(cluster, "a", "bb"), showing(cluster, "bb!")]
        node.script = lambda request: (answers.pop(0) if isinstance(request, Get) else cluster.answer)(request)

        assert client.update("k", lambda text: text + "!", bucket="carts") == "bb!"

        [put] = [request for request in node.received if isinstance(request, Put)]
        assert (put.value, put.context, put.condition) == (b"bb!", b"all", "")


def test_expiry_and_conditions_reach_the_node(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        client.put("k", b"v", ttl_ms=500)
        client.put("k", b"v", ttl_ms=0)
        client.put("k", b"v")
        client.put("k", b"v", if_absent=True)
        client.put("k", b"v", if_context=b"seen")

        puts = [request for request in node.received if isinstance(request, Put)]
        assert [put.ttl_ms for put in puts[:3]] == [500, 0, -1]
        assert [(put.condition, put.context) for put in puts[2:]] == [
            ("", b""),
            ("absent", b""),
            ("unchanged", b"seen"),
        ]


def test_a_condition_that_fails_is_an_error_with_the_context_of_what_is_there(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        node.script = lambda request: (
            ConditionFailed(request.request, b"there") if isinstance(request, Put) else cluster.answer(request)
        )

        with pytest.raises(errors.ConditionFailed, match="nothing was written") as caught:
            client.put("k", b"v", if_absent=True)

        assert caught.value.context == b"there"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"if_absent": True, "if_context": b"c"}, "rule each other out"),
        ({"if_absent": True, "context": b"c"}, "leave it out"),
        ({"if_context": b"c", "context": b"c"}, "leave it out"),
    ],
)
def test_conditions_that_do_not_go_together_are_value_errors_of_one_line(options, text):
    with Client("127.0.0.1:1") as client, pytest.raises(ValueError, match=text) as caught:
        client.put("k", b"v", **options)

    assert "\n" not in str(caught.value)
