"""The artifact: an immutable, checksummed directory that carries a trained model from training to service.

    manifest.json            what it is: settings, data, metrics, calibration, a sha256 for every other file
    weights.safetensors      the diffusion's parameters and statistics
    vectors.npy messages.npy items' tangent vectors, and messages, (m, d) float32
    lists.*.npy              inverted lists (model.retrieval.lists), where the catalogue is large
    popularity.npy           interactions of each item, (m,) int64
    users.*.npy items.*.npy  the id vocabularies (model.vocabulary)
    history.*.npy            users' histories as compressed sparse rows (model.history)
    user_vectors.npy         users' tangent vectors by these histories, (n, d) float32
    fragments.*.npy          what answers say about the items (model.fragments)
    years.npy categories.*.npy members.*.npy   what items can be filtered by (model.facets)
    probe.json               fixed histories and the answers they must give
    analysis.json            what was measured in training, for people (model.analysis); older artifacts have none

No file is a pickle. Arrays are memory-mapped, so processes that serve the same artifact share them. A change of any
byte in any file is noticed and named (model.manifest).
"""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from model.analysis import ANALYSIS, Analysis
from model.config import ModelConfig
from model.errors import ArtifactError
from model.facets import Facets
from model.fragments import Fragments
from model.history import Histories
from model.manifest import MANIFEST, SCHEMA_VERSION, Manifest, RetrievalInfo, canonical, file_info, read_manifest, seal
from model.probe import Probe
from model.recommender import Recommender
from model.retrieval import ApproximateIndex, LorentzScan
from model.retrieval.lists import Lists
from model.vocabulary import Vocabulary
from model.weights import Weights, check_weights

__all__ = ["Artifact", "Catalogue", "TrainedModel", "load_artifact", "verify_artifact", "write_artifact"]

Float32 = npt.NDArray[np.float32]

CHECKED_ROWS, CHECKED_BYTES = 1 << 16, 1 << 20  # looked at together
CURVATURE = "Lorentz model, K = 1: <x, x>_L = -1; vectors are tangent at the origin, |v| = distance to it"


@dataclass(frozen=True)
class TrainedModel:
    """What training learned.

    Attributes:
        config: its settings.
        weights: the user's side.
        vectors: items' tangent vectors, (m, d) float32.
        messages: items' messages, (m, d) float32.
        index: finds the items of a large catalogue; None for a scan.
        recall: what the index was measured to find, by name.
    """

    config: ModelConfig
    weights: Weights
    vectors: Float32
    messages: Float32
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
        index = self.index or LorentzScan(self.vectors, geometry=self.config.encoder.space)
        popular = np.argsort(-counts, kind="stable").astype(np.int32)
        return Recommender(self.config, self.weights, self.messages, index, popular)


@dataclass(frozen=True)
class Catalogue:
    """Who and what the model knows.

    Attributes:
        users, items: the ids.
        histories: one row a user, item indices, newest last.
        user_vectors: what the model makes of them, (n, d) float32 tangent vectors.
        counts: interactions of each item, (m,) int64.
        fragments: what answers say about the items.
        facets: what items can be filtered by.
    """

    users: Vocabulary
    items: Vocabulary
    histories: Histories
    user_vectors: Float32
    counts: npt.NDArray[np.int64]
    fragments: Fragments
    facets: Facets


@dataclass(frozen=True)
class Artifact:
    """A loaded artifact.

    Attributes:
        manifest: what it is.
        model: what training learned.
        recommender: the same, ready to answer.
        catalogue: who and what it knows.
        probe: answers it must give.
    """

    manifest: Manifest
    model: TrainedModel
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
    save_file(dict(model.weights), directory / "weights.safetensors")
    for name, array in _arrays(model, catalogue).items():
        np.save(directory / name, array, allow_pickle=False)
    documents = {"probe.json": probe}
    for name, value in (documents | ({ANALYSIS: analysis} if analysis else {})).items():
        (directory / name).write_bytes(canonical(value.model_dump(mode="json")))
    files = {path.name: file_info(path) for path in sorted(directory.iterdir())}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        version="",
        model=model.config,
        curvature=CURVATURE,
        retrieval=model.retrieval,
        files=files,
        checksum="",
        **about,
    )
    manifest = seal(manifest)
    (directory / MANIFEST).write_bytes(canonical(manifest.model_dump(mode="json")))
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
            hint="restore the files from a copy, serve another version (HDRM_MODEL_VERSION), or train again",
        )
    manifest = read_manifest(directory)
    try:
        weights = load_file(directory / "weights.safetensors")
        check_weights(weights, manifest.model)
        vectors, messages = (_mapped(directory, f"{name}.npy") for name in ("vectors", "messages"))
        catalogue = _read_catalogue(directory)
        probe = Probe.model_validate_json((directory / "probe.json").read_bytes())
        _check_parts(catalogue, vectors, messages, probe, manifest.model)
        index = _read_index(directory, manifest, vectors)
        model = TrainedModel(manifest.model, weights, vectors, messages, index, manifest.retrieval.recall)
        return Artifact(manifest, model, model.recommender(catalogue.counts), catalogue, probe)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            f"{directory}: not loadable ({type(error).__name__}: {error})",
            hint="train the model again with this version of hdrm",
        ) from error


