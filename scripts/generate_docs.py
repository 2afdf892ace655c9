"""Writes the pages of docs/ that say what the code says: reference and clients.

    .venv/bin/python scripts/generate_docs.py

A test compares the pages with what this writes, so that they cannot drift.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from typer.core import TyperGroup
from typer.main import get_command

from localserve.catalog.entry import (
    ModelTable,
    ReplicaTable,
    SamplingTable,
    ShapeTable,
    TimeoutTable,
)
from localserve.catalog.routes import RouteTables, TargetTable
from localserve.cli.app import app
from localserve.config import SETTINGS, Setting
from localserve.connect.client import Client, ConfigFile
from localserve.connect.clients import CLIENTS
from localserve.connect.places import Surroundings, System
from localserve.connect.served import Served, ServedModel
from localserve.errors import error_types
from localserve.server.openapi.document import openapi_document

ROOT: Final = Path(__file__).resolve().parent.parent
HELP_COLUMNS: Final = 88
WRITTEN: Final = "<!-- Written by scripts/generate_docs.py: change the code, then run that. -->"

SYSTEMS: Final[Mapping[str, System]] = {
    "Linux": "linux",
    "macOS (untested)": "mac",
    "Windows (untested)": "windows",
}

EXAMPLE: Final = Served(
    "http://127.0.0.1:8080",
    (
        ServedModel("qwen3-8b", 32_768, ("completion", "tools", "thinking")),
        ServedModel("qwen2.5-coder-1.5b", 8_192, ("completion", "insert")),
        ServedModel("bge-m3", 2_048, ("embedding",)),
    ),
)
"""What the pages of clients pretend to be loaded."""

TABLES: Final[Mapping[str, type[BaseModel]]] = {
    '[models."NAME"]': ModelTable,
    '[models."NAME".sampling]': SamplingTable,
    '[models."NAME".shape]': ShapeTable,
    '[models."NAME".timeouts]': TimeoutTable,
    '[models."NAME".replicas.REPLICA]': ReplicaTable,
    "[routes.NAME]": RouteTables,
    '[routes.NAME.models]: one table for each "MODEL"': TargetTable,
}


def pages() -> dict[str, str]:
    """Every page that is written here, by its path in docs/."""
    clients = {f"clients/{client.name}.md": client_page(client) for client in CLIENTS}
    return {
        "reference/cli.md": cli_page(),
        "reference/models-toml.md": models_toml_page(),
        "reference/settings.md": settings_page(),
        "reference/api.md": api_page(),
        "clients/all.md": clients_page(),
        **clients,
    }


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", WRITTEN, *parts]) + "\n"


def fence(language: str, text: str) -> str:
    return f"```{language}\n{text.strip(chr(10))}\n```"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell or " " for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


# The commands


def cli_page() -> str:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    sections = [
        f"## {name}\n\n{fence('text', text)}" for name, text in help_texts("localserve", group)
    ]
    intro = (
        "What `--help` says of each command. All exit with 0 when done, 1 when they failed, 2 on"
        " wrong usage and 130 after Ctrl-C; `fit` and `bench` say below what theirs mean."
    )
    return page("Commands", intro, *sections)


def help_texts(name: str, command: Any, parent: Any = None) -> Iterator[tuple[str, str]]:
    """A command's help, and that of its parts."""
    context = command.context_class(
        command,
        info_name=name.split()[-1],
        parent=parent,
        terminal_width=HELP_COLUMNS,
        help_option_names=["-h", "--help"],
    )
    lines = (line.rstrip() for line in command.get_help(context).splitlines())
    yield name, "\n".join(lines)
    for part, inner in getattr(command, "commands", {}).items():
        yield from help_texts(f"{name} {part}", inner, context)


# models.toml and the settings


def models_toml_page() -> str:
    head = catalog_head()
    keys = [
        f"### {title.replace('_', chr(92) + '_')}\n\n{keys_of(model)}"
        for title, model in TABLES.items()
    ]
    return page(
        "models.toml",
        "Names, files, contexts and sampling defaults of models, routes among them, and settings."
        " `localserve paths` says where your file is looked for. It overlays the catalog that ships"
        " in the package. A mistake in it is reported with its line and changes nothing.",
        "## By example",
        "The head of the catalog that ships with localserve:",
        fence("text", head),
        "## Every key and its bounds",
        "A key that is not listed is an error. Keys of `[settings]` are on the page"
        " [Settings](settings.md).",
        *keys,
    )


