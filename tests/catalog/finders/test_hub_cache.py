"""The Hugging Face cache, as huggingface_hub writes it."""

from __future__ import annotations

from pathlib import Path

from localserve.catalog.finders import hub_cache
from tests.catalog.gguf_files import write_gguf


def _cached(cache: Path, repo: str, commit: str, file: str, blob: str, when: float = 1.0) -> Path:
    folder = cache / f"models--{repo.replace('/', '--')}"
    content = write_gguf(folder / "blobs" / blob, written_at=when)
    link = folder / "snapshots" / commit / file
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(content)
    return link


def _current(cache: Path, repo: str, commit: str) -> None:
    refs = cache / f"models--{repo.replace('/', '--')}" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)


def test_files_of_snapshots_are_found_with_repository_and_time(tmp_path: Path) -> None:
    link = _cached(tmp_path, "owner/some-GGUF", "aaa", "sub/some-Q8_0.gguf", "b1", when=7.0)
    (found,) = hub_cache.find(tmp_path).models
    assert (found.name, found.source, found.repo) == ("some-Q8_0", "hub", "owner/some-GGUF")
    assert (found.path, found.used_at) == (link, 7.0)
    assert found.size_bytes == link.stat().st_size


def test_of_several_commits_the_current_one_counts(tmp_path: Path) -> None:
    _cached(tmp_path, "o/r", "aaa", "m.gguf", "old")
    old = _cached(tmp_path, "o/r", "aaa", "only-old.gguf", "old2")
    new = _cached(tmp_path, "o/r", "bbb", "m.gguf", "new")
    _current(tmp_path, "o/r", "bbb")
    found = hub_cache.find(tmp_path).models
    assert [model.path for model in found] == [new, old]


def test_two_hyphens_in_a_row_belong_to_the_name(tmp_path: Path) -> None:
    folder = tmp_path / "models--owner--strange--name" / "snapshots" / "a"
    write_gguf(folder / "m.gguf")
    (found,) = hub_cache.find(tmp_path).models
    assert found.repo == "owner/strange--name"


def test_a_link_to_nothing_is_skipped_with_a_note(tmp_path: Path) -> None:
    link = _cached(tmp_path, "o/r", "aaa", "m.gguf", "gone")
    (tmp_path / "models--o--r" / "blobs" / "gone").unlink()
    found = hub_cache.find(tmp_path)
    assert found.models == ()
    assert found.notes == (f"{link} is a link to nothing; it is skipped.",)


def test_datasets_and_other_files_are_not_looked_at(tmp_path: Path) -> None:
    write_gguf(tmp_path / "datasets--o--d" / "snapshots" / "a" / "m.gguf")
    write_gguf(tmp_path / "models--o--r" / "blobs" / "m.gguf")
    (tmp_path / "models--o--e").mkdir()
    assert hub_cache.find(tmp_path).models == ()


def test_what_it_finds_is_what_the_hub_s_own_library_sees(tmp_path: Path) -> None:
    from huggingface_hub import scan_cache_dir

    _cached(tmp_path, "owner/one", "a" * 40, "one-Q4_0.gguf", "b1")
    _cached(tmp_path, "owner/two", "b" * 40, "deep/two-Q8_0.gguf", "b2")
    theirs = {
        file.file_path
        for repo in scan_cache_dir(tmp_path).repos
        for revision in repo.revisions
        for file in revision.files
    }
    assert {model.path for model in hub_cache.find(tmp_path).models} == theirs
