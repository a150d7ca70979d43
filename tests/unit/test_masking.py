from __future__ import annotations

import base64
import html
import json
import logging
import shlex
import textwrap
import threading
from collections.abc import Callable, Sequence
from urllib.parse import quote, quote_plus
from xml.sax import saxutils

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipeline_tools import masking
from pipeline_tools.masking import MASK, LineStream, Masker, Stream, TextStream

SECRET = "p@ss w/ord+<ñ>=&'7\"~\\x$`!"
# Python quotes differently where there is only one kind of quote
SPECIAL = [SECRET, "it's\\ñ", 'say "ñ\\"', "plain-text_0"]
FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "URL": lambda text: quote(text, safe=""),
    "URL path": quote,
    "URL, small digits": lambda text: _small(quote(text, safe="")),
    "form": quote_plus,
    "form, small digits": lambda text: _small(quote_plus(text)),
    "encodeURIComponent": lambda text: quote(text, safe="!'()*~"),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON, slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", r"\/"),
    "JSON of Go": lambda text: _go(json.dumps(text, ensure_ascii=False)[1:-1]),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "XML": saxutils.escape,
    "XML attribute": lambda text: saxutils.escape(text, {'"': "&quot;"}),
    "HTML of Python": html.escape,
    "HTML of Jinja": lambda text: html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    "XML in ASCII": lambda text: saxutils.escape(text).encode("ascii", "xmlcharrefreplace").decode(),
    "shell of Python": lambda text: text.replace("'", "'\"'\"'"),
    "shell of bash": lambda text: text.replace("'", r"'\''"),
    "shell, double quotes": lambda text: _after(r'$`"\\', text),
    "shell, %q": lambda text: _after("\t !\"$&'()*,;<>?[\\]^`{|}", text),
    "repr": lambda text: repr(text)[1:-1],
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    "repr with both quotes": lambda text: repr(text + "'\"")[1:-4],
    "repr of bytes with both quotes": lambda text: repr((text + "'\"").encode())[2:-4],
    "ascii": lambda text: ascii(text)[1:-1],
}
# no control characters, blanks or halves of surrogate pairs; line breaks have tests of their own
secrets = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=8, max_size=150)
# surroundings in which no secret of a test can begin or end
around = st.text(st.sampled_from("\x01\x02 \t"), max_size=30)
pieces = st.lists(st.integers(1, 9), min_size=1, max_size=20)


def _small(text: str) -> str:
    return "".join(part[:2].lower() + part[2:] if number else part for number, part in enumerate(_split(text)))


def _split(text: str) -> list[str]:
    head, *rest = text.split("%")
    return [head, *rest] if not rest else [head + "%", *(part + "%" for part in rest[:-1]), rest[-1]]


def _go(text: str) -> str:
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _after(special: str, text: str) -> str:
    return "".join(f"\\{character}" if character in special else character for character in text)


def _masker(*values: str) -> Masker:
    masker = Masker()
    for value in values:
        masker.register(value)
    return masker


def _cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """``data`` in pieces of these sizes, over and over."""
    cut: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(cut) % len(sizes)]
        cut.append(data[at : at + size])
        at += size
    return cut


def _streamed(masker: Masker, data: bytes, sizes: Sequence[int]) -> bytes:
    stream = Stream(masker)
    return b"".join([*(stream.feed(piece) for piece in _cut(data, sizes)), stream.flush()])


def test_what_the_tests_call_small_digits_is_so() -> None:
    assert _small("a%2F%C3%B1b%2Fx") == "a%2f%c3%b1b%2fx"


@pytest.mark.parametrize("secret", SPECIAL)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_which_tools_print_a_secret_is_masked(form: str, secret: str) -> None:
    assert _masker(secret).mask(f"a {FORMS[form](secret)} b") == f"a {MASK} b"