def catalog_head() -> str:
    """The comment that explains models.toml, without its marks."""
    text = (ROOT / "localserve" / "catalog" / "models.toml").read_text()
    lines = text.split("\n\n", 1)[0].splitlines()
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


def keys_of(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    required = schema.get("required", [])
    rows = (
        (code(name), value_words(field, schema), default_words(field, name in required))
        for name, field in schema["properties"].items()
    )
    return table(("key", "value", "default"), rows)


def value_words(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a value may be, in words, from its JSON schema."""
    if "anyOf" in field:
        kinds = [one for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(value_words(one, schema) for one in kinds)
    if "$ref" in field:
        return "a table"
    if "enum" in field:
        return "one of " + ", ".join(f'`"{one}"`' for one in field["enum"])
    if "const" in field:
        return f'`"{field["const"]}"`'
    return _PLAIN[field["type"]] + bounds_words(field)


_PLAIN: Final = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "`true` or `false`",
    "array": "a list of texts",
    "object": "a table",
}


def bounds_words(field: Mapping[str, Any]) -> str:
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "maxLength": "at most {} characters",
        "maxItems": "at most {} of them",
    }
    found = [text.format(number(field[key])) for key, text in words.items() if key in field]
    return "".join(f", {one}" for one in found)


def number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def default_words(field: Mapping[str, Any], required: bool) -> str:
    default = field.get("default")
    if required:
        return "must be given"
    return "" if default in (None, []) else code(str(default))


def settings_page() -> str:
    rows = (
        (names_of(one), one.help, one.allowed.replace("|", "\\|"), default_of(one))
        for one in SETTINGS
    )
    return page(
        "Settings",
        "A command-line option goes before an environment variable, a variable before the key in"
        " the table `[settings]` of `models.toml`. `GET /admin/settings` and the dashboard show"
        " what applies and where it came from; secrets are never shown.",
        "The names are those of the variable, of the key in `[settings]`, and of the option of"
        " `localserve up`, as far as there is each.",
        table(("names", "meaning", "value", "default"), rows),
    )


def names_of(setting: Setting) -> str:
    key = setting.name if setting.in_file else ""
    return "<br>".join(code(name) for name in (setting.variable, key, setting.option) if name)


def default_of(setting: Setting) -> str:
    default = setting.default
    if isinstance(default, bool):
        return "on" if default else "off"
    return "" if default in (None, "", ()) else code(str(default))


# The HTTP API


def api_page() -> str:
    document = openapi_document("")
    parts = [
        part
        for tag in document["tags"]
        for part in (f"## {tag['name']}", tag["description"], *operations_of(tag["name"], document))
    ]
    return page(
        "Every route",
        "Every route, from the description that a running server gives as `/openapi.json`. Its page"
        " `/docs` is there to try them. [HTTP API](../api.md) says in words what they do.",
        document["info"]["description"].strip(),
        *parts,
        "## Errors",
        "`GET /errors/CODE` of the server says the same of each.",
        errors_table(),
    )


def operations_of(tag: str, document: Mapping[str, Any]) -> Iterator[str]:
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation.get("tags", ()):
                yield f"### {method.upper()} {path}"
                yield f"{operation['summary']}."
                yield from body_of(operation, schemas)
                yield statuses_of(operation)


def body_of(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    """The fields of what is sent, and an example."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = resolved(content.get("schema", {}), schemas)
    if fields := schema.get("properties"):
        required = schema.get("required", ())
        rows = (
            (code(name), kind_of(field, schemas), "yes" if name in required else "")
            for name, field in fields.items()
        )
        yield table(("field", "value", "must be given"), rows)


def resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    found: Mapping[str, Any] = schemas[reference.rpartition("/")[2]] if reference else schema
    return found


def kind_of(field: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """The kind of a field's value, in a few words."""
    if "$ref" in field:
        return kind_of(resolved(field, schemas), schemas)
    for key in ("anyOf", "oneOf"):
        if key in field:
            kinds = (kind_of(one, schemas) for one in field[key] if one.get("type") != "null")
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in field:
        return ", ".join(code(json.dumps(one)) for one in field["enum"])
    if "const" in field:
        return code(json.dumps(field["const"]))
    kind = field.get("type", "anything")
    if kind == "array":
        return f"list of {kind_of(field.get('items', {}), schemas)}"
    return kind if isinstance(kind, str) else " or ".join(one for one in kind if one != "null")


def statuses_of(operation: Mapping[str, Any]) -> str:
    """Statuses with the codes of errors that come with each."""
    found = []
    for status, response in sorted(operation["responses"].items()):
        codes = re.findall(r"^- `(\w+)`:", response["description"], re.MULTILINE)
        found.append(f"{status} ({', '.join(map(code, codes))})" if codes else status)
    return f"Statuses: {'; '.join(found)}."


def errors_table() -> str:
    rows = ((code(kind.code), kind.description) for kind in error_types())
    return table(("code", "meaning"), iter(sorted(rows)))


# The clients


def account(system: System) -> Surroundings:
    """An account in which nothing exists, so that every path is the usual one."""
    environ = {"APPDATA": "%APPDATA%", "LOCALAPPDATA": "%LOCALAPPDATA%"}
    return Surroundings(system, Path("~"), environ if system == "windows" else {})


def clients_page() -> str:
    rows = (
        (
            f"[{one.title}]({one.name}.md)",
            code(f"localserve connect {one.name}"),
            ", ".join(map(code, one.routes)),
        )
        for one in CLIENTS
    )
    return page(
        "All clients",
        f"`localserve connect` knows {len(CLIENTS)} of them. What each one asks of the server:",
        table(("program", "command", "routes"), rows),
    )


def client_page(client: Client) -> str:
    parts = [
        f"{client.title} asks {' and '.join(map(code, client.routes))}.",
        *context_words(client),
        *automatic(client),
        *files(client),
        *variables(client),
        *steps(client),
        "The examples are for a server with `qwen3-8b`, `qwen2.5-coder-1.5b` and `bge-m3` loaded."
        " `localserve connect` prints them with your address, your models and the context that"
        " these really have; connect again after a change of those.",
    ]
    return page(client.title, *parts)


def context_words(client: Client) -> Iterator[str]:
    if client.least_context_tokens:
        yield (
            f"Give it a model with a context of {client.least_context_tokens:,} tokens or more: its"
            " own instructions and tools take most of less (`localserve up MODEL --ctx"
            f" {client.least_context_tokens}`)."
        )


def automatic(client: Client) -> Iterator[str]:
    shown = f"localserve connect {client.name}             # what it needs, on stdout"
    if client.files or client.either:
        lines = [
            shown,
            f"localserve connect {client.name} --write     # merged into its file, after a copy",
            f"localserve connect {client.name} --undo      # taken out again",
        ]
        yield fence("bash", "\n".join(lines))
    elif client.environment:
        yield fence("bash", f'eval "$(localserve connect {client.name})"')
    else:
        yield fence("bash", shown)


def files(client: Client) -> Iterator[str]:
    for file in (*client.files, *client.either):
        yield f"## {file.name}"
        rows = ((name, code(path_on(file, system))) for name, system in SYSTEMS.items())
        yield table(("system", "file"), rows)
        if file.folder.variable:
            yield f"`{file.folder.variable}` moves the folder."
        yield fence(language_of(file), file.snippet(EXAMPLE))


def path_on(file: ConfigFile, system: System) -> str:
    """Where it lies; with the marks of that system."""
    path = str(file.folder.candidates(account(system))[0] / file.name)
    return path.replace("/", "\\") if system == "windows" else path


def language_of(file: ConfigFile) -> str:
    kinds = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".lua": "lua"}
    kinds |= dict.fromkeys((".vim", ""), "vim")
    suffix = Path(file.name).suffix
    return "json" if suffix in (".json", ".jsonc") else kinds.get(suffix, "vim")


def variables(client: Client) -> Iterator[str]:
    if given := client.variables(EXAMPLE):
        yield "## Variables"
        yield fence(
            "bash",
            "\n".join(f"export {name}={shlex.quote(value)}" for name, value in given.items()),
        )


def steps(client: Client) -> Iterator[str]:
    if given := client.instructions(EXAMPLE):
        yield "## Then"
        yield "\n".join(f"{count}. {text_of(step)}" for count, step in enumerate(given, 1))


def text_of(step: str) -> str:
    """A step; one that is a command as code."""
    return code(step) if re.fullmatch(r"[a-z][\w -]*(--\w+ \S+)?", step) else step


def main(write: Callable[[Path, str], object] = Path.write_text) -> int:
    for name, text in pages().items():
        path = ROOT / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
