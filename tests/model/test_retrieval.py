"""Every way to find the nearest items against a float64 scan of all of them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import SpaceName
from model.geometry import distance
from model.history import Histories
from model.kernels import least_product
from model.retrieval import ApproximateIndex, FlatIndex, Hits, LorentzScan, Retriever, calibrate
from model.retrieval.flat import first_fetch
from model.retrieval.hits import confined
from model.retrieval.lists import Lists, build_lists
from model.retrieval.metric import metric
from model.retrieval.rerank import scan

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Make = Callable[[Float32, SpaceName], Retriever]

SPACES: tuple[SpaceName, ...] = ("hyperbolic", "euclidean")
RADII = [(0.0, 0.0), (0.1, 0.5), (1.0, 3.0), (1.0, 4.0), (3.9, 4.0), (0.0, 5.0)]


def flat(first: int) -> Make:
    return lambda vectors, geometry: FlatIndex(vectors, overfetch={20: first}, geometry=geometry)


def lists(vectors: Float32, geometry: SpaceName) -> ApproximateIndex:
    return ApproximateIndex(vectors, build_lists(vectors, geometry), probes=2, overfetch={20: 60}, geometry=geometry)


EXACT: dict[str, Make] = {
    "scan": lambda vectors, geometry: LorentzScan(vectors, geometry=geometry),
    "flat 1": flat(1),
    "flat 400": flat(400),
}
ALL = EXACT | {"lists": lists}


def cloud(seed: int, n: int, d: int, radii: tuple[float, float]) -> Float32:
    generator = np.random.default_rng(seed)
    directions = generator.standard_normal((n, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return (directions * generator.uniform(*radii, (n, 1))).astype(np.float32)


def exactly(
    vectors: Float32, query: Float32, k: int, gone: Int32, allowed: Int32 | None = None, name: SpaceName = "hyperbolic"
) -> Hits:
    candidates = confined([allowed], 0, gone, len(vectors))
    return scan(metric(name), query, vectors, candidates, k)


def assert_same(got: Hits, expected: Hits) -> None:
    assert got.items.tolist() == expected.items.tolist()
    assert got.items.dtype == np.int32
    np.testing.assert_allclose(got.distances, expected.distances, rtol=1e-12)


@pytest.mark.parametrize("name", SPACES)
def test_keys_and_products_are_those_of_the_geometry(name: SpaceName) -> None:
    u, v = (cloud(seed, 200, 8, (0.0, 4.0)) for seed in (0, 1))
    v[:20] = u[:20]
    v[20:40] = np.nextafter(u[20:40], np.float32(9))
    v[40:60], u[50:70] = 0, 0
    measure = metric(name)
    exact_u, exact_v = u.astype(np.float64), v.astype(np.float64)
    expected = np.linalg.norm(exact_u - exact_v, axis=1)
    if name == "hyperbolic":
        expected = distance(torch.from_numpy(exact_u), torch.from_numpy(exact_v)).numpy()
    keys = np.concatenate([measure.keys(u[row], v, np.array([row])) for row in range(200)])
    np.testing.assert_allclose(measure.distance(keys), expected, rtol=1e-10, atol=1e-14)
    products = np.vecdot(measure.queries(u), measure.items(v))
    radii = np.linalg.norm(exact_u, axis=1)
    least = [least_product(key, r, 8, 4.0, measure.curved) for key, r in zip(keys, radii, strict=True)]
    assert (products >= least).all()
    assert (products - least <= 8 * 20 * 2.0**-24 * np.cosh(8.0)).all()


def test_scan_is_the_order_by_distance() -> None:
    vectors, query = cloud(2, 300, 8, (1.0, 4.0)), cloud(3, 1, 8, (1.0, 4.0))[0]
    u, v = torch.from_numpy(query).double(), torch.from_numpy(vectors).double()
    expected = torch.argsort(distance(u.expand_as(v), v))[:20]
    assert exactly(vectors, query, 20, np.zeros(0, np.int32)).items.tolist() == expected.tolist()


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("radii", RADII)
@pytest.mark.parametrize("kind", EXACT)
def test_search_equals_the_float64_scan(kind: str, radii: tuple[float, float], name: SpaceName) -> None:
    vectors, queries = cloud(0, 1500, 16, radii), cloud(1, 40, 16, radii)
    index = EXACT[kind](vectors, name)
    numbers = np.random.default_rng(0)
    ks = [int(k) for k in numbers.choice([1, 20, 500, 2000], 40)]
    gone = [numbers.choice(1500, q * 38, replace=False).astype(np.int32) for q in range(40)]
    own = [
        np.sort(numbers.choice(1500, int(numbers.integers(0, 1500)), replace=False)).astype(np.int32) if q % 3 else None
        for q in range(40)
    ]
    for allowed in (None, own):
        found = index.search(queries, ks, Histories.of(gone), allowed)
        for row, hits in enumerate(found):
            confining = None if allowed is None else allowed[row]
            assert hits.certified
            assert_same(hits, exactly(vectors, queries[row], ks[row], gone[row], confining, name))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 120), st.sampled_from([2, 3, 16, 64])),
    radii=st.tuples(st.floats(0, 5), st.floats(0, 5)).map(lambda pair: (min(pair), max(pair))),
    twins=st.floats(0, 1),
    k=st.integers(1, 30),
    kind=st.sampled_from(list(EXACT)),
    name=st.sampled_from(SPACES),
)
def test_the_certificate_holds_for_any_vectors(
    seed: int,
    shape: tuple[int, int],
    radii: tuple[float, float],
    twins: float,
    k: int,
    kind: str,
    name: SpaceName,
) -> None:
    """Duplicates, near duplicates, zero vectors, and queries that are items."""
    numbers = np.random.default_rng(seed)
    vectors = cloud(seed, *shape, radii)
    copies = numbers.random(len(vectors)) < twins
    vectors[copies] = vectors[numbers.integers(0, len(vectors), int(copies.sum()))]
    vectors[numbers.random(len(vectors)) < 0.05] = 0
    nudged = numbers.random(len(vectors)) < 0.2
    vectors[nudged] = np.nextafter(vectors[nudged], np.float32(9))
    queries = np.concatenate((vectors[:2], cloud(seed + 1, 2, shape[1], radii)))
    gone = [numbers.choice(shape[0], numbers.integers(0, shape[0]), replace=False).astype(np.int32) for _ in queries]
    found = EXACT[kind](vectors, name).search(queries, [k] * len(queries), Histories.of(gone))
    for query, without, hits in zip(queries, gone, found, strict=True):
        assert_same(hits, exactly(vectors, query, k, without, None, name))


def test_an_l2_prefilter_without_the_certificate_would_be_wrong() -> None:
    """The certificate earns its keep: with these radii the L2 top 20 is another list for most queries."""
    vectors, queries = cloud(0, 1500, 16, (1.0, 4.0)), cloud(1, 40, 16, (1.0, 4.0))
    found = FlatIndex(vectors, overfetch={20: 20}).search(queries, [20] * 40, Histories.empty(40))
    assert max(hits.rounds for hits in found) > 1


def test_products_without_the_certificate_would_be_wrong() -> None:
    """More items lie nearer together than float32 products can tell apart than are fetched."""
    vectors = np.tile(cloud(0, 1, 8, (5.0, 5.0)), (400, 1))
    vectors += (np.random.default_rng(0).random((400, 8)) * 1e-6).astype(np.float32)
    query = cloud(1, 1, 8, (5.0, 5.0))
    (hits,) = LorentzScan(vectors).search(query, [20], Histories.empty(1))
    assert hits.rounds == 2
    assert_same(hits, exactly(vectors, query[0], 20, np.zeros(0, np.int32)))
    products = metric("hyperbolic").queries(query) @ metric("hyperbolic").items(vectors).T
    assert set(np.argsort(-products[0])[:36].tolist()) < set(range(400))
    assert not set(hits.items.tolist()) <= set(np.argsort(-products[0], kind="stable")[:36].tolist())


@pytest.mark.parametrize("kind", ALL)
def test_ties_go_to_the_lower_index(kind: str) -> None:
    vectors = np.repeat(cloud(0, 60, 4, (1.0, 2.0)), 5, axis=0)
    (hits,) = ALL[kind](vectors, "hyperbolic").search(vectors[7:8], [7], Histories.empty(1))
    assert hits.items[:5].tolist() == [5, 6, 7, 8, 9]
    assert hits.items[5:].tolist() == sorted(hits.items[5:].tolist())


@pytest.mark.parametrize("kind", ALL)
def test_the_answer_is_short_only_when_candidates_run_out(kind: str) -> None:
    vectors = cloud(0, 400, 4, (1.0, 2.0))
    index = ALL[kind](vectors, "hyperbolic")
    gone = [np.arange(n, dtype=np.int32) for n in (400, 398, 0, 0, 0, 390)]
    few, nothing = np.array([3, 5, 300], np.int32), np.zeros(0, np.int32)
    found = index.search(
        vectors[:6], [50, 50, 500, 50, 50, 50], Histories.of(gone), [None, None, None, few, nothing, few]
    )
    assert [len(hits.items) for hits in found] == [0, 2, 400, 3, 0, 0]
    assert set(found[1].items.tolist()) == {398, 399}
    assert sorted(found[2].items.tolist()) == list(range(400))
    assert sorted(found[3].items.tolist()) == few.tolist()


@pytest.mark.parametrize("kind", EXACT)
def test_the_catalogue_may_be_a_single_item_and_the_batch_empty(kind: str) -> None:
    index = EXACT[kind](np.ones((1, 4), np.float32), "hyperbolic")
    assert index.search(np.zeros((1, 4), np.float32), [20], Histories.empty(1))[0].items.tolist() == [0]
    assert index.search(np.zeros((0, 4), np.float32), [], Histories.empty(0)) == []


@pytest.mark.parametrize("kind", ALL)
def test_an_answer_does_not_depend_on_the_batch(kind: str) -> None:
    """2,500 batches of a random size in a random order for each kind: the same items, the same distances."""
    vectors, queries = cloud(0, 1000, 8, (0.5, 4.0)), cloud(1, 60, 8, (0.5, 4.0))
    vectors[500:] = vectors[:500]
    numbers = np.random.default_rng(2)
    index = ALL[kind](vectors, "hyperbolic")
    gone = Histories.of(
        [numbers.choice(1000, numbers.integers(0, 90), replace=False).astype(np.int32) for _ in queries]
    )
    ks = [int(k) for k in numbers.choice([5, 20], 60)]
    alone = [index.search(queries[q : q + 1], ks[q : q + 1], gone.take(np.array([q])))[0] for q in range(60)]
    for _ in range(2500):
        batch = numbers.choice(60, numbers.integers(1, 24))
        found = index.search(queries[batch], [ks[q] for q in batch], gone.take(batch))
        for q, hits in zip(batch, found, strict=True):
            assert hits.items.tolist() == alone[q].items.tolist()
            assert hits.distances.tolist() == alone[q].distances.tolist()


def test_a_long_history_that_is_not_near_is_no_reason_to_scan() -> None:
    """Of 6,000 items a query has seen 3,000: far ones are left out of a short list, near ones of an exact search."""
    vectors = cloud(0, 6000, 8, (1.0, 3.0))
    index = lists(vectors, "hyperbolic")
    index.probes = len(index.lists)
    query = vectors[:1] * 0.9
    order = exactly(vectors, query[0], 6000, np.zeros(0, np.int32)).items
    for gone, certified in ((order[3000:], False), (order[:3000], True)):
        [hits] = index.search(query, [20], Histories.of([gone]))
        assert hits.certified is certified
        assert np.isin(hits.items, exactly(vectors, query[0], 20, gone).items).mean() > 0.9


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("radii", [(0.5, 1.5), (1.0, 4.0)])
def test_all_lists_hold_all_items_and_leave_out_what_is_excluded(radii: tuple[float, float], name: SpaceName) -> None:
    """With every list probed only the bytes err, and they err less than what is fetched beyond k makes up for."""
    vectors, queries = cloud(0, 3000, 24, radii), cloud(1, 40, 24, radii)
    made = build_lists(vectors, name)
    assert np.sort(made.items).tolist() == list(range(3000))
    assert len(made) % 16 == 0
    coordinates = metric(name).items(vectors)
    stored = np.column_stack((made.heights, made.least + made.codes * made.step))
    assert (np.abs(stored - coordinates[made.items]) <= np.append(0, made.step * 0.51)).all()
    index = ApproximateIndex(vectors, made, probes=len(made), overfetch={20: 120}, geometry=name)
    numbers = np.random.default_rng(0)
    near = [exactly(vectors, query, 200, np.zeros(0, np.int32), name=name).items for query in queries]
    gone = [numbers.permutation(np.append(some[::2], numbers.choice(3000, 50))).astype(np.int32) for some in near]
    found = index.search(queries, [20] * 40, Histories.of(gone))
    for row, hits in enumerate(found):
        assert not hits.certified
        assert not np.isin(hits.items, gone[row]).any()
        assert_same(hits, exactly(vectors, queries[row], 20, gone[row], name=name))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("items", np.full(100, 100, np.int32)),
        ("items", np.zeros(99, np.int32)),
        ("items", np.zeros(100, np.int64)),
        ("codes", np.zeros((100, 4), np.float32)),
        ("heights", np.zeros(99, np.float32)),
        ("centres", np.zeros((4, 3), np.float32)),
        ("step", np.zeros(3, np.float32)),
        ("offsets", np.zeros(33, np.int64)),
    ],
)
def test_arrays_that_are_no_lists_are_named(name: str, wrong: npt.NDArray[np.generic]) -> None:
    """Machine code would read beside them."""
    made = build_lists(cloud(0, 100, 4, (1.0, 2.0)))
    assert len(made.offsets) == 33
    with pytest.raises(ValueError, match=f"lists: {name}: "):
        Lists(**(made.arrays | {name: wrong}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("k", "expected"), [(5, 30), (10, 30), (11, 50), (20, 50), (40, 100)])
def test_first_fetch_takes_the_next_calibrated_length_and_scales_beyond(k: int, expected: int) -> None:
    assert first_fetch({10: 30, 20: 50}, k) == expected


def test_calibration_finds_what_it_says_it_finds() -> None:
    vectors, queries = cloud(0, 6000, 8, (1.0, 3.0)), cloud(1, 300, 8, (1.0, 3.0))
    calibrated = calibrate(vectors, queries[:150])
    assert calibrated.recall["recall@20"] >= 0.99
    assert calibrated.index.probes < len(calibrated.index.lists)
    others = queries[150:]
    found = calibrated.index.search(others, [20] * 150, Histories.empty(150))
    truth = LorentzScan(vectors).search(others, [20] * 150, Histories.empty(150))
    shared = [len(set(a.items.tolist()) & set(b.items.tolist())) / 20 for a, b in zip(found, truth, strict=True)]
    assert np.mean(shared) > 0.97
    assert not all(hits.certified for hits in found)
    again = calibrate(vectors, queries[:150])
    assert (again.index.probes, again.index.overfetch, again.recall) == (
        calibrated.index.probes,
        calibrated.index.overfetch,
        calibrated.recall,
    )


@pytest.mark.parametrize("kind", ALL)
def test_callers_mistakes_are_named(kind: str) -> None:
    vectors = cloud(0, 100, 4, (1.0, 2.0))
    index = ALL[kind](vectors, "hyperbolic")
    nobody = Histories.empty(100)
    with pytest.raises(ValueError, match="k: got 0"):
        index.search(vectors, [0] * 100, nobody)
    with pytest.raises(ValueError, match="ks: got 1 entries, expected 100"):
        index.search(vectors, [5], nobody)
    with pytest.raises(ValueError, match="excluded: got 1 entries, expected 100"):
        index.search(vectors, [5] * 100, Histories.empty(1))
    with pytest.raises(ValueError, match="allowed: got 1 entries, expected 100"):
        index.search(vectors, [5] * 100, nobody, [None])
    with pytest.raises(ValueError, match=r"queries: got shape \(100, 3\), expected \(b, 4\)"):
        index.search(vectors[:, :3], [5] * 100, nobody)


def test_wrong_settings_are_named() -> None:
    vectors = cloud(0, 100, 4, (1.0, 2.0))
    with pytest.raises(ValueError, match="overfetch"):
        FlatIndex(vectors, overfetch={})
    made = build_lists(vectors, "hyperbolic")
    with pytest.raises(ValueError, match=f"probes: got 0, expected 1 to {len(made)}"):
        ApproximateIndex(vectors, made, probes=0, overfetch={5: 5})
    with pytest.raises(ValueError, match="lists: got \\(100, 4\\)"):
        ApproximateIndex(vectors[:50], made, probes=1, overfetch={5: 5})


@pytest.mark.parametrize("own", [[5, 3], [3, 3], [-1, 3], [99, 100]])
def test_items_that_a_query_is_confined_to_are_checked(own: list[int]) -> None:
    """Machine code would read beside the arrays."""
    vectors = cloud(0, 100, 4, (1.0, 2.0))
    with pytest.raises(IndexError, match="confined to"):
        LorentzScan(vectors).search(vectors[:1], [5], Histories.empty(1), [np.array(own, np.int32)])


@pytest.mark.parametrize("item", [-2, 100])
def test_candidates_are_checked(item: int) -> None:
    vectors = cloud(0, 100, 4, (1.0, 2.0))
    with pytest.raises(IndexError, match="candidate"):
        scan(metric("hyperbolic"), vectors[0], vectors, np.array([item]), 5)
