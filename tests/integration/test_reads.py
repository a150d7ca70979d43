"""What steps read, on real git: each file's id is that of the bytes that are there, however git came by them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline_tools import reads
from pipeline_tools.ledger import read_json, write_json
from pipeline_tools.reads import CACHE, Reads
from pipeline_tools.systems.git import _settings as git_settings
from pipeline_tools.systems.git import files as listed_files


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode(errors="replace").strip()


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")


def write(folder: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def repository(folder: Path, *options: str) -> Path:
    (folder / "src").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=master", *options)
    write(folder, one="1\n", two="2\n")
    write(folder / "src", three="3\n", empty="")
    commit(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return repository(tmp_path / "project")


def identity(path: Path, algorithm: str = "sha1") -> str:
    content = path.read_bytes()
    whole = hashlib.new(algorithm, b"blob %d\0" % len(content) + content).hexdigest()
    return whole + ("+x" if path.stat().st_mode & 0o100 else "")


def seen(project: Path, *paths: str, algorithm: str = "sha1") -> dict[str, str]:
    """What is read of ``paths``; that each id is the one of the file as it is here is checked."""
    (project / ".pipeline").mkdir(exist_ok=True)
    (project / ".pipeline/.gitignore").write_text("*\n")  # as the ledger does
    git_settings.cache_clear()  # a command asks for them once
    found = Reads(project).of(paths or (".",))
    for name, said in found.items():
        if not (project / name).is_symlink():
            assert said == identity(project / name, algorithm), name
    assert list(found) == sorted(found)
    return found


def test_a_name_that_is_not_utf_8_is_read_like_any_other(project: Path) -> None:
    name = os.fsdecode(b"a\xf1o")
    submodule = repository(project / os.fsdecode(b"m\xf3dulo"))
    git(project, "submodule", "--quiet", "add", "./" + submodule.name)
    write(project, **{name: "1\n", "uno": "1\n"})
    commit(project)
    before = seen(project)
    assert {name, f"{submodule.name}/one"} <= before.keys()
    write(project, **{name: "2\n"})
    write(submodule, one="changed\n")
    after = seen(project)
    assert after[name] != before[name]
    assert after[f"{submodule.name}/one"] != before[f"{submodule.name}/one"]
    assert seen(project, name) == {name: after[name]}
    assert Path(name) in listed_files(project)
    file = project / ".pipeline/reads.json"
    write_json(file, {"files": after}, indent=None)
    assert read_json(file) == {"files": after}


def test_a_change_has_the_same_id_before_and_after_its_commit(project: Path) -> None:
    before = seen(project)
    assert set(before) == {"one", "two", "src/three", "src/empty"}
    write(project, one="another\n", new="new\n")
    (project / "two").unlink()
    changed = seen(project)
    assert changed.keys() == {"one", "new", "src/three", "src/empty"}
    assert changed["one"] != before["one"]
    git(project, "add", "one")
    assert seen(project) == changed
    git(project, "add", "--intent-to-add", "new")
    assert seen(project) == changed
    commit(project)
    assert seen(project) == changed
    (project / "one").touch()
    assert seen(project) == changed


def test_whether_a_file_is_a_program_counts(project: Path) -> None:
    before = seen(project)["one"]
    (project / "one").chmod(0o755)
    assert seen(project)["one"] == f"{before}+x"
    commit(project)
    assert seen(project)["one"] == f"{before}+x"
    git(project, "config", "core.filemode", "false")
    (project / "one").chmod(0o644)
    assert seen(project)["one"] == before


def test_a_file_that_changes_without_another_size_or_time(project: Path) -> None:
    write(project, new="aaaa")
    (project / ".gitattributes").write_text("two text\n")  # git is not asked for it, nor for what is new
    for name in ("one", "new", "two"):
        before = (project / name).stat()
        first = seen(project)[name]
        content = (project / name).read_bytes()
        (project / name).write_bytes(b"b" * len(content))
        os.utime(project / name, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert seen(project)[name] != first


def test_of_two_changes_in_the_same_moment_both_are_seen(project: Path) -> None:
    for number in range(30):
        write(project, one=f"{number:04}", new=f"{number:04}")
        seen(project)
        if number % 10 == 0:
            commit(project)


def test_what_was_read_once_is_not_read_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    reading = reads._read

    def reading_is_noted(path: Path, algorithm: str) -> Any:
        read.append(path.name)
        return reading(path, algorithm)

    monkeypatch.setattr(reads, "_read", reading_is_noted)
    write(project, new="new", one="changed")
    seen(project)
    assert sorted(read) == ["new", "one"]
    time.sleep(reads.UNSETTLED + 0.1)
    for expected in (["new", "one"], []):  # they had only just changed
        read.clear()
        seen(project)
        assert sorted(read) == expected
    write(project, new="newer")
    seen(project)
    assert read == ["new"]
    for content in ("", "{", "[]", '{"algorithm": "sha1", "files": {"new": [1]}}'):
        (project / ".pipeline" / CACHE).write_text(content)
        seen(project)
    (project / "new").unlink()
    write(project, other="x")
    time.sleep(reads.UNSETTLED + 0.1)
    seen(project)
    assert set(json.loads((project / ".pipeline" / CACHE).read_text())["files"]) == {"one", "other"}


def test_links_count_with_where_they_point_to_and_with_what_is_there(project: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("a")
    for name, target in (("file", outside), ("folder", Path("src")), ("nowhere", Path("none"))):
        (project / name).symlink_to(target)
    commit(project)
    before = seen(project)
    assert before["file"] == f"-> {outside} {identity(outside)}"
    assert before["folder"] == "-> src"
    assert before["nowhere"] == "-> none"
    outside.write_text("b")
    assert seen(project)["file"] == f"-> {outside} {identity(outside)}"
    write(project, none="here")
    assert seen(project)["nowhere"] == f"-> none {identity(project / 'none')}"
    (project / "folder").unlink()
    (project / "folder").symlink_to(".")
    assert seen(project)["folder"] == "-> ."


def test_line_ends_count_as_they_are_here(project: Path) -> None:
    write(project, script="#!/bin/sh\necho\n", picture=b"\0\r\n")
    (project / ".gitattributes").write_text("* text=auto\npicture binary\n")
    commit(project)
    git(project, "config", "core.eol", "crlf")

    def checked_out() -> dict[str, str]:
        (project / "script").unlink()
        git(project, "checkout", "--", "script")
        return seen(project)

    with_crlf = checked_out()
    assert b"\r\n" in (project / "script").read_bytes()
    git(project, "config", "core.eol", "lf")
    assert checked_out()["script"] != with_crlf["script"]
    (project / ".gitattributes").unlink()
    commit(project)
    git(project, "config", "core.autocrlf", "true")
    assert checked_out()["script"] == with_crlf["script"]


def test_a_filter_that_puts_other_content_here_is_seen(project: Path) -> None:
    """As git-lfs does: the same commit is a pointer, or the large file."""
    (project / ".gitattributes").write_text("*.bin filter=large\n")
    git(project, "config", "filter.large.clean", "sed s/^large/pointer/")
    git(project, "config", "filter.large.smudge", "sed s/^pointer/large/")
    (project / "a.bin").write_text("large 1\n")
    commit(project)
    large = seen(project)
    (project / "a.bin").write_text("pointer 1\n")  # as after GIT_LFS_SKIP_SMUDGE
    git(project, "add", "a.bin")
    assert git(project, "status", "--porcelain") == "", "git sees no difference"
    assert seen(project)["a.bin"] != large["a.bin"]


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_files_that_git_was_told_not_to_look_at_are_looked_at(project: Path, flag: str) -> None:
    before = seen(project)
    git(project, "update-index", flag, "one")
    write(project, one="changed behind git's back\n")
    assert git(project, "status", "--porcelain") == ""
    assert seen(project)["one"] != before["one"]


def test_a_conflict_counts_as_it_is_here(project: Path) -> None:
    git(project, "checkout", "--quiet", "-b", "other")
    write(project, one="theirs\n")
    commit(project)
    git(project, "checkout", "--quiet", "master")
    write(project, one="ours\n")
    commit(project)
    with pytest.raises(subprocess.CalledProcessError):
        git(project, "merge", "other")
    assert "<<<<<<<" in (project / "one").read_text()
    seen(project)


def test_submodules_count_with_what_changed_and_what_is_new_in_them(project: Path, tmp_path: Path) -> None:
    inner, outer = repository(tmp_path / "inner"), repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "inner")
    commit(outer)
    git(project, "submodule", "--quiet", "add", str(outer), "lib/outer")
    git(project, "submodule", "--quiet", "update", "--init", "--recursive")
    commit(project)
    before = seen(project)
    assert "lib/outer/inner/src/three" in before
    for name in ("lib/outer/one", "lib/outer/inner/one", "lib/outer/inner/new"):
        write((project / name).parent, **{Path(name).name: "changed\n"})
        after = seen(project)
        assert {each for each in {*before, *after} if before.get(each) != after.get(each)} == {name}
        before = after
    assert set(seen(project, "lib/outer/inner/src")) == {"lib/outer/inner/src/three", "lib/outer/inner/src/empty"}
    assert set(seen(project, "lib")) == {name for name in before if name.startswith("lib/")}
    git(project, "submodule", "--quiet", "deinit", "--force", "lib/outer")
    assert not any(name.startswith("lib/") for name in seen(project))


def test_what_is_ignored_counts_if_it_is_named(project: Path) -> None:
    write(project, **{".gitignore": "*.log\nbuilt/\n", "a.log": "a"})
    (project / "built").mkdir()
    write(project / "built", wheel="w")
    assert not {"a.log", "built/wheel"} & set(seen(project))
    assert set(seen(project, "src", "a.log", "built/wheel", "none")) == {
        *("src/three", "src/empty", "a.log", "built/wheel")
    }


def test_a_project_inside_of_a_repository_may_read_what_is_beside_it(project: Path) -> None:
    inside = project / "services/web"
    inside.mkdir(parents=True)
    write(inside, app="app\n")
    commit(project)
    write(inside, app="changed\n", new="new\n")
    write(project / "src", three="changed\n")
    assert set(seen(inside)) == {"app", "new"}
    assert set(seen(inside, ".", "../../src")) == {"app", "new", "../../src/three", "../../src/empty"}
    link = project.parent / "link"
    link.symlink_to(inside)
    assert seen(link) == seen(inside)


def test_names_are_no_patterns_and_thousands_of_them_are_no_problem(project: Path) -> None:
    names = {f"file *[{number}] ñ\t": str(number) for number in range(2000)}
    (project / "many").mkdir()
    write(project / "many", **names)
    commit(project)
    asked = sorted(f"many/{name}" for name in names)[::2]
    assert set(seen(project, *asked, "src")) == {*asked, "src/three", "src/empty"}
    assert set(seen(project, "many/file *[1] ñ\t")) == {"many/file *[1] ñ\t"}


def test_a_repository_with_longer_ids(tmp_path: Path) -> None:
    project = repository(tmp_path / "project", "--object-format=sha256")
    write(project, two="changed", new="new")
    assert len(seen(project, algorithm="sha256")["one"]) == 64


def test_one_look_is_enough_until_a_step_has_been_at_work(project: Path) -> None:
    looked = Reads(project)
    before = looked.of(["."])
    write(project, one="changed\n")
    assert looked.of(["."]) == before, "nothing changes a file while no step is at work"
    with looked.changing():
        assert looked.of(["."])["one"] == identity(project / "one")
        write(project, one="changed again\n")
        assert looked.of(["."])["one"] == identity(project / "one")
    write(project, one="and again\n")
    assert looked.of(["."])["one"] == identity(project / "one")


def test_whatever_is_done_to_the_files_their_ids_are_right(project: Path) -> None:
    chance = random.Random(20260102)
    names = ["one", "two", "src/three", "src/empty", "new", "src/new"]
    for _ in range(60):
        path = project / chance.choice(names)
        match chance.randrange(6):
            case 0 | 1:
                path.write_text(chance.choice(["aa", "bb", "cc", ""]))
            case 2:
                path.unlink(missing_ok=True)
            case 3 if path.exists():
                path.chmod(chance.choice([0o644, 0o755]))
            case 4:
                git(project, "add", "--all")
            case 5 if git(project, "status", "--porcelain"):
                commit(project)
        found = seen(project)
        assert set(found) == {name for name in names if (project / name).exists()}
