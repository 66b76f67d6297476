"""The figures that show the space itself: radius against popularity, and the items on the Poincaré disk."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from model.artifact import Artifact
from model.config import SpaceName
from training.corpus import some
from training.report.canvas import CATEGORIES, GRID, INK, MUTED, SERIES, draw, log_axis
from training.report.figure import Figure, Mark
from training.report.labels import place_labels, short
from training.report.words import percent, plural, signed
from training.topology import nearest, spearman

__all__ = ["disk", "hierarchy"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

DOTS = 2000  # of a cloud, at most
BINS = 12
LEAST_IN_BIN = 5

SIZE, LABELS = 6.6, 30  # inches, titles
NARROW_SIZE, NARROW_LABELS = 4.5, 16
POINTS = 72  # an inch
REACH = 1.06  # half the drawing's side, the disk's radius being 1
FILLED = 0.97  # of the disk's radius, by the farthest item
LABEL_SIZE = 8.5
RING_BOX = (16.0, 6.0)  # half the size of a ring's label, points
SECTORS, BANDS = 12, 6  # of the disk, for labels
K = 20
CELLS = 10_000_000


def hierarchy(artifact: Artifact, *, seed: int = 0) -> Figure:
    """Radius against popularity, of items and of users."""
    generator = np.random.default_rng(seed)
    recommender, catalogue = artifact.recommender, artifact.catalogue
    lengths = catalogue.histories.lengths
    users = some(generator, np.flatnonzero(lengths), DOTS)
    answers = recommender.user_vectors(catalogue.histories.take(users), recommender.config.steps)
    items = np.flatnonzero(catalogue.counts)
    clouds = {
        "items": (catalogue.counts[items].astype(np.float64), _radii(recommender.index.vectors[items])),
        "users": (lengths[users].astype(np.float64), _radii(answers)),
    }
    found = {name: spearman(*cloud) for name, cloud in clouds.items()}
    counts, radii = clouds["items"]
    tenth = max(len(items) // 10, 1)
    by_count = np.argsort(counts, kind="stable")
    return Figure(
        "Radius against popularity",
        f"Spearman's rank correlation of radius and number of interactions is {_rank(found['items'])} for items and "
        f"{_rank(found['users'])} for users. The tenth of the items with most interactions lies "
        f"{radii[by_count[-tenth:]].mean():.2f} from the origin on average, the tenth with fewest "
        f"{radii[by_count[:tenth]].mean():.2f}.",
        "In hyperbolic space there is little room near the origin and very much far out, so what concerns many "
        "tends to lie in the middle. Users are placed as they are answered. The line is the median. "
        + _drawn(len(items), "item", "items")
        + _drawn(len(users), "user", "users"),
        tuple(_cloud_panel(name, *cloud, generator) for name, cloud in clouds.items()),
        (Mark("one item or user", SERIES[0], None), Mark("median", INK)),
    )


def disk(artifact: Artifact, *, seed: int = 0) -> Figure:
    """The items on the Poincaré disk, some with their titles; on a phone fewer of them."""
    generator = np.random.default_rng(seed)
    catalogue, vectors = artifact.catalogue, artifact.recommender.index.vectors
    radii = _radii(vectors)
    metadata = catalogue.fragments.metadata()
    kinds = _kinds(metadata.categories)
    order = np.argsort(-catalogue.counts, kind="stable")
    titles = [short(t or i) for t, i in zip(metadata.titles, catalogue.items.ids(), strict=True)]
    picture = _Map(
        radii=radii,
        angles=_angles(vectors, radii),
        shades=np.array([MUTED, *CATEGORIES] if kinds.names else SERIES)[kinds.index],
        titles=titles,
        order=order,
        shown=some(generator, np.arange(len(vectors)), DOTS),
    )
    finding = (
        f"Half of the {len(vectors):,} items lie farther than {np.median(radii):.2f} from the centre; the one with "
        f"most interactions, “{titles[order[0]]}”, is at {radii[order[0]]:.2f}."
    )
    if kinds.names:
        geometry = artifact.recommender.config.encoder.space
        finding = _together(vectors, metadata.categories, generator, geometry=geometry)
    legend = [Mark(name, colour, None) for name, colour in zip(kinds.names, CATEGORIES, strict=False)]
    colours = f"Colour is the rarest of an item's categories among the {len(kinds.names)} most frequent. "
    return Figure(
        "The items on the Poincaré disk",
        finding,
        "Each dot is an item. Its distance from the centre shows its true radius r (the rings; hyperbolic distances "
        f"grow towards the rim, the outermost item is at {radii.max():.2f}); its direction is the one that a plane "
        f"shows best, so items far apart in {vectors.shape[1]} dimensions can be neighbours here. Popular items have "
        f"their {'titles' if any(metadata.titles) else 'ids'}, as far as there is room. {colours if legend else ''}"
        + _drawn(len(vectors), "item", "items"),
        (_map_panel("disk", picture, SIZE, LABELS),),
        (*legend, Mark("others", MUTED, None)) if legend else (),
        narrow=_map_panel("disk-narrow", picture, NARROW_SIZE, NARROW_LABELS),
    )


@dataclass(frozen=True)
class _Map:
    """What the map shows of m items.

    Attributes:
        radii, angles: where they are, (m,).
        shades: placeholder colours, (m,).
        titles: as they are written.
        order: indices, those to be labelled first.
        shown: indices of the dots drawn.
    """

    radii: Float64
    angles: Float64
    shades: npt.NDArray[np.str_]
    titles: list[str]
    order: Int64
    shown: Int64


def _map_panel(key: str, picture: _Map, size: float, most: int) -> str:
    """A square of `size` inches with at most so many titles, one in each cell of the disk."""
    farthest = max(float(picture.radii.max()), 1e-9)
    scale = FILLED / math.tanh(farthest / 2)
    distances = np.tanh(picture.radii / 2) * scale
    places = distances[:, None] * np.stack((np.cos(picture.angles), np.sin(picture.angles)), axis=1)
    step = next(step for step in (0.5, 1.0, 2.0) if farthest / step <= 5 or step == 2.0)
    rings = {ring: math.tanh(ring / 2) * scale for ring in np.arange(step, farthest, step)}
    unit = size * POINTS / (2 * REACH)
    sectors = ((picture.angles + np.pi) / (2 * np.pi) * SECTORS).astype(int)
    labels = place_labels(
        places * unit,
        picture.titles,
        picture.order,
        (distances * BANDS).astype(int) * (SECTORS + 1) + sectors,
        most=most,
        size=LABEL_SIZE,
        reach=REACH * unit,
        taken=[
            (-RING_BOX[0], -at * unit - RING_BOX[1], RING_BOX[0], -at * unit + RING_BOX[1]) for at in rings.values()
        ],
    )

    def paint(axes: Axes) -> None:
        axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))
        axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=MUTED, linewidth=1))
        for at in rings.values():
            axes.add_patch(Circle((0, 0), at, fill=False, edgecolor=GRID, linewidth=0.9))
        shown = picture.shown
        axes.scatter(places[shown, 0], places[shown, 1], s=9, c=picture.shades[shown], alpha=0.55, linewidths=0)
        marked = [label.item for label in labels]
        axes.scatter(places[marked, 0], places[marked, 1], s=20, c=picture.shades[marked], linewidths=0)
        for ring, at in rings.items():
            axes.annotate(f"r = {ring:g}", (0, -at), ha="center", va="center", fontsize=7.5, color=MUTED)
        for label in labels:
            left, bottom = label.box[0] / unit, label.box[1] / unit
            axes.text(left, bottom, picture.titles[label.item], fontsize=LABEL_SIZE, ha="left", va="bottom")

    return draw(key, paint, label="map of the items", size=(size, size), bare=True)


@dataclass(frozen=True)
class _Kinds:
    """Categories to colour by: `names`, and `index` (m,), 1 + the place in names or 0 for others."""

    names: list[str]
    index: Int64


def _cloud_panel(name: str, counts: Float64, radii: Float64, generator: np.random.Generator) -> str:
    drawn = some(generator, np.arange(len(counts)), DOTS)
    edges = np.geomspace(counts.min(), counts.max() * 1.001, BINS + 1)
    bins = np.digitize(counts, edges[1:-1])
    filled = [b for b in range(BINS) if (bins == b).sum() >= LEAST_IN_BIN]

    def paint(axes: Axes) -> None:
        axes.scatter(counts[drawn], radii[drawn], s=8, c=SERIES[0], alpha=0.4, linewidths=0)
        centres = [float(np.exp(np.log(counts[bins == b]).mean())) for b in filled]
        axes.plot(centres, [float(np.median(radii[bins == b])) for b in filled], color=INK)
        log_axis(axes, "x")
        axes.set(
            title=name.capitalize(),
            xlabel="interactions (count, logarithmic)",
            ylabel="radius (distance to the origin)",
        )
        axes.set_ylim(0)

    return draw(f"hierarchy-{name}", paint, label=f"radius of {name} against their number of interactions")


def _angles(vectors: npt.NDArray[np.float32], radii: Float64) -> Float64:
    """Directions in the plane in which the items' unit directions vary most: (m, d) -> (m,)."""
    units = vectors / np.maximum(radii, 1e-12)[:, None]
    centred = units - units.mean(0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, -2:]
    axes *= np.sign(axes.sum(0))  # an eigenvector's sign means nothing; this fixes it
    flat = centred @ axes
    angles: Float64 = np.arctan2(flat[:, 0], flat[:, 1])
    return angles


