"""The artifact: an immutable, checksummed directory that carries a trained model from training to service.

    manifest.json            what it is: settings, data, metrics, calibration, a sha256 for every other file
    weights.safetensors      the diffusion's parameters and statistics
    vectors.npy messages.npy items' tangent vectors, (m, d), and messages, (s, m, d) float32
    index.faiss              inverted lists (model.retrieval.approximate), where the catalogue is large
    popularity.npy           interactions of each item, (m,) int64
    users.*.npy items.*.npy  the id vocabularies (model.vocabulary)
    history.*.npy            users' histories as compressed sparse rows (model.history)
    fragments.*.npy          what answers say about the items (model.fragments)
    probe.json               fixed histories and the answers they must give
    analysis.json            what was measured in training, for people (model.analysis); older artifacts have none

No file is a pickle. Arrays are memory-mapped, so processes that serve the same artifact share them. The manifest's
bytes are canonical and carry their own checksum, so a change of any byte in any file is noticed and named. The version
is a digest of everything but the circumstances of the run: training again with the same data, settings and seed, on the
same machine with as many threads, gives the same version.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.analysis import ANALYSIS, Analysis
from model.config import Frozen, ModelConfig
from model.diffusion import UserDiffusion
from model.errors import ArtifactError
from model.fragments import Fragments
from model.history import Histories
from model.recommender import Recommender
from model.retrieval import ApproximateIndex, LorentzScan
from model.retrieval.approximate import read_lists, write_lists
from model.vocabulary import Vocabulary

__all__ = [
    "MANIFEST",
    "SCHEMA_VERSION",
    "Artifact",
    "Catalogue",
    "DataInfo",
    "FileInfo",
    "Manifest",
    "MetricsRow",
    "Probe",
    "RetrievalInfo",
    "RunInfo",
    "TrainedModel",
    "load_artifact",
    "read_manifest",
    "run_probe",
    "verify_artifact",
    "write_artifact",
]

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"
INDEX = "index.faiss"
CURVATURE = "Lorentz model, K = 1: <x, x>_L = -1; vectors are tangent at the origin, |v| = distance to it"
PROBE_TOLERANCE = 1e-4


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


class Probe(Frozen):
    """Fixed inputs and the answers expected of them.

    `histories` are item indices, newest last; `items` and `distances` the expected top k of each, nothing excluded.
    """

    histories: list[list[int]]
    items: list[list[int]]
    distances: list[list[float]]

    @model_validator(mode="after")
    def _answered(self) -> Self:
        lengths = {*map(len, self.items), *map(len, self.distances)}
        if not len(self.histories) == len(self.items) == len(self.distances) > 0 or len(lengths) != 1 or 0 in lengths:
            raise ValueError("expected an answer for every history, all of one length")
        return self


@dataclass(frozen=True)
class TrainedModel:
    """What training learned.

    Attributes:
        diffusion: the user's side.
        vectors: items' tangent vectors, (m, d) float32.
        messages: items' messages, (s, m, d) float32.
        index: finds the items of a large catalogue; None for a scan.
        recall: what the index was measured to find, by name.
    """

    diffusion: UserDiffusion
    vectors: Tensor
    messages: Tensor
    index: ApproximateIndex | None = None
    recall: Mapping[str, float] = field(default_factory=dict)

    @property
    def retrieval(self) -> RetrievalInfo:
        """How items are found."""
        index = self.index
        return RetrievalInfo(
            kind="scan" if index is None else "approximate",
            overfetch={} if index is None else {str(k): m for k, m in index.overfetch.items()},
            probes=None if index is None else index.probes,
            recall=dict(self.recall),
        )

    def recommender(self, counts: npt.NDArray[np.int64]) -> Recommender:
        """A recommender over these arrays; `counts` (m,) are the items' interactions."""
        geometry = self.diffusion.config.encoder.space
        index = self.index or LorentzScan(self.vectors.numpy(), geometry=geometry)
        popular = np.argsort(-counts, kind="stable").astype(np.int32)
        return Recommender(self.diffusion, self.messages, index, popular)


@dataclass(frozen=True)
class Catalogue:
    """Who and what the model knows.

    Attributes:
        users, items: the ids.
        histories: one row a user, item indices, newest last.
        counts: interactions of each item, (m,) int64.
        fragments: what answers say about the items.
    """

    users: Vocabulary
    items: Vocabulary
    histories: Histories
    counts: npt.NDArray[np.int64]
    fragments: Fragments


@dataclass(frozen=True)
class Artifact:
    """A loaded artifact."""

    manifest: Manifest
    recommender: Recommender
    catalogue: Catalogue
    probe: Probe


