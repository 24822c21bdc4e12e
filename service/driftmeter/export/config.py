"""Where results go, and how often."""

import re
from collections.abc import Mapping

import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from driftmeter.model.settings import PORT_MAX, Address, Duration, is_loopback

RESERVED_HEADERS = frozenset(
    {
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "retry-attempt",
        "transfer-encoding",
        "user-agent",
        "x-prometheus-remote-write-version",
    }
)
"""HTTP headers that belong to the protocol and cannot be configured, in lower case."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_METADATA_NAME = re.compile(r"[a-z0-9_.-]+")
_HEADER_VALUE = re.compile(r"([!-~]([\t -~]*[!-~])?)?")


def _check_headers(headers: Mapping[str, str], name_pattern: re.Pattern[str]) -> None:
    """Raises ValueError for what cannot be written in a request; values may be secrets and are not repeated."""
    wrong = sorted(name for name in headers if not name_pattern.fullmatch(name))
    if wrong:
        raise ValueError(f"not names of headers: {', '.join(map(repr, wrong))}")
    wrong = sorted(name for name, value in headers.items() if not _HEADER_VALUE.fullmatch(value))
    if wrong:
        raise ValueError(f"values must be printable ASCII without spaces around them: {', '.join(wrong)}")


class ScrapeConfig(BaseModel):
    """The pages `/metrics`, `/healthz` and `/readyz`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    listen: Address | None = "127.0.0.1:9464"
    """Address to answer HTTP on; null serves nothing. Example: 0.0.0.0:9464."""


class RemoteWriteConfig(BaseModel):
    """Prometheus remote write 1.0."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: str | None = None
    """Where to send to; null sends nothing. Example: http://prometheus:9090/api/v1/write."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Further HTTP headers, such as X-Scope-OrgID. Those of the protocol itself cannot be set."""
    bearer_token_file: str | None = None
    """File holding a bearer token, read anew for each attempt so that it can be rotated; null sends none."""
    timeout: Duration = "30s"
    """Longest time of one attempt."""
    max_age: Duration = "2h"
    """A request that could not be delivered for so long is dropped and counted as `too_old`."""
    queue_samples: int = Field(default=1_000_000, ge=1)
    """Most samples waiting to be sent; beyond it the oldest are dropped and counted as `queue_full`. About 40 bytes
    of memory each."""
    max_samples_per_send: int = Field(default=2_000, ge=1)
    """Most samples in one request."""
    job: str = "driftmeter"
    """Value of the label `job` of every series, and `service.name` of OTLP metrics."""
    instance: str | None = None
    """Value of the label `instance` of every series, and `service.instance.id` of OTLP metrics; null takes the
    machine's host name. Services that write to one Prometheus must differ in it."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parsed = httpx.URL(url)  # By the library that will use it.
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError(f"{url!r} is not a URL: write http://host:port/path or https://host/path")
        if parsed.port is not None and not 1 <= parsed.port <= PORT_MAX:
            raise ValueError(f"{parsed.port} is not a port: write a number from 1 to {PORT_MAX}")
        return url

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        _check_headers(headers, _HEADER_NAME)
        return headers

    @model_validator(mode="after")
    def _check_reserved_headers(self) -> "RemoteWriteConfig":
        names = {name.lower() for name in self.headers}
        if reserved := sorted(names & RESERVED_HEADERS):
            raise ValueError(f"headers that belong to the protocol cannot be set: {', '.join(reserved)}")
        if self.bearer_token_file is not None and "authorization" in names:
            raise ValueError("set either bearer_token_file or the header Authorization, not both")
        return self

    @model_validator(mode="after")
    def _check_queue(self) -> "RemoteWriteConfig":
        if self.queue_samples < self.max_samples_per_send:
            raise ValueError("queue_samples must not be smaller than max_samples_per_send")
        return self


class OtlpConfig(BaseModel):
    """OTLP metrics over gRPC."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    endpoint: Address | None = None
    """Where to send to; null sends nothing. Example: collector:4317."""
    insecure: bool | None = None
    """True sends without TLS; null does so only to this machine itself."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """gRPC metadata sent with every request, such as an API key; names in lower case."""
    timeout: Duration = "10s"
    """Longest time of one attempt."""
    max_age: Duration = "2h"
    """A request that could not be delivered for so long is dropped and counted as `too_old`."""
    queue_samples: int = Field(default=200_000, ge=1)
    """Most data points waiting to be sent; beyond it the oldest are dropped and counted as `queue_full`. About 100
    bytes of memory each."""
    max_samples_per_send: int = Field(default=2_000, ge=1)
    """Most data points in one request. 2000 stay well below the 4 MiB that gRPC servers accept by default."""

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        wrong = sorted(name for name in headers if name != name.lower() or name.startswith("grpc-"))
        if wrong:
            raise ValueError(f"gRPC metadata names are in lower case and do not start with grpc-: {', '.join(wrong)}")
        binary = sorted(name for name in headers if name.endswith("-bin"))
        if binary:
            raise ValueError(f"binary gRPC metadata cannot be set: {', '.join(binary)}")
        _check_headers(headers, _METADATA_NAME)
        return headers

    @model_validator(mode="after")
    def _check_queue(self) -> "OtlpConfig":
        if self.queue_samples < self.max_samples_per_send:
            raise ValueError("queue_samples must not be smaller than max_samples_per_send")
        return self

    @property
    def without_tls(self) -> bool:
        """Whether to send without TLS."""
        if self.insecure is not None:
            return self.insecure
        return self.endpoint is not None and is_loopback(self.endpoint)


class ExportConfig(BaseModel):
    """Where results go, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    interval: Duration = "30s"
    """Time between two sendings of the current values. Newly evaluated windows are sent at once besides."""
    max_series: int = Field(default=30_000, ge=100)
    """Most series of one model, over all its window lengths and segments. A tenth is for
    `ml_feature_drifted_windows_total` and the rest for windows: an equal part for each length, half of it for the
    segments where there are some. Of a window with more, features that drifted and those with the highest scores keep
    their series, and `ml_model_withheld_columns` says how many others there are. A numeric feature has some 45, in a
    segment some 25."""
    scrape: ScrapeConfig = Field(default_factory=ScrapeConfig)
    """The pages `/metrics`, `/healthz` and `/readyz`."""
    remote_write: RemoteWriteConfig = Field(default_factory=RemoteWriteConfig)
    """Prometheus remote write 1.0."""
    otlp: OtlpConfig = Field(default_factory=OtlpConfig)
    """OTLP metrics over gRPC."""
