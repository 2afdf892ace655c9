"""The settings: one tuple that says what can be set, one frozen value that says what is.

The only reader of the environment and of the configuration file's `[settings]` table. Knows
nothing of models (the `[models]` tables are the catalog's) and of command-line parsing: the
commands hand over what was typed. Any thread; read once at the start.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from localserve.errors import ConfigInvalid, UsageInvalid
from localserve.toml import TomlFile, read_toml

DEFAULT_CONTEXT_TOKENS: Final = 8192
"""The context where neither a setting nor the model's entry says one (at most the trained one)."""

ROOMY_CONTEXT_TOKENS: Final = 32_768
"""What it becomes where that is cheap: agents begin with 10,000 to 20,000 tokens."""

DEFAULT_PARALLEL: Final = 8
"""The bound on sequences computed together where neither a setting nor the entry says one."""

DEFAULT_CHECKPOINT_BYTES: Final = 512 << 20
"""The bound on the checkpoints of each model that needs some."""

DEFAULT_PREFIX_DISK_BYTES: Final = 4 << 30
"""The bound on all kept prefixes on disk."""

DEFAULT_RESPONSE_CACHE_BYTES: Final = 256 << 20
"""The bound on all kept answers on disk."""

MOST_CHECKPOINTS: Final = 16
"""Of each model: two for each of eight conversations."""

