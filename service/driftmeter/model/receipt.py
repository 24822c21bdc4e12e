"""What became of one request: what `ingest` answers with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Receipt:
    """The outcome of an accepted request.

    Attributes:
        rejected_spans: Spans that were not taken and must not be sent again.
        message: Why, in words for the sender's operator; empty when all is well.
    """

    rejected_spans: int = 0
    message: str = ""
