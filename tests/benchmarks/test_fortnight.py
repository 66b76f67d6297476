"""A simulated fortnight: days are dealt fairly, policies are what they claim, and nights go through the real gate."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from benchmarks.fortnight.document import METRICS, POLICIES, Day, Document
from benchmarks.fortnight.kept import Kept
from benchmarks.fortnight.measure import Plan, measure_fortnight
from benchmarks.fortnight.plot import plot
from benchmarks.fortnight.report import render, report
from benchmarks.fortnight.timeline import Timeline, timeline_of
from hdrm.cli import app
from model.artifact import Artifact, load_artifact
from model.errors import ConfigError, DataError
from model.history import Histories
from tests.conftest import QUICK, planted
from training.config import load_config
from training.data.datasets import Dataset, make_dataset, write_dataset
from training.data.schema import TIMESTAMP
from training.evaluate import RecommenderRanker, measure
from training.retrain.limits import load_limits
from training.trainer import Observer

DAYS = 4
SMALL = ["data.least_users=10", "data.least_interactions=100"]
SERVES = [*SMALL, "gate.ndcg_loss=1"]  # whatever beats popularity
SILENT = Observer(lambda _name, _epochs: None, lambda _epoch: None)
RUNNER = CliRunner()


def plan(limits: Sequence[str] = SERVES) -> Plan:
    return Plan(load_config("default", ["split.by=time", *QUICK]), "default", QUICK, load_limits(limits), limits, 0)


def dealt(days: int = DAYS, live: str = "valid:test") -> Timeline:
    return timeline_of(planted(presplit=True), days=days, live=live, seed=0)


def dated(rows: list[tuple[str, str, int]]) -> Dataset:
    """Of users, items and hours since 2020 began."""
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame(
        [(user, item, begin + timedelta(hours=hour)) for user, item, hour in rows],
        {"user_id": pl.String(), "item_id": pl.String(), "timestamp": TIMESTAMP},
        orient="row",
    )
    items = pl.DataFrame({"item_id": frame["item_id"].unique()}).with_columns(
        title=pl.lit(None, pl.String), year=pl.lit(None, pl.Int32), categories=pl.lit([], pl.List(pl.String))
    )
    return make_dataset(frame, items, name="dated", source="tests", terms=None, order="timestamp")


def fortnight(
    timeline: Timeline, folder: Path, limits: Sequence[str] = SERVES, observer: Observer = SILENT
) -> tuple[Document, Kept]:
    kept = Kept(folder, ["test"])
    made = measure_fortnight(
        timeline, plan(limits), kept=kept, command="hdrm x", observer=observer, on_day=lambda _number, _day: None
    )
    return made, kept


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, Kept]:
    """A fortnight that nothing interrupted."""
    return fortnight(dealt(), tmp_path_factory.mktemp("fortnight") / "days")


# dealing


@pytest.mark.parametrize("days", [2, 5, 14])
@pytest.mark.parametrize("live", ["valid:test", "test:valid"])
def test_dealing_keeps_every_users_order_and_loses_nothing(days: int, live: str) -> None:
    timeline = dealt(days, live)
    dataset = planted(presplit=True)
    for number, user in enumerate(timeline.users.ids()):
        own = dataset.interactions.filter(pl.col("user_id") == user)
        older, *newer = (
            own.filter(pl.col("part") == part)["item_id"].to_list() for part in ("train", *live.split(":"))
        )
        before, *on_days = (
            [timeline.items.id(item) for item in rows[number].tolist()]
            for rows in (timeline.histories(0), *(timeline.truth(day) for day in range(days)))
        )
        assert before == older
        assert list(chain(*on_days)) == list(chain(*newer))
    seen = timeline.histories(0)
    for day in range(days):
        assert np.array_equal(timeline.histories(day).items, seen.items)
        seen = seen.append(timeline.truth(day))


def test_days_that_are_dealt_are_even_and_times_are_of_their_day() -> None:
    timeline = dealt(14)
    counts = [len(timeline.truth(day).items) for day in range(14)]
    assert sum(counts) == len(timeline.pairs) - len(timeline.base.interactions)
    assert max(counts) < 3 * min(counts)
    first = timeline.pairs.filter(pl.col("day") >= 0).group_by("user").agg(pl.col("day").min())["day"]
    assert first.n_unique() > 1  # who has few begins when chance says
    for day, (begins, ends) in enumerate(pairwise(timeline.begins)):
        times = timeline.pairs.filter(pl.col("day") == day)["timestamp"].dt.epoch("us") / 1e6
        assert times.is_between(begins, ends, closed="left").all()
    assert timeline.base.interactions["timestamp"].is_sorted()
    assert timeline.pairs["timestamp"].is_sorted()


def test_another_seed_deals_other_days() -> None:
    other = timeline_of(planted(presplit=True), days=DAYS, live="valid:test", seed=1)
    assert not np.array_equal(other.truth(0).items, dealt().truth(0).items)


def test_dates_are_those_that_have_interactions() -> None:
    timeline = timeline_of(
        dated([("a", "x", 0), ("b", "y", 25), ("a", "y", 26), ("a", "z", 96), ("c", "x", 97), ("a", "y", 98)]),
        days=2,
        live="valid:test",
        seed=0,
    )
    assert timeline.dates is not None
    assert [str(day) for day in timeline.dates] == ["2020-01-02", "2020-01-05"]
    assert [len(timeline.truth(day).items) for day in range(2)] == [2, 2]  # what comes again is not counted again
    assert [timeline.new(day, "user") for day in range(2)] == [1, 1]
    assert [timeline.new(day, "item") for day in range(2)] == [1, 1]
    assert timeline.base.interactions["user_id"].to_list() == ["a"]
    assert timeline.happened(1).events["user_id"].to_list() == ["b", "a"]


def test_what_has_too_few_days_or_no_order_is_refused() -> None:
    with pytest.raises(DataError, match="interactions on 2 days, expected 2 and something before"):
        timeline_of(dated([("a", "x", 0), ("a", "y", 30)]), days=2, live="valid:test", seed=0)
    with pytest.raises(DataError, match="neither when"):
        timeline_of(planted(ordered=False), days=2, live="valid:test", seed=0)
    with pytest.raises(ConfigError, match="--live"):
        timeline_of(planted(presplit=True), days=2, live="train:test", seed=0)


# policies


def test_each_policy_is_what_it_claims(whole: tuple[Document, Kept]) -> None:
    document, kept = whole
    timeline, store = dealt(), kept.store()
    assert all(day.night.outcome == "published" for day in document.days)
    first = load_artifact(store.path(document.days[0].night.version))

    def asked(artifact: Artifact, histories: Histories, day: int) -> dict[str, float]:
        """Of a model whose vocabularies are the data's, by its own histories and what was added."""
        assert artifact.catalogue.users.ids() == timeline.users.ids()
        assert artifact.catalogue.items.ids() == timeline.items.ids()
        ranker = RecommenderRanker(artifact.recommender)
        figures = measure(ranker, histories, timeline.histories(day), timeline.truth(day))
        return {metric: figures[metric] for metric in METRICS}

    for number, day in enumerate(document.days):
        known = first.catalogue.histories
        assert day.figures["frozen"] == pytest.approx(asked(first, known, number))
        for before in range(number):
            known = known.append(timeline.truth(before))
        assert day.figures["live"] == pytest.approx(asked(first, known, number))
        own = load_artifact(store.path(day.night.version))
        assert day.figures["retrained"] == pytest.approx(asked(own, own.catalogue.histories, number))
    last = document.days[-1].figures
    assert len({tuple(last[policy].values()) for policy in POLICIES}) == len(POLICIES)


