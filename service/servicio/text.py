"""The text of a request: from the query or the body, decoded, normalised and checked."""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.http import parse_options_header

from servicio.problem import Unprocessable
from servicio.settings import Settings

# What claims are written in; a codec such as `unicode_escape` or `punycode` would only serve an attacker.
CHARSETS = frozenset({"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252"})
# What OpenAPI's pattern says, too: spaces as ECMA-262 has them, and control characters, are no text.
VISIBLE = re.compile(r"[^\s\ufeff\x00-\x1f\x7f-\x9f]")
# On one letter. To put them in order takes the square of how many they are; Unicode's Stream-Safe Text Format allows
# as many.
MARKS = 30
_FOREIGN = re.compile(rf"[^\x00-\u02ff]{{{MARKS + 1},}}")  # below are no marks
# A form's type is what curl sends by itself.
TEXT_TYPES = frozenset({"", "text/plain", "application/x-www-form-urlencoded"})


def from_query(request: Request, settings: Settings) -> str:
    """`?texto=`, percent-encoded UTF-8."""
    _decoded(unquote_to_bytes(request.query_string), "utf-8", "query")
    return _checked(request.args.get("texto", ""), settings)


def from_body(request: Request, settings: Settings) -> str:
    """The body: text/plain in its charset, or a JSON string or object with ``texto``."""
    kind, charset = _type(request.environ.get("CONTENT_TYPE", ""))
    if int(request.environ.get("CONTENT_LENGTH") or 0) > settings.max_bytes:
        raise RequestEntityTooLarge(f"The body is too long; the most is {settings.max_bytes} bytes.")
    # the door has received it, whole
    text = _decoded(request.environ["wsgi.input"].read(), charset, "body")
    return _checked(_json(text) if kind == "application/json" else text, settings)


@lru_cache(maxsize=256)
def _type(content_type: str) -> tuple[str, str]:
    """Media type and charset."""
    kind, options = parse_options_header(content_type)
    kind = kind.lower()
    if kind != "application/json" and kind not in TEXT_TYPES:
        raise UnsupportedMediaType("Send text/plain or application/json.")
    try:
        charset = codecs.lookup(options.get("charset", "utf-8")).name
    except (LookupError, ValueError):
        charset = ""
    if charset not in CHARSETS:
        raise UnsupportedMediaType(f"Send a charset of {', '.join(sorted(CHARSETS))}.")
    return kind, charset


def _decoded(raw: bytes, charset: str, what: str) -> str:
    try:
        return raw.decode(charset)
    except UnicodeDecodeError as error:
        raise BadRequest(f"The {what} is not {charset.upper()}.") from error


def _json(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error
    found = value.get("texto") if isinstance(value, dict) else value
    if not isinstance(found, str):
        raise Unprocessable("Send a JSON string, or an object with the string `texto`.")
    if any("\ud800" <= letter <= "\udfff" for letter in found):
        raise Unprocessable("The text has half a character: a surrogate without its other half.")
    return found


def _checked(text: str, settings: Settings) -> str:
    if _piled(text):
        raise Unprocessable(f"The text has more than {MARKS} marks on one letter.")
    text = unicodedata.normalize("NFC", text).strip()
    if not VISIBLE.search(text):
        raise BadRequest("The text is empty: send it as `texto` (v1) or as the body (v2).")
    if len(text) > settings.max_characters:
        raise Unprocessable(f"The text has {len(text)} characters; the most is {settings.max_characters}.")
    return text


def _piled(text: str) -> bool:
    """More than MARKS marks in a row, also those that letters are normalised to."""
    for found in _FOREIGN.finditer(text):
        marks = 0
        for letter in found[0]:
            marks = marks + 1 if unicodedata.combining(unicodedata.normalize("NFKD", letter)[0]) else 0
            if marks > MARKS:
                return True
    return False