@given(secret=secrets, form=st.sampled_from(sorted(FORMS)), before=around, after=around, sizes=pieces)
def test_no_form_of_any_secret_passes_and_all_else_stays(
    secret: str, form: str, before: str, after: str, sizes: list[int]
) -> None:
    masker = _masker(secret)
    text = f"{before}{FORMS[form](secret)}{after}"
    masked = f"{before}{MASK}{after}"
    assert masker.mask(text) == masked
    assert _streamed(masker, text.encode(), sizes) == masked.encode()


@given(
    secret=secrets,
    before=st.text(max_size=9),
    after=st.text(max_size=9),
    url_safe=st.booleans(),
    width=st.sampled_from([0, 4, 11, 60, 64, 76]),
    end=st.sampled_from(["\n", "\r\n"]),
    sizes=pieces,
)
@example(secret="".join(map(str, range(60))), before="0000000", after="", url_safe=False, width=4, end="\n", sizes=[1])
def test_a_secret_inside_base64_is_masked_wherever_it_stands_and_however_it_is_wrapped(
    secret: str, before: str, after: str, url_safe: bool, width: int, end: str, sizes: list[int]
) -> None:
    masker = _masker(secret)
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    whole = encode((before + secret + after).encode()).decode()
    text = end.join(textwrap.wrap(whole, width)) if width else whole
    masked = masker.mask(text)
    left = masked.replace(MASK, "").replace(end, "")
    # characters of base64 hold six bits: hidden are those that hold bits of the secret only
    begin = len(before.encode())
    hidden = (begin + len(secret.encode())) * 8 // 6 - -(-begin * 8 // 6)
    # what stands alone before a break
    stub = masking.MINIMUM_LENGTH - 1 if width else 0
    assert len(left) <= len(whole) - hidden + stub
    assert masked.count(end) == text.count(end)
    assert _streamed(masker, text.encode(), sizes) == masked.encode()


def test_base64_in_base64_in_a_url_and_in_json_is_masked() -> None:
    login = base64.b64encode(f"user:{SECRET}".encode()).decode()
    document = base64.b64encode(json.dumps({"auths": {"host": {"auth": login}}}).encode()).decode()
    masker = _masker(SECRET)
    hidden = len(document) - len(masker.mask(document).replace(MASK, ""))
    # each layer makes four characters of three bytes, and may leave one that shares bits with its neighbour at each end
    assert hidden >= (len(SECRET.encode()) * 4 / 3 - 2) * 4 / 3 - 2
    for value in ("????>>>>ÿÿÿÿ~~~~", "<<<???>>>ÿþýü"):
        login = base64.b64encode(value.encode()).decode()
        assert "/" in login or "+" in login
        for text in (quote(login, safe=""), _small(quote(login, safe="")), login.replace("/", r"\/")):
            assert len(_masker(value).mask(text)) <= len(MASK) + 4


alike = st.text("ab", min_size=4, max_size=9)


@given(values=st.lists(alike, min_size=1, max_size=4), text=st.text("abc\n", max_size=80), sizes=pieces)
@example(values=["aaaa"], text="a" * 80, sizes=[1])
@example(values=["aaaa"], text="aaa\na", sizes=[1])
@example(values=["abbbba", "aabb"], text="aa\n\nbb\nbba", sizes=[2])
def test_each_character_of_secrets_that_overlap_is_masked_and_no_other(
    values: list[str], text: str, sizes: list[int]
) -> None:
    # the plainest way to say what is hidden: look everywhere, as if there were no line breaks
    places = [at for at, character in enumerate(text) if character != "\n"]
    flat = text.replace("\n", "")
    hidden = set()
    for value in values:
        for start in range(len(flat)):
            if flat.startswith(value, start):
                covered = places[start : start + len(value)]
                stub = text[covered[0] : covered[0] + masking.MINIMUM_LENGTH]
                if "\n" in stub:
                    covered = [at for at in covered if at > covered[0] + stub.index("\n")]
                hidden |= set(covered)
    expected = ""
    for at, character in enumerate(text):
        if at not in hidden:
            expected += character
        elif at - 1 not in hidden:
            expected += MASK
    masker = _masker(*values)
    # forms other than the raw one consist of other characters, but for base64, which is longer than what is here
    assert masker.mask(text) == expected
    assert _streamed(masker, text.encode(), sizes) == expected.encode()