def test_all_begin_alike_and_nights_are_told(whole: tuple[Document, Kept]) -> None:
    document, _ = whole
    first, *others = document.days
    assert first.figures["frozen"] == first.figures["live"] == first.figures["retrained"]
    assert (first.night.events, first.night.searched) == (0, True)
    assert [day.night.searched for day in others] == [False] * len(others)
    assert [day.night.events for day in others] == [len(dealt().truth(day).items) for day in range(DAYS - 1)]
    assert len({day.night.version for day in document.days}) == DAYS
    assert document.dealt


def test_means_and_differences_count_users_once(whole: tuple[Document, Kept]) -> None:
    document, kept = whole
    by_user: dict[int, list[tuple[float, float]]] = {}
    for day in range(1, DAYS):
        scored = kept.load(day)
        assert scored is not None
        for user, live, retrained in zip(scored.users, scored.values[1, 0], scored.values[2, 0], strict=True):
            by_user.setdefault(int(user), []).append((live, retrained))
    means = np.array([np.mean(values, axis=0) for values in by_user.values()]).mean(0)
    assert document.compared == len(by_user)
    assert (document.means["live"]["recall@20"], document.means["retrained"]["recall@20"]) == pytest.approx(means)
    [difference] = [d for d in document.differences if (d.better, d.metric) == ("retrained", "recall@20")]
    assert difference.difference == pytest.approx(means[1] - means[0])
    assert difference.low <= difference.difference <= difference.high


