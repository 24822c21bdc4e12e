"""What docker-compose.yml promises about its services, read by docker compose itself; no daemon needed."""

import json
import subprocess
from typing import Any

import pytest

from components import ROOT, require

SERVICES = ("collector", "collector-storage", "driftmeter", "grafana", "prometheus")
SHORT_LIVED = {"collector-storage"}
WITHOUT_SHELL = {"collector"}


@pytest.fixture(scope="module", name="stack")
def read_stack() -> dict[str, Any]:
    """The file as docker compose understands it."""
    arguments = ["--file", str(ROOT / "docker-compose.yml"), "config", "--format", "json"]
    read = subprocess.run([require("docker-compose"), *arguments], check=True, capture_output=True, text=True)
    stack: dict[str, Any] = json.loads(read.stdout)
    return stack


def test_services_are_the_ones_checked_here(stack: dict[str, Any]) -> None:
    """A service that is added is checked too."""
    assert sorted(stack["services"]) == sorted(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_service_may_do_no_more_than_it_must(stack: dict[str, Any], name: str) -> None:
    """Read-only root, no capabilities, no new privileges, bounded memory and logs."""
    service = stack["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["mem_limit"]) > 0
    assert service["logging"]["options"] == {"max-size": "5m", "max-file": "2"}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - SHORT_LIVED))
def test_service_that_stays_has_a_user_and_comes_back(stack: dict[str, Any], name: str) -> None:
    """Nothing that listens runs as root; what ends is started again."""
    service = stack["services"][name]
    image_says = name == "driftmeter" and "USER 10001:10001" in (ROOT / "Dockerfile").read_text()
    assert image_says or service["user"].partition(":")[0] not in {"", "0", "root"}
    assert service["restart"] == "unless-stopped"
    assert "cap_add" not in service


@pytest.mark.parametrize("name", sorted(set(SERVICES) - SHORT_LIVED - WITHOUT_SHELL))
def test_service_has_a_health_check(stack: dict[str, Any], name: str) -> None:
    """The file or the image says how to tell whether the service works."""
    of_image = name == "driftmeter" and "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    assert of_image or stack["services"][name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_pinned_to_a_version(stack: dict[str, Any], name: str) -> None:
    """No image is the latest of anything."""
    _, _, tag = stack["services"][name]["image"].partition(":")
    assert any(character.isdigit() for character in tag)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(stack: dict[str, Any], name: str) -> None:
    """Nothing is open to the network unless somebody opens it."""
    assert all(port["host_ip"] == "127.0.0.1" for port in stack["services"][name].get("ports", ()))


def test_ports_are_the_usual_ones(stack: dict[str, Any]) -> None:
    """Without PORT_ variables everything is where its users look for it."""
    published = {port["published"] for service in stack["services"].values() for port in service.get("ports", ())}
    assert published == {"4317", "4318", "8889", "9464", "9090", "3000"}
