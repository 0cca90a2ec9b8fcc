"""What is in configs/deploy starts nodes: its settings, command lines, ports, paths and files are those of the code."""

import configparser
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from zdynamo.cli.main import app
from zdynamo.config import CLIENT_PORT, Config
from zdynamo.http.app import RESOURCES
from zdynamo.loading import load
from zdynamo.threads.server import STOP_S
from zdynamo.threads.settings import addresses_of

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "configs" / "deploy"
PORTS = list(range(CLIENT_PORT, CLIENT_PORT + 4))
HTTP_PORT = PORTS[3]
NAMESPACE = "storage"


def settings_of(variables: dict[str, str], arguments: list[str]) -> Config:
    """Of a node that is started with these. Raises what the program would."""
    verb = typer.main.get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    verb.make_context("zdynamo start", arguments[1:])
    return load(None, variables, {})


def merged(document: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in document.items()}


# systemd


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "zdynamo.service").read_text())
    return parser


def test_the_unit_starts_a_node_that_keeps_its_data_where_it_may_write(unit: configparser.ConfigParser) -> None:
    program, verb, option, path = shlex.split(unit["Service"]["ExecStart"])
    example = load(ROOT / "configs" / "three" / "a.toml", {}, {})

    settings_of({}, [verb, option, path])
    assert program.endswith("/bin/zdynamo")
    assert example.node.data == f"/var/lib/{unit['Service']['StateDirectory']}"


def test_the_unit_lets_a_node_end_by_itself(unit: configparser.ConfigParser) -> None:
    assert float(unit["Service"]["TimeoutStopSec"]) > 2 * STOP_S
    assert unit["Service"]["KillMode"] == "mixed"
    assert "ProcSubset" not in unit["Service"]  # else the boot id cannot be read


