"""Vectors and whole artifacts of any size that nothing was learned for: random, but structured and seeded.

Directions. Learned embeddings lie in clusters of clusters. A catalogue of n items has n / 5,000 coarse directions,
uniform on the sphere; n / 100 fine ones, each a coarse one plus `SPREAD` times a uniform direction; an item's direction
is a fine one plus `SPREAD` times a uniform direction. Items of one cluster stand together. Radii are uniform between
two bounds and independent of the direction.

Histories are runs through the catalogue with gaps, so a user's items come from a few clusters, no item twice; their
lengths follow a geometric law. Messages are item vectors at half the length. The diffusion has its initial weights but
for the network's last layer, which is random and small.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.artifact import Catalogue, TrainedModel, write_artifact
from model.diffusion import UserDiffusion
from model.facets import Facets
from model.fragments import Fragments, ItemMetadata
from model.history import Histories
from model.manifest import DataInfo, RunInfo
from model.store import ModelStore
from model.vocabulary import Vocabulary
from training.config import load_config
from training.export import indexed, make_probe

__all__ = ["Clusters", "generate_artifact", "generate_histories"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Phase = Callable[[str, int, int], None]

PER_COARSE, PER_FINE = 5000, 100
SPREAD = 0.8
RADII = (1.0, 3.0)
HEAD_STD = 0.02
TITLE_WORDS = ("Blue", "Night", "River", "House", "Summer", "Return", "Last", "City")
CATEGORIES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Thriller")


class Clusters:
    """Directions for a catalogue of n items in d dimensions.

    Args:
        n, d: its size.
        generator: source of all randomness.
    """

    def __init__(self, n: int, d: int, *, generator: np.random.Generator) -> None:
        self._generator, self._d = generator, d
        coarse = self._uniform(max(n // PER_COARSE, 2))
        fine = max(n // PER_FINE, 4)
        self._fine = _unit(coarse[np.arange(fine) * len(coarse) // fine] + SPREAD * self._uniform(fine))

    def items(self, n: int, radii: tuple[float, float]) -> Float32:
        """Vectors of n items, those of a cluster together: (n, d) float32."""
        return self._vectors(np.arange(n) * len(self._fine) // n, radii)

    def queries(self, n: int, radii: tuple[float, float]) -> Float32:
        """Vectors drawn in the same way as items, from random clusters: (n, d) float32."""
        return self._vectors(self._generator.integers(0, len(self._fine), n), radii)

    def _vectors(self, owners: npt.NDArray[np.int64], radii: tuple[float, float]) -> Float32:
        directions = _unit(self._fine[owners] + SPREAD * self._uniform(len(owners)))
        return (directions * self._generator.uniform(*radii, (len(owners), 1))).astype(np.float32)

    def _uniform(self, n: int) -> Float64:
        return _unit(self._generator.standard_normal((n, self._d)))


def generate_histories(users: int, items: int, mean_length: int, *, generator: np.random.Generator) -> Histories:
    """Runs through the catalogue, no item twice in one."""
    lengths = np.minimum(generator.geometric(1 / mean_length, users), max(items // 4, 1))
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    gaps = generator.integers(1, 4, indptr[-1])
    steps = np.cumsum(gaps)
    starts = generator.integers(0, items, users) - steps[indptr[:-1]]
    return Histories(indptr, ((steps + np.repeat(starts, lengths)) % items).astype(np.int32))


def generate_artifact(
    store: ModelStore, *, users: int, items: int, mean_length: int, dim: int, seed: int, on_phase: Phase
) -> Path:
    """Publish an artifact with the default settings; its directory.

    Args:
        store: where to.
        users, items: sizes.
        mean_length: of a history.
        dim: dimension of the space.
        seed: of everything.
        on_phase: told what comes next.
    """
    generator = np.random.default_rng(seed)
    on_phase("vectors", 0, 0)
    config = load_config("default", (f"encoder.dim={dim}",)).resolved(ordered=True).model_part()
    vectors = Clusters(items, dim, generator=generator).items(items, RADII)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        diffusion = UserDiffusion(config, mu=torch.zeros(1, dim), sigma=torch.full((1, dim), 0.2)).eval()
        torch.nn.init.normal_(diffusion.item.denoiser.head.weight, std=HEAD_STD)
        # means of histories lie near items, as trained users do; what an untrained attention says does not
        diffusion.base_weights.data[:] = 1 / (config.vectors - 1)
        diffusion.base_weights.data[-1] = 0
    histories = generate_histories(users, items, mean_length, generator=generator)
    model = TrainedModel(config, diffusion.weights(), vectors, vectors * np.float32(0.5))
    on_phase("index", 0, 0)
    model = indexed(model, histories)
    on_phase("catalogue", 0, 0)
    counts = np.bincount(histories.items, minlength=items).astype(np.int64)
    ids = Vocabulary.of([f"i{item:08}" for item in range(items)])
    metadata = _metadata(items, generator)
    catalogue = Catalogue(
        users=Vocabulary.of([f"u{user:08}" for user in range(users)]),
        items=ids,
        histories=histories,
        user_vectors=vectors[histories.items[histories.indptr[1:] - 1]],  # near their newest item, as trained ones are
        counts=counts,
        fragments=Fragments.of(ids, metadata),
        facets=Facets.of(metadata),
    )
    probe = make_probe(model.recommender(counts), histories)
    about = {
        "preset": "generated",
        "training": {},
        "seed": seed,
        "data": DataInfo(
            name="generated",
            source="benchmarks/generated.py",
            terms=None,
            fingerprint=f"{users}-{items}-{mean_length}-{dim}-{seed}",
            users=users,
            items=items,
            interactions=len(histories.items),
            ordered=True,
        ),
        "protocol": "nothing was learned",
        "metrics": [],
        "diagnostics": {},
        "run": RunInfo(created_at="2000-01-01T00:00:00+00:00", seconds=0.0, software={}, device="cpu"),
    }
    on_phase("writing", 0, 0)
    with store.staging() as directory:
        write_artifact(directory, model, catalogue, probe, about)
        return store.path(store.publish(directory).version)


def _metadata(items: int, generator: np.random.Generator) -> ItemMetadata:
    words = generator.integers(0, len(TITLE_WORDS), (items, 2)).tolist()
    years = generator.integers(1950, 2025, items).tolist()
    kinds = generator.integers(0, len(CATEGORIES), items).tolist()
    return ItemMetadata(
        titles=[f"{TITLE_WORDS[first]} {TITLE_WORDS[second]} {item}" for item, (first, second) in enumerate(words)],
        years=years,
        categories=[[CATEGORIES[kind]] for kind in kinds],
    )


def _unit(v: Float64) -> Float64:
    unit: Float64 = v / np.linalg.norm(v, axis=1, keepdims=True)
    return unit
