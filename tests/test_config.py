"""Settings: who wins, what is refused, and what is remembered of where a value came from."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from localserve.config import SETTINGS, Settings, read_settings
from localserve.errors import ConfigInvalid


def _home(tmp_path: Path, text: str | None = None) -> dict[str, str]:
    """An environment with a home of its own, and a models.toml in it."""
    if text is not None:
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "models.toml").write_text(text)
    return {"LOCALSERVE_HOME": str(tmp_path)}


def test_without_anything_set_every_value_is_its_default(tmp_path: Path) -> None:
    settings = read_settings(environ={"LOCALSERVE_CONFIG_DIR": str(tmp_path)})
    assert (settings.host, settings.port, settings.max_waiting) == ("127.0.0.1", 8080, 64)
    assert (settings.context_tokens, settings.parallel, settings.threads) == (None, None, None)
    assert settings.max_body_bytes == 32 << 20
    assert settings.config_file is None
    assert settings.sources["config_dir"] == "LOCALSERVE_CONFIG_DIR"
    assert {v for k, v in settings.sources.items() if k != "config_dir"} == {"default"}


def test_the_value_has_a_field_for_every_setting_and_a_source_for_each(tmp_path: Path) -> None:
    names = [setting.name for setting in SETTINGS]
    fields = [field.name for field in dataclasses.fields(Settings)]
    assert sorted([*names, "sources"]) == sorted(fields)
    assert list(read_settings(environ=_home(tmp_path)).sources) == names


def test_every_default_is_allowed_and_every_setting_is_explained() -> None:
    for setting in SETTINGS:
        assert setting.help.endswith(".")
        if setting.default is not None:
            assert isinstance(setting.default, setting.type)
        if isinstance(setting.default, int | float):
            assert setting.minimum <= setting.default <= setting.maximum


def test_an_option_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    environ = _home(tmp_path, "[settings]\nport = 1001\nmax_waiting = 5\nparallel = 2\n")
    environ |= {"LOCALSERVE_PORT": "1002", "LOCALSERVE_MAX_WAITING": "6"}
    settings = read_settings({"port": 1003, "host": None}, environ)
    assert (settings.port, settings.sources["port"]) == (1003, "--port")
    assert (settings.max_waiting, settings.sources["max_waiting"]) == (6, "LOCALSERVE_MAX_WAITING")
    assert (settings.parallel, settings.sources["parallel"]) == (2, "models.toml line 4")
    assert (settings.host, settings.sources["host"]) == ("127.0.0.1", "default")


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    settings = read_settings(environ=_home(tmp_path) | {"LOCALSERVE_PORT": ""})
    assert settings.port == 8080


def test_home_moves_all_folders_and_a_folder_of_its_own_beats_it(tmp_path: Path) -> None:
    environ = _home(tmp_path) | {"LOCALSERVE_CACHE_DIR": str(tmp_path / "elsewhere")}
    settings = read_settings(environ=environ)
    assert settings.config_dir == tmp_path / "config"
    assert settings.data_dir == tmp_path / "data"
    assert settings.models_dir == tmp_path / "data" / "models"
    assert settings.cache_dir == tmp_path / "elsewhere"


def test_the_hubs_own_variables_say_where_its_cache_is(tmp_path: Path) -> None:
    home = _home(tmp_path)
    assert read_settings(environ=home | {"HF_HOME": "/h"}).hub_cache_dir == Path("/h/hub")
    both = home | {"HF_HOME": "/h", "HF_HUB_CACHE": "/c"}
    assert read_settings(environ=both).hub_cache_dir == Path("/c")
    xdg = read_settings(environ=home | {"XDG_CACHE_HOME": "/x"}).hub_cache_dir
    assert xdg == Path("/x/huggingface/hub")


@pytest.mark.parametrize(
    ("system", "folder"),
    [
        ("linux", Path("/x/llama.cpp")),
        ("darwin", Path.home() / "Library" / "Caches" / "llama.cpp"),
        ("win32", Path("/local/llama.cpp")),
    ],
)
def test_llama_cpp_s_own_cache_is_where_it_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, folder: Path
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    environ = _home(tmp_path) | {"XDG_CACHE_HOME": "/x", "LOCALAPPDATA": "/local"}
    assert read_settings(environ=environ).llama_cache_dir == folder
    assert read_settings(environ=environ | {"LLAMA_CACHE": "/c"}).llama_cache_dir == Path("/c")


def test_the_hubs_address_ends_without_a_slash(tmp_path: Path) -> None:
    environ = _home(tmp_path) | {"HF_ENDPOINT": "https://mirror.example/"}
    assert read_settings(environ=environ).hub_endpoint == "https://mirror.example"


def test_paths_in_the_file_start_at_the_file(tmp_path: Path) -> None:
    environ = _home(tmp_path, '[settings]\nmodels_dir = "../weights"\ndata_dir = "~/d"\n')
    settings = read_settings(environ=environ)
    assert settings.models_dir.resolve() == tmp_path / "weights"
    assert settings.data_dir == Path.home() / "d"


def test_a_whole_number_is_taken_for_a_setting_with_fractions(tmp_path: Path) -> None:
    settings = read_settings(environ=_home(tmp_path, "[settings]\ndrain_seconds = 3\n"))
    assert settings.drain_seconds == 3.0
    assert isinstance(settings.drain_seconds, float)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Off", False), ("no", False)])
def test_switches_are_read_from_the_usual_words(tmp_path: Path, text: str, value: bool) -> None:
    assert read_settings(environ=_home(tmp_path) | {"LOCALSERVE_OFFLINE": text}).offline is value


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("LOCALSERVE_PORT", "http", "a whole number from 0 to 65535"),
        ("LOCALSERVE_PORT", "65536", "a whole number from 0 to 65535"),
        ("LOCALSERVE_PORT", "80.5", "a whole number from 0 to 65535"),
        ("LOCALSERVE_STEP_BUDGET_MS", "nan", "a number from 1 to 60000"),
        ("LOCALSERVE_OFFLINE", "maybe", "true or false"),
        ("LOCALSERVE_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("LOCALSERVE_HOST", "  ", "text"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_what_is_allowed(
    tmp_path: Path, variable: str, text: str, allowed: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read_settings(environ=_home(tmp_path) | {variable: text})
    assert caught.value.message.replace("'", "") == f"{variable} is {text}; it must be {allowed}."


def test_a_wrong_option_is_named_by_its_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"^--ctx is 3; it must be a whole number from 64"):
        read_settings({"context_tokens": 3}, _home(tmp_path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[settings]\n\nport = '80'\n", "models.toml line 3: port is '80'; it must be a whole"),
        ("[settings]\nport = true\n", "models.toml line 2: port is True; it must be a whole"),
        ("[settings]\noffline = 1\n", "models.toml line 2: offline is 1; it must be true or"),
        ("[settings]\nprot = 1\n", "line 2: the key 'settings.prot' is unknown. Did you mean 'por"),
        (
            "x = 1\n[setings]\n",
            "line 1: the key 'x' is unknown. Known here: models, routes, settings.",
        ),
        ("\n[setings]\n", "line 2: the key 'setings' is unknown. Did you mean 'settings'?"),
        ("[settings]\nhome = '/'\n", "line 2: 'home' decides which file is read"),
    ],
)
def test_a_wrong_line_of_the_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read_settings(environ=_home(tmp_path, text))
    assert words in str(caught.value)


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"mine\.toml cannot be read"):
        read_settings({"config_file": tmp_path / "mine.toml"}, _home(tmp_path))


def test_a_file_that_was_asked_for_is_read_instead_of_the_usual_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[settings]\nport = 7\n")
    environ = _home(tmp_path, "[settings]\nport = 8\n") | {"LOCALSERVE_CONFIG_FILE": str(mine)}
    settings = read_settings(environ=environ)
    assert (settings.port, settings.config_file) == (7, mine)
    assert settings.sources["port"] == "mine.toml line 2"


def test_reading_settings_imports_neither_pydantic_nor_the_server() -> None:
    code = "import sys, localserve.config; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "starlette", "huggingface_hub", "asyncio"} & set(done.stdout.split())


def test_a_folder_that_cannot_be_looked_into_is_an_error_that_names_it() -> None:
    folder = "/" + "x" * 1000
    with pytest.raises(ConfigInvalid, match=f"{folder}.models.toml cannot be looked for") as wrong:
        read_settings(environ={"LOCALSERVE_CONFIG_DIR": folder})
    assert "LOCALSERVE_CONFIG_DIR" in wrong.value.hint
