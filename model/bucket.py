"""A model store in object storage, by fsspec: s3://, gs:// and others."""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.utils import stringify_path

from model.artifact import verify_artifact
from model.errors import ArtifactError, UnavailableError
from model.folder import ABANDONED_SECONDS, STAGING, LocalFolder, clear_abandoned, whole_rename, workspace_of
from model.manifest import MANIFEST

__all__ = ["BucketFolder"]

CACHED_VERSIONS = 4  # copies that stay here: the one that is served, and those that may come back


class BucketFolder:
    """See `model.folder.Folder`. Objects appear whole; a version is there once its manifest is, which comes last.

    Versions are copied to this machine when they are asked for, and checked there.

    Args:
        url: such as s3://bucket/models; credentials and endpoints are found as the storage's own tools find them.
        cache: folder of this machine for the copies; None takes one below ~/.cache.

    Raises:
        UnavailableError: the package for this kind of storage is not installed, or there is no such kind.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self.location = url.rstrip("/")
        self.workspace = workspace_of(self.location, cache)
        self._local = LocalFolder(self.workspace)
        try:
            # listings are never remembered: another machine may have published meanwhile
            self._fs, path = fsspec.core.url_to_fs(self.location, use_listings_cache=False)
        except ImportError as error:
            raise UnavailableError(
                f"{url}: the package for this kind of storage is not installed ({error})",
                hint="pip install 'hdrm[s3]' for s3://",
            ) from error
        except ValueError as error:
            raise UnavailableError(
                f"{url}: not a folder or a URL of a known kind ({error})", hint="such as models or s3://bucket/models"
            ) from error
        self._root = stringify_path(path).rstrip("/")

    def read(self, name: str) -> bytes | None:
        """See `Folder.read`.

        Raises:
            UnavailableError: the storage cannot be reached, or refuses.
        """
        with self._reaching():
            try:
                content: bytes = self._fs.cat_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """See `Folder.write`; raises as `read`."""
        with self._reaching():
            self._fs.pipe_file(f"{self._root}/{name}", content)

    def remove(self, name: str) -> None:
        """See `Folder.remove`; raises as `read`."""
        with self._reaching():
            try:
                self._fs.rm_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return

    def documents(self, folder: str) -> dict[str, bytes]:
        """See `Folder.documents`; raises as `read`."""
        paths = sorted(e["name"] for e in self._list(f"{self._root}/{folder}") if e["type"] == "file")
        if not paths:
            return {}
        with self._reaching():  # together: one after the other takes a round trip each
            contents: dict[str, bytes | Exception] = self._fs.cat(paths, on_error="return")
            documents = {}
            for path in paths:
                match contents[path]:
                    case bytes() as content:
                        documents[f"{folder}/{_name(path)}"] = content
                    case Exception() as error if not isinstance(error, FileNotFoundError):  # it may have just gone
                        raise error
        return documents

    def versions(self) -> list[str]:
        """See `Folder.versions`; raises as `read`."""
        folders = [_name(entry["name"]) for entry in self._list(self._root) if entry["type"] == "directory"]
        with self._reaching():
            return sorted(
                name
                for name in folders
                if not name.startswith(".") and self._fs.exists(f"{self._root}/{name}/{MANIFEST}")
            )

    def fetch(self, version: str) -> Path:
        """See `Folder.fetch`.

        Raises:
            UnavailableError: the storage cannot be reached, or there is no room here.
            ArtifactError: what came is damaged.
        """
        target = self.workspace / version
        if target.is_dir() and not verify_artifact(target):
            os.utime(target)  # the copies that were used last stay
            return target
        area = self.workspace / STAGING
        try:
            area.mkdir(parents=True, exist_ok=True)
            clear_abandoned(area)
            staged = Path(tempfile.mkdtemp(dir=area))
            try:
                with self._reaching():
                    for entry in self._list(f"{self._root}/{version}"):
                        self._fs.get_file(entry["name"], str(staged / _name(entry["name"])))
                whole = staged / version
                whole.mkdir()
                for path in staged.iterdir():
                    if path != whole:
                        path.rename(whole / path.name)
                if problems := verify_artifact(whole):
                    raise ArtifactError(
                        f"{self.location}/{version}: what came from there is damaged:\n  " + "\n  ".join(problems),
                        hint="publish it again, or activate another version",
                    )
                whole_rename(whole, target)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
        except OSError as error:
            raise UnavailableError(
                f"{self.workspace}: models cannot be copied there ({error.strerror})",
                hint="make room, or name another folder with HDRM_MODELS_CACHE",
            ) from error
        self._forget_oldest(kept=target)
        return target

    def put(self, staged: Path, version: str) -> None:
        """See `Folder.put`; raises as `read`."""
        there = f"{self._root}/{version}"
        with self._reaching():  # also what is there already: it may have been damaged
            for path in sorted(staged.iterdir(), key=lambda path: path.name == MANIFEST):
                self._fs.put_file(str(path), f"{there}/{path.name}")

    def discard(self, version: str) -> None:
        """See `Folder.discard`; raises as `read`."""
        there = f"{self._root}/{version}"
        self.remove(f"{version}/{MANIFEST}")  # so that nobody takes what is left for a version
        with self._reaching():
            for entry in self._list(there):
                self._fs.rm_file(entry["name"])

    def clear(self) -> None:
        """See `Folder.clear`: here, and uploads that were not finished; raises as `read`."""
        self._local.clear()
        folders = [_name(entry["name"]) for entry in self._list(self._root) if entry["type"] == "directory"]
        for name in {folder for folder in folders if not folder.startswith(".")}.difference(self.versions()):
            with self._reaching():
                paths = [entry["name"] for entry in self._list(f"{self._root}/{name}") if entry["type"] == "file"]
                newest = max((self._fs.modified(path).timestamp() for path in paths), default=math.inf)
                if time.time() - newest > ABANDONED_SECONDS:
                    self.discard(name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `Folder.locked`."""
        with self._local.locked():
            yield

    def _list(self, path: str) -> list[dict[str, Any]]:
        with self._reaching():
            try:
                found: list[dict[str, Any]] = self._fs.ls(path, detail=True)
            except FileNotFoundError:
                return []
        return [entry for entry in found if entry["name"].rstrip("/") != path.rstrip("/")]

    def _forget_oldest(self, *, kept: Path) -> None:
        copies = sorted((path.parent for path in self.workspace.glob(f"[!.]*/{MANIFEST}")), key=_used, reverse=True)
        for path in copies[CACHED_VERSIONS:]:
            if path != kept:
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (ArtifactError, UnavailableError):
            raise
        except Exception as error:  # every storage has its own
            raise UnavailableError(
                f"{self.location}: cannot be used ({type(error).__name__}: {error})",
                hint="check the address, the credentials and that the bucket is there",
            ) from error


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _used(path: Path) -> float:
    return path.stat().st_mtime
