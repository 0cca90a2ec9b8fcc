"""The key explorer, in a browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from support.browsers import WITHIN_MS, chromium, opened
from support.served import Place, served

from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.fixtures.shape import Shape

MARKUP = "<img src=x onerror=window.hacked=1>"
expect.set_options(timeout=WITHIN_MS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[InProcessCluster]:
    with InProcessCluster(Shape()) as made:
        made.wait_until_ready()
        yield made


@pytest.fixture(scope="module")
def place(cluster: InProcessCluster) -> Iterator[Place]:
    with served(cluster) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser: Browser, place: Place) -> Iterator[Page]:
    with opened(browser, place.url) as made:
        yield made.page
        assert made.problems == []


def ask(page: Page, button: str, key: str, bucket: str = "default") -> None:
    page.get_by_label("Bucket").fill(bucket)
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name=button, exact=True).click()


def put(page: Page, key: str, value: str, kind: str = "text") -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_label("Value to put").fill(value)
    page.get_by_label("Type").select_option(kind)
    page.get_by_role("button", name="Put", exact=True).click()


def delete(page: Page, key: str) -> None:
    ask(page, "Delete", key)
    page.get_by_role("button", name=f"Delete {key}?", exact=True).click()


def leave_siblings(cluster: InProcessCluster, key: str, *values: object) -> None:
    with cluster.client() as client:
        context = client.put(key, "old")
        for value in values:
            client.put(key, value, context=context)


def test_what_is_put_is_there_for_all_clients_and_what_is_shown_is_replaced(
    page: Page, cluster: InProcessCluster
) -> None:
    put(page, "cart/one", "milk")
    expect(page.locator("article pre")).to_have_text("milk")
    put(page, "cart/one", '{"n":1}', "JSON")
    expect(page.locator("article pre")).to_have_text('{\n  "n": 1\n}')

    with cluster.client() as client:
        found = client.get("cart/one")
    assert found.value == b'{"n":1}'


def test_a_value_that_was_written_meanwhile_is_not_overwritten_unseen(page: Page, cluster: InProcessCluster) -> None:
    put(page, "meanwhile", "mine")
    expect(page.locator("article pre")).to_have_text("mine")
    with cluster.client() as client:
        client.put("meanwhile", "another's")

    put(page, "meanwhile", "mine too")

    expect(page.get_by_role("article")).to_have_count(2)


def test_a_value_that_was_written_meanwhile_is_not_deleted_unseen_and_is_shown(
    page: Page, cluster: InProcessCluster
) -> None:
    put(page, "late", "mine")
    expect(page.locator("article pre")).to_have_text("mine")
    with cluster.client() as client:
        client.put("late", "another's")

        delete(page, "late")

        expect(page.locator("#answer .note")).to_have_text(
            "Deleted what was shown; what was written meanwhile is still there."
        )
        expect(page.locator("article pre")).to_have_text("another's")
        assert client.get("late").value == "another's"


def test_nothing_is_deleted_before_the_second_press_and_it_may_come_from_the_keyboard(
    page: Page, cluster: InProcessCluster
) -> None:
    button = page.locator("[data-do=delete]")
    put(page, "sure", "x")
    expect(page.locator("article pre")).to_have_text("x")

    button.focus()
    button.press("Enter")
    expect(button).to_have_text("Delete sure?")
    expect(page.get_by_role("status").filter(has_text="Press Delete again to delete sure.")).to_be_visible()
    with cluster.client() as client:
        assert client.get("sure").value == "x"
    button.press("Enter")

    expect(page.get_by_text("Deleted.", exact=True)).to_be_visible()
    expect(button).to_have_text("Delete")
    expect(button).to_be_focused()


def test_a_delete_that_is_not_pressed_again_is_forgotten(browser: Browser, place: Place) -> None:
    with opened(browser, place.url, clock=True) as made:
        button = made.page.locator("[data-do=delete]")
        ask(made.page, "Delete", "first")
        expect(button).to_have_text("Delete first?")
        made.page.get_by_label("Key", exact=True).fill("second")
        expect(button).to_have_text("Delete")

        button.click()
        expect(button).to_have_text("Delete second?")
        made.page.clock.run_for(5_000)

        expect(button).to_have_text("Delete")


def test_siblings_are_side_by_side_and_one_of_them_settles_it(page: Page, cluster: InProcessCluster) -> None:
    leave_siblings(cluster, "siblings", "milk", "bread")

    ask(page, "Get", "siblings")

    cards = page.get_by_role("article")
    expect(cards).to_have_count(2)
    milk, bread = (cards.filter(has_text=text) for text in ("milk", "bread"))
    one, other = milk.bounding_box(), bread.bounding_box()
    assert one and other and one["y"] == other["y"] and one["x"] != other["x"]
    bread.get_by_role("button", name="Keep this one").click()
    expect(page.get_by_role("article")).to_have_count(1)
    with cluster.client() as client:
        assert client.get("siblings").value == "bread"


def hold(page: Page, key: str, accept: str) -> list[Route]:
    """Requests for the value of a key in this form, which go on when the test says so."""
    held: list[Route] = []

    def met(route: Route) -> None:
        if route.request.headers.get("accept") == accept:
            held.append(route)
        else:
            route.continue_()

    page.route(f"**/keys/{key}", met)
    return held


def let_go(page: Page, held: Route) -> None:
    """Until the page has done what it does about the answer."""
    with page.expect_event("requestfinished", lambda request: request == held.request):
        held.continue_()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_an_answer_that_comes_after_that_to_a_later_request_is_dropped(page: Page, cluster: InProcessCluster) -> None:
    with cluster.client() as client:
        client.put_many({"slow": "of slow", "quick": "of quick"})
    held = hold(page, "slow", "application/json")

    with page.expect_request("**/keys/slow"):
        ask(page, "Get", "slow")
    ask(page, "Get", "quick")
    expect(page.locator("article h3")).to_have_text("Value of quick")
    let_go(page, held[0])

    expect(page.locator("article h3")).to_have_text("Value of quick")
    expect(page.locator("article pre")).to_have_text("of quick")
    expect(page.get_by_label("Replace exactly what is shown")).to_be_enabled()


def test_a_sibling_is_kept_under_its_own_key_while_those_of_another_are_on_their_way(
    page: Page, cluster: InProcessCluster
) -> None:
    leave_siblings(cluster, "shown", "milk", "bread")
    leave_siblings(cluster, "asked", "ham", "eggs")
    ask(page, "Get", "shown")
    bread = page.get_by_role("article").filter(has_text="bread")
    expect(bread.get_by_role("heading")).to_have_text(re.compile("Sibling [12] of shown"))
    held = hold(page, "asked", "multipart/mixed")

    with page.expect_request(lambda request: request.headers.get("accept") == "multipart/mixed"):
        ask(page, "Get", "asked")
    bread.get_by_role("button", name="Keep this one").click()
    expect(page.get_by_role("article")).to_have_count(1)
    let_go(page, held[0])

    expect(page.locator("article h3")).to_have_text("Value of shown")
    expect(page.locator("article pre")).to_have_text("bread")
    with cluster.client() as client:
        assert client.get("shown").value == "bread"
        assert sorted(client.get("asked").siblings) == ["eggs", "ham"]


def test_another_key_of_the_list_is_not_deleted_by_the_second_press(page: Page, cluster: InProcessCluster) -> None:
    with cluster.client() as client:
        client.put_many({"pair-1": "x", "pair-2": "x"})
    ask(page, "List keys", "pair-")
    other = page.get_by_role("button", name="pair-2")
    expect(other).to_be_visible()
    ask(page, "Delete", "pair-1")

    other.click()

    expect(page.get_by_role("button", name="Delete", exact=True)).to_be_visible()


@pytest.mark.parametrize("value", [{"rows": [1, 2.5, None, b"\0\xff"]}, b"\r\n--x\0\xff", "žluťoučký\r\n\r\nkůň", ""])
def test_the_sibling_that_is_kept_stays_what_it_is(page: Page, cluster: InProcessCluster, value: object) -> None:
    leave_siblings(cluster, "kept", "the other", value)
    ask(page, "Get", "kept")
    expect(page.get_by_role("article")).to_have_count(2)

    page.get_by_role("article").filter(has_not_text="the other").get_by_role("button", name="Keep this one").click()

    expect(page.get_by_role("article")).to_have_count(1)
    with cluster.client() as client:
        assert client.get("kept").value == value


@pytest.mark.parametrize("value", ['{"n": 12345678901234567890}', "1.0"])
def test_json_is_never_shown_as_something_else(page: Page, value: str) -> None:
    put(page, "exact", value, "JSON")

    expect(page.locator("article pre")).to_have_text(value)


def test_data_of_python_clients_is_shown_as_json(page: Page, cluster: InProcessCluster) -> None:
    with cluster.client() as client:
        client.put("data", {"rows": [1, b"\xff"]})

    ask(page, "Get", "data")

    expect(page.locator("article pre")).to_contain_text('"base64": "/w=="')


def test_a_key_is_explained_and_its_partition_shown_in_the_ring(page: Page, cluster: InProcessCluster) -> None:
    with cluster.client() as client:
        client.put("explained", "x")
        told = client.explain("explained")

    ask(page, "Explain", "explained")

    rows = page.get_by_role("table", name="Replicas").get_by_role("row")
    expect(rows).to_have_count(4)
    expect(page.get_by_role("slider", name="Partition")).to_have_attribute("aria-valuenow", str(told.partition))
    expect(page.locator("#partition")).to_contain_text(f"Partition {told.partition}:")


def test_a_deleted_key_is_gone_and_says_why(page: Page) -> None:
    put(page, "gone", "x")
    expect(page.locator("article pre")).to_have_text("x")

    delete(page, "gone")
    expect(page.get_by_text("Deleted.", exact=True)).to_be_visible()
    ask(page, "Get", "gone")

    expect(page.get_by_text("there is a tombstone")).to_be_visible()


def test_keys_are_listed_a_page_at_a_time_and_each_leads_to_its_value(page: Page, cluster: InProcessCluster) -> None:
    with cluster.client() as client:
        client.put_many({f"row-{number:02}": str(number) for number in range(60)})

    ask(page, "List keys", "row-")
    keys = page.get_by_role("group", name="Keys").get_by_role("button")
    expect(keys).to_have_count(51)
    keys.filter(has_text="more").click()
    expect(keys).to_have_count(10)
    first = keys.first.inner_text()
    keys.first.click()

    expect(page.locator("article pre")).to_have_text(str(int(first.removeprefix("row-"))))


def test_markup_in_keys_and_values_is_text(page: Page, cluster: InProcessCluster) -> None:
    leave_siblings(cluster, MARKUP, MARKUP, f"<script>{MARKUP}</script>")

    ask(page, "Get", MARKUP)
    expect(page.get_by_role("article").get_by_text(MARKUP, exact=True)).to_be_visible()
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("table", name="Replicas")).to_be_visible()
    ask(page, "List keys", "<")
    expect(page.get_by_role("button", name=MARKUP)).to_be_visible()

    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.hacked") is None


def test_a_page_that_took_text_for_markup_would_be_stopped_by_the_browser(browser: Browser, place: Place) -> None:
    with opened(browser, place.url) as made:
        stopped = made.page.evaluate("text => { try { document.body.innerHTML = text } catch { return true } }", MARKUP)

    assert stopped is True


@pytest.mark.parametrize(("key", "said"), [("..", "takes it for a step in the path"), ("", "Give a key.")])
def test_what_a_browser_cannot_ask_for_is_said(page: Page, key: str, said: str) -> None:
    ask(page, "Get", key)

    expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible()


def test_what_the_cluster_refuses_is_said(page: Page) -> None:
    ask(page, "Get", "k" * 5000)

    expect(page.locator("#answer").get_by_role("alert")).to_be_visible()


def test_the_routes_can_be_tried_at_docs(browser: Browser, place: Place, cluster: InProcessCluster) -> None:
    with cluster.client() as client:
        client.put("tried", "milk")
    with opened(browser, f"{place.url}/docs") as made:
        route = made.page.locator("details").filter(has_text="GET/v1/buckets/{bucket}/keys/{key}")
        route.locator("summary").click()
        route.get_by_role("textbox", name="key in the path").fill("tried")
        route.get_by_role("button", name="Send").click()

        expect(route.locator("pre")).to_contain_text(re.compile("GET /v1/buckets/default/keys/tried.*200.*milk", re.S))
        assert made.problems == []
        assert {url for url in made.requested if not url.startswith(f"{place.url}/")} == set()
