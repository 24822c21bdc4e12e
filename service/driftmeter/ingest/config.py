"""Configuration of the OTLP receiver."""

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from driftmeter.model.settings import Address, is_loopback

MIB = 1024 * 1024


class IngestConfig(BaseModel):
    """Where OTLP requests are taken and how many at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    listen: Address = "127.0.0.1:4317"
    """Address and port of the OTLP/gRPC server, without encryption. Beyond loopback it needs `insecure: true`."""
    insecure: bool = Field(default=False, validate_default=True)
    """Write true to listen beyond loopback: anyone who reaches the port can then send predictions."""
    max_request_bytes: int = Field(default=64 * MIB, ge=1024, le=100 * MIB)
    """Largest request taken, after decompression. The OTLP specification recommends 64 MiB; larger ones are refused
    for good (RESOURCE_EXHAUSTED)."""
    max_in_flight_bytes: int = Field(default=256 * MIB, ge=1024)
    """Bytes of requests worked on at a time; beyond it senders are told to try again (UNAVAILABLE with RetryInfo)."""

    @field_validator("insecure")
    @classmethod
    def _loopback(cls, insecure: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature.
        listen = info.data.get("listen")  # None when it is a mistake itself.
        if listen and not insecure and not is_loopback(listen):
            raise ValueError(f"{listen} is reachable from other machines: write insecure: true if that is wanted")
        return insecure

    @field_validator("max_in_flight_bytes")
    @classmethod
    def _room_for_the_largest(cls, max_in_flight_bytes: int, info: ValidationInfo) -> int:
        if max_in_flight_bytes < info.data.get("max_request_bytes", 0):
            raise ValueError("smaller than max_request_bytes: the largest request could not pass")
        return max_in_flight_bytes
