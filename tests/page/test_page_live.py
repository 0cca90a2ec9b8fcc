"""The page itself, in a browser: what it shows of a cluster, and of one in which something is wrong."""

import colorsys
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from killable import kill, wait_until
from playwright.sync_api import Browser, Page, expect
from support.browsers import WITHIN_MS, chromium, opened
from support.local import local
from support.moments import description
from support.moments import moment as moment_of
from support.processes import Nodes
from support.served import Place, served

from zdynamo.cli.cluster import free_ports
from zdynamo.figures.live import layout_document, moment_document
from zdynamo.figures.moments import Moment
from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.fixtures.shape import Shape
from zdynamo.http.audience import LATER_S, STREAMS_MAX
from zdynamo.messages import HintsHeld

HTTP = "--http=process"
KILL_SHOWN_MS = 3_000
PHONE = 360
HOSTILE = "<img src=x onerror=window.hacked=1>"
LONG = "n" * 200
ANYTHING = re.compile(".")
expect.set_options(timeout=WITHIN_MS)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with InProcessCluster(Shape()) as cluster, served(cluster) as made:
        cluster.wait_until_ready()
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def node(name: str, state: str, **more: Any) -> dict[str, Any]:
    named = {"id": name, "name": name, "address": f"{name}:1", "http": "", "zone": "", "state": state, "phi": 0}
    return {**named, "owns": 4, **more}


def told(*nodes: dict[str, Any], cluster: str = "c") -> str:
    """A stream: four partitions, each with all nodes as its owners."""
    ids = [node["id"] for node in nodes]
    layout = {"layout": 1, "partitions": 4, "n": 3, "ids": ids, "owners": [list(range(len(ids)))] * 4}
    moment = {
        "at_ms": 1_000,
        "cluster": cluster,
        "seen_by": ids[0],
        "layout": 1,
        "agree": {"members": True},
        "quorum": 2,
        "total": None,
        "nodes": nodes,
    }
    return event("layout", layout) + event("moment", moment)


def event(name: str, document: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(document)}\n\n"


def looked_at(*looks: Moment) -> str:
    """A stream: what a process tells of these looks, each a second after the one before."""
    pairs = zip((None, *looks), looks, strict=False)
    moments = [moment_document(before, after, 1_000 * at) for at, (before, after) in enumerate(pairs)]
    return "".join([event("layout", layout_document(looks[0].topology)), *(event("moment", each) for each in moments)])


def load(**requests: float) -> dict[str, Any]:
    """Of a node or of all; each kind of request a second, 1 ms half of the time and hardly ever more than 20."""
    return {
        "busy": 0.5,
        "requests_per_s": {"put": 0.0, "get": 0.0, "delete": 0.0, **requests},
        "latency_ms": {kind: {"p50": 1.0, "p99": 20.0} for kind in ("put", "get", "delete")},
        "failed_per_s": 0.0,
        "brought_per_s": {"read_repair": 0.0, "anti_entropy": 0.0, "transfer": 0.0, "handoff": 0.0},
    }