def write_artifact(
    directory: Path,
    model: TrainedModel,
    catalogue: Catalogue,
    probe: Probe,
    about: dict[str, Any],
    analysis: Analysis | None = None,
) -> Manifest:
    """Write all files into an existing empty directory, the manifest last.

    Args:
        directory: where to.
        model, catalogue, probe: the content.
        about: the fields of Manifest that are not derived here (preset, training, seed, data, protocol,
            metrics, diagnostics, run).
        analysis: written beside it; nothing that serves reads it.
    """
    save_file(dict(model.diffusion.state_dict()), directory / "weights.safetensors")
    if model.index is not None:
        write_lists(model.index.lists, directory / INDEX)
    for name, array in (_items(model) | _arrays(catalogue)).items():
        np.save(directory / name, array, allow_pickle=False)
    documents = {"probe.json": probe}
    for name, value in (documents | ({ANALYSIS: analysis} if analysis else {})).items():
        (directory / name).write_bytes(_canonical(value.model_dump(mode="json")))
    files = {path.name: file_info(path) for path in sorted(directory.iterdir())}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        version="",
        model=model.diffusion.config,
        curvature=CURVATURE,
        retrieval=model.retrieval,
        files=files,
        checksum="",
        **about,
    )
    manifest = manifest.model_copy(update={"version": _version(manifest)})
    manifest = manifest.model_copy(update={"checksum": _manifest_checksum(manifest)})
    (directory / MANIFEST).write_bytes(_canonical(manifest.model_dump(mode="json")))
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """The manifest, checked against its own checksum.

    Raises:
        ArtifactError: missing, unreadable, altered, or of another schema version.
    """
    path = directory / MANIFEST
    try:
        raw = path.read_bytes()
        parsed = json.loads(raw)
        schema = parsed["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: not a readable manifest ({type(error).__name__})") from error
    if schema != SCHEMA_VERSION:
        raise ArtifactError(
            f"{path}: schema version {schema}, this program reads {SCHEMA_VERSION}",
            hint="train the model again with this version of hdrm",
        )
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise ArtifactError(f"{path}: not a valid manifest ({error.error_count()} fields)") from error
    if raw != _canonical(parsed) or manifest.checksum != _manifest_checksum(manifest):
        raise ArtifactError(f"{path}: checksum mismatch, the file was altered after it was published")
    if manifest.version != _version(manifest):
        raise ArtifactError(f"{path}: the version {manifest.version} is not that of the content")
    return manifest


def verify_artifact(directory: Path) -> list[str]:
    """Problems of an artifact's files, one sentence each that names the file; empty when all is well."""
    try:
        manifest = read_manifest(directory)
    except ArtifactError as error:
        return [error.message]
    problems = []
    for name, expected in manifest.files.items():
        path = directory / name
        try:
            size = path.stat().st_size
            if size != expected.size:
                problems.append(f"{path}: {size} bytes, expected {expected.size}")
            elif file_info(path) != expected:
                problems.append(f"{path}: checksum mismatch, the file was altered after it was published")
        except FileNotFoundError:
            problems.append(f"{path}: missing")
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror})")
    known = {MANIFEST, *manifest.files}
    problems += [f"{path}: not part of the artifact" for path in directory.iterdir() if path.name not in known]
    if manifest.version != directory.name:
        problems.append(f"{directory}: holds version {manifest.version}")
    return problems


def load_artifact(directory: Path) -> Artifact:
    """Verify and load an artifact; its arrays are memory-mapped.

    Raises:
        ArtifactError: a file is missing, altered or unreadable; all problems are listed.
    """
    problems = verify_artifact(directory)
    if problems:
        raise ArtifactError(
            "refusing a damaged model artifact:\n  " + "\n  ".join(problems),
            hint="restore the files from a copy, activate another version, or train again",
        )
    manifest = read_manifest(directory)
    try:
        weights = load_file(directory / "weights.safetensors")
        blank = torch.ones(2, 2, manifest.model.encoder.dim)  # the weights bring the statistics
        diffusion = UserDiffusion(manifest.model, mu=blank[0], sigma=blank[1])
        diffusion.load_state_dict(weights)
        # torch takes writable arrays alone: these copy a page that is written to, which never happens
        vectors, messages = (
            torch.from_numpy(_array(directory, f"{name}.npy", "c")) for name in ("vectors", "messages")
        )
        catalogue = _read_catalogue(directory)
        probe = Probe.model_validate_json((directory / "probe.json").read_bytes())
        _check_parts(catalogue, vectors, messages, probe, manifest.model)
        index = _read_index(directory, manifest, vectors)
        model = TrainedModel(diffusion, vectors, messages, index, manifest.retrieval.recall)
        return Artifact(manifest, model.recommender(catalogue.counts), catalogue, probe)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{directory}: not loadable ({type(error).__name__}: {error})") from error


def run_probe(recommender: Recommender, probe: Probe) -> None:
    """Recompute the probe's answers.

    Raises:
        ArtifactError: an answer differs by more than rounding: this machine or this build of the libraries
            does not compute what the trainer computed.
    """
    histories = Histories.of([np.array(h, np.int32) for h in probe.histories])
    k = len(probe.items[0])
    for row, hits in enumerate(recommender.recommend(histories, k, Histories.empty(len(histories)))):
        expected = np.array(probe.distances[row])
        same = hits.distances.shape == expected.shape and np.allclose(
            hits.distances, expected, rtol=0, atol=PROBE_TOLERANCE
        )
        # items closer to the last place than the tolerance may change places with the next one
        clear = expected < expected[-1] - 2 * PROBE_TOLERANCE
        if not same or not set(np.array(probe.items[row])[clear]) <= set(hits.items.tolist()):
            raise ArtifactError(
                f"probe {row} of {len(histories)}: the model does not give the answers it gave when it was trained",
                hint="check that the installed torch, onnxruntime and faiss match constraints.txt, or train again here",
            )


