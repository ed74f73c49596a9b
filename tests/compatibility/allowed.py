"""What may differ from pgque-py 0.2.2: each place with the reason, and what stands there instead."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Allowed:
    place: str
    #: A regular expression for this package's result as JSON, or the name and text of its exception.
    ours: str
    reason: str

    @property
    def fact(self) -> str:
        return re.split(r"[.\[]", self.place)[0]

    def covers(self, path: str) -> bool:
        return path == self.place or path.startswith((f"{self.place}.", f"{self.place}["))

    def is_ours(self, value: Any) -> bool:
        if isinstance(value, dict) and "raised" in value:
            value = f"{value['raised'][0]}: {value['text']}"
        elif not isinstance(value, str):
            value = json.dumps(value)
        return re.fullmatch(self.ours, value, re.DOTALL) is not None


def refines(path: str, peer: Any, ours: Any) -> bool:
    """Whether a program that knows what pgque-py gives there is content with what it finds here."""
    if path.startswith("signatures.") and isinstance(peer, list) and isinstance(ours, list):
        return refines_signature(peer, ours)
    if isinstance(peer, dict) and isinstance(ours, dict) and "raised" in peer and "raised" in ours:
        return refines_exception(peer, ours)
    return False


def refines_signature(peer: list[Any], ours: list[Any]) -> bool:
    """More may be given, by name, and less need be."""
    added = [kind == "KEYWORD_ONLY" and default != "" for _, kind, default in ours[len(peer) :]]
    same = [
        theirs == mine or (theirs[:2] == mine[:2] and theirs[2] == "")
        for theirs, mine in zip(peer, ours, strict=False)
    ]
    return len(ours) >= len(peer) and all(added) and all(same)


def refines_exception(peer: dict[str, Any], ours: dict[str, Any]) -> bool:
    """A subclass may come, which says the operation before the server's words; the context may be missing."""
    words = peer["text"].split("\n")[0]
    return (
        peer["raised"][0] in ours["raised"]
        and re.fullmatch(rf"(\w+: )?{re.escape(words)}.*", ours["text"], re.DOTALL) is not None
        and peer["sqlstate"] == ours["sqlstate"]
        and peer["chained"] == ours["chained"]
    )


BEFORE = (
    "what cannot succeed is refused before anything is sent, with an error that names the argument"
)
ANY_JSON = "any JSON-able value may be sent"
NOT_TEXT = "a name that is no text is refused at the call, as by any typed function"
NOT_WHOLE = "a number that is none is refused at the call, as by any typed function"
LOST = "a lost connection has a class of its own beneath PgqueError"
HARMLESS = "what is harmless need not fail"

ALLOWED = [
    Allowed(
        "connect_refuses[0]",
        r"PgqueConnectionError: connect: 127.0.0.1:1: Connection refused.*",
        "the words are not libpq's; class and cause are the same",
    ),
    Allowed(
        "connect_refuses_what_is_no_dsn",
        'PgqueConfigurationError: connect: missing "=" .*',
        "every error is a PgqueError; psycopg's own cannot be raised without psycopg",
    ),
    Allowed("errors[10]", "PgqueInvalidInput: receive: max_messages must .* got 0", BEFORE),
    Allowed("errors[11]", "PgqueInvalidInput: receive: max_messages must .* got -1", BEFORE),
    Allowed(
        "overflow_is_typed[0][4]",
        r"receive: pgque\.receive: batch exceeds max_return of 4 \(Retry with a larger .*\)",
        "the text begins with the operation and has the hint in brackets",
    ),
    Allowed(
        "overflow_is_typed[5][4]",
        r"receive_coop: pgque\.receive_coop: batch exceeds max_return of 4 \(Retry .*\)",
        "the text begins with the operation and has the hint in brackets",
    ),
    Allowed("limits_of_other_types[2]", "ValueError: invalid literal .*", NOT_WHOLE),
    Allowed("limits_of_other_types[4]", "PgqueReceiveOverflowError: .*", HARMLESS),
    Allowed("limits_too_large[0]", "PgqueInvalidInput: receive: max_messages .*", BEFORE),
    Allowed("limits_too_large[1]", "TypeError: 'float' object .*", NOT_WHOLE),
    Allowed("batch_ids_of_other_types[3]", "0", HARMLESS),
    Allowed("batch_ids_of_other_types[4]", "ValueError: invalid literal .*", NOT_WHOLE),
    Allowed("batch_ids_too_large[0]", "0", HARMLESS),
    Allowed("batch_ids_too_large[1]", "TypeError: 'float' object .*", NOT_WHOLE),
    Allowed("names_that_are_no_text", "TypeError: .*'str'", NOT_TEXT),
    Allowed("retry_delays_that_are_none[0]", "PgqueInvalidInput: .* got -5", BEFORE),
    Allowed("retry_delays_that_are_none[1]", "null", HARMLESS),
    Allowed("retry_delays_that_are_none[2]", "PgqueInvalidInput: .* got NaN", BEFORE),
    Allowed("retry_delays_that_are_none[3]", "PgqueInvalidInput: .* got inf", BEFORE),
    Allowed("retry_delays_that_are_none[4]", "TypeError: must be seconds, .*", BEFORE),
    Allowed(
        "retry_delays_that_are_none[5]",
        'PgqueInvalidInput: nack: invalid input syntax for type interval: "abc"',
        "text is an interval, to which no unit is added",
    ),
    Allowed("retry_delays_that_are_none[6]", "PgqueInvalidInput: .* got 1000000000000", BEFORE),
    Allowed("a_lost_connection[0]", r'.*"PgqueConnectionError", "PgqueError".*', LOST),
    Allowed("a_lost_connection[1]", r'.*"PgqueConnectionError", "PgqueError".*', LOST),
    Allowed("payloads_refused", "PgqueInvalidInput: send: payload is not valid JSON: .*", BEFORE),
    Allowed("payloads_plain", r'\[\["default", ".*"\]\]', ANY_JSON),
    Allowed(
        "payloads_unserialisable",
        "PgqueInvalidInput: send: payload is not valid JSON: .*",
        "the same with the argument's name, as a PgqueError, with json's TypeError as the cause",
    ),
    Allowed(
        "batches_refused[0]",
        r"PgqueInvalidInput: send_batch: payloads\[1\] is not valid JSON: .*",
        BEFORE,
    ),
    Allowed("batches_of_plain_values[0]", "[12]", ANY_JSON),
    Allowed("batches_of_plain_values[1]", r'\[\["t", "1"\], .*', ANY_JSON),
    Allowed(
        "batches_that_are_one_value",
        "PgqueInvalidInput: send_batch: payloads must be an iterable of payloads, .*",
        "text is not sent letter by letter, and a dict not key by key",
    ),
    Allowed("nul_in_names", r"PgqueInvalidInput: \w+: \w+ must not contain NUL .*", BEFORE),
    Allowed(
        "message_is_a_dataclass[8]",
        "TypeError: unhashable type: 'pgque.types.Message'",
        "a class of the native module is named with its module",
    ),
    Allowed(
        "message_is_a_dataclass[9]",
        '{"object": "getset_descriptor"}',
        "the fields are read when they are asked for; the class has no values of its own",
    ),
]