@given(first=secrets, second=secrets)
def test_a_secret_that_contains_another_is_masked_whole(first: str, second: str) -> None:
    assume(first != second)
    assert _masker(first, first + second).mask(f"<{first + second}>") == f"<{MASK}>"


def test_a_secret_of_several_lines_is_masked_whole_and_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n"
    masker = _masker(key)
    assert masker.mask(key) == f"{MASK}\n{MASK}\n{MASK}\n{MASK}\n"
    assert masker.mask("    kqhkiG9w0BAQEF\r\n") == f"    {MASK}\r\n"
    assert masker.mask(json.dumps({"key": key})) == json.dumps({"key": MASK})
    assert masker.mask(f"key={quote(key)}") == f"key={MASK}"


def test_blanks_around_a_secret_and_other_line_ends_do_not_matter() -> None:
    assert _masker("  padded secret\t").mask("<padded secret>") == f"<{MASK}>"
    assert _masker("first line\r\nsecond line").mask(quote("first line\nsecond line")) == MASK


def test_a_part_of_a_long_secret_is_masked_as_well() -> None:
    long = "".join(f"{number:05}x" for number in range(200))
    masked = _masker(long).mask(long[:700])
    assert masked.startswith(MASK)
    assert len(masked) < masking.PIECE + len(MASK)


@given(value=st.text(max_size=3), text=st.text(max_size=30))
def test_values_too_short_to_be_a_secret_stay(value: str, text: str) -> None:
    masker = _masker(value)
    assert masker.mask(value + text + value) == value + text + value


@pytest.mark.parametrize(("value", "text"), [("a\n\n\nb", "ab"), ("é", "\\u00e9"), ("key\n     \nend", "     x")])
def test_values_that_are_short_but_for_line_breaks_or_escapes_stay(value: str, text: str) -> None:
    masker = _masker(value)
    assert masker.mask(text) == text


@given(text=st.text(), sizes=pieces)
def test_text_without_a_secret_is_given_back_as_it_is(text: str, sizes: list[int]) -> None:
    masker = _masker("a-secret-that-is-nowhere", "\ud800half-a-pair", "nul\0inside")
    assert masker.mask(text) == text
    data = text.encode("utf-8", "surrogatepass")
    assert _streamed(masker, data, sizes) == data


@given(data=st.binary(max_size=300), sizes=pieces)
def test_bytes_that_are_no_text_pass_through_a_stream(data: bytes, sizes: list[int]) -> None:
    assert _streamed(_masker("a-secret-that-is-nowhere"), data, sizes) == data


def test_a_secret_with_a_zero_byte_is_masked_whole() -> None:
    masker = _masker("before\0after")
    assert masker.mask("before") == "before"
    assert masker.mask("<before\0after>") == f"<{MASK}>"


@given(secret=secrets, before=around, sizes=pieces)
def test_a_text_stream_gives_out_whole_characters(secret: str, before: str, sizes: list[int]) -> None:
    text = f"{before}ñ\x02{secret}\x02{secret[:2]}"
    stream = TextStream(_masker(secret))
    at = given_out = 0
    masked = ""
    while at < len(text):
        masked += stream.feed(text[at : at + sizes[given_out % len(sizes)]])
        at += sizes[given_out % len(sizes)]
        given_out += 1
    assert masked + stream.flush() == f"{before}ñ\x02{MASK}\x02{secret[:2]}"


def test_a_stream_holds_back_only_what_could_be_a_beginning() -> None:
    stream = Stream(_masker("hush-hush-17"))
    assert stream.feed(b"a line\n") == b"a line\n"
    assert stream.feed(b"say hush-hush") == b"say "
    assert stream.feed(b"-1") == b""
    assert stream.feed(b"8 and h") == b"hush-hush-18 and "
    assert stream.flush() == b"h"


