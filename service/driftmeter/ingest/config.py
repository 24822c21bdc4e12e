"""Configuration of the OTLP receiver."""

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from driftmeter.model.settings import Address, is_loopback

MIB = 1024 * 1024


class GrpcConfig(BaseModel):
    """OTLP/gRPC, with the standard health service and server reflection."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    listen: Address | None = "127.0.0.1:4317"
    """Address and port; null takes no OTLP/gRPC."""


class HttpConfig(BaseModel):
    """OTLP/HTTP, protobuf and JSON, with `/healthz` and `/readyz`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    listen: Address | None = "127.0.0.1:4318"
    """Address and port; null takes no OTLP/HTTP."""


class TlsConfig(BaseModel):
    """Encryption on both ports; `tls: null` is without. Files are read again, within a second, when they change."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cert_file: str
    """The server's certificate, and the ones between it and its root, PEM."""
    key_file: str
    """Its private key, PEM, not encrypted."""
    client_ca_file: str | None = None
    """Roots of the certificates that clients must show, PEM; null asks clients for none."""


class IngestConfig(BaseModel):
    """Where OTLP requests are taken, from whom, and how many at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    grpc: GrpcConfig = GrpcConfig()
    """OTLP/gRPC."""
    http: HttpConfig = Field(default=HttpConfig(), validate_default=True)
    """OTLP/HTTP."""
    tls: TlsConfig | None = None
    """Encryption on both ports; null is without."""
    insecure: bool = Field(default=False, validate_default=True)
    """Write true to listen beyond loopback without `tls`: what is sent, tokens included, can be read on the way."""
    bearer_tokens_file: str | None = None
    """File of the bearer tokens that senders may show, one a line, read again within a second when it changes. Several
    are valid at once: add the new one, change the senders, remove the old one. Lines that start with # are comments;
    null asks for no token."""
    max_request_bytes: int = Field(default=64 * MIB, ge=1024, le=100 * MIB)
    """Largest request taken, after decompression. The OTLP specification recommends 64 MiB; larger ones are refused
    for good (RESOURCE_EXHAUSTED, 413)."""
    max_in_flight_bytes: int = Field(default=256 * MIB, ge=1024)
    """Bytes of requests worked on at a time, both ports together; beyond it senders are told to try again (UNAVAILABLE
    with RetryInfo, 503 with Retry-After)."""
    max_client_share: float = Field(default=0.5, gt=0, le=1)
    """What one client (an address) may hold of the bytes in flight that other clients leave, while there are others; 1
    is without limit. A client that is alone may hold all of them."""

    @field_validator("http")
    @classmethod
    def _listens(cls, http: HttpConfig, info: ValidationInfo) -> HttpConfig:
        grpc: GrpcConfig | None = info.data.get("grpc")  # None when it is a mistake itself.
        if grpc is not None and grpc.listen is None and http.listen is None:
            raise ValueError("grpc.listen and http.listen are both null: nothing could be received; set one of them")
        return http

    @field_validator("insecure")
    @classmethod
    def _safe(cls, insecure: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature.
        encrypted = info.data.get("tls", True) is not None  # A mistake in it is said by itself.
        for protocol in (info.data.get("grpc"), info.data.get("http")):
            listen = None if protocol is None else protocol.listen
            if listen and not encrypted and not insecure and not is_loopback(listen):
                raise ValueError(
                    f"{listen} is reachable from other machines: set tls, or write insecure: true if that is wanted"
                )
        return insecure

    @field_validator("max_in_flight_bytes")
    @classmethod
    def _room_for_the_largest(cls, max_in_flight_bytes: int, info: ValidationInfo) -> int:
        if max_in_flight_bytes < info.data.get("max_request_bytes", 0):
            raise ValueError("smaller than max_request_bytes: the largest request could not pass")
        return max_in_flight_bytes
