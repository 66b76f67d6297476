"""`hdrm batch` as a process: what it writes, how it goes on, what it refuses, and what it puts into a real Redis."""

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from hdrm.filling import check_same
from hdrm.parts import SCHEMA, Batch, Begun, Parts
from model.errors import ConfigError, UnavailableError
from model.store import ModelStore
from service.events.event import EFFECTS, Event
from service.events.reading import Moment, read_log
from service.events.record import deletion_of, item_change
from service.events.sqlite import SqliteLog
from service.settings import Settings
from tests.service.conftest import DEADLINE, ITEMS, USERS, RedisServer, ServeProcess, eventually, publish_model

HDRM = [sys.executable, "-m", "hdrm", "batch"]
MANY, K = 3000, 500  # users of the large model, and items for each: a dozen parts


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model whose ids are not all plain, and no events."""
    return publish_model(tmp_path_factory.mktemp("batch") / "models", user_id=lambda u: f"{u:03}\n«ü»").root


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model of many users, and no events."""
    root = tmp_path_factory.mktemp("many") / "models"
    return publish_model(root, users=MANY, items=600, user_id=lambda u: f"a{u:05}").root


def begin(models: Path, out: Path, *options: str, env: Mapping[str, str] = {}) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*HDRM, "--models", str(models), "--out", str(out), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200", **env},
    )


def run(models: Path, out: Path, *options: str, status: int = 0, given: str = "", env: Mapping[str, str] = {}) -> str:
    """What the command says."""
    process = begin(models, out, *options, env=env)
    said = process.communicate(given, timeout=2 * DEADLINE)[0]
    assert process.returncode == status, said
    assert "Traceback" not in said
    return said


def rows(out: Path) -> pl.DataFrame:
    """The file, once it was looked at that nothing but it is left."""
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(out.name)] == [out.name]
    return pl.read_parquet(out, glob=False)


def tuples(answer: dict[str, Any], user_id: str) -> list[tuple[Any, ...]]:
    """The rows that an answer of the service makes."""
    fields = ("rank", "item_id", "title", "score", "distance")
    return [
        (user_id, *(item.get(field) for field in fields), answer["strategy"], answer["model_version"])
        for item in answer["items"]
    ]


def test_all_is_what_the_service_answers(tmp_path: Path) -> None:
    """After events, of new users too, a change of items and a deletion; and what names its users, or its items."""
    store = publish_model(tmp_path / "models")
    events = [
        {"event_id": f"{user} {item}", "user_id": user, "item_id": f"i{1000 + item}", "type": type_}
        for user in ("100", "101", "new ø", "0", "only dislikes", "gone", "gone and back")
        for item, type_ in ((7, "view"), (9, "dislike"), (11, "purchase"))
        if user != "only dislikes" or type_ == "dislike"
    ]
    gone = ["gone", "gone and back", "105"]
    back = {"event_id": "again", "user_id": "gone and back", "item_id": "i1020", "type": "view"}
    users = [*(str(100 + user) for user in range(USERS)), "newcomer", "new ø", "0", "only dislikes", "gone and back"]
    present = sorted({*users} - {"105"})
    listed = tmp_path / "users.txt"
    listed.write_bytes("\ufeff110\r\nnobody\n\n105\nnew ø\n110\nnewcomer".encode())
    server = ServeProcess(store.root)
    try:
        with httpx.Client(base_url=server.url, timeout=DEADLINE) as client:
            assert client.post("/v1/events", json={"events": events}).status_code == 202
            assert client.patch("/v1/items/i1003", json={"hidden": True}).is_success
            assert client.patch("/v1/items/i1004", json={"title": "Another title"}).is_success
            for user in gone:
                assert client.delete(f"/v1/users/{user}").is_success
            assert client.post("/v1/events", json=back).status_code == 202

            def answers(ids: Sequence[str], **wishes: Any) -> list[tuple[Any, ...]]:
                asked = [client.post("/v1/recommend", json={"user_id": user, **wishes}) for user in ids]
                return [row for user, one in zip(ids, asked, strict=True) for row in tuples(one.json(), user)]

            said = run(store.root, tmp_path / "all.parquet", "--k", "100", "--batch-size", "7")
            assert "users left out who were deleted: 1\n" in said
            written = rows(tmp_path / "all.parquet")
            assert written.schema == SCHEMA
            assert written.rows() == answers(present, k=100)
            assert set(written["strategy"]) == {"hdrm", "popular"}
            assert {"i1003"}.isdisjoint(written["item_id"])
            assert "Another title" in written["title"]

            said = run(store.root, tmp_path / "some.parquet", "--users", str(listed))
            assert "users left out who were deleted: 1\n" in said
            assert "stood there before: 1\n" in said
            some = rows(tmp_path / "some.parquet")
            assert some.rows() == answers(["110", "new ø", "newcomer", "nobody"])
            assert dict(some.select("user_id", "strategy").unique().iter_rows())["nobody"] == "popular"

            options = ("--category", "Short", "--deny", "i1006", "--deny", "i1009", "--users", "-")
            run(store.root, tmp_path / "short.parquet", *options, given="\n".join(["111", "0", "nobody"]))
            wishes = {"filter": {"categories_any": ["Short"], "deny": ["i1006", "i1009"]}}
            assert rows(tmp_path / "short.parquet").rows() == answers(["0", "111", "nobody"], **wishes)
    finally:
        server.end()


