"""Closed sets of label values: what became of things, and why."""

from enum import StrEnum


class SpanOutcome(StrEnum):
    """What became of a span. `received` is the sum of the others and of what is in flight."""

    RECEIVED = "received"
    IGNORED = "ignored"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    ACCEPTED = "accepted"


class SpanReason(StrEnum):
    """Why a span was not accepted; empty for received and accepted ones."""

    NOT_FEATURE_BEARING = "not_feature_bearing"
    FUTURE = "future"
    NO_TIMESTAMP = "no_timestamp"
    TOO_MANY_MODELS = "too_many_models"
    TOO_SPARSE = "too_sparse"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"
    STRING_TOO_LONG = "string_too_long"
    """Its model's name, version or stage."""
    ARRAY_LENGTHS = "array_lengths"
    """Its arrays have different lengths."""
    TOO_MANY_ELEMENTS = "too_many_elements"
    EXCEPTION = "exception"


class RowOutcome(StrEnum):
    """What became of an accepted row. Rows that are none of these yet are pending."""

    COUNTED = "counted"
    LATE = "late"
    DUPLICATE = "duplicate"
    """Its span was accepted before: a sender that got no answer has sent it again."""
    NOT_SCORED = "not_scored"
    """No baseline could be learned from them: they hold nothing that can be compared."""
    FAILED = "failed"
    """An internal error kept them from being counted; the log says more."""


class GivenUpReason(StrEnum):
    """Why windows that were open, or waited for their evaluation, are not evaluated."""

    OTHER_BINS = "other_bins"
    """The model has a baseline with other bins than the one they were counted for."""
    OTHER_LENGTHS = "other_lengths"
    """Other window lengths are configured than before."""
    NO_BASELINE = "no_baseline"
    """The baseline's file is gone."""
    OTHER_SEGMENTS = "other_segments"
    """Of segments that the configuration or the baseline does not name any more."""


class RequestResult(StrEnum):
    """How an OTLP request was answered."""

    OK = "ok"
    PARTIAL = "partial"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"
    UNAUTHENTICATED = "unauthenticated"
    UNSUPPORTED = "unsupported"
    """Another path, method, content type or encoding than those of OTLP/HTTP."""
    CANCELLED = "cancelled"


class RefusalReason(StrEnum):
    """Why a sender was told to try again."""

    IN_FLIGHT = "in_flight"
    """All bytes that may be in flight were."""
    CLIENT_SHARE = "client_share"
    """This client held its share while others were active too."""
    STALLED = "stalled"
    """The body did not arrive in time."""
    STOPPING = "stopping"
    """The service is about to stop."""
    DISK_FULL = "disk_full"
    """There is no room to write the request down."""
    JOURNAL_FAILED = "journal_failed"
    """The request could not be written down for another reason; the log says which."""
    EXCEPTION = "exception"
    """Something failed that should not have; the log says what."""


class Credentials(StrEnum):
    """Files that say who may connect and whom to trust, read again when they change."""

    TLS = "tls"
    BEARER_TOKENS = "bearer_tokens"


class ReloadResult(StrEnum):
    """What became of a changed file."""

    OK = "ok"
    FAILED = "failed"
    """It cannot be used; what was read before stays in force."""


class ValueReason(StrEnum):
    """Why a value of an accepted span was not kept."""

    TOO_MANY_COLUMNS = "too_many_columns"
    NAME_TOO_LONG = "name_too_long"
    ID_TOO_LONG = "id_too_long"
    STRING_TOO_LONG = "string_too_long"
    INVALID_JSON = "invalid_json"
    BESIDE_EMBEDDING = "beside_embedding"


class SnapshotResult(StrEnum):
    """What became of a snapshot of state."""

    OK = "ok"
    FAILED = "failed"
    """It could not be written; the one before it stays, and the log says why."""


class WithheldReason(StrEnum):
    """Why a value of an evaluated window is not sent anywhere."""

    MAX_SERIES = "max_series"
    """The model has more series than `export.max_series`."""


class RemovalReason(StrEnum):
    """Why files of the archive were removed."""

    AGE = "age"
    """They were older than is kept."""
    SIZE = "size"
    """The archive had more bytes than it may."""
    DISK = "disk"
    """The disk had too little room left."""


class QuarantineStage(StrEnum):
    """Where something failed that put a request or a batch into quarantine."""

    DECODE = "decode"
    DUPLICATES = "duplicates"
    FOLD = "fold"
    LEARN = "learn"
    EVALUATE = "evaluate"


class QuarantineDropReason(StrEnum):
    """Why something left the quarantine without being taken in."""

    SIZE = "size"
    """The quarantine had more bytes than it may, and this was the oldest in it."""
    DISK = "disk"
    """There was no room to write it down."""


class Destination(StrEnum):
    """Where samples are sent."""

    REMOTE_WRITE = "remote_write"
    OTLP = "otlp"


class SampleOutcome(StrEnum):
    """What became of a sample: `produced = queued + sent + dropped` at every scrape."""

    PRODUCED = "produced"
    SENT = "sent"
    DROPPED = "dropped"


class DropReason(StrEnum):
    """Why a sample was dropped instead of sent."""

    QUEUE_FULL = "queue_full"
    """The queue was full and this was the oldest in it."""
    TOO_OLD = "too_old"
    """It could not be delivered within the longest time allowed."""
    BAD_REQUEST = "bad_request"
    """The receiver found it wrong at the first attempt (400, INVALID_ARGUMENT): lost."""
    BAD_REQUEST_AFTER_RETRY = "bad_request_after_retry"
    """The same answer after an attempt whose outcome is unknown: it may have been stored by that one."""
    UNAUTHORIZED = "unauthorized"
    """The receiver does not accept the credentials (401, 403)."""
    TOO_LARGE = "too_large"
    """The receiver takes no request of this size (413)."""
    REJECTED = "rejected"
    """Any other final answer."""
    PARTIAL = "partial"
    """Part of a request that was otherwise accepted (OTLP partial success)."""
    REVISED = "revised"
    """New values of a window after late rows. With event time, a value was already sent for this window, and Prometheus
    would refuse a second one; on the wall clock, a later window is current."""
    OUT_OF_ORDER = "out_of_order"
    """With event time, a later window of the same series was already sent."""
    NO_TIMESTAMP = "no_timestamp"
    """With event time, the window has no end to stamp it with."""
    ENCODING = "encoding"
    """It could not be encoded, which is a fault of this service; the log says more."""
    SHUTDOWN = "shutdown"
    """The service stopped before it could be delivered."""
