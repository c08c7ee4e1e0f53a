"""Downloading data sets from their publishers, with pooch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pooch
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from bsnn.datasets.registry import Archive, DatasetSpec
from bsnn.errors import DatasetError

__all__ = ["cache_directory", "download"]


class _DownloadProgress:
    """A rich progress bar behind the few methods that pooch calls on its own bars."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._bar: Progress | None = None
        self.total = 0

    def update(self, count: int) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TimeRemainingColumn(),
            )
            self._bar.start()
            self._task = self._bar.add_task(self._description, total=self.total)
        self._bar.advance(self._task, count)

    def reset(self) -> None:
        """Pooch resets its bars before it closes them; there is nothing to set back here."""

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def cache_directory() -> Path:
    """Return the folder that downloads are kept in (per user, after the system's custom)."""
    return Path(pooch.os_cache("bsnn"))


def download(spec: DatasetSpec) -> Path:
    """Fetch all files of a data set that the cache does not hold yet.

    Each file is fetched under a temporary name and takes its own name only once its checksum
    agrees, so that an interrupted download leaves nothing behind.

    Parameters
    ----------
    spec : DatasetSpec
        What to fetch.

    Returns
    -------
    pathlib.Path
        The folder that holds the files.

    Raises
    ------
    DatasetError
        No address could be reached, the checksum differs, or the disk is full.
    """
    folder = cache_directory() / spec.name
    for file_name, archive in spec.archives.items():
        _fetch(spec, folder, file_name, archive)
    return folder


def _fetch(spec: DatasetSpec, folder: Path, file_name: str, archive: Archive) -> None:
    unpack = pooch.Untar(extract_dir=".") if file_name.endswith(".tar.gz") else None
    pooch.get_logger().setLevel(logging.WARNING)
    failures = []
    for url in archive.urls:
        progress = _DownloadProgress(file_name)
        bar: Any = progress
        downloader: Any = pooch.HTTPDownloader(progressbar=bar)
        try:
            pooch.retrieve(
                url,
                known_hash=archive.known_hash,
                fname=file_name,
                path=folder,
                processor=unpack,
                downloader=downloader,
            )
            return
        except (OSError, ValueError) as error:
            # requests' errors are OSErrors, a wrong checksum is a ValueError
            failures.append(f"  {url}: {error}")
        finally:
            progress.close()
    raise DatasetError(
        f"{spec.name}: {file_name} could not be downloaded to {folder}.\n"
        "At hand are mnist-sample (test images of MNIST that come with bsnn) and images of your "
        "own (a folder, an .npz file): name them with --dataset. If you have the published files "
        "(raw, .gz or .xz), name their folder with --data or the environment variable BSNN_DATA. "
        "Otherwise check the network and the free space:\n" + "\n".join(failures)
    )
