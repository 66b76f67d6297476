"""Where a model store keeps its files: versions, and small documents beside them."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from model.artifact import verify_artifact
from model.errors import ArtifactError, UnavailableError
from model.manifest import MANIFEST

__all__ = [
    "ABANDONED_SECONDS",
    "STAGING",
    "Folder",
    "LocalFolder",
    "clear_abandoned",
    "is_url",
    "sync",
    "whole_rename",
    "workspace_of",
]

STAGING = ".staging"
LOCK_SECONDS = 30.0
ABANDONED_SECONDS = 86_400.0  # after which what was being written will not be finished


class Folder(Protocol):
    """Versions are directories that are there whole or not at all; documents are small and replaced atomically."""

    @property
    def location(self) -> str:
        """For people, and to find it again."""
        ...

    @property
    def workspace(self) -> Path:
        """A folder of this machine for what is being made."""
        ...

    def read(self, name: str) -> bytes | None:
        """A document, None if there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Keep a document: whoever reads finds the old one or the new one, and the new one survives a crash."""
        ...

    def remove(self, name: str) -> None:
        """Take a document away, if it is there."""
        ...

    def documents(self, folder: str) -> dict[str, bytes]:
        """Those below a folder of documents, by their names in full, in alphabetical order."""
        ...

    def versions(self) -> list[str]:
        """In alphabetical order."""
        ...

    def fetch(self, version: str) -> Path:
        """A version that there is, as a directory of this machine."""
        ...

    def put(self, staged: Path, version: str) -> None:
        """Add a complete version. One that is there already has the same content by construction and is kept, unless
        its files were damaged since."""
        ...

    def discard(self, version: str) -> None:
        """Take a version away."""
        ...

    def clear(self) -> None:
        """Remove what was begun so long ago that nobody writes it any more: its process was killed."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """While the block runs, no other process of this machine is in such a block."""
        ...


class LocalFolder:
    """A directory.

    <root>/<version>/   a version, never changed afterwards
    <root>/<document>
    <root>/.staging/    what is being written

    Args:
        root: the directory; made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def location(self) -> str:
        return str(self.root)

    @property
    def workspace(self) -> Path:
        return self.root

    def read(self, name: str) -> bytes | None:
        """See `Folder.read`.

        Raises:
            ArtifactError: it cannot be read.
        """
        path = self.root / name
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error

    def write(self, name: str, content: bytes) -> None:
        """See `Folder.write`.

        Raises:
            UnavailableError: it cannot be written; the old document is as it was.
        """
        target, area = self.root / name, self.root / STAGING
        try:
            area.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=area)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(temporary, 0o644)  # another account may read it
                os.replace(temporary, target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            sync(target.parent)
        except OSError as error:
            raise UnavailableError(
                f"{target}: cannot be written ({error.strerror})", hint="make the folder writable, or make room in it"
            ) from error

    def remove(self, name: str) -> None:
        """See `Folder.remove`.

        Raises:
            UnavailableError: it cannot be taken away.
        """
        path = self.root / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError(f"{path}: cannot be removed ({error.strerror})") from error

    def documents(self, folder: str) -> dict[str, bytes]:
        """See `Folder.documents`; raises as `read`."""
        names = sorted(f"{folder}/{path.name}" for path in (self.root / folder).glob("[!.]*") if path.is_file())
        contents = ((name, self.read(name)) for name in names)
        return {name: content for name, content in contents if content is not None}

    def versions(self) -> list[str]:
        """See `Folder.versions`."""
        return sorted(path.parent.name for path in self.root.glob(f"[!.]*/{MANIFEST}"))

    def fetch(self, version: str) -> Path:
        """See `Folder.fetch`."""
        return self.root / version

    def put(self, staged: Path, version: str) -> None:
        """See `Folder.put`; the directory appears by one rename.

        Raises:
            UnavailableError: it cannot be written.
        """
        try:
            for path in staged.iterdir():
                path.chmod(0o644)  # safetensors writes for the owner alone, but another account may serve
                sync(path)
            whole_rename(staged, self.root / version)
        except OSError as error:
            raise UnavailableError(
                f"{self.root / version}: cannot be written ({error.strerror})", hint="make room there"
            ) from error

    def discard(self, version: str) -> None:
        """See `Folder.discard`; who has its files open or mapped keeps them.

        Raises:
            UnavailableError: it cannot be taken away.
        """
        area = self.root / STAGING
        try:
            area.mkdir(exist_ok=True)
            gone = Path(tempfile.mkdtemp(dir=area, prefix="discarded-"))
            (self.root / version).rename(gone / version)
            shutil.rmtree(gone)
        except OSError as error:
            raise UnavailableError(f"{self.root / version}: cannot be removed ({error.strerror})") from error

    def clear(self) -> None:
        """See `Folder.clear`."""
        clear_abandoned(self.root / STAGING)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `Folder.locked`.

        Raises:
            UnavailableError: the lock cannot be had.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock", timeout=LOCK_SECONDS, mode=0o666)
            lock.acquire()
        except (OSError, Timeout) as error:
            raise UnavailableError(
                f"{self.root}: cannot be changed now ({type(error).__name__})",
                hint="make the folder writable; another command that changes it ends soon",
            ) from error
        try:
            yield
        finally:
            lock.release()


def is_url(location: Path | str) -> bool:
    """Whether a store is somewhere else than in a directory."""
    return isinstance(location, str) and "://" in location


def workspace_of(location: Path | str, cache: Path | None) -> Path:
    """The folder of this machine that belongs to a store: its directory; of a URL that of its copies."""
    if not is_url(location):
        return Path(location)
    digest = hashlib.sha256(str(location).rstrip("/").encode()).hexdigest()[:12]
    return Path.home() / ".cache" / "hdrm" / digest if cache is None else cache


def whole_rename(staged: Path, target: Path) -> None:
    """Let a complete artifact appear under its name by one rename, unless one that is undamaged is there."""
    staged.chmod(0o755)
    sync(staged)
    if target.exists() and verify_artifact(target):
        target.rename(Path(tempfile.mkdtemp(dir=staged.parent, prefix="damaged-")))
    if not target.exists():
        staged.rename(target)
        sync(target.parent)


def clear_abandoned(folder: Path, *, seconds: float = ABANDONED_SECONDS) -> None:
    """Remove what is in a folder and was last written longer ago than that."""
    for path in folder.glob("*"):
        try:
            abandoned = time.time() - path.stat().st_mtime > seconds
        except OSError:  # it has just gone
            continue
        if abandoned and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif abandoned:
            path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Return once the disk has a file, or a directory's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
