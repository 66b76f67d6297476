"""The benchmark of inference."""

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from benchmarks.generated import generate_artifact
from benchmarks.inference.document import Document
from benchmarks.inference.measure import PlainLoop, users_of
from hdrm.cli import app
from model.artifact import load_artifact
from model.store import ModelStore


def silent(_name: str, _done: int, _total: int) -> None:
    """Nobody is told."""


def test_it_times_every_batch_of_a_published_model_and_the_loop_gives_its_answers(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    path = generate_artifact(store, users=300, items=400, mean_length=12, dim=8, seed=1, on_phase=silent)
    artifact = load_artifact(path)
    users, loop = users_of(artifact, seed=0), PlainLoop(artifact)
    assert len(users) == 256
    found = artifact.recommender.recommend(users, 20, users)
    for row in range(5):
        for by_pair in (False, True):
            answer = loop.answer(users.take(np.array([row])), by_pair=by_pair)
            assert answer.tolist() == found[row].items.tolist()
    written = tmp_path / "inference.json"
    arguments = ["--models", str(store.root), "--rounds", "2", "--json", str(written)]
    done = CliRunner().invoke(app, ["benchmark", "inference", *arguments])
    assert done.exit_code == 0, done.output
    document = Document.model_validate_json(written.read_text())
    assert document.version == path.name
    assert [batch.users for batch in document.batches] == [1, 16, 256]
    assert all(batch.total > 0 and batch.denoise > 0 and batch.gather > 0 for batch in document.batches)
    assert document.loop.by_pair > document.loop.by_user > 0
    assert document.loop.by_user_ratio == document.loop.by_user / document.batches[-1].total
    assert path.name in done.stdout
    assert document.load_seconds > 0
