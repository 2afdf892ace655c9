"""Getting a model of models.toml that is not on this disk, with a progress bar."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from localserve.catalog.locate import downloaded_files, find_model
from localserve.catalog.registry import Registry
from localserve.catalog.spec import HubFile, ModelSpec
from localserve.cli.terminal import console
from localserve.config import Settings


def find_or_download(text: str | None, registry: Registry, settings: Settings) -> ModelSpec:
    """The model that was meant, fetched from the hub if models.toml knows it and it is not here.

    Raises: UnknownModel, ModelUnusable.
    """
    spec = registry.find(text) if text is not None else None
    if spec is None or settings.offline or not isinstance(spec.source, HubFile):
        return find_model(text, registry, settings)
    if downloaded_files(spec.source, settings):
        return find_model(text, registry, settings)
    return _download(spec, settings)


def _download(spec: ModelSpec, settings: Settings) -> ModelSpec:
    from localserve.catalog.download import download

    columns = (
        TextColumn("downloading {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(spec.name, total=None)
        if not console.is_terminal:
            console.print(f"downloading {spec.name}", markup=False)
        return download(
            spec,
            None,
            settings,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