def ground_of(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def width_of(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def test_it_shows_the_cluster_without_a_complaint_and_asks_nobody_else(browser: Browser, place: Place) -> None:
    with opened(browser, place.url) as made:
        page = made.page
        expect(page.locator("#connection")).to_have_text("live")
        expect(page.locator("#headline")).to_have_text("3 of 3 nodes alive · layout 1 · all agree")
        expect(page.get_by_role("table", name="Nodes").get_by_role("row")).to_have_count(4)
        expect(page.locator("[data-node=a] td").nth(3)).to_have_text("0")  # rates, from the second look on
        expect(page.get_by_text("Nothing is under way")).to_be_visible()
        expect(page.locator(".chart path.line-0[d*=L]")).not_to_have_count(0)

        assert made.problems == []
        assert {url for url in made.requested if not url.startswith(f"{place.url}/")} == set()


def test_a_kill_is_shown_within_three_seconds(browser: Browser) -> None:
    with (
        local("--memory", f"--port={free_ports(3)}", http=True) as cluster,
        opened(browser, cluster.nodes[0]["http"]) as made,
    ):
        page = made.page
        expect(page.locator("#headline")).to_contain_text("3 of 3 nodes alive")
        expect(page.locator(".marks[data-state=down]")).to_have_count(0)

        os.kill(cluster.nodes[1]["pid"], signal.SIGKILL)

        expect(page.locator("#headline")).to_contain_text("2 of 3 nodes alive", timeout=KILL_SHOWN_MS)
        expect(page.locator("[data-node=b]")).to_contain_text("✕ down")
        expect(page.locator(".legend")).to_contain_text("b ✕ down")
        expect(page.locator(".ring text.down")).to_have_text("✕ b down")
        expect(page.locator(".marks[data-state=down][fill='url(#mark-down)']")).to_have_count(3)  # in each band
        expect(page.locator(".ring .fewer")).to_have_count(1)
        assert made.problems == []


def test_a_page_whose_node_is_gone_says_so_and_goes_on_when_it_is_back(browser: Browser, nodes: Nodes) -> None:
    first = nodes.start("a", 0, "--found", HTTP)
    wait_until(lambda: is_served(first.http))
    with opened(browser, first.http) as made:
        page = made.page
        expect(page.locator("#connection")).to_have_text("live")

        kill(first)
        expect(page.get_by_role("alert").filter(has_text="Connection lost since")).to_be_visible()
        expect(page.locator("#connection")).to_have_text("connection lost")

        nodes.again(first, HTTP)
        expect(page.locator("#connection")).to_have_text("live")
        expect(page.locator("#banner")).to_be_hidden()


def is_served(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping"):
            return True
    except OSError:
        return False


@contextmanager
def streams_used_up(place: Place) -> Iterator[str]:
    """Until one more was refused; with the words of the refusal."""
    with ExitStack() as streams:
        for _ in range(STREAMS_MAX + 1):
            try:
                streams.enter_context(urllib.request.urlopen(f"{place.url}/v1/events"))
            except urllib.error.HTTPError as refused:
                with refused:
                    yield json.load(refused)["error"]["message"]
                return
        pytest.fail("never refused")


def test_a_page_too_many_says_why_and_comes_again_when_it_was_told_to(browser: Browser, place: Place) -> None:
    with opened(browser, "about:blank", clock=True) as made:
        page = made.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url.partition("/v1/")[2]))

        with streams_used_up(place) as said:
            page.goto(place.url)
            expect(
                page.get_by_role("alert").filter(has_text=f"{said}. Trying again in {LATER_S} s ...")
            ).to_be_visible()
            expect(page.locator("#connection")).to_have_text("refused")
            page.clock.pause_at(page.evaluate("Date.now() / 1000") + 1)
            page.clock.run_for((LATER_S - 3) * 1_000)
            assert list(filter(None, asked)) == ["events", "events?limit=1"]

        page.clock.resume()
        expect(page.locator("#connection")).to_have_text("live")
        expect(page.locator("#banner")).to_be_hidden()


def test_fewer_owners_alive_than_a_quorum_needs_are_told_apart_from_one_that_is_missing(
    browser: Browser, place: Place
) -> None:
    events = told(node("a", "alive"), node("b", "down", error="down"), node("c", "unreachable", error="no answer"))
    with opened(browser, place.url, events=events) as made:
        page = made.page
        expect(page.locator(".ring .few")).to_have_count(1)
        expect(page.locator(".ring .fewer")).to_have_count(0)

        page.get_by_role("slider", name="Partition").press("ArrowRight")

        expect(page.locator("#partition")).to_have_text(
            "Partition 0: a, b (down), c (unreachable). Fallbacks stand in: fewer owners are alive than R or W needs."
        )


def test_the_owners_of_a_partition_are_shown_to_pointer_and_keyboard(browser: Browser, place: Place) -> None:
    events = told(node("a", "alive", zone="eu"), node("b", "alive", zone="us"))
    with opened(browser, place.url, events=events) as made:
        page, ring = made.page, made.page.get_by_role("slider", name="Partition")
        expect(page.get_by_role("group", name="zone eu")).to_have_text("zone eua")
        box = ring.bounding_box()
        assert box

        ring.hover(position={"x": box["width"] * 0.85, "y": box["height"] * 0.45})
        expect(page.locator("#partition")).to_have_text("Partition 0: a in eu, b in us.")
        page.mouse.move(0, 0)
        expect(page.locator("#partition")).to_have_text("")
        ring.click(position={"x": box["width"] * 0.85, "y": box["height"] * 0.55})
        page.mouse.move(0, 0)
        expect(page.locator("#partition")).to_have_text("Partition 1: a in eu, b in us.")
        ring.press("ArrowRight")
        expect(ring).to_have_attribute("aria-valuenow", "2")
        ring.press("End")
        expect(ring).to_have_attribute("aria-valuetext", "Partition 3: a in eu, b in us.")


def test_names_from_the_cluster_are_text_wherever_they_are_shown(browser: Browser, place: Place) -> None:
    held = [{"target": HOSTILE, "count": 1, "bytes": 1, "held_ms": 1}]
    bad = node(HOSTILE, HOSTILE, zone=HOSTILE, address=HOSTILE, notices=[HOSTILE], hints=held, uptime_ms=1)
    silent = node("b", "suspect", error=HOSTILE)
    with opened(browser, place.url, events=told(bad, silent, cluster=HOSTILE)) as made:
        page = made.page
        expect(page.locator("#seen-by")).to_have_text(f"Cluster {HOSTILE}, as {HOSTILE} sees it.")
        for part in ("#nodes", "#legend", "#under-way"):
            expect(page.locator(part)).to_contain_text(HOSTILE)
        page.get_by_role("slider", name="Partition").press("ArrowRight")

        assert page.locator("img[src=x]").count() == 0
        assert page.evaluate("window.hacked") is None


def test_transfers_and_repairs_are_those_that_the_nodes_count(browser: Browser, place: Place) -> None:
    before = moment_of(description("a", uptime_ms=1_000), description("b", uptime_ms=1_000))
    after = moment_of(
        description("a", uptime_ms=2_000, partitions__unsettled=3, pulls__records=40),
        description("b", uptime_ms=2_000, compare__known=1, compare__known_ms=90_000, repairs__sent=2),
    )
    with opened(browser, place.url, events=looked_at(before, after)) as made:
        expect(made.page.locator("#under-way li")).to_have_text(
            [
                "transfera gets 3 partitions from the other owners: 40 records/s",
                "repairb knows of 1 partition that differ from another owner's, the oldest for 1 min 30 s",
                "repair2 records/s brought by read repair",
                "repair40 records/s brought by transfer",
            ]
        )


def test_lines_are_of_all_nodes_or_of_the_one_that_is_chosen(browser: Browser, place: Place) -> None:
    looks = [
        moment_of(
            description("a", uptime_ms=1_000 * at, puts_us=(700,) * 10 * at, held=(HintsHeld("b", 5, 10, 1),)),
            description("b", uptime_ms=1_000 * at, puts_us=(700,) * 2 * at, missed=3 * at),
        )
        for at in (1, 2, 3, 4)
    ]
    with opened(browser, place.url, events=looked_at(*looks)) as made:
        page = made.page
        requests, latency, held = (
            page.locator("figure.chart").filter(has_text=title)
            for title in ("Requests a second", "Latency", "Records held")
        )
        expect(requests.locator(".line")).to_have_text(["put 15", "get 0", "delete 0", "failed 3"])
        line = requests.locator("path.line-0").first
        expect(line).to_have_attribute("d", re.compile(r"M[\d. ]+L[\d. ]+L[\d. ]+"))
        expect(latency.locator(".line").first).to_have_text("put p50 0.7 ms")
        expect(held.locator(".line")).to_have_text("held 5")

        page.get_by_label("of").select_option("b")

        expect(requests.locator(".line")).to_have_text(["put 5", "get 0", "delete 0", "failed 3"])
        expect(held.locator(".line")).to_have_text("held 0")


def test_a_page_out_of_sight_lets_go_of_its_stream_after_half_a_minute_until_it_is_seen(
    browser: Browser, place: Place
) -> None:
    with opened(browser, place.url, clock=True) as made:
        page = made.page
        expect(page.locator("#connection")).to_have_text("live")
        ended: list[str] = []
        page.on("requestfailed", lambda request: ended.append(request.url))
        page.clock.pause_at(page.evaluate("Date.now() / 1000") + 1)

        turn(page, hidden=True)
        page.clock.run_for(29_000)
        assert ended == []
        with page.expect_event("requestfailed"):
            page.clock.run_for(2_000)
        assert ended == [f"{place.url}/v1/events"]

        with page.expect_request("**/v1/events"):
            turn(page, hidden=False)
        expect(page.locator("#connection")).to_have_text("live")


def turn(page: Page, *, hidden: bool) -> None:
    """Out of sight or into it, which a browser without a window never is."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')) }",
        hidden,
    )


def test_nodes_of_a_zone_have_shades_of_one_hue_and_those_of_another_zone_have_another(
    browser: Browser, place: Place
) -> None:
    zones = {"a": "eu", "b": "us", "c": "eu", "d": "us", "e": "eu"}
    with opened(browser, place.url, events=told(*(node(name, "alive", zone=zones[name]) for name in zones))) as made:
        page = made.page
        eu, us = ([colour_of(page, name) for name in zones if zones[name] == zone] for zone in ("eu", "us"))

    assert len({*eu, *us}) == 5
    hues = [[colorsys.rgb_to_hls(*colour)[0] * 360 for colour in zone] for zone in (eu, us)]
    assert all(max(zone) - min(zone) < 3 for zone in hues)
    assert abs(hues[0][0] - hues[1][0]) > 60


def colour_of(page: Page, name: str) -> tuple[float, ...]:
    swatch = page.locator(f"[data-node={name}] .swatch")
    return tuple(int(part) / 255 for part in re.findall(r"\d+", swatch.evaluate("it => it.style.backgroundColor"))[:3])


def test_the_name_of_a_node_leads_to_its_own_page_where_it_has_one(browser: Browser, place: Place) -> None:
    events = told(
        node("tcp", "alive", http="10.0.0.1:7403"),
        node("six", "alive", http="[::1]:7403"),
        node("inproc", "alive", http="inproc://six-http"),
        node("script", "alive", http="javascript:alert(1)"),
        node("none", "down"),
    )
    with opened(browser, place.url, events=events) as made:
        links = made.page.get_by_role("table", name="Nodes").get_by_role("link")
        expect(links).to_have_text(["tcp", "six"])

        assert [link.get_attribute("href") for link in links.all()] == ["http://10.0.0.1:7403/", "http://[::1]:7403/"]


@pytest.mark.parametrize(("width", "seen"), [(PHONE, False), (1300, True), (1310, False), (1500, True)])
def test_how_much_a_node_owns_is_shown_where_there_is_room(
    browser: Browser, place: Place, width: int, seen: bool
) -> None:
    store = {"keys": 123_456, "disk_bytes": 2**34, "free_bytes": 1}
    events = told(node("a", "alive", load=load(put=1_234.0, get=56_789.0), hints=[], store=store, uptime_ms=1))
    with opened(browser, place.url, width=width, events=events) as made:
        owns = made.page.locator("[data-node=a] [data-title=Owns]")
        expect(owns).to_have_text("4")
        table, room = (made.page.locator(each).bounding_box() for each in ("#nodes table", "#nodes"))

        assert owns.is_visible() is seen
        assert table and room and table["width"] <= room["width"]


@pytest.mark.parametrize("name", ["a", LONG])
def test_a_phone_never_scrolls_sideways(browser: Browser, place: Place, name: str) -> None:
    hints = [{"target": name, "count": 10**9, "bytes": 10**15, "held_ms": 10**12}]
    other = node("b", "down", error="down")
    events = told(node(name, "alive", zone=name, address=name, hints=hints, notices=[name], uptime_ms=1), other)
    with opened(browser, place.url, width=PHONE, events=events) as made:
        page = made.page
        expect(page.locator("#under-way li")).to_have_count(2)
        assert width_of(page) <= PHONE

        page.get_by_label("Key", exact=True).fill(name)
        page.get_by_label("Value to put").fill(name * 20)
        page.get_by_role("button", name="Put", exact=True).click()
        expect(page.get_by_role("article")).to_have_count(1)
        page.get_by_role("button", name="Explain").click()
        expect(page.get_by_role("table", name="Replicas")).to_be_visible()
        assert width_of(page) <= PHONE


def test_light_and_dark_follow_the_system(browser: Browser, place: Place) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        with opened(browser, place.url, scheme=scheme) as made:
            grounds[scheme] = sum(map(int, ground_of(made.page).strip("rgb()").split(",")))

    assert grounds["dark"] < 128 < 640 < grounds["light"]


def test_all_that_can_be_used_has_a_name(browser: Browser, place: Place) -> None:
    with opened(browser, place.url) as made:
        page = made.page
        expect(page.get_by_role("meter")).to_have_count(3)
        for role in ("button", "textbox", "combobox", "checkbox", "slider", "table", "meter"):
            of_role = page.get_by_role(role)  # type: ignore[arg-type]
            assert of_role.count() > 0, role
            for at in range(of_role.count()):
                expect(of_role.nth(at)).to_have_accessible_name(ANYTHING)

        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the key explorer")).to_be_focused()