def test_a_line_that_only_ends_like_a_beginning_is_not_kept_waiting() -> None:
    stream = Stream(_masker("hush-hush-17"))
    assert stream.feed(b"the push\n") == b"the push\n"
    assert stream.feed(b"hus\n") == b"hus\n"
    # what follows is still known to be the rest of a secret
    assert stream.feed(b"h-hush-17\n") == f"{MASK}\n".encode()
    assert stream.flush() == b""


def test_endless_line_breaks_are_not_kept() -> None:
    stream = Stream(_masker("hush-hush-17"))
    stream.feed(b"hush-")
    for _ in range(100):
        stream.feed(b"\n" * 1000)
    assert len(stream._held) <= masking.REACH


def test_a_secret_registered_while_a_stream_flows_is_masked_from_then_on() -> None:
    masker = Masker()
    stream = Stream(masker)
    assert stream.feed(b"hush-hush-17 ") == b"hush-hush-17 "
    masker.register("hush-hush-17")
    assert stream.feed(b"hush-hush-17 ") == f"{MASK} ".encode()
    masker.register("another-one")
    assert stream.feed(b"another-one hush-hush-17 ") == f"{MASK} {MASK} ".encode()


@given(
    lines=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=20), max_size=9),
    sizes=pieces,
)
def test_a_stream_of_lines_gives_them_out_whole(lines: list[str], sizes: list[int]) -> None:
    stream = LineStream(_masker("\x01hush-hush-17"))
    data = "".join(f"{line}\r\n" for line in lines).encode()
    got = [line for piece in _cut(data, sizes) for line in stream.feed(piece)]
    assert got + stream.flush() == lines


def test_a_line_without_an_end_is_given_out_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "LONGEST_LINE", 100)
    stream = LineStream(_masker("hush-hush-17"))
    lines = [line for _ in range(30) for line in stream.feed(b"progress 10% \r")]
    assert lines
    assert max(map(len, lines)) < 120
    assert "".join(line + "\r" for line in [*lines, *stream.flush()]).count("progress") == 30


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=9,
)


@given(secret=secrets, value=json_values)
@example(secret='", "', value=["a", "b"])
@example(secret="1234", value={"seconds": 1234.5, "pin": 1234})
@example(secret="true", value=True)
def test_masked_values_make_a_document_in_which_the_secret_is_not(secret: str, value: object) -> None:
    masker = _masker(secret)
    document = {"here": f"<{secret}>", "value": value}
    masked = masker.mask_values(document)
    assert json.loads(json.dumps(masked)) == masked
    assert secret not in masked["here"].replace(MASK, "")
    if masker.mask(json.dumps(value)) == json.dumps(value):
        assert masked["value"] == value


def test_a_number_that_is_the_secret_is_masked_and_others_are_not() -> None:
    masker = _masker("12345678")
    values = {"pin": 12345678, "seconds": 0.12345678, "ok": True, "none": None, "list": ["x 12345678"]}
    assert masker.mask_values(values) == {**values, "pin": MASK, "list": [f"x {MASK}"]}
    assert _masker("True").mask_values([True]) == [True]


def test_the_command_that_is_shown_hides_a_quoted_secret() -> None:
    assert _masker("it's a secret").mask(shlex.join(["login", "--token=it's a secret"])) == f"login '--token={MASK}'"


def test_what_libraries_log_and_threads_fail_with_is_masked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    masking.register("hush-hush-17")
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler())
    masking.mask_strays()

    def fail() -> None:
        raise ValueError("no hush-hush-17 here")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert logging.lastResort is not None
    logging.lastResort.handle(logging.LogRecord("x", 30, "x.py", 1, "GET /?token=%s", ("hush-hush-17",), None))
    said = capsys.readouterr().err
    assert f"ValueError: no {MASK} here" in said
    assert f"GET /?token={MASK}" in said
    assert "hush" not in said.replace('raise ValueError("no hush-hush-17 here")', "")