CACHE_TYPES: Final = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""How keys and values can be stored; f16 is the default."""


TABLES: Final = ("settings", "models", "routes")
"""What models.toml consists of; the latter two are the catalog's."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set. `type` is one of str, int, float, bool and Path.

    `minimum` and `maximum` are inclusive. `option` is its command-line flag, if it has one.
    `environ` overrides the name of its variable. With `in_file` False the configuration file
    cannot set it, because it decides which file that is. A `secret` is shown by nobody.
    """

    name: str
    type: type
    default: object
    help: str
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    option: str | None = None
    environ: str | None = None
    in_file: bool = True
    secret: bool = False

    @property
    def variable(self) -> str:
        """The name of its environment variable."""
        return self.environ or f"LOCALSERVE_{self.name.upper()}"

    @property
    def allowed(self) -> str:
        """What its value may be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.type is bool:
            return "true or false"
        if self.type in (int, float):
            kind = "a whole number" if self.type is int else "a number"
            if self.maximum < math.inf:
                return f"{kind} from {self.minimum:.0f} to {self.maximum:.0f}"
            return f"{kind}, at least {self.minimum:.0f}"
        return "a path" if self.type is Path else "text"


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("home", Path, None, "Folder that holds config/, data/ and cache/.", in_file=False),
    Setting("config_dir", Path, None, "Folder of models.toml.", in_file=False),
    Setting(
        "config_file", Path, None, "The models.toml to read.", option="--config", in_file=False
    ),
    Setting(
        "api_key",
        str,
        None,
        "An API key with all rights, for containers.",
        in_file=False,
        secret=True,
    ),
    Setting("data_dir", Path, None, "Folder of what must be kept."),
    Setting("cache_dir", Path, None, "Folder of what can be made again."),
    Setting("models_dir", Path, None, "Folder for downloaded models (in data_dir)."),
    Setting("model", str, None, "The model to serve when none is named."),
    Setting("draft", str, None, "A smaller model that guesses for that one.", option="--draft"),
    Setting("host", str, "127.0.0.1", "Address to listen on.", option="--host"),
    Setting("port", int, 8080, "Port to listen on; 0 takes any.", 0, 65535, option="--port"),
    Setting(
        "also_ports", str, None, "More ports to listen on, with commas between.", option="--also"
    ),
    Setting(
        "allowed_hosts", str, None, "Names of this machine in the header Host, with commas between."
    ),
    Setting(
        "allowed_origins", str, None, "Web pages that may use the server, with commas between."
    ),
    Setting("tls_cert", Path, None, "Certificate (PEM) for https.", option="--tls-cert"),
    Setting("tls_key", Path, None, "Its private key (PEM).", option="--tls-key"),
    Setting(
        "context_tokens",
        int,
        None,
        "Tokens of context, shared by all requests (the model's choice).",
        64,
        1 << 24,
        option="--ctx",
    ),
    Setting(
        "parallel",
        int,
        None,
        f"Requests computed together (the model's choice, else {DEFAULT_PARALLEL}).",
        1,
        256,
        option="--parallel",
    ),
    Setting(
        "cache_type_k",
        str,
        None,
        "How keys are stored (the model's choice, else f16).",
        choices=CACHE_TYPES,
        option="--cache-type-k",
    ),
    Setting(
        "cache_type_v",
        str,
        None,
        "How values are stored (the model's choice, else f16).",
        choices=CACHE_TYPES,
        option="--cache-type-v",
    ),
    Setting(
        "gpu_layers",
        int,
        None,
        "Layers on the GPUs, the output being one (all that fit).",
        0,
        100_000,
        option="--gpu-layers",
    ),
    Setting(
        "cpu_moe_layers",
        int,
        None,
        "Layers whose experts stay in RAM (as few as fit).",
        0,
        100_000,
        option="--cpu-moe-layers",
    ),
    Setting("threads", int, None, "CPU threads (the physical cores).", 1, 1024, option="--threads"),
    Setting("offline", bool, False, "Never use the network.", option="--offline"),
    Setting("max_waiting", int, 64, "Requests that may wait; more get 503.", 0, 100_000),
    Setting("memory_wait_seconds", float, 60.0, "Wait for memory that answers hold.", 0.0, 3600.0),
    Setting(
        "model_ram_bytes", int, None, "RAM that models may take together (what is free).", 1 << 20
    ),
    Setting(
        "unload_after_seconds",
        float,
        0.0,
        "Idle time after which models are unloaded; 0: never.",
        0.0,
        31_536_000.0,
    ),
    Setting("max_connections", int, 512, "Open connections; more get 503.", 1, 100_000),
    Setting("requests_per_minute", int, None, "Of each key or address; more get 429.", 1, 1 << 30),
    Setting("tokens_per_minute", int, None, "Of each key or address; more get 429.", 1, 1 << 40),
    Setting("route_limits", str, None, "Of each and a route: PATH=REQUESTS/TOKENS, with commas."),
    Setting("burst_seconds", float, 60.0, "How much of a rate may be used at once.", 1, 86_400),
    Setting(
        "redis_url",
        str,
        None,
        "A Redis that servers share, such as redis://HOST:6379/0.",
        secret=True,
    ),
    Setting(
        "step_budget_ms",
        float,
        None,
        "Longest step while answers run, ms (125 to 1,000, by what is measured).",
        1,
        60_000,
    ),
    Setting(
        "guess_tokens", int, 63, "Tokens of answers guessed ahead in a step; 0: never.", 0, 255
    ),
    Setting(
        "checkpoint_bytes",
        int,
        DEFAULT_CHECKPOINT_BYTES,
        "RAM for the checkpoints of a model whose memory cannot be cut anywhere.",
        0,
        1 << 40,
    ),
    Setting(
        "prefix_disk_bytes",
        int,
        DEFAULT_PREFIX_DISK_BYTES,
        "Disk for computed prefixes, which outlast a restart; 0: none.",
        0,
        1 << 50,
    ),
    Setting("prefixes_dir", Path, None, "Folder of the prefixes on disk (in cache_dir)."),
    Setting(
        "share_prefixes", bool, False, "Share prefixes between API keys: timing tells of others."
    ),
    Setting(
        "response_cache", bool, False, "Keep answers that are determined, and give them again."
    ),
    Setting(
        "response_cache_bytes",
        int,
        DEFAULT_RESPONSE_CACHE_BYTES,
        "Disk for kept answers.",
        1 << 20,
        1 << 50,
    ),
    Setting(
        "response_cache_seconds", float, 604_800.0, "How long answers are kept.", 1, 315_360_000
    ),
    Setting(
        "response_cache_fold_space", bool, False, "Runs of white space in messages count as one."
    ),
    Setting(
        "semantic_cache_model",
        str,
        None,
        "Embedding model that finds kept answers to questions in other words.",
    ),
    Setting(
        "semantic_cache_distance",
        float,
        0.05,
        "Largest cosine distance of such a question.",
        0.0,
        1.0,
    ),
    Setting("share_responses", bool, False, "Share kept answers between API keys."),
    Setting("max_body_bytes", int, 32 << 20, "Largest request body.", 1024, 1 << 32),
    Setting("drain_seconds", float, 10.0, "Time for running answers at the end.", 0, 86_400),
    Setting("request_seconds", float, 0.0, "Longest time of an answer; 0: no limit.", 0, 86_400),
    Setting(
        "first_token_seconds",
        float,
        0.0,
        "Longest wait for an answer's first token; 0: no limit.",
        0,
        86_400,
    ),
    Setting("keepalive_seconds", float, 10.0, "Silence before a keep-alive comment.", 0.1, 3600),
    Setting("default_max_tokens", int, None, "Cap on answers that ask for none.", 1, 1 << 24),
    Setting(
        "log_level",
        str,
        "info",
        "How much is logged.",
        choices=("debug", "info", "warning", "error"),
    ),
    Setting(
        "log_format",
        str,
        "human",
        "How logs are written; on a terminal always for people.",
        choices=("human", "json"),
    ),
    Setting("log_file_bytes", int, 16 << 20, "A larger log is put aside.", 64 << 10, 1 << 40),
    Setting("log_days", int, 14, "Days that logs are kept.", 1, 36_500),
    Setting("log_bodies", float, 0.0, "Share of requests whose texts are logged, redacted.", 0, 1),
    Setting("log_body_characters", int, 2000, "Logged of each text.", 100, 65_536),
    Setting("traces", bool, False, "Send OpenTelemetry spans (OTEL_EXPORTER_OTLP_ENDPOINT)."),
    Setting("hub_endpoint", str, "https://huggingface.co", "The hub.", environ="HF_ENDPOINT"),
    Setting("hub_cache_dir", Path, None, "The hub's own cache.", environ="HF_HUB_CACHE"),
    Setting("lm_studio_models_dir", Path, None, "LM Studio's models (its usual folders)."),
    Setting("llama_cache_dir", Path, None, "llama.cpp's own cache.", environ="LLAMA_CACHE"),
    Setting(
        "ollama_models_dir",
        Path,
        None,
        "Ollama's models (its usual folders).",
        environ="OLLAMA_MODELS",
    ),
)
"""Everything that can be set. The words in brackets are what applies when a default is None."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What applies. None means that the default depends on the model or the machine.

    `sources` says for every setting where its value came from: "default", "LOCALSERVE_PORT",
    "models.toml line 3" or "--port".
    """

    home: Path | None
    config_dir: Path
    config_file: Path | None
    api_key: str | None = field(repr=False)
    data_dir: Path
    cache_dir: Path
    models_dir: Path
    model: str | None
    draft: str | None
    host: str
    port: int
    also_ports: str | None
    allowed_hosts: str | None
    allowed_origins: str | None
    tls_cert: Path | None
    tls_key: Path | None
    context_tokens: int | None
    parallel: int | None
    cache_type_k: str | None
    cache_type_v: str | None
    gpu_layers: int | None
    cpu_moe_layers: int | None
    threads: int | None
    offline: bool
    max_waiting: int
    memory_wait_seconds: float
    model_ram_bytes: int | None
    unload_after_seconds: float
    max_connections: int
    requests_per_minute: int | None
    tokens_per_minute: int | None
    route_limits: str | None
    burst_seconds: float
    redis_url: str | None = field(repr=False)
    step_budget_ms: float | None
    guess_tokens: int
    checkpoint_bytes: int
    prefix_disk_bytes: int
    prefixes_dir: Path
    share_prefixes: bool
    response_cache: bool
    response_cache_bytes: int
    response_cache_seconds: float
    response_cache_fold_space: bool
    semantic_cache_model: str | None
    semantic_cache_distance: float
    share_responses: bool
    max_body_bytes: int
    drain_seconds: float
    request_seconds: float
    first_token_seconds: float
    keepalive_seconds: float
    default_max_tokens: int | None
    log_level: str
    log_format: str
    log_file_bytes: int
    log_days: int
    log_bodies: float
    log_body_characters: int
    traces: bool
    hub_endpoint: str
    hub_cache_dir: Path
    lm_studio_models_dir: Path | None
    llama_cache_dir: Path
    ollama_models_dir: Path | None
    sources: Mapping[str, str]


