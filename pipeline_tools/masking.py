"""Secrets never reach a log, an event, a report or an error: they are registered when read and masked everywhere.

A secret is masked in the forms in which tools print it: as it is, URL-encoded, JSON-escaped, XML-escaped, quoted for a
shell or by Python, and in base64 (alone, as the `user:password` of basic authentication, or anywhere inside a longer
text: each of the three alignments). Line breaks inside a form do not hide it: base64 is wrapped, and terminals wrap
what they like. A stream is masked while it flows, whatever the pieces in which it comes.

The search is Hyperscan's, one pass for all forms. Python's `re` tries the forms one after the other at each position.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
import threading
import traceback
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any
from urllib.parse import quote

MASK = "****"
# Shorter values would mask ordinary words and give the secret away by the gaps.
MINIMUM_LENGTH = 4
# A longer form is searched for in pieces of this length, in characters: a part of a key file is a secret as well, and
# a stream never holds back more than one piece.
PIECE = 64
# How far a stream looks back for the beginning of a secret, in bytes: more than a piece with each character on a line.
REACH = 4096
# A line without an end is given out in parts of about this length, in bytes.
LONGEST_LINE = 1 << 20

_BREAKS = re.compile(rb"[\r\n]+")
_RUNS = re.compile(rb"[\r\n]+|[^\r\n]+")


def _encode(text: str) -> bytes:
    # half a surrogate pair comes from names and variables that are not UTF-8: it must neither fail nor be lost
    return text.encode("utf-8", "surrogatepass")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _url_forms(text: str) -> set[str]:
    forms = set()
    # nothing, paths, JavaScript's encodeURIComponent, the user part of a URL
    for safe in ("", "/", "!'()*", "!$&'()*+,;=:"):
        encoded = quote(text, safe=safe, errors="surrogatepass")
        forms |= {encoded, encoded.replace("%20", "+")}
    return forms | {re.sub("%..", lambda escape: escape[0].lower(), form) for form in forms}


def _json_forms(text: str) -> set[str]:
    forms = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    forms |= {form.replace("/", r"\/") for form in forms}
    # what Go, Flask and Gson escape as well, lest a browser take it for HTML
    for characters in ("<>&", "<>&'", "<>&'="):
        table = {ord(character): f"\\u{ord(character):04x}" for character in characters}
        forms |= {form.translate(table) for form in forms}
    forms |= {re.sub(r"\\u[0-9a-f]{4}", lambda escape: r"\u" + escape[0][2:].upper(), form) for form in forms}
    # a document inside a document
    return forms | {json.dumps(form, ensure_ascii=False)[1:-1] for form in forms}


def _xml_forms(text: str) -> set[str]:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    forms = {text, text.replace('"', "&quot;")}
    for double, single in (("&quot;", "&#39;"), ("&#34;", "&#39;"), ("&quot;", "&#x27;"), ("&quot;", "&apos;")):
        forms.add(text.replace('"', double).replace("'", single))
    return forms | {form.encode("ascii", "xmlcharrefreplace").decode() for form in forms}


def _quoted_forms(text: str) -> set[str]:
    """As shells and Python print it, without the quotes around it."""
    both = text + "'\""  # makes Python escape the apostrophes
    return {
        text.replace("'", "'\"'\"'"),
        text.replace("'", r"'\''"),
        re.sub(r'([$`"\\])', r"\\\1", text),
        re.sub(r"([\t !\"$&'()*,;<>?\[\\\]^`{|}])", r"\\\1", text),
        *(repr(text)[1:-1], ascii(text)[1:-1], repr(_encode(text))[2:-1]),
        *(repr(both)[1:-4], ascii(both)[1:-4], repr(_encode(both))[2:-4]),
    }


def _base64_forms(raw: bytes) -> set[str]:
    """The part of the base64 text that is the same whatever stands before and after ``raw``."""
    forms = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        start = (0, 2, 3)[before]
        # the last character shares bits with whatever follows, unless the secret ends on a group of three bytes
        end = len(encoded) - (1 if (len(raw) + before) % 3 else 0)
        forms.add(encoded[start:end])
    return forms


def _forms(text: str) -> set[str]:
    escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    encoded = {form for inner in {text, *escaped} for form in _base64_forms(_encode(inner))}
    # Docker's logins are base64 inside a document that Kubernetes keeps in base64
    encoded |= {form for inner in _base64_forms(_encode(text)) for form in _base64_forms(inner.encode())}
    encoded |= {form.replace("+", "-").replace("/", "_") for form in encoded}
    encoded |= {form.replace("/", r"\/") for form in encoded} | {quote(form, safe="") for form in encoded}
    encoded |= {form.replace("%2B", "%2b").replace("%2F", "%2f") for form in encoded}
    return {text} | _url_forms(text) | _json_forms(text) | _xml_forms(text) | _quoted_forms(text) | encoded


def _pieces(secret: str) -> Iterator[bytes]:
    """What is searched for, without line breaks: the forms of the secret and of its lines, cut into pieces."""
    parts = {secret, secret.replace("\r\n", "\n"), *secret.splitlines()}
    for part in parts | {part.strip() for part in parts}:
        if len(part.strip()) < MINIMUM_LENGTH:  # an empty line of a key file must not hide every indentation
            continue
        for form in _forms(part):
            text = form.replace("\r", "").replace("\n", "")
            if len(text) >= MINIMUM_LENGTH:
                # they overlap by as much as may stay before a line break
                steps = range(0, len(text) - PIECE + 1, PIECE - MINIMUM_LENGTH)
                yield from (_encode(text[at : at + PIECE]) for at in steps)
                yield _encode(text[-PIECE:])


def _squeeze(data: bytes) -> bytes:
    return data.replace(b"\n", b"").replace(b"\r", b"")


def _breaks(data: bytes) -> list[int]:
    """For each line break, where it would be in the squeezed data."""
    *before, _ = accumulate(map(len, data.replace(b"\r", b"\n").split(b"\n")))
    return before


_Span = tuple[int, int]


def _merge(spans: Iterable[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


class _Scanner:
    """Finds a fixed set of pieces in bytes, as if these had no line breaks."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        # loading it takes longer than `--help` may
        from hyperscan import Database

        self._pieces = sorted(pieces)
        self._starts = {piece[:length] for piece in self._pieces for length in range(1, MINIMUM_LENGTH + 1)}
        self._lengths = [len(piece) for piece in self._pieces]
        self._longest = max(self._lengths)
        # one search at a time: they share Hyperscan's scratch space
        self._lock = threading.Lock()
        self._database = Database()
        self._database.compile(
            # as escapes: its literals end at a zero byte
            expressions=[b"".join(b"\\x%02x" % byte for byte in piece) for piece in self._pieces],
            ids=list(range(len(self._pieces))),
            elements=len(self._pieces),
            flags=[0] * len(self._pieces),
        )

    def spans(self, data: bytes) -> list[_Span]:
        """Where secrets stand in ``data``; spans that touch are one.

        A span begins after the break when fewer than MINIMUM_LENGTH bytes stand before it: a stream can then let a
        line go although its last character could be the first one of a secret.
        """
        found = self._search(_squeeze(data))
        if not found:
            return []
        whole = self._search(data)
        if len(whole) == len(found):
            return _merge(whole)
        # some have a line break inside
        breaks = _breaks(data)
        spans = []
        for start, end in found:
            first = start + bisect_right(breaks, start)
            last = end - 1 + bisect_right(breaks, end - 1)
            spans.append((_skip_stub(data, first), last + 1))
        return _merge(spans)

    def _search(self, data: bytes) -> set[_Span]:
        found: set[_Span] = set()

        def remember(number: int, _from: int, end: int, _flags: int, _context: object) -> None:
            found.add((end - self._lengths[number], end))

        with self._lock:
            self._database.scan(data, match_event_handler=remember)
        return found

    def hold(self, data: bytes) -> int:
        """From where on ``data`` could be the beginning of a secret that goes on in what follows."""
        end = data[-REACH:]
        text = _squeeze(end)
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[at : at + MINIMUM_LENGTH] in self._starts:
                begun = text[at:]
                after = bisect_right(self._pieces, begun)
                if after < len(self._pieces) and self._pieces[after].startswith(begun):
                    return len(data) - len(end) + at + bisect_right(_breaks(end), at)
        return len(data)