def test_ids_are_what_they_are(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out of «all».parquet"
    run(models, out, "--k", "1")
    assert rows(out)["user_id"].to_list() == [*(f"{user:03}\n«ü»" for user in range(USERS)), "newcomer"]
    odd = [" ", " spaces ", "a\tb", "a\u2028b", "💡", "\x1c", "x" * 256]
    run(models, out, "--k", "1", "--users", "-", "--force", given="\n".join([*odd, *odd]))
    assert rows(out)["user_id"].to_list() == sorted(odd)


def test_nobody_is_a_file_without_rows(models: Path, tmp_path: Path) -> None:
    run(models, tmp_path / "out.parquet", "--users", "-", given="\n\n")
    written = rows(tmp_path / "out.parquet")
    assert written.height == 0
    assert written.schema == SCHEMA


def test_what_cannot_be_is_refused_in_the_words_of_the_command_line(models: Path, tmp_path: Path) -> None:
    out, bad = tmp_path / "out.parquet", tmp_path / "bad.txt"
    for k in ("0", "501"):
        assert "--k: Input should be" in run(models, out, "--k", k, status=1)
    assert "--category: " in run(models, out, "--category", "", status=1)
    assert "--deny: " in run(models, out, "--deny", "x" * 257, status=1)
    assert "none.txt: cannot be read" in run(models, out, "--users", str(tmp_path / "none.txt"), status=1)
    for line, why in ((b"\xff", "not UTF-8"), (b"x" * 257, "no user id")):
        bad.write_bytes(b"100\n" + line)
        said = run(models, out, "--users", str(bad), status=1)
        assert f"bad.txt, line 2: {why}" in said.replace("257 bytes are ", "")
    assert "there are: test-" in run(models, out, "--version", "other", status=1)
    assert "hdrm train" in run(tmp_path / "none", out, status=1)
    for nowhere in (tmp_path / "none" / "out.parquet", tmp_path):
        assert "not a file in a folder" in run(models, nowhere, status=1)
    assert "HDRM_REDIS_URL" in run(models, out, "--warm", status=1)
    assert "redis does not answer" in run(
        models, out, "--warm", status=1, env={"HDRM_REDIS_URL": "redis://127.0.0.1:1"}
    )
    assert [path.name for path in tmp_path.iterdir()] == ["bad.txt"]
    out.write_text("precious")
    assert "--force" in run(models, out, status=1)
    assert out.read_text() == "precious"
    run(models, out, "--force")
    assert rows(out)["user_id"].n_unique() == USERS + 1


def test_without_polars_the_extra_is_named(models: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['polars'] = None; from hdrm.cli import main; main()"
    options = ["batch", "--models", str(models), "--out", str(tmp_path / "out.parquet")]
    ran = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, timeout=DEADLINE)
    assert (ran.returncode, "pip install 'hdrm[serve,batch]'" in ran.stderr) == (1, True)


def killed(process: "subprocess.Popen[str]", out: Path, parts: int, sent: signal.Signals, seconds: float) -> str:
    """What a run says that is ended a while after it has so many parts."""
    folder = Parts(out).folder
    eventually(lambda: len(list(folder.glob("part-*"))) >= parts or process.poll() is not None)
    time.sleep(seconds)
    process.send_signal(sent)
    return process.communicate(timeout=DEADLINE)[0]


def append(models: Path, *events: Event, hide: str | None = None, delete: Sequence[str] = ()) -> None:
    async def run() -> None:
        log = SqliteLog(models / "events.sqlite")
        await log.append(events)
        if hide is not None:
            await log.append([item_change(hide, {"hidden": True}, creates=False, timestamp=1e9)])
        for user in delete:
            await log.delete_user(deletion_of(user, timestamp=9e8))
        await log.close()

    asyncio.run(run())


def test_a_killed_run_goes_on_to_the_same_file(many: Path, tmp_path: Path) -> None:
    """Whatever the log has been told meanwhile, but for deletions."""
    store = tmp_path / "models"
    store.mkdir()
    (store / "current").write_text(version := ModelStore(many).path().name)
    (store / version).symlink_to(many / version)
    append(store, *(Event(f"{u}", f"new {u}", "i1003", "view", 1e9) for u in range(300)))
    run(store, tmp_path / "whole.parquet", "--k", str(K))
    out, moments = tmp_path / "out.parquet", random.Random(0)
    for life in range(5):
        process = begin(store, out, "--k", str(K))
        killed(process, out, 2 * life + 1, signal.SIGKILL, moments.uniform(0, 0.3))
        if process.returncode != -signal.SIGKILL:
            break  # it was quicker
        events = [
            Event(f"{life} {u}", u, "i1005", "view", 2e9) for u in ("a00001", "a02999", "new 299", f"later {life}")
        ]
        append(store, *events, delete=["a00000", "new 298", "new 7"] if life == 1 else [])
    assert life >= 2
    said = run(store, out, "--k", str(K))
    assert "going on after" in said
    assert "deleted meanwhile, whose rows are left out: 1\n" in said  # of the others there were none yet
    whole, written = rows(tmp_path / "whole.parquet"), rows(out)
    assert written.equals(whole.filter(~pl.col("user_id").is_in(["a00000", "new 298", "new 7"])))
    assert whole["user_id"].n_unique() == MANY + 1 + 300
    assert whole.select("user_id", "rank").equals(whole.select("user_id", "rank").sort("user_id", "rank"))


def test_what_ctrl_c_interrupts_goes_on_with_the_same_settings_alone(many: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "models", tmp_path / "out.parquet"
    store.mkdir()
    first = ModelStore(many).path().name
    (store / "current").write_text(first)
    (store / first).symlink_to(many / first)
    out.write_text("precious")
    process = begin(store, out, "--k", str(K), "--force")
    said = killed(process, out, 2, signal.SIGINT, 0.0)
    assert (process.returncode, "the same command without --force goes on" in said) == (130, True)
    assert out.read_text() == "precious"
    said = run(store, out, status=1)
    assert (f"--k was {K} and is 10" in said, "--force" in said) == (True, True)
    publish_model(store, seed=1)
    assert f"--version was {first}" in run(store, out, "--k", str(K), status=1)
    append(store, Event("1", "0", "i1003", "view", 1e9))  # the first one ever: it counts from the next batch on
    assert "going on" in run(store, out, "--k", str(K), "--version", first)
    assert rows(out).height == (MANY + 1) * K  # of 600 items nobody has seen more than 100


def test_force_begins_anew(many: Path, tmp_path: Path) -> None:
    out, users = tmp_path / "out.parquet", tmp_path / "users.txt"
    killed(begin(many, out, "--k", str(K)), out, 1, signal.SIGKILL, 0.0)
    users.write_text("a00001\na00002")
    assert "going on" not in run(many, out, "--users", str(users), "--force")
    assert rows(out).height == 20
    killed(begin(many, out, "--k", str(K), "--force"), out, 1, signal.SIGKILL, 0.0)
    (Parts(out).folder / "batch.json").write_text("{")
    assert "batch.json: is not of a batch" in run(many, out, "--k", str(K), status=1)


def test_one_process_at_a_time(models: Path, tmp_path: Path) -> None:
    with Parts(tmp_path / "out.parquet").lock():
        said = run(models, tmp_path / "out.parquet", status=1)
    assert "another process is working on it" in said
    run(models, tmp_path / "out.parquet")


def batch(**fields: Any) -> Batch:
    usual = {"model_version": "m", "steps": None, "users": "all", "k": 10, "categories": (), "deny": (), "warm": False}
    return Batch(**{**usual, "event_types": EFFECTS, **fields})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model_version", "n", "--version was m and is n"),
        ("steps", 0, "HDRM_STEPS was None and is 0"),
        ("users", "1234", "--users was all and is 1234"),
        ("categories", ("a",), "--category was () and is ('a',)"),
        ("deny", ("a",), "--deny was () and is ('a',)"),
        ("warm", True, "--warm was False and is True"),
        ("event_types", {"view": "add"}, "HDRM_EVENT_TYPES was"),
    ],
)
def test_a_batch_with_another_setting_is_another(tmp_path: Path, field: str, value: Any, said: str) -> None:
    parts = Parts(tmp_path / "out.parquet")
    check_same(parts, batch(), batch())
    with pytest.raises(ConfigError) as raised:
        check_same(parts, batch(), batch(**{field: value}))
    assert f"begun here: {said}" in raised.value.message


