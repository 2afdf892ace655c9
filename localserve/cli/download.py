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

from localserve.catalog.locate import find_model
from localserve.catalog.registry import Registry
from localserve.catalog.spec import ModelSpec
from localserve.cli.terminal import console
from localserve.config import Settings
from localserve.errors import NotDownloaded


def find_or_download(text: str, registry: Registry, settings: Settings) -> ModelSpec:
    """The model that was meant, fetched from the hub if models.toml knows it and it is not here.

    Raises: UnknownModel, ModelUnusable.
    """
    try:
        return find_model(text, registry, settings)
    except NotDownloaded:
        spec = registry.find(text)
        if spec is None or settings.offline:
            raise
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
