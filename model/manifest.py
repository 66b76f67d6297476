"""The manifest of an artifact: everything about it but its arrays, and a checksum of every file.

Its bytes are canonical and carry their own checksum. The version is a digest of everything but the circumstances of the
run: training again with the same data, settings and seed, on the same machine with as many threads, gives the same
version.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from model.config import Frozen, ModelConfig
from model.errors import ArtifactError, OtherSchemaError

__all__ = [
    "MANIFEST",
    "SCHEMA_VERSION",
    "DataInfo",
    "FileInfo",
    "Manifest",
    "MetricsRow",
    "RetrievalInfo",
    "RunInfo",
    "canonical",
    "file_info",
    "parse_manifest",
    "read_manifest",
    "seal",
]

SCHEMA_VERSION = 5
MANIFEST = "manifest.json"


class FileInfo(Frozen):
    """Checksum and size of one file."""

    sha256: str = Field(description="hexadecimal SHA-256 of the file")
    size: int = Field(ge=0, description="bytes")


class DataInfo(Frozen):
    """Which data the model has seen."""

    name: str = Field(description="name of the data set")
    source: str = Field(description="where it came from")
    terms: str | None = Field(description="terms of use of the data, where known")
    fingerprint: str = Field(description="digest of the data set's content")
    users: int = Field(ge=1, description="users with an interaction")
    items: int = Field(ge=1, description="items in the catalogue")
    interactions: int = Field(ge=1, description="interactions trained on")
    ordered: bool = Field(description="whether histories have a time order")
    deletions: list[str] = Field(
        default=[],
        description="of users trained on who had been deleted before: which deletions their interactions came after",
    )


class MetricsRow(Frozen):
    """One line of the comparison made when the model was trained."""

    model: str = Field(description="what was measured")
    values: dict[str, float] = Field(description="metric name, such as recall@20, to value")


class RetrievalInfo(Frozen):
    """How the nearest items are found."""

    kind: Literal["scan", "approximate"] = Field(
        description="scan: exactly, by products with all items; approximate: by inverted lists over 8-bit vectors"
    )
    overfetch: dict[str, int] = Field(description="approximate: items to fetch and re-rank, for each list length")
    probes: int | None = Field(description="approximate: lists looked into")
    recall: dict[str, float] = Field(
        description="approximate: share of the nearest items that is found, such as recall@20, for users trained on"
    )

    @model_validator(mode="after")
    def _calibrated(self) -> Self:
        if self.kind == "approximate" and (self.probes is None or not self.overfetch):
            raise ValueError("an approximate search needs probes and overfetch")
        return self


class RunInfo(Frozen):
    """Circumstances of the run; they do not enter the version."""

    created_at: str = Field(description="end of the training, ISO 8601, UTC")
    seconds: float = Field(description="wall-clock seconds of training")
    software: dict[str, str] = Field(description="versions of hdrm, torch, Python")
    device: str = Field(description="what it was trained on")


class Manifest(Frozen):
    """Everything about an artifact but its arrays."""

    schema_version: int = Field(description="version of this layout")
    version: str = Field(description="the artifact's name, from its content")
    preset: str = Field(description="the training preset it started from")
    model: ModelConfig = Field(description="settings that fix the model's function")
    training: dict[str, Any] = Field(description="settings of the training run")
    seed: int = Field(description="seed of all randomness in training")
    curvature: str = Field(description="the geometry's convention")
    data: DataInfo
    protocol: str = Field(description="how the metrics were measured")
    metrics: list[MetricsRow] = Field(description="the model beside its baselines, on held-out data")
    diagnostics: dict[str, float] = Field(description="learned and measured quantities, such as the gate")
    retrieval: RetrievalInfo
    files: dict[str, FileInfo] = Field(description="every other file of the artifact")
    run: RunInfo
    checksum: str = Field(description="SHA-256 of this manifest with this field empty")


def read_manifest(directory: Path) -> Manifest:
    """The manifest, checked against its own checksum.

    Raises:
        ArtifactError: missing, unreadable, altered, or of another schema version.
    """
    path = directory / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: not a readable manifest ({type(error).__name__})") from error
    return parse_manifest(raw, str(path))


def parse_manifest(raw: bytes, path: str) -> Manifest:
    """A manifest's bytes, checked against their own checksum; `path` is named in errors, which are as above."""
    try:
        parsed = json.loads(raw)
        schema = parsed["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: not a readable manifest ({type(error).__name__})") from error
    if schema != SCHEMA_VERSION:
        run = parsed.get("run")
        raise OtherSchemaError(
            f"{path}: schema version {schema}, this program reads {SCHEMA_VERSION}",
            hint="train the model again with this version of hdrm",
            created_at=str(run.get("created_at", "")) if isinstance(run, dict) else "",
        )
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise ArtifactError(f"{path}: not a valid manifest ({error.error_count()} fields)") from error
    if raw != canonical(parsed) or manifest.checksum != _manifest_checksum(manifest):
        raise ArtifactError(f"{path}: checksum mismatch, the file was altered after it was published")
    if manifest.version != _version(manifest):
        raise ArtifactError(f"{path}: the version {manifest.version} is not that of the content")
    return manifest


def seal(manifest: Manifest) -> Manifest:
    """The same with its version and its checksum filled in."""
    manifest = manifest.model_copy(update={"version": _version(manifest)})
    return manifest.model_copy(update={"checksum": _manifest_checksum(manifest)})


def file_info(path: Path) -> FileInfo:
    """Checksum and size of a file."""
    with path.open("rb") as file:
        return FileInfo(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def canonical(value: Any) -> bytes:
    """The one way to write a JSON document."""
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def _version(manifest: Manifest) -> str:
    content = manifest.model_dump(mode="json", exclude={"version", "run", "checksum"})
    return f"{manifest.preset}-{hashlib.sha256(canonical(content)).hexdigest()[:12]}"


def _manifest_checksum(manifest: Manifest) -> str:
    content = manifest.model_copy(update={"checksum": ""}).model_dump(mode="json")
    return hashlib.sha256(canonical(content)).hexdigest()
