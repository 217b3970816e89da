"""What is answered to a message: AA, AE and AR, and in enhanced mode CA, CE and CR before or instead.

Both MSH-15 and MSH-16 empty: original mode. Else MSH-15 says when the sender wants to hear that the message was
committed, MSH-16 when it wants to hear what came of it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType

from notegap.service.hl7.messages import (
    CONDITIONS,
    INTERNAL,
    SEPARATORS,
    Field,
    Message,
    RefusedMessageError,
    echoed,
    joined,
    time_of,
    written,
)

ACCEPTED = "AA"

_COMMIT: Mapping[str, str] = MappingProxyType({"AA": "CA", "AE": "CE", "AR": "CR"})
_VERSION = "2.5.1"
_OLDEST_WITH_ERR = (2, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered: `code` as in original mode, and the acknowledgements that the sender wants, in their order
    and their encoding. `broke`: it is not the message's fault that it is not accepted.
    """

    code: str
    acknowledgements: tuple[bytes, ...] = field(repr=False)
    codec: str
    broke: bool = False


def accepted(message: Message, *, accepted_as: str, at: datetime) -> Answer:
    """The answer to a message that was accepted `at` a time; the same one whenever it is sent again."""
    codes = _wanted(message, ACCEPTED)
    return Answer(
        code=ACCEPTED,
        acknowledgements=tuple(
            # An id of its own for each acknowledgement, which it has again when the message is sent again.
            _acknowledgement(message, code, None, control_id=_short(f"{accepted_as} {code}"), at=at)
            for code in codes
        ),
        codec=message.codec,
    )


def refused(message: Message | None, why: RefusedMessageError, *, at: datetime | None = None) -> Answer:
    """The answer to a message that is not accepted, as far as it can be read."""
    moment = at or datetime.now(UTC)
    codes = (why.code,) if message is None else _wanted(message, why.code)
    made = (_acknowledgement(message, code, why, control_id=secrets.token_hex(10), at=moment) for code in codes)
    return Answer(
        code=why.code,
        acknowledgements=tuple(made),
        codec=message.codec if message is not None else "utf-8",
        broke=why.condition == INTERNAL,
    )


def _wanted(message: Message, code: str) -> tuple[str, ...]:
    """The acknowledgements to send for an outcome, in order."""
    commit, application = message.header.get(15).upper(), message.header.get(16).upper()
    if not commit and not application:
        return (code,)
    good = code == ACCEPTED
    wanted = (_COMMIT[code],) if _wants(commit, good=good) else ()
    # Who heard that a message was not committed waits for nothing more.
    return (*wanted, code) if _wants(application, good=good) and (good or not wanted) else wanted


def _wants(condition: str, *, good: bool) -> bool:
    """Table 0155: always, never, on error, on success; one of the two that is empty means never."""
    return {"": False, "NE": False, "ER": not good, "SU": good}.get(condition, True)


def _short(text: str) -> str:
    """An id as long as the shortest MSH-10 of any version may be."""
    return sha256(text.encode()).hexdigest()[:20]


def _acknowledgement(
    message: Message | None, code: str, why: RefusedMessageError | None, *, control_id: str, at: datetime
) -> bytes:
    separators = _separators(message)
    version = message.header.get(12) if message is not None else ""
    segments: list[list[Field]] = [
        [
            "MSH",
            separators[:4],
            *([echoed(message.header, number) for number in (5, 6, 3, 4)] if message is not None else [""] * 4),
            time_of(at),
            "",
            ("ACK", message.event, "ACK")
            if message is not None and len(message.event) == 3 and message.event.isalnum()
            else "ACK",
            control_id,
            (echoed(message.header, 11) if message is not None else "") or "P",
            (echoed(message.header, 12) if message is not None else "") or _VERSION,
            *[""] * 5,
            echoed(message.header, 18) if message is not None else "",
        ],
        ["MSA", code, message.control_id if message is not None else ""],
    ]
    if why is not None:
        if _number(version or _VERSION) < _OLDEST_WITH_ERR:
            segments[1].append((str(why),))
        else:
            condition = (str(why.condition), CONDITIONS[why.condition], "HL70357")
            segments.append(["ERR", "", joined(why.place, separators), condition, "E", "", "", "", (str(why),)])
    text = written(segments, separators)
    return text.encode(message.codec if message is not None else "utf-8", "replace")


def _separators(message: Message | None) -> str:
    """The sender's own, so that what is sent back is what it sent; ours when those would separate nothing."""
    theirs = message.header.separators if message is not None else SEPARATORS
    return theirs if len(set(theirs)) == len(SEPARATORS) else SEPARATORS


def _number(version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else _OLDEST_WITH_ERR
