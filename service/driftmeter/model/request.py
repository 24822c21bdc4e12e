"""One OTLP request on its way in: what `ingest` hands on and `columnar` decodes."""

from dataclasses import dataclass
from enum import StrEnum


class Signal(StrEnum):
    """Which kind of telemetry a request carries."""

    TRACES = "traces"
    LOGS = "logs"


@dataclass(frozen=True, slots=True)
class Request:
    """An OTLP request as bytes.

    Attributes:
        signal: What it carries.
        body: ExportTraceServiceRequest or ExportLogsServiceRequest in protobuf's wire format, decompressed, whatever
            encoding it arrived in; not yet checked.
    """

    signal: Signal
    body: bytes
