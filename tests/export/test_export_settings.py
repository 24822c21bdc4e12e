"""Configuration of exports: what is refused, and what the defaults are."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from driftmeter.export.config import ExportConfig, OtlpConfig, RemoteWriteConfig, ScrapeConfig
from driftmeter.model.settings import is_loopback


@pytest.mark.parametrize(
    ("given", "place", "message"),
    [
        ({"interval": "soon"}, ("interval",), "is not a duration"),
        ({"interval": "0s"}, ("interval",), "is not a duration"),
        ({"scrape": {"listen": "9464"}}, ("scrape", "listen"), "host:port"),
        ({"scrape": {"listen": "host:70000"}}, ("scrape", "listen"), "host:port"),
        ({"remote_write": {"url": "prometheus:9090"}}, ("remote_write", "url"), "is not a URL"),
        ({"remote_write": {"url": "ftp://x/"}}, ("remote_write", "url"), "is not a URL"),
        ({"remote_write": {"url": "http://prometheus:99999/"}}, ("remote_write", "url"), "99999 is not a port"),
        ({"remote_write": {"url": "http://prometheus:0/"}}, ("remote_write", "url"), "0 is not a port"),
        ({"remote_write": {"url": "http://prometheus:http/"}}, ("remote_write", "url"), "is not a URL"),
        ({"remote_write": {"url": "http://[::1/"}}, ("remote_write", "url"), "is not a URL"),
        ({"remote_write": {"headers": {"X-Team": "größe"}}}, ("remote_write", "headers"), "printable ASCII"),
        ({"remote_write": {"headers": {"X-Team": "a\nb"}}}, ("remote_write", "headers"), "printable ASCII"),
        ({"remote_write": {"headers": {"X-Team": "a "}}}, ("remote_write", "headers"), "printable ASCII"),
        ({"remote_write": {"headers": {"X Team": "a"}}}, ("remote_write", "headers"), "'X Team'"),
        ({"otlp": {"headers": {"team": "größe"}}}, ("otlp", "headers"), "printable ASCII"),
        ({"otlp": {"headers": {"te am": "x"}}}, ("otlp", "headers"), "'te am'"),
        ({"otlp": {"headers": {"team-bin": "x"}}}, ("otlp", "headers"), "binary"),
        ({"remote_write": {"headers": {"content-TYPE": "x"}}}, ("remote_write",), "content-type"),
        (
            {"remote_write": {"headers": {"Authorization": "x"}, "bearer_token_file": "f"}},
            ("remote_write",),
            "not both",
        ),
        ({"remote_write": {"queue_samples": 10}}, ("remote_write",), "queue_samples"),
        ({"remote_write": {"queue_samples": 0}}, ("remote_write", "queue_samples"), "greater than or equal to 1"),
        ({"otlp": {"endpoint": "http://collector:4317"}}, ("otlp", "endpoint"), "host:port"),
        ({"otlp": {"headers": {"X-Api": "a"}}}, ("otlp", "headers"), "lower case"),
        ({"otlp": {"queue_samples": 10}}, ("otlp",), "queue_samples"),
        ({"remote_writ": {}}, ("remote_writ",), "Extra inputs"),
    ],
)
def test_mistakes_are_named_with_their_place(given: dict[str, Any], place: tuple[str, ...], message: str) -> None:
    """Each mistake is reported where it stands, with what to write instead."""
    with pytest.raises(ValidationError) as caught:
        ExportConfig.model_validate(given)
    (error,) = caught.value.errors()
    assert error["loc"] == place
    assert message in error["msg"]


def test_mistakes_in_headers_do_not_repeat_their_values() -> None:
    """Values are often secrets, and messages go to logs."""
    with pytest.raises(ValidationError) as caught:
        ExportConfig.model_validate({"remote_write": {"headers": {"Authorization": "gehéim"}}})
    assert "gehéim" not in caught.value.errors()[0]["msg"]


def test_nothing_is_sent_and_only_this_machine_can_look_by_default() -> None:
    """Without configuration there is a page on loopback and no network traffic."""
    config = ExportConfig()
    assert config.remote_write.url is None
    assert config.otlp.endpoint is None
    assert config.scrape.listen is not None
    assert is_loopback(config.scrape.listen)


@pytest.mark.parametrize(
    ("endpoint", "insecure", "expected"),
    [
        ("127.0.0.1:4317", None, True),
        ("localhost:4317", None, True),
        ("[::1]:4317", None, True),
        ("collector:4317", None, False),
        ("10.0.0.1:4317", None, False),
        ("collector:4317", True, True),
        ("127.0.0.1:4317", False, False),
    ],
)
def test_tls_is_left_out_only_on_loopback_unless_told(endpoint: str, *, insecure: bool | None, expected: bool) -> None:
    """Metrics do not leave the machine in the clear by accident."""
    assert OtlpConfig(endpoint=endpoint, insecure=insecure).without_tls is expected


@pytest.mark.parametrize("model", [ExportConfig, ScrapeConfig, RemoteWriteConfig, OtlpConfig])
def test_every_field_is_documented(model: type[BaseModel]) -> None:
    """The schema that editors show describes each field."""
    for name, field in model.model_fields.items():
        assert field.description, name