def _skip_stub(data: bytes, start: int) -> int:
    """``start``, or the end of the line breaks that come less than MINIMUM_LENGTH bytes after it."""
    found = _BREAKS.search(data, start, start + MINIMUM_LENGTH)
    if found is None:
        return start
    whole = _BREAKS.match(data, found.start())
    assert whole is not None
    return whole.end()


def _render(data: bytes, spans: Iterable[_Span], start: int, stop: int, masking: bool) -> tuple[bytes, bool]:
    """``data[start:stop]`` with the spans masked, line breaks kept.

    ``masking`` says that a mask stood just before ``start``; returned is whether one stands just before ``stop``.
    """
    done: list[bytes] = []
    at = start
    for begin, end in spans:
        begin, end = max(begin, start), min(end, stop)
        if begin >= end:
            continue
        if begin > at:
            done.append(data[at:begin])
            masking = False
        for run in _RUNS.findall(data, begin, end):
            if run[0] in b"\r\n":
                done.append(run)
                masking = False
            elif not masking:
                done.append(MASK.encode())
                masking = True
        at = end
    if at < stop:
        done.append(data[at:stop])
        masking = False
    return b"".join(done), masking


class Masker:
    """A set of secrets; safe to use from several threads."""

    def __init__(self) -> None:
        self._pieces: set[bytes] = set()
        self._scanner: _Scanner | None = None
        self._lock = threading.Lock()

    def register(self, secret: str) -> None:
        """Mask ``secret`` from now on. A secret of several lines (a key file) is masked line by line as well."""
        pieces = set(_pieces(secret))
        with self._lock:
            if not pieces <= self._pieces:
                self._pieces |= pieces
                self._scanner = None

    def scanner(self) -> _Scanner | None:
        """What finds the secrets that are registered now; None when there are none."""
        with self._lock:
            if self._scanner is None and self._pieces:
                self._scanner = _Scanner(self._pieces)
            return self._scanner

    def mask(self, text: str) -> str:
        """``text`` with every registered secret replaced."""
        scanner = self.scanner()
        if scanner is None:
            return text
        data = _encode(text)
        spans = scanner.spans(data)
        return _decode(_render(data, spans, 0, len(data), False)[0]) if spans else text

    def mask_values(self, value: Any) -> Any:
        """``value``, which is for JSON, with secrets replaced in every text in it, and numbers that are a secret.

        A secret in JSON text must be masked before that is made: ``"`` or ``1`` may be part of a secret, and a document
        masked as a text would be none any more.
        """
        scanner = self.scanner()
        # one search for all is much faster than one for each
        if scanner is None or not scanner.spans(_encode("\0".join(_texts(value)))):
            return value
        return self._masked(value)

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self._masked(key): self._masked(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._masked(each) for each in value]
        if isinstance(value, int | float) and not isinstance(value, bool) and self.mask(str(value)) == MASK:
            return MASK
        return value


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in ``value``, as text."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from (*_texts(key), *_texts(each))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif value is not None:
        yield str(value)


