from __future__ import annotations

import pytest

from pipeline_tools.systems.git import bare_url, path_of, raised, resolve_url


@pytest.mark.parametrize(
    ("before", "messages", "after"),
    [
        ([], ["feat: x"], (0, 1, 0)),
        ([(0, 1, 0)], ["fix: x"], (0, 1, 1)),
        ([(0, 1, 9), (0, 1, 10)], ["any words"], (0, 1, 11)),
        ([(0, 1, 4)], ["fix: x", "feat(api): y"], (0, 2, 0)),
        ([(0, 1, 4)], ["feat!: x"], (0, 2, 0)),
        ([(1, 3, 4)], ["refactor(api)!: x"], (2, 0, 0)),
        ([(1, 3, 4)], ["fix: x\n\nBREAKING CHANGE: y"], (2, 0, 0)),
        ([(1, 3, 4)], ["fix: x\n\nBREAKING-CHANGE: y"], (2, 0, 0)),
        ([(1, 3, 4)], ["a feat: x", "no BREAKING CHANGE: y"], (1, 3, 5)),
        ([(1, 3, 4)], [], (1, 3, 5)),
    ],
)
def test_the_next_version(before: list[tuple[int, int, int]], messages: list[str], after: tuple[int, int, int]) -> None:
    assert raised(before, messages) == after


@pytest.mark.parametrize(
    ("base", "url", "found"),
    [
        ("https://h.example/team/model.git", "../service.git", "https://h.example/team/service.git"),
        ("https://h.example/team/model.git", "../../other/service.git", "https://h.example/other/service.git"),
        ("ssh://git@h.example:22/team/model.git", "../service.git", "ssh://git@h.example:22/team/service.git"),
        ("git@h.example:team/model.git", "../service.git", "git@h.example:team/service.git"),
        ("/srv/git/model.git", "../service.git", "/srv/git/service.git"),
        ("https://h.example/team/model.git", "https://o.example/s.git", "https://o.example/s.git"),
    ],
)
def test_an_address_beside_another(base: str, url: str, found: str) -> None:
    assert resolve_url(base, url) == found


def test_an_address_is_shown_without_user_and_password() -> None:
    assert bare_url("https://me:secret-12345@h.example:8443/a/b.git") == "https://h.example:8443/a/b.git"
    assert bare_url("git@h.example:a/b.git") == "git@h.example:a/b.git"


@pytest.mark.parametrize(
    "url", ["https://h.example/team/sub/s.git", "git@h.example:team/sub/s.git", "ssh://git@h.example:22/team/sub/s.git"]
)
def test_the_path_of_a_repository(url: str) -> None:
    assert path_of(url) == "team/sub/s"
