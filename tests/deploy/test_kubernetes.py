"""The Kubernetes manifests: as Kubernetes wants them, of one piece, and what they say of the service is so."""

import copy
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.manifests import (
    BASE,
    EXAMPLE,
    ROOT,
    S3,
    VERSIONS,
    Manifest,
    containers,
    content,
    environment,
    find,
    hdrm_problem,
    problems,
    render,
    schema_problems,
)
from tests.service.conftest import RedisServer, ServeProcess, publish_model

DOCUMENT = ROOT / "docs/kubernetes.md"


@pytest.fixture(scope="module")
def base() -> list[Manifest]:
    return render(BASE)


@pytest.fixture(scope="module")
def example() -> list[Manifest]:
    return render(EXAMPLE)


@pytest.mark.parametrize("folder", [BASE, EXAMPLE, S3], ids=lambda folder: folder.name)
def test_nothing_is_wrong(folder: Path) -> None:
    assert problems(render(folder)) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", [BASE, EXAMPLE, S3], ids=lambda folder: folder.name)
def test_kubernetes_would_take_every_manifest(folder: Path, version: str) -> None:
    assert schema_problems(render(folder), version) == []


@pytest.mark.parametrize("folder", [BASE, EXAMPLE, S3], ids=lambda folder: folder.name)
def test_every_file_is_used(folder: Path) -> None:
    """Those that are named and not there make kubectl fail."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    generators = [*kustomization.get("configMapGenerator", []), *kustomization.get("secretGenerator", [])]
    used = {
        *(name for name in kustomization["resources"] if not name.startswith("..")),
        *(patch["path"] for patch in kustomization.get("patches", [])),
        *(name for generator in generators for key in ("envs", "files") for name in generator.get(key, [])),
    }
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == {*used, "kustomization.yaml"}


def test_a_name_that_kustomize_does_not_know_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "base")
    file = tmp_path / "base/kustomization.yaml"
    file.write_text(file.read_text("utf-8").replace("resources:", "resurces:"), "utf-8")
    with pytest.raises(AssertionError, match="resurces"):
        render(tmp_path / "base")


def test_the_example_has_all_of_the_base_and_no_secret_that_opens_anything(
    base: list[Manifest], example: list[Manifest]
) -> None:
    assert [d["kind"] for d in example if d["kind"] not in ("Namespace", "Secret")] == [d["kind"] for d in base]
    assert {d["metadata"]["namespace"] for d in example if d["kind"] != "Namespace"} == {"hdrm"}
    assert json.loads(content(find(example, "Secret", "hdrm-api-keys"))["keys.json"]) == {"keys": []}
    assert content(find(example, "Secret", "hdrm-redis")) == {"url": "redis://redis.invalid:6379/0"}


def test_git_takes_the_examples_secrets_and_no_others() -> None:
    names = [f"deploy/kubernetes/overlays/{overlay}/secrets/keys.json" for overlay in ("example", "s3", "mine")]
    ignored = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == names[2:]


Change = Callable[[Manifest], None]


def put(path: str, value: object) -> Change:
    """Sets what is at a path of keys and indices, such as spec/ports/0/name; None removes it."""

    def change(document: Manifest) -> None:
        place: Any = document
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        for part in parents:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


POD = "spec/template/spec"
API = f"{POD}/containers/0"
JOB_POD = "spec/jobTemplate/spec/template/spec"
JOB = f"{JOB_POD}/containers/0"

SABOTAGE = [
    # Kubernetes' schemas
    ("Deployment", "hdrm-api", put("spec/repicas", 2), "'repicas' was unexpected"),
    ("Deployment", "hdrm-api", put(f"{API}/readinessProbe/htpGet", {}), "'htpGet' was unexpected"),
    ("Deployment", "hdrm-api", put(f"{API}/ports/0/containerPort", "8000"), "'8000' is not of type"),
    ("Deployment", "hdrm-api", put(f"{API}/args/1", 8), "8 is not of type"),
    ("NetworkPolicy", "hdrm-api", put("spec/ingres", []), "'ingres' was unexpected"),
    # references
    ("Deployment", "hdrm-api", put(f"{API}/envFrom/0/configMapRef/name", "settings"), "no ConfigMap settings"),
    ("Deployment", "hdrm-api", put(f"{API}/env/1/valueFrom/secretKeyRef/name", "redis"), "no Secret redis"),
    ("Deployment", "hdrm-api", put(f"{API}/env/1/valueFrom/secretKeyRef/key", "uri"), "has no uri"),
    ("Deployment", "hdrm-api", put(f"{POD}/serviceAccountName", None), "no ServiceAccount default"),
    ("PersistentVolumeClaim", "hdrm-models", put("metadata/name", "models"), "no PersistentVolumeClaim hdrm-models"),
    ("Secret", "hdrm-api-keys", put("metadata/name", "keys"), "no Secret hdrm-api-keys"),
    ("Secret", "hdrm-api-keys", put("data", {"key.json": ""}), "/keys/keys.json is in no Secret"),
    # selectors
    ("Deployment", "hdrm-api", put("spec/selector/matchLabels/app", "hdrm"), "does not select its own pods"),
    ("Service", "hdrm-api", put("spec/selector", {"app": "hdrm"}), "the Service does not select"),
    ("PodDisruptionBudget", "hdrm-api", put("spec/selector/matchLabels/app", "a"), "PodDisruptionBudget does not"),
    ("Deployment", "hdrm-api", put(f"{POD}/topologySpreadConstraints/0/labelSelector/matchLabels/app", "a"), "spread"),
    ("Deployment", "hdrm-api", put("spec/template/metadata/labels", {"app": "hdrm"}), "closes the pod"),
    # scaling
    ("Deployment", "hdrm-api", put("spec/replicas", 2), "both set replicas"),
    ("HorizontalPodAutoscaler", "hdrm-api", put("spec/scaleTargetRef/name", "api"), "no Deployment api to scale"),
    ("HorizontalPodAutoscaler", "hdrm-api", put("spec/minReplicas", 1), "1 to 8 replicas"),
    # network
    ("NetworkPolicy", "hdrm-nothing", put("spec/policyTypes", ["Ingress"]), "no NetworkPolicy closes the pod"),
    ("NetworkPolicy", "hdrm-nothing", put("spec/egress", [{}]), "no NetworkPolicy closes the pod"),
    ("NetworkPolicy", "hdrm-out", put("spec/podSelector/matchExpressions/0/values", ["api"]), "neither DNS nor Redis"),
    ("NetworkPolicy", "hdrm-api", put("spec/ingress/0/from", []), "lets anybody in"),
    ("NetworkPolicy", "hdrm-api", put("spec/ingress/0/from/1/namespaceSelector", {}), "lets anybody in"),
    ("NetworkPolicy", "hdrm-api", put("spec/ingress/0/ports/0/port", "https"), "opens {'https'}"),
    ("NetworkPolicy", "hdrm-api", put("spec/podSelector/matchLabels/app", "hdrm"), "selects no pod"),
    ("NetworkPolicy", "hdrm-redis", put("spec/ingress/0/from/0/podSelector/matchLabels/a", "b"), "do not get to Redis"),
    # ports and probes
    ("Service", "hdrm-api", put("spec/ports/0/targetPort", "web"), "leads to web"),
    ("Deployment", "hdrm-api", put(f"{API}/livenessProbe/httpGet/port", "web"), "livenessProbe asks a port"),
    ("Deployment", "hdrm-api", put(f"{API}/args/4", "8080"), "several ports"),
    ("Deployment", "hdrm-api", put(f"{API}/ports/0/containerPort", 8080), "several ports"),
    ("Deployment", "hdrm-api", put(f"{API}/livenessProbe/httpGet/path", "/readyz"), "livenessProbe asks /readyz"),
    ("Deployment", "hdrm-api", put(f"{API}/readinessProbe/timeoutSeconds", 1), "does not wait long enough"),
    # the end of a pod
    ("Deployment", "hdrm-api", put(f"{API}/lifecycle", None), "before its endpoint is withdrawn"),
    ("Deployment", "hdrm-api", put(f"{POD}/terminationGracePeriodSeconds", 15), "killed while requests"),
    # volumes
    ("Deployment", "hdrm-api", put(f"{POD}/volumes/2", None), "tmp is a mount alone"),
    ("CronJob", "hdrm-retrain", put(f"{JOB}/volumeMounts/1", None), "data is a volume alone"),
    ("Deployment", "hdrm-api", put(f"{API}/volumeMounts/1/subPath", "keys.json"), "never brought up to date"),
    ("Deployment", "hdrm-api", put(f"{API}/volumeMounts/0/readOnly", False), "may write models: True"),
    ("CronJob", "hdrm-retrain", put(f"{JOB}/volumeMounts/0/readOnly", True), "may write models: False"),
    ("CronJob", "hdrm-retrain", put(f"{JOB}/volumeMounts/2/mountPath", "/var/tmp"), "no /tmp to write to"),
    ("Deployment", "hdrm-api", put(f"{POD}/volumes/2/emptyDir", {}), "/tmp is no bounded folder"),
    # confinement
    ("Deployment", "hdrm-api", put(f"{POD}/securityContext/runAsUser", 0), "runAsUser is not"),
    ("Deployment", "hdrm-api", put(f"{API}/securityContext/runAsUser", 0), "runAsUser is not"),
    ("CronJob", "hdrm-retrain", put(f"{JOB_POD}/securityContext/runAsNonRoot", False), "runAsNonRoot is not"),
    ("CronJob", "hdrm-admin", put(f"{JOB}/securityContext/capabilities/add", ["NET_RAW"]), "capabilities is not"),
    ("Deployment", "hdrm-api", put(f"{API}/securityContext/readOnlyRootFilesystem", False), "readOnlyRootFilesystem"),
    ("Deployment", "hdrm-api", put(f"{API}/securityContext/privileged", True), "privileged is not"),
    ("Deployment", "hdrm-api", put(f"{POD}/securityContext/seccompProfile", None), "seccompProfile is not"),
    ("Deployment", "hdrm-api", put(f"{POD}/hostNetwork", True), "the host is not"),
    (
        "Deployment",
        "hdrm-api",
        put(f"{POD}/volumes/2", {"name": "tmp", "hostPath": {"path": "/tmp"}}),
        "volumes is not",
    ),
    ("Deployment", "hdrm-api", put(f"{POD}/automountServiceAccountToken", None), "automountServiceAccountToken is not"),
    ("ServiceAccount", "hdrm", put("automountServiceAccountToken", True), "the account's token is mounted"),
    ("Deployment", "hdrm-api", put(f"{API}/resources/limits", None), "resources are not bounded"),
    # settings and commands
    ("ConfigMap", "hdrm-settings", put("data/HDRM_THREAD", "1"), "HDRM_THREAD is no setting"),
    ("ConfigMap", "hdrm-settings", put("data/HDRM_THREADS", "many"), "HDRM_THREADS: "),
    ("ConfigMap", "hdrm-settings", put("data/HDRM_MODELS", "/tmp/models"), "HDRM_MODELS is not where the models are"),
    ("ConfigMap", "hdrm-settings", put("data/HDRM_MODELS", "/model"), "--models /model is not mounted"),
    ("ConfigMap", "hdrm-settings", put("data/HDRM_MODELS", "s3://b/m"), "copies of them, are not in a volume"),
    ("ConfigMap", "hdrm-settings", put("data/HDRM_MODELS", None), "--models $(HDRM_MODELS) is not mounted"),
    ("Secret", "hdrm-redis", put("data/url", "aHR0cDovL3g="), "HDRM_REDIS_URL: "),
    ("Deployment", "hdrm-api", put(f"{API}/env/1", None), "HDRM_EVENTS=redis needs HDRM_REDIS_URL"),
    ("Deployment", "hdrm-api", put(f"{API}/env/0/value", "/key/keys.json"), "/key/keys.json is in no Secret"),
    ("CronJob", "hdrm-retrain", put(f"{JOB}/env/1/value", "64"), "64 threads are not as many as CPUs"),
    ("Deployment", "hdrm-api", put(f"{API}/args/0", "server"), "hdrm has no command server"),
    ("Deployment", "hdrm-api", put(f"{API}/args/1", "--hosts"), "--hosts"),
    (
        "CronJob",
        "hdrm-retrain",
        put(f"{JOB}/args", ["train", "--data", "/d", "--models", "/models"]),
        "/d is not mounted",
    ),
    ("Deployment", "hdrm-api", put(f"{API}/image", "hdrm-serve:latest"), "the image is hdrm-serve:latest"),
    ("CronJob", "hdrm-retrain", put(f"{JOB}/image", "hdrm-serve:0.1.0"), "the image is hdrm-serve:0.1.0"),
    # jobs
    ("CronJob", "hdrm-retrain", put("spec/concurrencyPolicy", "Allow"), "concurrencyPolicy is not"),
    ("CronJob", "hdrm-retrain", put("spec/timeZone", "Etc/Mars"), "timeZone is not"),
    ("CronJob", "hdrm-retrain", put("spec/schedule", "nightly"), "schedule is not"),
    (
        "CronJob",
        "hdrm-retrain",
        put("spec/jobTemplate/spec/activeDeadlineSeconds", None),
        "activeDeadlineSeconds is not",
    ),
    ("CronJob", "hdrm-admin", put("spec/suspend", False), "suspend is not"),
    (
        "CronJob",
        "hdrm-retrain",
        put("spec/jobTemplate/spec/podFailurePolicy", {"rules": []}),
        "podFailurePolicy is not",
    ),
]


@pytest.mark.parametrize(("kind", "name", "change", "expected"), SABOTAGE)
def test_what_is_broken_is_found(example: list[Manifest], kind: str, name: str, change: Change, expected: str) -> None:
    documents = copy.deepcopy(example)
    changed = find(documents, kind, name)
    change(changed)
    assert expected in "\n".join([*schema_problems([changed], VERSIONS[-1]), *problems(documents)])


def mount(data: dict[str, str], folder: Path) -> None:
    """Lay files out as the kubelet does, and replace them all at once where there are some: by one symbolic link."""
    folder.mkdir(exist_ok=True)
    generation = f"..{len(list(folder.iterdir()))}"
    (folder / generation).mkdir()
    for name, text in data.items():
        (folder / generation / name).write_text(text, "utf-8")
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    before = (folder / "..data").resolve() if (folder / "..data").exists() else None
    (folder / "..data_tmp").symlink_to(generation)
    (folder / "..data_tmp").rename(folder / "..data")
    if before is not None:
        shutil.rmtree(before)


def keys(*words: str) -> str:
    """What `hdrm keys` prints."""
    command = [sys.executable, "-m", "hdrm", "keys", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_api_starts_as_the_manifests_say_and_takes_changed_keys_while_it_runs(tmp_path: Path) -> None:
    """By the steps of the document, but for the cluster: folders stand for the volumes."""
    shutil.copytree(BASE, tmp_path / "base")
    mine = shutil.copytree(EXAMPLE, tmp_path / "overlays/mine")
    redis = RedisServer(tmp_path, "--appendonly", "yes")
    (mine / "secrets/redis.env").write_text(f"url={redis.url}\n", "utf-8")
    file = str(mine / "secrets/keys.json")
    first = keys("create", "--file", file, "--name", "shop", "--scope", "read")
    documents = render(mine)
    api = containers(documents)["hdrm-api"]
    folders = {"/models": publish_model(tmp_path / "models").root, "/keys": tmp_path / "keys"}
    mount(content(find(documents, "Secret", "hdrm-api-keys")), folders["/keys"])
    models = sorted(folders["/models"].rglob("*"))
    variables = environment(documents, api)
    for path, folder in folders.items():
        variables |= {name: value.replace(path, str(folder), 1) for name, value in variables.items() if path in value}
    options = shlex.join(api["args"]).removeprefix("serve ").replace("--port 8000 ", "").split()
    redis.start()
    server = ServeProcess(folders["/models"], *options, **variables)
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client:

            def status(key: str) -> int:
                return client.post("/recommend", json={"user_id": "100"}, headers={"X-API-Key": key}).status_code

            readiness = client.get(api["readinessProbe"]["httpGet"]["path"])
            assert readiness.status_code == 200
            assert readiness.json()["events"] == {"backend": "redis", "state": "ok"}
            assert client.get(api["livenessProbe"]["httpGet"]["path"]).status_code == 200
            assert (status(first), status("hdrm_no_key")) == (200, 401)
            second = keys("create", "--file", file, "--name", "shop", "--scope", "read")
            keys("revoke", first.split("_")[1], "--file", file)
            assert (status(first), status(second)) == (200, 401)
            mount(content(find(render(mine), "Secret", "hdrm-api-keys")), folders["/keys"])
            assert (status(first), status(second)) == (401, 200)
        assert server.end() == 0
    finally:
        server.end()
        redis.stop()
    assert sorted(folders["/models"].rglob("*")) == models, "the api's volume is mounted read-only"


def test_an_api_without_the_file_of_keys_does_not_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hdrm", *containers(render(BASE))["hdrm-api"]["args"], "--models", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "refusing to listen where others can reach it" in done.stderr


def kubectl_lines() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("kubectl ")]


@pytest.mark.parametrize("line", kubectl_lines())
def test_what_a_command_of_the_document_names_is_there(example: list[Manifest], line: str) -> None:
    outside, _, inside = line.partition("#")[0].partition(" -- ")
    kinds = {"cronjob": "CronJob", "deployment": "Deployment"}
    for kind, name in re.findall(r"\b(cronjob|deployment)/([a-z-]+)", outside):
        assert find(example, kinds[kind], name)
    for overlay in re.findall(r"-k (\S+)", outside):
        assert (ROOT / overlay).parent == EXAMPLE.parent
    for namespace in re.findall(r"-n (\S+)", outside):
        assert find(example, "Namespace", namespace)
    if inside.startswith("hdrm "):
        assert hdrm_problem(shlex.split(inside)) is None