def read_settings(
    options: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Put the settings together: command-line options, environment, file, defaults.

    `options` are by setting name; None means not given. An empty variable counts as not set.
    The file is the setting `config_file`, else `models.toml` in `config_dir` if there is one.
    Raises: ConfigInvalid, which names the option, the variable or the file's line.
    """
    given = _Given(options or {}, os.environ if environ is None else environ)
    for setting in SETTINGS:
        if not setting.in_file:
            given.take(setting)
    given.default_folder("config_dir", "config")
    document = given.read_file()
    for setting in SETTINGS:
        if setting.in_file:
            given.take(setting, document)
    given.default_folder("data_dir", "data")
    given.default_folder("cache_dir", "cache")
    given.default_path("models_dir", given.path("data_dir") / "models")
    given.default_path("prefixes_dir", given.path("cache_dir") / "prefixes")
    given.default_path("hub_cache_dir", _hub_cache(given.environ))
    given.default_path("llama_cache_dir", _llama_cache(given.environ))
    given.values["hub_endpoint"] = given.values["hub_endpoint"].rstrip("/")
    return Settings(**given.values, sources=given.sources)


class _Given:
    """What was given so far, and by whom."""

    def __init__(self, options: Mapping[str, object], environ: Mapping[str, str]) -> None:
        unknown = set(options) - {setting.name for setting in SETTINGS}
        assert not unknown, f"no such settings: {sorted(unknown)}"
        self.options = options
        self.environ = environ
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def take(self, setting: Setting, document: TomlFile | None = None) -> None:
        """Set one value from the first place that has it."""
        name = setting.name
        table = document.table("settings") if document else {}
        source, value = "default", setting.default
        if self.options.get(name) is not None:
            source = setting.option or name
            value = _checked(setting, self.options[name], source)
        elif text := self.environ.get(setting.variable):
            source = setting.variable
            value = _checked(setting, _parse(setting, text), source)
        elif document and name in table:
            place = ("settings", name)
            source = f"{document.path.name} line {document.line(*place)}"
            value = _checked(setting, table[name], f"{document.where(*place)}: {name}")
            if isinstance(value, Path):
                value = document.path.parent / value
        self.values[name] = value.absolute() if isinstance(value, Path) else value
        self.sources[name] = source

    def read_file(self) -> TomlFile | None:
        path = self.values["config_file"] or self.path("config_dir") / "models.toml"
        if self.values["config_file"] is None and not _is_there(path):
            return None
        self.values["config_file"] = path
        document = read_toml(path)
        for key in document.values:
            if key not in TABLES:
                raise document.unknown_key((key,), list(TABLES))
        known = {setting.name: setting for setting in SETTINGS}
        for key in document.table("settings"):
            if key not in known:
                names = [name for name, setting in known.items() if setting.in_file]
                raise document.unknown_key(("settings", key), names)
            if not known[key].in_file:
                why = "is a secret" if known[key].secret else "decides which file is read"
                problem = f"{key!r} {why} and cannot stand in the file."
                hint = f"Set {known[key].variable} instead."
                raise document.error(("settings", key), problem, hint=hint)
        return document

    def path(self, name: str) -> Path:
        value = self.values[name]
        assert isinstance(value, Path)
        return value

    def default_folder(self, name: str, in_home: str) -> None:
        """Default of a folder: in `home` if that is set, else where the system wants it."""
        if self.values["home"] is not None:
            self.default_path(name, self.path("home") / in_home)
        elif self.values[name] is None:
            import platformdirs

            folder = getattr(platformdirs, f"user_{name}")("localserve", appauthor=False)
            self.default_path(name, Path(folder))

    def default_path(self, name: str, path: Path) -> None:
        if self.values[name] is None:
            self.values[name] = path


def _is_there(path: Path) -> bool:
    """Raises: ConfigInvalid, where that cannot be told: a file must not be passed over so."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigInvalid(
            f"{path} cannot be looked for: {error.strerror or error}.",
            hint="Give this user the right to, or set LOCALSERVE_CONFIG_DIR.",
        ) from None
    return True


