"""The main job on real data: `hdrm demo` fetches, trains and serves; answers are those of an exhaustive search."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.artifact import Artifact, load_artifact
from model.history import Histories
from model.retrieval.hits import confined
from model.retrieval.metric import metric
from model.retrieval.rerank import scan
from model.store import ModelStore

DEADLINE = 1200.0  # for what hangs; a slow machine with other work trains for many minutes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which `hdrm demo --no-serve` ran."""
    path = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "hdrm", "demo", "--no-serve"]
    done = subprocess.run(command, cwd=path, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    assert "GroupLens" in done.stderr
    assert "popularity" in done.stdout
    return path


@pytest.fixture(scope="module")
def artifact(folder: Path) -> Artifact:
    return load_artifact(ModelStore(folder / "demo/models").path())


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[tuple[str, str]]:
    """Base URL and what was printed by `hdrm demo`, run again: it only serves."""
    command = [sys.executable, "-m", "hdrm", "demo", "--port", "0"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    printed, deadline = "", time.monotonic() + DEADLINE
    while "/docs" not in printed and time.monotonic() < deadline:
        line = process.stdout.readline()
        assert line or process.poll() is None, printed
        printed += line
    found = re.search(r"http://127\.0\.0\.1:\d+", printed)
    assert found is not None, printed
    yield found.group(), printed
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/recommend", json.dumps(body).encode(), {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def test_the_model_beats_popularity_and_ease_on_held_out_data(artifact: Artifact) -> None:
    metrics = [row.values for row in artifact.manifest.metrics]
    popularity, ease, recent_ease, _, ours = metrics
    for name in ("recall@20", "ndcg@20"):
        assert ours[name] > recent_ease[name] > ease[name] > popularity[name]


def test_user_196_gets_ten_titled_films_they_have_not_seen(server: tuple[str, str], artifact: Artifact) -> None:
    url, printed = server
    assert printed.count("curl") == 2
    body = re.search(r"-d '(\{.*?\})'", printed)
    assert body is not None
    answer = post(url, json.loads(body.group(1)))
    assert answer["strategy"] == "hdrm"
    assert answer["model_version"] == artifact.manifest.version
    assert len(answer["items"]) == 10
    assert all(item["title"] for item in answer["items"])
    user = artifact.catalogue.users.index("196")
    assert user is not None
    seen = {artifact.catalogue.items.id(int(i)) for i in artifact.catalogue.histories[user]}
    assert len(seen) == 39  # everything this user ever rated
    assert not seen & {item["item_id"] for item in answer["items"]}
    again = post(url, json.loads(body.group(1)))
    assert again["cached"]
    assert again["items"] == answer["items"]


def test_someone_new_gets_what_is_popular(server: tuple[str, str]) -> None:
    answer = post(server[0], {"user_id": "someone new", "k": 5})
    assert answer["strategy"] == "popular"
    assert not answer["user_known"]
    assert len(answer["items"]) == 5


def test_500_users_get_exactly_what_a_float64_scan_of_the_catalogue_gives(artifact: Artifact) -> None:
    recommender, histories = artifact.recommender, artifact.catalogue.histories
    users = np.linspace(0, len(histories) - 1, 500).astype(np.int64)
    rows = histories.take(users)
    vectors = recommender.user_vectors(rows, recommender.config.steps)
    items = recommender.index.vectors
    for excluded in (Histories.empty(500), rows):
        found = recommender.index.search(vectors, [20] * 500, excluded)
        for row in range(500):
            candidates = confined(None, row, excluded[row], len(items))
            expected = scan(metric("hyperbolic"), vectors[row], items, candidates, 20)
            assert found[row].items.tolist() == expected.items.tolist()
            np.testing.assert_allclose(found[row].distances, expected.distances, rtol=1e-12)
        # the certificate is what makes it so without a float64 scan of everything: most users need one round
        assert np.mean([hits.rounds == 1 for hits in found]) > 0.8


def test_a_killed_training_resumes_to_the_very_same_model(folder: Path, artifact: Artifact, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hdrm", "train", "--data", str(folder / "demo/data/ml-100k")]
    command += ["--models", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + DEADLINE
    while not list(tmp_path.glob(".checkpoints/*.pt")) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it wrote a checkpoint"
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert ModelStore(tmp_path).versions() == []
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    assert "continuing the interrupted run" in done.stderr
    assert ModelStore(tmp_path).current() == artifact.manifest.version
    assert list(tmp_path.glob(".checkpoints/*")) == []
