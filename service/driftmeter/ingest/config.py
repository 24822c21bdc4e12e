"""Configuration of the OTLP receiver."""

from pydantic import BaseModel, ConfigDict, Field, model_validator

from driftmeter.model.settings import Address, is_loopback

MIB = 1024 * 1024


class IngestConfig(BaseModel):
    """Where OTLP requests are taken and how many at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    listen: Address = "127.0.0.1:4317"
    """Address and port of the OTLP/gRPC server, without encryption. Beyond loopback it needs `insecure: true`."""
    insecure: bool = False
    """Write true to listen beyond loopback: anyone who reaches the port can then send predictions."""
    max_request_bytes: int = Field(default=64 * MIB, ge=1024, le=100 * MIB)
    """Largest request taken, after decompression. The OTLP specification recommends 64 MiB; larger ones are refused
    for good (RESOURCE_EXHAUSTED)."""
    max_in_flight_bytes: int = Field(default=256 * MIB, ge=1024)
    """Bytes of requests worked on at a time; beyond it senders are told to try again (UNAVAILABLE with RetryInfo)."""

    @model_validator(mode="after")
    def _loopback(self) -> "IngestConfig":
        if not self.insecure and not is_loopback(self.listen):
            raise ValueError(f"{self.listen} is reachable from other machines: write insecure: true if that is wanted")
        if self.max_in_flight_bytes < self.max_request_bytes:
            raise ValueError(
                "max_in_flight_bytes is smaller than max_request_bytes: the largest request could not pass"
            )
        return self