def _kinds(categories: Sequence[Sequence[str]]) -> _Kinds:
    frequency = Counter(name for mine in categories for name in mine)
    names = [name for name, _ in frequency.most_common(len(CATEGORIES))]
    rank = {name: place for place, name in enumerate(names, start=1)}
    # the most frequent would colour most items; the rarest says more
    return _Kinds(names, np.array([max((rank.get(name, 0) for name in mine), default=0) for mine in categories]))


def _together(
    vectors: npt.NDArray[np.float32],
    categories: Sequence[Sequence[str]],
    generator: np.random.Generator,
    *,
    geometry: SpaceName,
) -> str:
    """How often neighbours are of one category."""
    names = {name: column for column, name in enumerate(sorted({name for mine in categories for name in mine}))}
    has = np.zeros((len(vectors), len(names)), np.float32)
    for row, mine in enumerate(categories):
        has[row, [names[name] for name in mine]] = 1
    rows = some(generator, np.flatnonzero(has.any(1)), max(min(1000, CELLS // len(vectors)), 1))
    points = torch.from_numpy(vectors.copy())
    found = nearest(points[rows], points, K, geometry=geometry, own=rows)
    alike = (has[rows] @ has.T) > 0
    alike[np.arange(len(rows)), rows] = False
    near = np.take_along_axis(alike, found, axis=1).mean()
    chance = alike.sum(1).mean() / max(len(vectors) - 1, 1)
    return (
        f"An item shares a category with {percent(float(near))} of its {found.shape[1]} nearest items; with items "
        f"drawn at random it would be {percent(float(chance))}. The model has not seen the categories."
    )


def _radii(vectors: npt.NDArray[np.float32]) -> Float64:
    radii: Float64 = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return radii


def _rank(value: float) -> str:
    return "not defined" if math.isnan(value) else signed(value, 2)


def _drawn(n: int, one: str, many: str) -> str:
    return f"{DOTS:,} of {plural(n, one, many)} are drawn. " if n > DOTS else ""