def _arrays(model: TrainedModel, catalogue: Catalogue) -> dict[str, npt.NDArray[Any]]:
    lists = {} if model.index is None else model.index.lists.arrays
    return {f"lists.{name}.npy": array for name, array in lists.items()} | {
        "vectors.npy": model.vectors,
        "messages.npy": model.messages,
        "users.bytes.npy": catalogue.users.blob,
        "users.offsets.npy": catalogue.users.offsets,
        "items.bytes.npy": catalogue.items.blob,
        "items.offsets.npy": catalogue.items.offsets,
        "history.indptr.npy": catalogue.histories.indptr,
        "history.items.npy": catalogue.histories.items,
        "user_vectors.npy": catalogue.user_vectors,
        "popularity.npy": catalogue.counts,
        "fragments.bytes.npy": catalogue.fragments.blob,
        "fragments.offsets.npy": catalogue.fragments.offsets,
        "years.npy": catalogue.facets.years,
        "categories.bytes.npy": catalogue.facets.categories.blob,
        "categories.offsets.npy": catalogue.facets.categories.offsets,
        "members.indptr.npy": catalogue.facets.members.indptr,
        "members.items.npy": catalogue.facets.members.items,
    }


def _mapped(directory: Path, name: str) -> npt.NDArray[Any]:
    # a plain array over the map: a memmap object takes ten times as long to cut a piece from
    return np.asarray(np.load(directory / name, mmap_mode="r", allow_pickle=False))


def _read_index(directory: Path, manifest: Manifest, vectors: Float32) -> ApproximateIndex | None:
    info = manifest.retrieval
    if info.kind == "scan" or info.probes is None:
        return None
    names = [array.name for array in fields(Lists)]
    return ApproximateIndex(
        vectors,
        Lists(*[_mapped(directory, f"lists.{name}.npy") for name in names]),
        probes=info.probes,
        overfetch={int(k): m for k, m in info.overfetch.items()},
        geometry=manifest.model.encoder.space,
    )


def _read_catalogue(directory: Path) -> Catalogue:
    def mapped(*names: str) -> list[npt.NDArray[Any]]:
        return [_mapped(directory, f"{name}.npy") for name in names]

    [counts, user_vectors, years] = mapped("popularity", "user_vectors", "years")
    return Catalogue(
        users=Vocabulary(*mapped("users.bytes", "users.offsets")),
        items=Vocabulary(*mapped("items.bytes", "items.offsets")),
        histories=Histories(*mapped("history.indptr", "history.items")),
        user_vectors=user_vectors,
        counts=counts,
        fragments=Fragments(*mapped("fragments.bytes", "fragments.offsets")),
        facets=Facets(
            years,
            Vocabulary(*mapped("categories.bytes", "categories.offsets")),
            Histories(*mapped("members.indptr", "members.items")),
        ),
    )


def _check_parts(catalogue: Catalogue, vectors: Float32, messages: Float32, probe: Probe, model: ModelConfig) -> None:
    """Raise ValueError unless all parts are what they should be and speak of the same users and items."""
    n_items, dim = len(catalogue.items), model.encoder.dim
    histories, facets, users = catalogue.histories, catalogue.facets, catalogue.user_vectors
    texts = {
        "users": catalogue.users,
        "items": catalogue.items,
        "fragments": catalogue.fragments,
        "categories": facets.categories,
    }
    types = {
        "vectors": (vectors.dtype, np.dtype(np.float32)),
        "messages": (messages.dtype, np.dtype(np.float32)),
        "user vectors": (users.dtype, np.dtype(np.float32)),
        "popularity": (catalogue.counts.dtype, np.dtype(np.int64)),
        "history items": (histories.items.dtype, np.dtype(np.int32)),
        "years": (facets.years.dtype, np.dtype(np.int32)),
        "members": (facets.members.items.dtype, np.dtype(np.int32)),
        **{name: (rows.offsets.dtype, np.dtype(np.int64)) for name, rows in texts.items()},
    }
    for name, (got, expected) in types.items():
        if got != expected:
            raise ValueError(f"{name}: got {got}, expected {expected}")
    sizes = {
        "vectors": (vectors.shape, (n_items, dim)),
        "messages": (messages.shape, (n_items, dim)),
        "popularity": (catalogue.counts.shape, (n_items,)),
        "fragments": (len(catalogue.fragments), n_items),
        "years": (facets.years.shape, (n_items,)),
        "members": (len(facets.members), len(facets.categories)),
        "histories": (len(histories), len(catalogue.users)),
        "user vectors": (users.shape, (len(histories), dim)),
    }
    for name, (size, expected_size) in sizes.items():
        if size != expected_size:
            raise ValueError(f"{name}: got {size}, expected {expected_size}")
    for name, numbers in (("vectors", vectors), ("messages", messages), ("user vectors", users)):
        for start in range(0, len(numbers), CHECKED_ROWS):
            if not np.isfinite(numbers[start : start + CHECKED_ROWS]).all():
                raise ValueError(f"{name}: expected finite numbers alone")
    probed = np.array([item for row in probe.histories for item in row], np.int64)
    for name, indices in (("histories", histories.items), ("members", facets.members.items), ("probe", probed)):
        if len(indices) and not 0 <= indices.min() <= indices.max() < n_items:
            raise ValueError(f"{name}: expected item indices from 0 to {n_items - 1}")
    if catalogue.counts.min(initial=0) < 0:
        raise ValueError("popularity: expected counts of at least 0")
    for rows in texts.values():
        _check_text(rows.blob)


def _check_text(blob: npt.NDArray[np.uint8]) -> None:
    """Raise ValueError unless it is UTF-8; in pieces, between which other threads have their turns."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(blob), CHECKED_BYTES):
        decoder.decode(blob[start : start + CHECKED_BYTES].tobytes())
    decoder.decode(b"", final=True)
