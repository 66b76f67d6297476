"""The compose file, as it is written: services are confined, secrets are files. docker/test_compose.py runs it."""

import re
from pathlib import Path

import pytest

from tests.deploy.files import ROOT, compose

SERVICES = sorted(compose()["services"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert {"cpus", "mem_limit", "pids_limit"} <= set(service)
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not {"privileged", "network_mode", "pid", "devices", "cap_add"} & set(service)
    assert "restart" in service
    if service["restart"] != "no":  # it is to run on
        assert service["restart"] == "unless-stopped"
        assert "healthcheck" in service or "HEALTHCHECK" in stage(service["build"]["target"])


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_built_here_or_of_an_exact_version(name: str) -> None:
    service = compose()["services"][name]
    assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files_that_are_defined(name: str) -> None:
    """And no environment variable has a password in it."""
    defined, service = compose()["secrets"], compose()["services"][name]
    secrets = service.get("secrets", [])
    assert set(secrets) <= set(defined)
    for variable, value in service.get("environment", {}).items():
        assert not re.search(r"PASSWORD|SECRET|TOKEN|KEY", variable) or variable.endswith("_FILE"), variable
        if str(value).startswith("/run/secrets/"):
            assert Path(value).name in secrets


def test_files_of_secrets_in_the_repository_hold_none() -> None:
    """They are what stands for one where none is set; Grafana's password has no such thing."""
    defaults = {
        name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", secret["file"]) for name, secret in compose()["secrets"].items()
    }
    kept = {name: (ROOT / path).read_text("utf-8") for name, path in defaults.items() if (ROOT / path).is_file()}
    assert kept == {
        "redis_url": "redis://redis:6379/0\n",
        "redis_acl": "user default on nopass ~* &* +@all\nuser health on nopass -@all +ping\n",
        "metrics_key": "none\n",
    }
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert f"/{Path(defaults['grafana_password']).parent}" in ignored


def test_redis_is_in_no_network_with_a_way_in_or_out() -> None:
    networks, services = compose()["networks"], compose()["services"]
    assert all(networks[name].get("internal") for name in services["redis"]["networks"])
    assert not set(services["redis"]["networks"]) & set(
        services["grafana"]["networks"] + services["prometheus"]["networks"]
    )


def stage(target: str) -> str:
    """A target's part of the Dockerfile."""
    parts = re.split(r"^FROM ", (ROOT / "docker" / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    [found] = [part for part in parts if re.match(rf"\S+ AS {target}$", part, re.MULTILINE)]
    return found
