"""The deployment files name commands, settings, paths and ports that exist, and are what their tools take."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from pydantic import ValidationError

from case_orders import keyring
from case_orders.cli import app
from case_orders.edge import contract
from case_orders.edge.server import GRACE_SECONDS
from case_orders.keyring import KeysUnusable
from case_orders.settings import Settings

ROOT = Path(__file__).parents[2]
KUBERNETES_VERSION = "1.33"
SETTINGS = {f"CASE_ORDERS_{name.upper()}" for name in Settings.model_fields}
PROBES = {operation.path for operation in contract.operations().values() if operation.at_root}
MANIFESTS = [
    pytest.param(manifest, id=f"{path.stem}-{manifest['kind']}")
    for path in sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def _each(value: Any, name: str) -> Iterator[Any]:
    """Everything that stands under `name` somewhere in a value."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == name:
                yield item
            yield from _each(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _each(item, name)


def _require_command(arguments: list[str]) -> None:
    """Parsed as the command line would be, and not run."""
    name, *rest = arguments
    typer.main.get_command(app).commands[name].make_context(name, rest)


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_is_what_kubernetes_takes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_runs_commands_that_exist(manifest: dict[str, Any]) -> None:
    for arguments in _each(manifest, "args"):
        _require_command(arguments)


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_manifest_asks_probes_that_exist_at_the_port_that_is_listened_at(manifest: dict[str, Any]) -> None:
    assert {get["path"] for get in _each(manifest, "httpGet")} <= PROBES
    assert set(_each(manifest, "containerPort")) <= {Settings.model_fields["port"].default}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_pod_is_given_the_time_it_takes_to_leave(manifest: dict[str, Any]) -> None:
    drain = next(float(value) for param in MANIFESTS for value in _each(param.values[0], "CASE_ORDERS_DRAIN_SECONDS"))
    for seconds in _each(manifest, "terminationGracePeriodSeconds"):
        assert seconds > drain + GRACE_SECONDS


def test_the_files_set_only_what_can_be_set() -> None:
    texts = [DOCKERFILE, (ROOT / "compose.yaml").read_text()]
    texts += [path.read_text() for path in (ROOT / "deploy/kubernetes").glob("*.yaml")]
    assert {name for text in texts for name in re.findall(r"\bCASE_ORDERS_[A-Z_]+", text)} <= SETTINGS


def _set(name: str) -> dict[str, str]:
    """What each kind of deployment sets a setting to, where the operator sets nothing."""
    config = yaml.safe_load((ROOT / "deploy/kubernetes/config.yaml").read_text())["data"]
    asked = COMPOSE["services"]["api"]["environment"]
    return {"kubernetes": config[name], "compose": re.sub(r"\$\{\w+:-(.*)\}", r"\1", asked[name])}


@pytest.mark.parametrize("kind", ["kubernetes", "compose"])
def test_callers_behind_the_proxy_of_a_deployment_have_addresses_of_their_own(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASE_ORDERS_TRUSTED_PROXIES", _set("CASE_ORDERS_TRUSTED_PROXIES")[kind])
    trusted = [ip_network(network) for network in Settings().trusted_proxies]
    assert trusted
    assert all(network.is_private and not network.is_loopback for network in trusted)


@pytest.mark.parametrize("name", ["CASE_ORDERS_LINK_SECRET", "CASE_ORDERS_ENCRYPTION_KEYS"])
def test_a_secret_that_everybody_can_read_in_the_example_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = yaml.safe_load((ROOT / "deploy/kubernetes/secret.example.yaml").read_text())["stringData"]
    monkeypatch.setenv("CASE_ORDERS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(name, example[name])
    with pytest.raises((ValidationError, KeysUnusable)):
        keyring.install_for(Settings())


def test_the_image_has_what_an_optional_setting_needs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installs = re.findall(r"^RUN uv sync (.+)$", DOCKERFILE, re.M)
    assert len(installs) == 2
    for extra in extras:
        assert all(f"--extra {extra}" in install for install in installs)


def test_compose_runs_three_apis_and_three_workers_with_commands_that_exist() -> None:
    services = COMPOSE["services"]
    assert {name: services[name]["deploy"]["replicas"] for name in ("api", "worker")} == {"api": 3, "worker": 3}
    for name in ("migrate", "api", "worker"):
        _require_command(services[name]["command"])


def test_the_image_holds_what_the_package_is_built_from_and_runs_a_command_that_exists() -> None:
    copied = {word for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.M) for word in shlex.split(line)}
    assert copied == {
        "pyproject.toml",
        "uv.lock",
        "README.md",
        "LICENSE",
        "openapi.yaml",
        "handlers",
        "models",
        "case_orders",
    }
    assert {f"!{name}" for name in copied} <= set((ROOT / ".dockerignore").read_text().splitlines())
    (command,) = re.findall(r"^CMD (\[.+\])$", DOCKERFILE, re.M)
    _require_command(yaml.safe_load(command))
