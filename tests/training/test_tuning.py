"""Studies: they resume to what they would have been, record what was cut short, and their presets hold good."""

from pathlib import Path

import pytest
import torch
from filelock import FileLock

from model.errors import ConfigError, HdrmError, UnavailableError
from tests.conftest import planted
from training.config import load_config, preset_names
from training.corpus import Corpus
from training.loop import Epoch, Stage, State, run_stage
from training.preset import preset_text
from training.search import search
from training.splits import make_split
from training.tunable import TUNABLE, Choice, Kind, Real, Whole, named, suited, value_of
from training.tuning import Tuned, Tuning, TuningObserver

TINY = [
    "encoder.dim=8",
    "denoiser.hidden=16",
    "denoiser.depth=1",
    "steps=1",
    *(f"{stage}_fit.batch_users=64" for stage in ("encoder", "diffusion")),
    *(f"{stage}_fit.budget.{key}=4" for stage in ("encoder", "diffusion") for key in ("updates", "least_epochs")),
]
VARIED: dict[str, Kind] = {
    "encoder_fit.tau": Real(0.25, 4.0, log=True),
    "denoiser.hidden": Whole(16, 64),
    "encoder.layers": Choice((1, 3)),
    "attention_fit.learning_rate": Choice((0.01, 1e-9)),  # one of them hopeless
}
TRIALS = 9


class Interrupted(BaseException):
    """Stands for Ctrl-C."""