class Stream:
    """Masks bytes that come in pieces, wherever these are cut; for one stream and one thread.

    It holds back what could be the beginning of a secret, REACH bytes at most: never a line that merely ends.
    Everything fed and flushed, joined, is what `mask` makes of the whole.
    """

    def __init__(self, masker: Masker | None = None) -> None:
        self._masker = masker or _MASKER
        self._clear()

    def _clear(self) -> None:
        self._held = b""  # what could be a beginning, and of it
        self._given = 0  # how many bytes were given out already,
        self._covered: list[_Span] = []  # and where secrets that began before reach into it
        self._masking = False  # the last thing given out was a mask

    def feed(self, data: bytes) -> bytes:
        """What can be given out after ``data``, masked."""
        scanner = self._masker.scanner()
        if scanner is None:
            return data
        data = self._held + data
        hold = scanner.hold(data)
        return self._give(data, scanner, hold, _skip_stub(data, hold))

    def flush(self) -> bytes:
        """The rest: the stream has ended. Another one may follow."""
        scanner = self._masker.scanner()
        rest = self._give(self._held, scanner, len(self._held), len(self._held)) if scanner else b""
        self._clear()
        return rest

    def _give(self, data: bytes, scanner: _Scanner, hold: int, stop: int) -> bytes:
        spans = _merge([*self._covered, *scanner.spans(data)])
        masked, self._masking = _render(data, spans, self._given, stop, self._masking)
        self._held, self._given = data[hold:], stop - hold
        self._covered = [(max(0, start - hold), end - hold) for start, end in spans if end > hold]
        return masked


class TextStream:
    """A `Stream` for text."""

    def __init__(self, masker: Masker | None = None) -> None:
        self._stream = Stream(masker)

    def feed(self, text: str) -> str:
        """What can be given out after ``text``, masked."""
        # no form begins or ends inside a character, so what comes out is whole characters
        return _decode(self._stream.feed(_encode(text)))

    def flush(self) -> str:
        """The rest: the stream has ended. Another one may follow."""
        return _decode(self._stream.flush())


class LineStream:
    """A `Stream` that gives out whole lines, as text without their ends."""

    def __init__(self, masker: Masker | None = None) -> None:
        self._stream = Stream(masker)
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that can be given out after ``data``, masked; bytes that are not UTF-8 are replaced."""
        whole, ended, self._rest = (self._rest + self._stream.feed(data)).rpartition(b"\n")
        if len(self._rest) > LONGEST_LINE:
            whole, ended, self._rest = whole + ended + self._rest, b"\n", b""
        return _lines(whole) if ended else []

    def flush(self) -> list[str]:
        """The rest: the stream has ended. Another one may follow."""
        rest = self._rest + self._stream.flush()
        self._rest = b""
        return _lines(rest.removesuffix(b"\n")) if rest else []


def _lines(data: bytes) -> list[str]:
    lines = data.decode(errors="replace").split("\n")
    return [line.rstrip("\r") for line in lines] if b"\r" in data else lines


class _MaskedFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def mask_strays() -> None:
    """Mask also what reaches standard error past us: libraries that log without a handler, threads that fail."""

    def failed(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            sys.stderr.write(mask("".join(traceback.format_exception(args.exc_value))))

    threading.excepthook = failed
    assert logging.lastResort is not None
    logging.lastResort.setFormatter(_MaskedFormatter())


_MASKER = Masker()
register = _MASKER.register
mask = _MASKER.mask
mask_values = _MASKER.mask_values