def test_what_was_begun_by_one_log_does_not_go_on_by_another(tmp_path: Path) -> None:
    settings = Settings(models=tmp_path, events="sqlite")
    moment = Moment("redis", "7-0")
    for begin, end in ((moment, None), (None, moment)):
        with pytest.raises(ConfigError, match="events were in redis"):
            asyncio.run(read_log(settings, print, after=begin, until=end))


def test_a_part_that_cannot_be_written_leaves_what_there_was(tmp_path: Path) -> None:
    parts, begun = Parts(tmp_path / "out.parquet"), Begun(batch=batch(), moment=Moment("sqlite", "7"))
    columns: dict[str, list[Any]] = {name: ["1"] if type_ == pl.String else [1] for name, type_ in SCHEMA.items()}
    with parts.lock():
        parts.save(begun)
        begun = parts.add(begun, columns, last="1", users=1)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises(UnavailableError, match="cannot be written"):
                parts.add(begun, columns, last="2", users=2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert parts.begun() == begun
        (parts.folder / "somebody's").touch()
        assert parts.join(begun, ["nobody"]) == (1, 0)
    assert [path.name for path in parts.folder.iterdir()] == ["somebody's"]
    assert pl.read_parquet(parts.out, glob=False).height == 1


JOIN = """
import resource, sys
from pathlib import Path
from hdrm.parts import Parts
parts = Parts(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with parts.lock():
    print(*parts.join(parts.begun(), ["user 1", "-"]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_parts_are_joined_in_bounded_memory(tmp_path: Path) -> None:
    size, times = 2**17, 64
    columns: dict[str, list[Any]] = {
        name: [f"{name} {number}" for number in range(size)] if type_ == pl.String else list(range(size))
        for name, type_ in SCHEMA.items()
    }
    columns["user_id"] = [f"user {number % 1000}" for number in range(size)]
    frame = pl.DataFrame(columns, SCHEMA)
    parts, begun = Parts(tmp_path / "out.parquet"), Begun(batch=batch(), moment=Moment(None, ""))
    with parts.lock():
        begun = parts.add(begun, columns, last="user 999")
        for number in range(1, times):
            os.link(parts.folder / "part-00000.parquet", parts.folder / f"part-{number:05}.parquet")
        parts.save(begun.model_copy(update={"parts": times}))
    ran = subprocess.run([sys.executable, "-c", JOIN, str(parts.out)], capture_output=True, text=True, check=True)
    kept, left_out, grown = map(int, ran.stdout.split())
    assert left_out == 1
    assert kept == times * frame.filter(pl.col("user_id") != "user 1").height
    assert 1024 * grown < times * frame.estimated_size() / 3


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, "--maxmemory-policy", "noeviction")
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("hidden", [None, "i1004"])
def test_a_server_finds_what_was_warmed(tmp_path: Path, cache: RedisServer, hidden: str | None) -> None:
    """Of the next model, before it is current; by histories with events."""
    store, out = publish_model(tmp_path / "models"), tmp_path / "out.parquet"
    first = str(store.current())
    publish_model(store.root, seed=1)
    second = str(store.current())
    store.activate(first)
    append(store.root, *(Event(user, user, "i1003", "view", 1e9) for user in ("100", "new")), hide=hidden)
    environment = {"HDRM_REDIS_URL": cache.url, "HDRM_EVENTS": "sqlite", "HDRM_REDIS_TIMEOUT_SECONDS": "5"}
    said = run(store.root, out, "--k", "20", "--version", second, "--warm", env=environment)
    users = [*(str(100 + user) for user in range(USERS)), "new"]
    assert f"answers put into the cache: {len(users)}\n" in said
    written = rows(out).filter(pl.col("user_id") != "newcomer").rows()
    for version, k, hit in ((first, 20, False), (second, 20, True), (second, 10, False)):
        server = ServeProcess(store.root, HDRM_MODEL_VERSION=version, **environment)
        try:
            with httpx.Client(base_url=server.url, timeout=DEADLINE) as client:
                asked = [client.post("/v1/recommend", json={"user_id": user, "k": k}).json() for user in users]
            assert [answer["cached"] for answer in asked] == [hit] * len(users)
            read = [row for user, answer in zip(users, asked, strict=True) for row in tuples(answer, user)]
            assert (read == written) == hit
        finally:
            server.end()


def test_a_redis_that_is_full_is_said_to_have_kept_nothing(models: Path, tmp_path: Path, cache: RedisServer) -> None:
    cache.command(b"CONFIG", b"SET", b"maxmemory", b"1")
    said = run(models, tmp_path / "out.parquet", "--warm", env={"HDRM_REDIS_URL": cache.url, "HDRM_EVENTS": "off"})
    assert "answers put into the cache" not in said
    assert "redis refuses to keep answers" in said
    assert rows(tmp_path / "out.parquet")["user_id"].n_unique() == USERS + 1


def test_items_of_a_model_are_those_of_its_batch(models: Path, tmp_path: Path) -> None:
    run(models, tmp_path / "out.parquet", "--k", str(ITEMS), "--users", "all")
    written = rows(tmp_path / "out.parquet")
    assert written["item_id"].n_unique() == ITEMS
    assert set(written["model_version"]) == {ModelStore(models).current()}