def tuning(
    path: Path,
    *,
    space: dict[str, Kind] = VARIED,
    changes: tuple[str, ...] = (),
    seed: int = 0,
    ordered: bool = True,
    interrupt: int | None = None,
    begun: list[int] | None = None,
) -> Tuning:
    """A study of the planted data, interrupted in stage 2 of the trial that follows `interrupt` finished ones."""
    present = [0] if begun is None else begun

    def epoch(done: Epoch) -> None:
        if present[-1] == interrupt and (done.stage, done.number) == ("diffusion", 2):
            raise Interrupted

    observer = TuningObserver(lambda done, _best: present.append(done), lambda _name, _epochs: None, epoch)
    return Tuning(
        planted(ordered=ordered),
        preset="default",
        changes=[*TINY, *changes],
        space=space,
        seed=seed,
        study=path / "study.db",
        observer=observer,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Tuned:
    return tuning(folder).run(trials=TRIALS, seconds=None)


@pytest.mark.parametrize("ordered", [True, False])
def test_the_first_trial_is_the_preset_as_it_is(ordered: bool, tmp_path: Path) -> None:
    within = (
        "encoder.dim=32",
        "denoiser.hidden=128",
        "attention_fit.budget.updates=4",
        "attention_fit.budget.least_epochs=2",
    )
    space = suited(load_config("default", [*TINY, *within]).resolved(ordered=ordered))
    study = tuning(tmp_path, space=space, changes=within, ordered=ordered)
    (first,) = study.run(trials=1, seconds=None).trials
    assert first.settings.keys() == space.keys()
    tried, preset = (study.config(settings).resolved(ordered=ordered) for settings in (first.settings, {}))
    assert tried == preset


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("encoder.dim", "encoder.dim=48", r"encoder\.dim: .* is 48; allowed: 32, 64, 128, 192, 256"),
        ("denoiser.depth", "denoiser.depth=4", r"denoiser\.depth: .* is 4; allowed: a whole number from 1 to 3"),
        ("encoder_fit.tau", "encoder_fit.tau=5.0", r"encoder_fit\.tau: .* is 5\.0; allowed: a number from 0\.25 to 4"),
    ],
)
def test_a_value_that_no_trial_can_have_is_refused(name: str, change: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        tuning(tmp_path, space=named([name]), changes=(change,))
    assert caught.value.hint


def test_the_best_trial_is_no_worse_than_the_first(whole: Tuned) -> None:
    assert whole.trials[0].settings == whole.preset
    assert whole.trials[0].score is not None
    assert whole.ranking[0].score is not None
    assert whole.ranking[0].score >= whole.trials[0].score
    assert whole.importance.keys() == VARIED.keys()
    assert sum(whole.importance.values()) == pytest.approx(1.0)


def test_hopeless_trials_are_pruned_and_recorded_as_such(whole: Tuned) -> None:
    assert len(whole.trials) == whole.finished == TRIALS
    pruned = [trial for trial in whole.trials if trial.outcome == "pruned"]
    assert pruned
    assert min(trial.number for trial in pruned) >= 5
    assert not set(map(id, pruned)) & set(map(id, whole.ranking))
    assert all(trial.score is not None for trial in pruned)


def test_an_interrupted_study_ends_as_the_whole_one(whole: Tuned, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        tuning(tmp_path, interrupt=3).run(trials=TRIALS, seconds=None)
    resumed = tuning(tmp_path).run(trials=TRIALS, seconds=None)
    assert [trial.number for trial in resumed.trials if trial.outcome == "failed"] == [3]
    kept = [trial for trial in resumed.trials if trial.outcome != "failed"]
    assert [(t.outcome, t.score, t.settings) for t in kept] == [(t.outcome, t.score, t.settings) for t in whole.trials]
    assert resumed.importance == whole.importance


def test_a_finished_study_is_read_again_and_can_be_enlarged(whole: Tuned, folder: Path) -> None:
    begun: list[int] = []
    assert tuning(folder, begun=begun).run(trials=TRIALS, seconds=None) == whole
    assert begun == []
    larger = tuning(folder, begun=begun).run(trials=TRIALS + 1, seconds=None)
    assert begun == [TRIALS]
    assert larger.trials[:TRIALS] == whole.trials


def test_other_settings_space_or_seed_are_another_study_in_the_same_file(whole: Tuned, folder: Path) -> None:
    names = {
        study.name
        for study in (
            tuning(folder),
            tuning(folder, seed=1),
            tuning(folder, changes=("denoiser.dropout=0.1",)),
            tuning(folder, space={"denoiser.hidden": Whole(16, 64)}),
            tuning(folder, space={"denoiser.hidden": Whole(16, 65)}),
        )
    }
    assert len(names) == 5
    with pytest.raises(HdrmError, match="no trial came to an end"):
        tuning(folder, seed=1).run(trials=None, seconds=0.0)


def run(stage: Stage, name: str, epochs: int, patience: int | None) -> State:
    return run_stage(
        stage,
        name=name,
        epochs=epochs,
        patience=patience,
        state=None,
        on_epoch=lambda _epoch: None,
        on_state=lambda _state: None,
    )


def test_the_best_preset_loads_and_reproduces_its_score(whole: Tuned, folder: Path, tmp_path: Path) -> None:
    best, path = whole.ranking[0], tmp_path / "best.toml"
    path.write_text(preset_text(tuning(folder).config(best.settings), head="found\nby a test"), encoding="utf-8")
    config = load_config(str(path))
    assert config == tuning(folder).config(best.settings)
    assert config.unordered  # kept too
    split = make_split(planted(), config.split, seed=0)
    part, config = Corpus(split.search, len(split.items), ordered=True), config.resolved(ordered=True)
    assert search(part, split.stop, config, seed=0, device=torch.device("cpu"), run=run).score == best.score


def test_a_preset_file_keeps_every_kind_of_value(tmp_path: Path) -> None:
    changes = ['history.half_lives=[0.5, "uniform"]', "noise.radial=false", "split.by=time", "encoder.init_std=1e-5"]
    config = load_config("default", changes)
    path = tmp_path / "some.toml"
    path.write_text(preset_text(config, head="two\n\nlines"), encoding="utf-8")
    assert load_config(str(path)) == config
    assert path.read_text("utf-8").startswith("# two\n#\n# lines\n")


def test_a_diverging_trial_is_recorded_and_not_tried_again(tmp_path: Path) -> None:
    changes = ("encoder.init_std=1.0", "encoder_fit.norm_penalty=1.5e39")
    study = tuning(tmp_path, space={"encoder_fit.norm_penalty": Real(1e39, 2e39)}, changes=changes)
    with pytest.raises(HdrmError, match=r"no trial came to an end; encoder: the loss is .* in epoch 1"):
        study.run(trials=2, seconds=None)


def test_one_process_at_a_time_works_on_a_study(tmp_path: Path) -> None:
    with FileLock(tmp_path / "study.db.lock"), pytest.raises(UnavailableError, match="another process"):
        tuning(tmp_path).run(trials=1, seconds=None)


@pytest.mark.parametrize("name", ["a?b", "a%b", "a{b}"])
def test_a_path_that_would_be_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnavailableError, match="the path contains"):
        tuning(tmp_path / name).run(trials=1, seconds=None)


def test_a_file_that_is_no_study_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(UnavailableError, match=r"study\.db: a study cannot be kept there"):
        tuning(tmp_path).run(trials=1, seconds=None)
    assert (tmp_path / "study.db").read_bytes().startswith(b"something else")


def test_data_without_an_order_can_be_tuned_on(tmp_path: Path) -> None:
    assert tuning(tmp_path, ordered=False).run(trials=1, seconds=None).ranking


def test_every_bound_of_the_space_is_a_setting_that_is_allowed() -> None:
    for name, kind in TUNABLE.items():
        for value in kind.values if isinstance(kind, Choice) else (kind.low, kind.high):
            load_config("default", [f"{name}={value}"])  # raises if it is not


def test_the_space_can_be_narrowed_to_names_that_are_in_it() -> None:
    assert named([]) == {}
    assert list(named(["diffusion_fit.tau", "encoder.dim"])) == ["encoder.dim", "diffusion_fit.tau"]
    with pytest.raises(
        ConfigError, match=r"--vary encoder\.size: .*there are: encoder\.dim, encoder\.layers"
    ) as caught:
        named(["encoder.dim", "encoder.size"])
    assert caught.value.hint


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("preset", preset_names())
def test_what_suits_a_preset_is_used_by_it_and_starts_from_its_values(preset: str, ordered: bool) -> None:
    config = load_config(preset).resolved(ordered=ordered)
    space = suited(config)
    assert {"encoder.dim", "encoder_fit.learning_rate"} <= space.keys()
    assert all(value_of(config, name) in kind for name, kind in space.items())
    for stage, fit in (("encoder_fit", config.encoder_fit), ("diffusion_fit", config.diffusion_fit)):
        assert (f"{stage}.tau" in space) is (fit.loss == "softmax")
        assert (f"{stage}.negatives" in space) is (fit.loss == "hinge")
    attended = [name for name in space if name.startswith("attention")]
    assert bool(attended) is (config.attention.length > 0)
    frozen_items = config.diffusion_fit.items_learning_rate == 0
    assert ("diffusion_fit.items_learning_rate" in space) is not frozen_items