# Docker


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """Instructions with their arguments."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in lines if line.strip()]


def variables_of(dockerfile: list[tuple[str, str]]) -> dict[str, str]:
    return dict(argument.split("=", 1) for kind, argument in dockerfile if kind == "ENV")


def test_the_image_copies_what_exists_and_is_not_ignored(dockerfile: list[tuple[str, str]]) -> None:
    copied = [name for kind, said in dockerfile if kind == "COPY" for name in said.split()[:-1]]
    kept = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)

    assert sorted(copied) == sorted(kept)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_image_starts_a_node_as_a_user_of_its_own(dockerfile: list[tuple[str, str]]) -> None:
    said = dict(dockerfile)

    assert json.loads(said["ENTRYPOINT"]) == ["zdynamo"]
    config = settings_of(variables_of(dockerfile), json.loads(said["CMD"]))
    assert config.node.data == json.loads(f'"{said["VOLUME"]}"') == "/data"
    assert said["USER"] == "10001:10001"
    assert list(map(int, said["EXPOSE"].split())) == PORTS


def test_the_image_asks_for_health_where_http_is(dockerfile: list[tuple[str, str]]) -> None:
    _, program = dict(dockerfile)["HEALTHCHECK"].split("CMD ", 1)
    python, option, code = json.loads(program)

    assert (python, option) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert re.findall(r"http://[^']+", code) == [f"http://127.0.0.1:{HTTP_PORT}/healthz"]


# Compose


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    return document


def test_compose_makes_one_cluster_of_three(compose: dict[str, Any], dockerfile: list[tuple[str, str]]) -> None:
    nodes = {name: service for name, service in compose["services"].items() if service["image"] == "zdynamo"}

    configs = {
        name: settings_of(variables_of(dockerfile) | merged(node["environment"]), ["start"])
        for name, node in nodes.items()
    }
    assert [addresses_of(config).client for config in configs.values()] == [f"{name}:{CLIENT_PORT}" for name in nodes]
    for name, config in configs.items():
        assert config.node.name == nodes[name]["hostname"] == name
        assert config.cluster.seeds == [f"{each}:{CLIENT_PORT}" for each in nodes]
        assert config.cluster.min_members == len(nodes) == 3
        assert nodes[name]["volumes"] == [f"data-{name}:/data"]
        assert f"data-{name}" in compose["volumes"]


def test_compose_opens_ports_to_this_machine_alone(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service["ports"]]

    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.rpartition(":")[0] for port in ports}) == len(ports) == 5


def test_compose_mounts_and_builds_what_exists(compose: dict[str, Any]) -> None:
    sources = [source.split(":")[0] for each in compose["services"].values() for source in each["volumes"]]
    build = compose["services"]["a"]["build"]

    assert [source for source in sources if source.startswith(".") and not (DEPLOY / source).is_dir()] == []
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_prometheus_scrapes_the_nodes_of_compose_and_grafana_reads_from_it(compose: dict[str, Any]) -> None:
    scraped = yaml.safe_load((ROOT / "configs" / "prometheus" / "prometheus.yml").read_text())
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "datasources" / "prometheus.yml").read_text())["datasources"]
    (boards,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards" / "zdynamo.yml").read_text())["providers"]
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert scraped["scrape_configs"][0]["static_configs"][0]["targets"] == [f"{name}:{HTTP_PORT}" for name in "abc"]
    assert [(ROOT / "configs" / "prometheus" / name).is_file() for name in scraped["rule_files"]] == [True]
    assert source["url"] == "http://prometheus:9090"
    assert home == f"{boards['options']['path']}/zdynamo.json"
    assert (ROOT / "configs" / "grafana" / "zdynamo.json").is_file()


# Kubernetes


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """By kind and name."""
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "zdynamo.yaml").read_text())
    return {f"{each['kind']}/{each['metadata']['name']}": each["spec"] for each in documents}


@pytest.fixture
def pod(cluster: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = cluster["StatefulSet/zdynamo"]["template"]["spec"]
    return spec


def variables_in_pod(container: dict[str, Any], number: int) -> dict[str, str]:
    """As Kubernetes makes them: `$(NAME)` stands for a variable before it."""
    fields = {"metadata.name": f"zdynamo-{number}", "metadata.namespace": NAMESPACE}
    found: dict[str, str] = {}
    for variable in container["env"]:
        if "valueFrom" in variable:
            found[variable["name"]] = fields.get(variable["valueFrom"]["fieldRef"]["fieldPath"], "")
        else:
            found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda named: found[named[1]], variable["value"])
    return found


def test_the_pods_make_one_cluster(cluster: dict[str, Any], pod: dict[str, Any]) -> None:
    service = cluster["StatefulSet/zdynamo"]["serviceName"]
    (container,) = pod["containers"]
    replicas = cluster["StatefulSet/zdynamo"]["replicas"]

    configs = [
        settings_of({"ZDYNAMO_NODE_DATA": "/data"} | variables_in_pod(container, number), container["args"])
        for number in range(replicas)
    ]
    addresses = [addresses_of(config).client for config in configs]
    assert addresses == [f"zdynamo-{number}.{service}.{NAMESPACE}.svc:{CLIENT_PORT}" for number in range(replicas)]
    assert all(config.cluster.seeds == addresses for config in configs)
    assert all(config.cluster.min_members == replicas for config in configs)
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]


def test_pods_find_each_other_before_they_are_ready_and_get_no_variables_that_nodes_refuse(
    cluster: dict[str, Any], pod: dict[str, Any]
) -> None:
    headless = cluster["Service/zdynamo"]

    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True
    assert cluster["StatefulSet/zdynamo"]["podManagementPolicy"] == "Parallel"
    assert pod["enableServiceLinks"] is False


def test_pods_are_asked_where_http_is_and_at_paths_that_exist(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    paths = {resource.template for resource in RESOURCES}

    assert sorted(ports.values()) == PORTS
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = container[probe]["httpGet"]
        assert (ports[asked["port"]], asked["path"]) == (HTTP_PORT, path)
        assert path in paths


def test_everything_selects_the_pods(cluster: dict[str, Any]) -> None:
    labels = cluster["StatefulSet/zdynamo"]["template"]["metadata"]["labels"]

    assert cluster["Service/zdynamo"]["selector"] == labels
    assert cluster["Service/zdynamo-http"]["selector"] == labels
    for kind in ("StatefulSet/zdynamo", "PodDisruptionBudget/zdynamo"):
        assert cluster[kind]["selector"]["matchLabels"] == labels
    assert cluster["NetworkPolicy/zdynamo"]["podSelector"]["matchLabels"] == labels
    assert cluster["PodDisruptionBudget/zdynamo"]["maxUnavailable"] == 1