def file_info(path: Path) -> FileInfo:
    """Checksum and size of a file."""
    with path.open("rb") as file:
        return FileInfo(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def _arrays(catalogue: Catalogue) -> dict[str, npt.NDArray[Any]]:
    return {
        "users.bytes.npy": catalogue.users.blob,
        "users.offsets.npy": catalogue.users.offsets,
        "items.bytes.npy": catalogue.items.blob,
        "items.offsets.npy": catalogue.items.offsets,
        "history.indptr.npy": catalogue.histories.indptr,
        "history.items.npy": catalogue.histories.items,
        "popularity.npy": catalogue.counts,
        "fragments.bytes.npy": catalogue.fragments.blob,
        "fragments.offsets.npy": catalogue.fragments.offsets,
    }


def _items(model: TrainedModel) -> dict[str, npt.NDArray[Any]]:
    return {"vectors.npy": model.vectors.contiguous().numpy(), "messages.npy": model.messages.contiguous().numpy()}


def _array(directory: Path, name: str, mode: Literal["r", "c"] = "r") -> npt.NDArray[Any]:
    mapped: npt.NDArray[Any] = np.load(directory / name, mmap_mode=mode, allow_pickle=False)
    return mapped


def _read_index(directory: Path, manifest: Manifest, vectors: Tensor) -> ApproximateIndex | None:
    info = manifest.retrieval
    if info.kind == "scan" or info.probes is None:
        return None
    return ApproximateIndex(
        vectors.numpy(),
        read_lists(directory / INDEX),
        probes=info.probes,
        overfetch={int(k): m for k, m in info.overfetch.items()},
        geometry=manifest.model.encoder.space,
    )


def _read_catalogue(directory: Path) -> Catalogue:
    def array(name: str) -> npt.NDArray[Any]:
        return _array(directory, name)

    return Catalogue(
        users=Vocabulary(array("users.bytes.npy"), array("users.offsets.npy")),
        items=Vocabulary(array("items.bytes.npy"), array("items.offsets.npy")),
        histories=Histories(array("history.indptr.npy"), array("history.items.npy")),
        counts=array("popularity.npy"),
        fragments=Fragments(array("fragments.bytes.npy"), array("fragments.offsets.npy")),
    )


def _check_parts(catalogue: Catalogue, vectors: Tensor, messages: Tensor, probe: Probe, model: ModelConfig) -> None:
    """Raise ValueError unless all parts are what they should be and speak of the same users and items."""
    n_items, dim = len(catalogue.items), model.encoder.dim
    histories = catalogue.histories
    types = {
        "vectors": (vectors.dtype, torch.float32),
        "messages": (messages.dtype, torch.float32),
        "popularity": (catalogue.counts.dtype, np.dtype(np.int64)),
        "history items": (histories.items.dtype, np.dtype(np.int32)),
        **{
            name: (v.offsets.dtype, np.dtype(np.int64))
            for name, v in (("users", catalogue.users), ("items", catalogue.items), ("fragments", catalogue.fragments))
        },
    }
    for name, (got, expected) in types.items():
        if got != expected:
            raise ValueError(f"{name}: got {got}, expected {expected}")
    sizes = {
        "vectors": (tuple(vectors.shape), (n_items, dim)),
        "messages": (tuple(messages.shape), (model.history.kinds, n_items, dim)),
        "popularity": (catalogue.counts.shape, (n_items,)),
        "fragments": (len(catalogue.fragments), n_items),
        "histories": (len(histories), len(catalogue.users)),
    }
    for name, (size, expected_size) in sizes.items():
        if size != expected_size:
            raise ValueError(f"{name}: got {size}, expected {expected_size}")
    probed = np.array([item for row in probe.histories for item in row], np.int64)
    for name, indices in (("histories", histories.items), ("probe", probed)):
        if len(indices) and not 0 <= indices.min() <= indices.max() < n_items:
            raise ValueError(f"{name}: expected item indices from 0 to {n_items - 1}")
    if catalogue.counts.min(initial=0) < 0:
        raise ValueError("popularity: expected counts of at least 0")
    for texts in (catalogue.users, catalogue.items, catalogue.fragments):
        texts.blob.tobytes().decode()


def _version(manifest: Manifest) -> str:
    content = manifest.model_dump(mode="json", exclude={"version", "run", "checksum"})
    return f"{manifest.preset}-{hashlib.sha256(_canonical(content)).hexdigest()[:12]}"


def _manifest_checksum(manifest: Manifest) -> str:
    content = manifest.model_copy(update={"checksum": ""}).model_dump(mode="json")
    return hashlib.sha256(_canonical(content)).hexdigest()


def _canonical(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()
