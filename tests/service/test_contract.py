"""The description of the API: what is in the repository is what is served, and what is served keeps to it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.keys import KeyFile
from tests.service.conftest import DEADLINE, ServeProcess, publish_model

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "docs/openapi.json"
EXAMPLES, LEAST_CASES = 45, 2000  # of each of the two runs
SCHEMATHESIS = [
    sys.executable,
    "-m",
    "schemathesis.cli",
    "run",
    "--checks",
    "all",
    "--no-color",
    "--continue-on-failure",
]


def test_the_document_in_the_repository_is_that_of_the_service() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "hdrm", "openapi"], capture_output=True, text=True, check=True, timeout=DEADLINE
    ).stdout
    assert printed == GOLDEN.read_text(), "write it anew: hdrm openapi --out docs/openapi.json"


def test_every_operation_has_an_example_and_says_what_can_go_wrong() -> None:
    document = json.loads(GOLDEN.read_text())
    schemas = document["components"]["schemas"]
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            if not path.startswith("/v1") and path != "/recommend":
                continue
            can_be_wrong = {"422"} if {"parameters", "requestBody"} & set(operation) else set()
            assert {"401", "403", "429", "500", "503"} | can_be_wrong <= set(operation["responses"]), where
            for status, response in operation["responses"].items():
                [(media, content)] = response["content"].items()
                assert media == ("application/json" if int(status) < 400 else "application/problem+json"), where
                if int(status) < 400:
                    assert schemas[content["schema"]["$ref"].rpartition("/")[2]]["examples"], where
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                parts = schema.get("oneOf") or schema.get("anyOf") or [schema]
                for part in [part for part in parts if part.get("type") != "null"]:
                    assert schemas[part["$ref"].rpartition("/")[2]]["examples"], where


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[ServeProcess, str | None]]:
    """One that others can read and write, with or without a key; and the key."""
    models = publish_model(tmp_path / "models").root
    key = KeyFile(models / "keys.json").create("test", ("read", "write", "admin"), None)[0] if request.param else None
    served = ServeProcess(models, HDRM_LOG_LEVEL="error")
    yield served, key
    assert served.end() == 0, served.log


@pytest.mark.parametrize("server", [False, True], indirect=True, ids=["open", "guarded"])
def test_whatever_is_asked_the_service_keeps_to_its_description(
    server: tuple[ServeProcess, str | None], tmp_path: Path
) -> None:
    """Schemathesis makes requests from the document, right and wrong ones, and checks every answer against it."""
    served, key = server
    header = [] if key is None else ["--header", f"X-API-Key: {key}"]
    ran = subprocess.run(
        [*SCHEMATHESIS, f"{served.url}/openapi.json", "--max-examples", str(EXAMPLES), "--seed", "1", *header],
        capture_output=True,
        text=True,
        timeout=10 * DEADLINE,
        cwd=tmp_path,
    )
    cases = re.search(r"([\d,]+) generated", ran.stdout)
    assert ran.returncode == 0, ran.stdout[-8000:]
    assert cases is not None
    assert int(cases[1].replace(",", "")) >= LEAST_CASES
    if key is not None:
        assert httpx.get(f"{served.url}/v1/popular").status_code == 401
