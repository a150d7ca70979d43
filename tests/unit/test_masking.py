from __future__ import annotations

import base64
import json
from urllib.parse import quote

from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline_tools.masking import MASK, Masker

SECRET = "p@ss w/ord+ñ=7"
secrets = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=8)


def test_every_form_in_which_tools_print_a_secret_is_masked() -> None:
    masker = Masker()
    masker.register(SECRET)
    for form in (SECRET, quote(SECRET, safe=""), json.dumps(SECRET)[1:-1]):
        assert masker.mask(f"a {form} b") == f"a {MASK} b"


@given(secret=secrets, before=st.text(max_size=9), after=st.text(max_size=9))
def test_a_secret_inside_base64_is_masked_wherever_it_stands(secret: str, before: str, after: str) -> None:
    masker = Masker()
    masker.register(secret)
    encoded = base64.b64encode((before + secret + after).encode()).decode()
    masked = masker.mask(encoded)
    assert masked != encoded
    # at each end at most the characters remain that share their bits with a neighbour
    left = len(masked) - len(MASK)
    around = len(base64.b64encode(before.encode())) + len(base64.b64encode(after.encode()))
    assert left <= around + 4


@given(first=secrets, second=secrets)
def test_a_secret_that_contains_another_is_masked_whole(first: str, second: str) -> None:
    assume(first != second)
    masker = Masker()
    masker.register(first)
    masker.register(first + second)
    assert masker.mask(f"<{first + second}>") == f"<{MASK}>"


def test_words_too_short_to_be_a_secret_stay() -> None:
    masker = Masker()
    masker.register("abc")
    assert masker.mask("abcdef") == "abcdef"