# nights


def hits() -> Dataset:
    """On the first of two days half of the users take what the others took long ago, and what is popular: so of what
    the retraining holds out, popularity misses nothing, and nothing can be better."""
    known = (
        planted()
        .interactions.select("user_id", "item_id")
        .with_columns(place=pl.int_range(pl.len()).over("user_id"), last=pl.len().over("user_id") - 1)
    )
    rows = [(user, item, 24 + place if place < last else 24 * 62) for user, item, place, last in known.iter_rows()]
    for number in range(120):
        hour = 0 if number < 60 else 24 * 61
        rows += [(f"u{number}", f"hit{hit}", hour + hit) for hit in range(5)]
    return dated(rows)


def test_a_night_whose_gate_refuses_keeps_the_old_model(tmp_path: Path) -> None:
    timeline = timeline_of(hits(), days=2, live="valid:test", seed=0)
    wide = [f"data.{name}=1" for name in ("drift", "new_drift", "new_on_item")]
    document, kept = fortnight(timeline, tmp_path / "days", [*SERVES, *wide])
    first, second = document.days
    assert (first.night.outcome, second.night.outcome) == ("published", "refused")
    assert second.night.version == first.night.version == kept.store().current()
    assert second.figures["retrained"] == second.figures["live"]
    assert "popularity 1.0000" in second.night.failed[0]
    page = render(document, None)
    assert "In 1 of 1 nights it brought no new model" in page
    assert second.night.failed[0] in page


def test_a_first_model_that_may_not_serve_ends_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"first model may not serve: .*users"):
        fortnight(dealt(), tmp_path / "days", ["data.least_users=1000"])


def of_result(days: Sequence[Day]) -> list[object]:
    """What does not depend on the clock."""
    changing = {"night": {"seconds", "version"}}
    return [day.model_dump(exclude=changing) for day in days]


def test_an_interrupted_fortnight_ends_as_one_that_was_not(whole: tuple[Document, Kept], tmp_path: Path) -> None:
    expected, _ = whole
    begun = 0

    def interrupt(name: str, _epochs: int) -> None:
        nonlocal begun
        begun += name == "EASE"
        if begun == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fortnight(dealt(), tmp_path / "days", observer=Observer(interrupt, lambda _epoch: None))
    kept = Kept(tmp_path / "days", ["test"])
    before = [kept.load(day) for day in range(DAYS)]
    assert [one is not None for one in before] == [True, True, False, False]
    document, _ = fortnight(dealt(), tmp_path / "days")
    assert before[1] is not None
    assert document.days[1] == before[1].day
    assert of_result(document.days) == of_result(expected.days)
    assert (document.means, document.differences) == (expected.means, expected.differences)


def test_a_night_that_was_made_is_not_made_again(whole: tuple[Document, Kept], tmp_path: Path) -> None:
    expected, kept = whole
    shutil.copytree(kept.folder, tmp_path / "days")
    for path in (tmp_path / "days").rglob(f"day-{DAYS - 1:02}.npz"):
        path.unlink()
    copy = Kept(tmp_path / "days", ["test"]).store()
    copy.activate(expected.days[-2].night.version)  # the interruption came before the new one was current

    def never(name: str, _epochs: int) -> None:
        raise AssertionError(f"trained again: {name}")

    document, _ = fortnight(dealt(), tmp_path / "days", observer=Observer(never, lambda _epoch: None))
    assert document.days == expected.days
    assert copy.current() == expected.days[-1].night.version


