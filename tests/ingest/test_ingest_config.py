"""What `ingest` may be told."""

import pytest

from driftmeter.ingest.config import MIB, IngestConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"grpc": {"listen": "0.0.0.0:4317"}}, "write insecure: true"),
        ({"grpc": {"listen": "[::]:4317"}}, "write insecure: true"),
        ({"grpc": {"listen": "example.org:4317"}}, "write insecure: true"),
        ({"http": {"listen": "0.0.0.0:4318"}}, "write insecure: true"),
        ({"grpc": {"listen": "4317"}}, "write host:port"),
        ({"http": {"listen": "127.0.0.1:99999"}}, "write host:port"),
        ({"grpc": {"listen": None}, "http": {"listen": None}}, "both null"),
        ({"max_in_flight_bytes": 2 * MIB}, "the largest request could not pass"),
        ({"max_client_share": 0}, "greater than 0"),
        ({"max_client_share": 1.5}, "less than or equal to 1"),
        ({"tls": {"cert_file": "server.pem"}}, "key_file"),
        ({"listen": "127.0.0.1:4317"}, "listen"),
    ],
)
def test_addresses_and_limits_that_cannot_be_meant_are_refused(fields: dict[str, object], message: str) -> None:
    """Listening beyond loopback has to be asked for; addresses and limits must make sense."""
    with pytest.raises(ValueError, match=message):
        IngestConfig.model_validate(fields)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("listen", ["127.0.0.1:4317", "127.8.8.8:0", "[::1]:4317", "localhost:4317", None])
def test_loopback_needs_no_permission(protocol: str, listen: str | None) -> None:
    """Addresses of this machine alone are fine as they are, and either server may be off."""
    config = IngestConfig.model_validate({protocol: {"listen": listen}})
    assert listen in (config.grpc.listen, config.http.listen)


@pytest.mark.parametrize(
    "permission", [{"insecure": True}, {"tls": {"cert_file": "server.pem", "key_file": "server.key"}}]
)
def test_listening_beyond_loopback_can_be_asked_for(permission: dict[str, object]) -> None:
    """With TLS, or with `insecure: true`, any address will do on both."""
    both = {"grpc": {"listen": "0.0.0.0:4317"}, "http": {"listen": "0.0.0.0:4318"}}
    config = IngestConfig.model_validate({**both, **permission})
    assert (config.grpc.listen, config.http.listen) == ("0.0.0.0:4317", "0.0.0.0:4318")


def test_defaults_are_the_standard_ports_on_loopback() -> None:
    """Without any configuration: 4317 and 4318, for this machine alone, without TLS and tokens."""
    config = IngestConfig()
    assert (config.grpc.listen, config.http.listen) == ("127.0.0.1:4317", "127.0.0.1:4318")
    assert (config.tls, config.bearer_tokens_file, config.insecure) == (None, None, False)
