"""The model store: published artifacts, and which of them to serve.

<root>/<version>/           artifacts, never changed afterwards
<root>/current              the version to serve, as text, replaced atomically
<root>/activations.json     the versions that have been current, in the order of time
<root>/canary.json          a version that a share of the users is answered by, where there is one
<root>/.reports/            what became of each retraining (model.report)
<root>/.staging/            artifacts being written; never served
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from model.artifact import verify_artifact
from model.bucket import BucketFolder
from model.config import Frozen
from model.errors import ArtifactError, ConfigError, OtherSchemaError
from model.folder import STAGING, Folder, LocalFolder, clear_abandoned, is_url
from model.manifest import MANIFEST, Manifest, canonical, parse_manifest, read_manifest

__all__ = ["Canary", "ModelStore"]

CURRENT, ACTIVATIONS, CANARY = "current", "activations.json", "canary.json"
REMEMBERED = 100  # activations
VERSIONS = TypeAdapter(list[str])


class Canary(Frozen):
    """A version that a share of the users is answered by."""

    version: str = Field(description="a published version")
    share: float = Field(gt=0, lt=1, description="of the users, by a digest of their ids")


class ModelStore:
    """Artifacts below one directory, or below a URL.

    Args:
        location: the directory, which need not exist before the first publication, or a URL that fsspec knows.
        cache: of a URL: folder of this machine for copies; None takes one below ~/.cache.

    Raises:
        UnavailableError: the package for the URL's kind of storage is not installed.
    """

    def __init__(self, location: Path | str, cache: Path | None = None) -> None:
        self.folder: Folder = BucketFolder(str(location), cache) if is_url(location) else LocalFolder(Path(location))

    @property
    def root(self) -> Path:
        """A folder of this machine: the store's own, or that of the copies."""
        return self.folder.workspace

    def versions(self) -> list[str]:
        """Published versions, in no particular order of time."""
        return self.folder.versions()

    def current(self) -> str | None:
        """The version to serve, None if none was published yet.

        Raises:
            ArtifactError: the pointer cannot be read.
        """
        content = self.folder.read(CURRENT)
        try:
            return None if content is None else content.decode().strip() or None
        except UnicodeDecodeError as error:
            raise ArtifactError(
                f"{self.folder.location}/{CURRENT}: cannot be read ({type(error).__name__})",
                hint="it is a text file that holds one of the versions beside it",
            ) from error

    def path(self, version: str | None = None) -> Path:
        """Directory of a version, of the current one by default; of one that is elsewhere, a copy.

        Raises:
            ArtifactError: there is no such version; the message lists those that are.
        """
        return self.folder.fetch(self._known(version))

    def manifest(self, version: str | None = None) -> Manifest:
        """The manifest of a version, of the current one by default; raises as `path`, or if it is damaged."""
        name = f"{self._known(version)}/{MANIFEST}"
        return parse_manifest(self.folder.read(name) or b"", f"{self.folder.location}/{name}")

    def prepare(self) -> None:
        """Make sure that publishing will be possible, before the work of training is done.

        Raises:
            ArtifactError: the directory cannot be made or written to.
        """
        area = self.root / STAGING
        try:
            area.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=area).close()
        except OSError as error:
            raise ArtifactError(
                f"{self.root}: models cannot be written there ({error.strerror})",
                hint="choose a folder that you can write to, or one that does not exist yet",
            ) from error
        clear_abandoned(area)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A fresh directory to write an artifact into; removed afterwards unless it was published."""
        self.prepare()
        directory = Path(tempfile.mkdtemp(dir=self.root / STAGING))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def add(self, staged: Path) -> Manifest:
        """Make a complete staged artifact visible under its version; what is served stays as it is.

        Raises:
            UnavailableError: it cannot be written.
        """
        version = read_manifest(staged).version
        self.folder.put(staged, version)
        return self.manifest(version)

    def publish(self, staged: Path) -> Manifest:
        """Make a complete staged artifact visible, and current; raises as `add`."""
        manifest = self.add(staged)
        self.activate(manifest.version)
        return manifest

    def activate(self, version: str) -> None:
        """Point `current` at a published version, atomically.

        Raises:
            ArtifactError: there is no such version.
            UnavailableError: the pointer cannot be written.
        """
        with self.folder.locked():
            self._activate(version, self.current())

    def succeed(self, before: str | None, version: str) -> bool:
        """The same as `activate`, unless another version than the one of before was made current meanwhile.

        Returns:
            Whether it is current now.
        """
        with self.folder.locked():
            current = self.current()
            if current == before:
                self._activate(version, current)
            return current == before

    def previous(self) -> list[str]:
        """The versions that were current before, the last one first; those that are not there any more are left out."""
        current, there = self.current(), self.versions()
        return [] if current is None else [v for v in reversed(self._before(current)) if v in there and v != current]

    def rollback(self) -> str:
        """Point `current` at the version that was current before; a second time goes one further back.

        Versions that are gone, or whose files are damaged, are passed over.

        Raises:
            ArtifactError: there is none.
            UnavailableError: the pointer cannot be written.
        """
        with self.folder.locked():
            current, there = self.current(), self.versions()
            history = [] if current is None else self._before(current)
            while history and (history[-1] not in there or history[-1] == current or self._is_damaged(history[-1])):
                history.pop()
            if not history:
                raise ArtifactError(
                    f"{self.folder.location}: there is no version before the current one",
                    hint="`hdrm models list` shows what there is, `hdrm models activate VERSION` chooses",
                )
            self.folder.write(CURRENT, f"{history[-1]}\n".encode())
            self._remember(history)
            self._end_canary(history[-1])
        return history[-1]

    def canary(self) -> Canary | None:
        """The version that a share of the users is to be answered by.

        Raises:
            ArtifactError: what says so cannot be read.
        """
        content = self.folder.read(CANARY)
        if content is None:
            return None
        try:
            return Canary.model_validate_json(content)
        except ValidationError as error:
            raise ArtifactError(
                f"{self.folder.location}/{CANARY}: cannot be read", hint="`hdrm models canary --drop` removes it"
            ) from error

    def set_canary(self, version: str, share: float) -> Canary:
        """Let a share of the users be answered by a version.

        Raises:
            ArtifactError: there is no such version.
            ConfigError: the share is not between 0 and 1, or the version is the current one.
            UnavailableError: it cannot be written.
        """
        if not 0 < share < 1:
            raise ConfigError(f"share: got {share:g}, allowed: more than 0 and less than 1")
        canary = Canary(version=version, share=share)
        with self.folder.locked():
            if self._known(version) == self.current():
                raise ConfigError(f"version: {version} is the current one, which answers all others as well")
            self.folder.write(CANARY, canonical(canary.model_dump(mode="json")))
        return canary

    def drop_canary(self) -> None:
        """Let everybody be answered by the current version.

        Raises:
            UnavailableError: it cannot be written.
        """
        self.folder.remove(CANARY)

    def prune(self, keep: int, *, refused: Sequence[str] = ()) -> list[str]:
        """Remove all versions but the newest, the current one, the one before it and a canary.

        Args:
            keep: how many of the newest stay.
            refused: versions that a gate refused, the last one first, which stays beside the others, for who wants to
                know.

        Returns:
            The versions removed.

        Raises:
            ConfigError: fewer than one is to stay.
            UnavailableError: one cannot be removed.
        """
        if keep < 1:
            raise ConfigError(f"keep: got {keep}, allowed: at least 1")
        with self.folder.locked():
            current, kept = self.current(), {*self.previous()[:1]}
            with suppress(ArtifactError):
                kept |= set() if (canary := self.canary()) is None else {canary.version}
            made = {version: self._made(version) for version in self.versions()}
            # those that are damaged are not ours to judge, `verify` tells
            there = sorted(
                (v for v, time in made.items() if time is not None), key=lambda v: made[v] or "", reverse=True
            )
            of_gate = [version for version in refused if version in there and version != current]
            others = [version for version in there if version not in of_gate]
            gone = [version for version in (*others[keep:], *of_gate[1:]) if version not in {*kept, current}]
            for version in gone:
                self.folder.discard(version)
            self.folder.clear()
        return gone

    def _activate(self, version: str, current: str | None) -> None:
        """With the lock, so that nobody of this machine removes the version meanwhile."""
        self._known(version)
        if current is not None and current != version:
            history = [*self._before(current), current, version]
            # first: where this is all that gets written, what comes after the current one is not looked at
            self._remember(history)
        self.folder.write(CURRENT, f"{version}\n".encode())
        if version not in self.versions():  # another machine has removed it, which no lock keeps it from
            if current is not None:
                self.folder.write(CURRENT, f"{current}\n".encode())
            self._known(version)
        self._end_canary(version)

    def _end_canary(self, version: str) -> None:
        """A version that has become current is no canary any more, nor when it is current no longer."""
        with suppress(ArtifactError):
            canary = self.canary()
            if canary is not None and canary.version == version:
                self.drop_canary()

    def _known(self, version: str | None) -> str:
        wanted = version if version is not None else self.current()
        if wanted is None:
            raise ArtifactError(
                f"{self.folder.location}: no model has been published here",
                hint=f"train one: hdrm train --data DIR --models {self.folder.location}",
            )
        versions = self.versions()
        if wanted not in versions:
            known = ", ".join(versions) or "none"
            raise ArtifactError(f"{self.folder.location}: no model version {wanted!r}; there are: {known}")
        return wanted

    def _made(self, version: str) -> str | None:
        """When a version was made; None of one that is damaged."""
        try:
            return self.manifest(version).run.created_at
        except OtherSchemaError as error:  # of another version of this program
            return error.created_at
        except ArtifactError:
            return None

    def _is_damaged(self, version: str) -> bool:
        try:
            return bool(verify_artifact(self.folder.fetch(version)))
        except ArtifactError:  # of what is copied from elsewhere
            return True

    def _before(self, current: str) -> list[str]:
        """What was current before this version was, the last time: the newest last."""
        content = self.folder.read(ACTIVATIONS)
        try:
            history = [] if content is None else VERSIONS.validate_json(content)
        except ValidationError:
            return []  # nothing is served by it
        return history[: len(history) - 1 - history[::-1].index(current)] if current in history else history

    def _remember(self, history: list[str]) -> None:
        self.folder.write(ACTIVATIONS, (json.dumps(history[-REMEMBERED:]) + "\n").encode())
