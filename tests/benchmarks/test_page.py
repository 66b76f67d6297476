"""The page of results says what the documents say."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.environment import Environment, environment
from benchmarks.inference.document import Batch, Loop
from benchmarks.inference.document import Document as Inference
from benchmarks.kills.document import Document as Kills
from benchmarks.kills.document import Phases
from benchmarks.page import SECTIONS, render
from benchmarks.report import Table, machine, markdown
from benchmarks.serving.document import Document as Serving
from benchmarks.serving.document import Growth, Run, Sample, Size, Soak
from benchmarks.swaps.document import Document as Swaps
from benchmarks.swaps.document import Latency
from benchmarks.swaps.document import Run as SwapsRun
from hdrm.cli import app
from model.config import Frozen
from model.errors import ConfigError

MADE = Environment(
    command="hdrm benchmark x",
    date="2025-01-01T00:00:00+00:00",
    device="cpu",
    processor="A Processor",
    cores=2,
    threads=1,
    load=0.25,
    software={"python": "3.11.0"},
)


def sample(seconds: float, rss: int, errors: int = 0) -> Sample:
    return Sample(seconds=seconds, requests_per_second=500.0, p50_ms=1.0, p99_ms=2.0, errors=errors, rss_bytes=rss)


def serving(soak: Soak | None = None) -> Serving:
    run = Run(
        path="uncached",
        connections=16,
        requests_per_second=1234.4,
        p50_ms=1.25,
        p95_ms=2.5,
        p99_ms=3.75,
        errors=7,
        rss_bytes=200_000_000,
        cpu_percent=99.0,
    )
    return Serving(
        environment=MADE,
        model_version="m-1",
        items=2810,
        users=6040,
        seconds=5.0,
        rounds=3,
        runs=[run],
        ratios={"uncached_16": 0.678},
        soak=soak,
    )


def growth() -> Growth:
    size = Size(
        users=1_000_000,
        items=999_999,
        ready_seconds=7.5,
        requests_per_second=800.0,
        p50_ms=4.0,
        p99_ms=9.0,
        errors=0,
        rss_bytes=10**9,
        private_bytes=123_000_000,
    )
    return Growth(environment=MADE, connections=16, seconds=5.0, rounds=3, workers=2, sizes=[size], p99_ratio=2.345)


def inference() -> Inference:
    return Inference(
        environment=MADE,
        version="m-1",
        items=2810,
        dim=64,
        steps=3,
        mean_history=165.0,
        load_seconds=0.4,
        k=20,
        threads=1,
        batches=[Batch(users=256, gather=1.5, denoise=2.5, search=3.5, rerank=4.5, total=12.5)],
        loop=Loop(by_user=1000.0, by_user_ratio=80.0, by_pair=9000.0, by_pair_ratio=720.0),
    )


def swaps() -> Swaps:
    run = SwapsRun(
        cache="none",
        seconds=100.0,
        requests=300_000,
        requests_per_second=3000.0,
        failed=1,
        mixed=2,
        stale=3,
        first_answer_p50_seconds=0.456,
        first_answer_longest_seconds=0.789,
        during=Latency(requests=100_000, p50_ms=1.5, p99_ms=4.5, p999_ms=8.5, longest_ms=9.5),
        between=Latency(requests=200_000, p50_ms=1.0, p99_ms=3.0, p999_ms=6.0, longest_ms=7.0),
        p99_ratio=1.5,
        rss_before=200_000_000,
        rss_after=203_000_000,
        rss_most=210_000_000,
        client_microseconds=21.4,
    )
    return Swaps(
        environment=MADE,
        model_version="m-1",
        other_version="m-2",
        items=2810,
        users=4000,
        connections=16,
        workers=1,
        swaps=200,
        pause=1.0,
        runs=[run],
    )


def kills() -> Kills:
    return Kills(
        environment=MADE,
        data="planted",
        interactions=12_345,
        run_seconds=9.5,
        kills=50,
        aimed=25,
        too_late=3,
        phases=Phases(starting=5, training=20, writing=12, judging=9, ending=4),
        checkpoints=6,
        verified=250,
        published=46,
        unchanged=4,
        lease_seconds=4.5,
        next_seconds=12.5,
        answers=9876,
        failed=0,
        versions=9,
        leftovers=12,
        leftover_bytes=3_400_000,
        broken=["a sentence"],
    )


def put(folder: Path, name: str, document: Frozen) -> None:
    (folder / name).write_text(document.model_dump_json(by_alias=True))


def test_every_section_has_its_numbers_and_how_they_were_made(tmp_path: Path) -> None:
    soak = Soak(minutes=2, peak=1000.0, target=500.0, samples=[sample(30, 50), sample(70, 100), sample(80, 101, 2)])
    put(tmp_path, "serving.json", serving(soak))
    put(tmp_path, "serving-growth.json", growth())
    put(tmp_path, "swaps.json", swaps())
    put(tmp_path, "kills.json", kills())
    put(tmp_path, "inference.json", inference())
    page = render(tmp_path)
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## Serving",
        "## Serving large models",
        "## Swaps of the model",
        "## Killed retrainings",
        "## Inference",
    ]
    assert "| uncached | 16 | 1,234 | 1.250 | 2.500 | 3.750 | 7 | 200 | 99 |" in page
    assert "uncached_16 0.68" in page
    assert "Errors: 2. Memory after the first minute changes by 1.00% at most." in page
    assert "| 1,000,000 | 999,999 | 7.5 | 800 | 4.000 | 9.000 | 0 | 1000 | 123 |" in page
    assert "2.35" in page
    assert "| none | 300,000 | 1 | 2 | 3 | 0.46 | 0.79 | 200.0 | 203.0 |" in page
    assert "| none, during swaps | 100,000 | 1.50 | 4.50 | 8.50 | 9.50 |" in page
    assert "p99 during swaps 1.50 of that between them, memory +1.5%, 21 µs" in page
    assert "| kills | 5 | 20 | 12 | 9 | 4 |" in page
    assert "| left behind for a day | 12 (3.4 MB) |" in page
    assert "Broken: a sentence" in page
    assert "| 256 | 1.5 | 2.5 | 3.5 | 4.5 | 12.5 |" in page
    assert page.count("`hdrm benchmark x`") == page.count("A Processor") == 5


def test_the_command_writes_it(tmp_path: Path) -> None:
    put(tmp_path, "inference.json", inference())
    out = tmp_path / "performance.md"
    done = CliRunner().invoke(app, ["benchmark", "page", str(tmp_path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert out.read_text() == render(tmp_path)


def test_a_folder_without_results_says_what_there_could_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=", ".join(SECTIONS)):
        render(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", growth().model_dump_json()])
def test_what_is_no_result_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "serving.json").write_text(content)
    with pytest.raises(ConfigError, match=r"serving\.json: not a result"):
        render(tmp_path)


def test_a_short_soak_says_nothing_about_memory() -> None:
    assert Soak(minutes=1, peak=2.0, target=1.0, samples=[sample(59, 1)]).drift is None


def test_tables_have_their_title_above() -> None:
    assert markdown([Table("title", ("name", "x"), [("a", "1")]), "words"]) == [
        "**title**",
        "| name | x |\n| --- | ---: |\n| a | 1 |",
        "words",
    ]


def test_the_machine_is_described() -> None:
    assert machine(MADE) == "A Processor, 1 threads of torch on 2 cores, load 0.2"
    assert machine(MADE.model_copy(update={"device": "A GPU"})).startswith("A GPU; A Processor")
    made = environment("hdrm x", trained=False)
    assert (made.command, made.device) == ("hdrm x", "cpu")
    assert {"python", "hdrm", "torch", "numba"} <= made.software.keys()