_SWITCH = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)


def _parse(setting: Setting, text: str) -> object:
    """The value that a variable's text stands for; the text itself where it stands for none."""
    try:
        if setting.type is bool:
            return _SWITCH[text.lower()]
        return setting.type(text)
    except (ValueError, KeyError):
        return text


def _checked(setting: Setting, value: object, where: str) -> object:
    """The value in the setting's own type. Raises: ConfigInvalid."""
    wanted = setting.type
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted is Path and isinstance(value, str) and value:
        value = Path(value)
    right = isinstance(value, Path) if wanted is Path else type(value) is wanted
    if right and isinstance(value, int | float):
        right = setting.minimum <= value <= setting.maximum
    if right and isinstance(value, str):
        right = value in setting.choices if setting.choices else bool(value.strip())
    if not right:
        shown = "unusable" if setting.secret else repr(value)
        kind = UsageInvalid if where.startswith("--") else ConfigInvalid
        raise kind(f"{where} is {shown}; it must be {setting.allowed}.")
    return Path(os.path.expanduser(value)) if isinstance(value, Path) else value


def _hub_cache(environ: Mapping[str, str]) -> Path:
    """Where the hub's library keeps its files.

    Source: huggingface_hub, environment variables HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME.
    """
    if home := environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def _llama_cache(environ: Mapping[str, str]) -> Path:
    """Where llama.cpp's own programs keep what they download.

    Source: llama.cpp, common/common.cpp, fs_get_cache_directory.
    """
    if sys.platform == "win32":
        folder = environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        folder = "~/Library/Caches"
    else:
        folder = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(folder).expanduser() / "llama.cpp"
