"""The table of metrics and the dashboard say what the code says."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from zdynamo.core.served import OUTCOMES
from zdynamo.http.metrics import exposition

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "metrics.py"))


def series_of(generator: dict[str, Any]) -> dict[str, set[str]]:
    """By name of a series the labels that it has."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition(*generator["example"]()).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {"instance", "job"}).update(sample.labels)
    return found


def queries() -> list[str]:
    panels = json.loads((ROOT / "configs" / "grafana" / "zdynamo.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_the_table_is_what_the_code_makes_it(generator: dict[str, Any]) -> None:
    _, _, rest = (ROOT / "docs" / "metrics.md").read_text().partition(generator["BEGIN"])

    assert rest == generator["table"]() + generator["END"], "run `make metrics`"


def test_the_dashboard_is_what_the_generator_makes_it(generator: dict[str, Any]) -> None:
    assert (ROOT / "configs" / "grafana" / "zdynamo.json").read_text() == generator["dashboard"](), "run `make metrics`"


def test_every_query_of_the_dashboard_names_series_and_labels_that_exist(generator: dict[str, Any]) -> None:
    series = series_of(generator)

    assert len(queries()) > 20
    for query in queries():
        named = re.findall(r"zdynamo_\w+", query)
        labels = {label for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(", ")}
        labels |= set(re.findall(r"(\w+)=~?\"", query))
        assert named and set(named) <= series.keys(), query
        assert labels <= set().union(*(series[name] for name in named)), query


def test_queries_in_the_docs_name_series_that_exist(generator: dict[str, Any]) -> None:
    head = (ROOT / "docs" / "metrics.md").read_text().partition(generator["BEGIN"])[0]
    series = series_of(generator) | dict.fromkeys(("zdynamo_request_duration_seconds",))

    assert set(re.findall(r"zdynamo_[a-z_]+", head)) <= series.keys()


def test_every_alert_names_series_labels_and_outcomes_that_exist(generator: dict[str, Any]) -> None:
    series = series_of(generator) | {"up": {"instance", "job"}}
    (group,) = yaml.safe_load((ROOT / "configs" / "prometheus" / "alerts.yml").read_text())["groups"]

    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"]) > 10
    for rule in group["rules"]:
        named = re.findall(r"\bzdynamo_\w+|\bup\b", rule["expr"])
        labels = {label for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in by.split(", ")}
        labels |= set(re.findall(r"(\w+)=~?\"", rule["expr"]))
        labels |= set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert named and set(named) <= series.keys(), rule["alert"]
        assert labels <= set.intersection(*(series[name] for name in named)), rule["alert"]
        outcomes = {outcome for some in re.findall(r'outcome=~?"([^"]*)"', rule["expr"]) for outcome in some.split("|")}
        assert outcomes <= set(OUTCOMES.values()), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "action"}


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    document = json.loads((ROOT / "configs" / "grafana" / "zdynamo.json").read_text())
    places = [tuple(panel["gridPos"].values()) for panel in document["panels"]]
    cells = [(x + dx, y + dy) for x, y, width, height in places for dx in range(width) for dy in range(height)]

    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