def test_of_another_fortnight_nothing_is_found(whole: tuple[Document, Kept]) -> None:
    _, kept = whole
    assert Kept(kept.folder, ["other"]).load(0) is None


# what is shown


def test_the_page_says_what_was_measured_and_what_speaks_against_it(whole: tuple[Document, Kept]) -> None:
    document, _ = whole
    page = render(document, "figures/retraining.svg")
    assert page == render(Document.model_validate_json(document.model_dump_json()), "figures/retraining.svg")
    assert "](figures/retraining.svg)" in page
    for day in document.days:
        figures = [f"{day.figures[policy][metric]:.4f}" for metric in METRICS for policy in POLICIES]
        assert f"| {day.name} | {day.users:,} | {day.without_history} | {' | '.join(figures)} |" in page
    for one in document.differences:
        assert f"{one.difference:+.4f} | {one.low:+.4f} | {one.high:+.4f}" in page
    for said in ("The data have no dates", "What speaks against it", "does not learn from it", "No item was new"):
        assert said in page


def test_the_drawing_is_a_file_of_its_own(whole: tuple[Document, Kept]) -> None:
    root = ElementTree.fromstring(plot(whole[0]))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"live events, retrained every night", "live events, never retrained", "recall@20"} <= set(texts)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 0.3, "more than chance"), (-0.1, 0.3, "which may be chance"), (-0.3, -0.1, "a loss, more than chance")],
)
def test_what_may_be_chance_is_called_so(whole: tuple[Document, Kept], low: float, high: float, said: str) -> None:
    document, _ = whole
    changed = [one.model_copy(update={"low": low, "high": high}) for one in document.differences]
    text = "\n".join(
        part for part in report(document.model_copy(update={"differences": changed})) if isinstance(part, str)
    )
    assert text.count(f"({said}") == len(changed)


def test_the_command_writes_all_and_writes_it_again(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    hour = 24 * 30
    known = planted().interactions.with_columns(place=pl.int_range(pl.len()).over("user_id"))
    rows = [
        (user, item, hour * place // 20)
        for user, item, place in known.select("user_id", "item_id", "place").iter_rows()
    ]
    write_dataset(dated(rows), data)
    out.mkdir()
    files = {name: out / f"retraining.{name}" for name in ("json", "svg", "md")}
    options = ["--json", str(files["json"]), "--plot", str(files["svg"]), "--markdown", str(files["md"])]
    settings = [argument for change in QUICK for argument in ("--set", change)]
    settings += [argument for limit in SERVES for argument in ("--limit", limit)]
    command = ["benchmark", "fortnight", "--data", str(data), "--days", "2", *settings, *options]
    left = out / "retraining.json.days"
    left.mkdir()
    with pytest.raises(ConfigError, match="keeps the days of an interrupted fortnight"):
        RUNNER.invoke(app, command, catch_exceptions=False)
    done = RUNNER.invoke(app, [*command, "--resume"])
    assert done.exit_code == 0, done.output
    assert not left.exists()
    document = Document.model_validate_json(files["json"].read_text())
    assert not document.dealt
    assert [day.name for day in document.days] == ["2020-01-25", "2020-01-26"]
    assert files["md"].read_text() == render(document, "retraining.svg")
    first = {name: path.read_text() for name, path in files.items()}
    for name in ("svg", "md"):
        files[name].unlink()
    again = RUNNER.invoke(app, ["benchmark", "fortnight", "--again", *options])
    assert again.exit_code == 0, again.output
    assert {name: path.read_text() for name, path in files.items()} == first
    assert "What speaks against it" in again.stdout


def test_nothing_to_write_again_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a result"):
        RUNNER.invoke(
            app, ["benchmark", "fortnight", "--again", "--json", str(tmp_path / "x.json")], catch_exceptions=False
        )
