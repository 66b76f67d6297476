"""Kubernetes manifests: rendered by kubectl, checked against Kubernetes' schemas and against each other."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any
from unittest.mock import patch
from zoneinfo import available_timezones

import kubernetes_validate
import typer
import yaml
from typer.core import TyperGroup

from hdrm.cli import app
from hdrm.retrain import REFUSED
from hdrm.serve import GRACE_SECONDS
from model.errors import ConfigError
from service.routes.health import RESPONSE_SECONDS
from service.settings import PREFIX, Settings, load_settings, misspelt_variables

__all__ = [
    "BASE",
    "EXAMPLE",
    "VERSIONS",
    "Manifest",
    "environment",
    "find",
    "hdrm_problem",
    "problems",
    "render",
    "schema_problems",
]

ROOT = Path(__file__).parent.parent.parent
BASE = ROOT / "deploy/kubernetes/base"
EXAMPLE = ROOT / "deploy/kubernetes/overlays/example"
S3 = ROOT / "deploy/kubernetes/overlays/s3"
KUBECTL = Path(sys.executable).with_name("kubectl")
# the oldest that knows all that is used, some in between, and the newest whose schemas there are
VERSIONS = ("1.30", "1.33", "1.37")
# what an overlay has to bring: Secrets, and the keys in them
BROUGHT = {"hdrm-redis": {"url"}, "hdrm-api-keys": {"keys.json"}}
ENTRYPOINT = "hdrm"

Manifest = dict[str, Any]
Documents = list[Manifest]
Problems = Iterator[str]


def render(folder: Path) -> Documents:
    """What `kubectl apply -k` would send.

    Raises:
        AssertionError: the folder cannot be rendered.
    """
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def find(documents: Documents, kind: str, name: str) -> Manifest:
    """One document; of a generated one the name is without its digest."""
    (found,) = [d for d in named(documents, kind) if re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", d["metadata"]["name"])]
    return found


def named(documents: Documents, kind: str) -> Documents:
    return [document for document in documents if document["kind"] == kind]


def pods(documents: Documents) -> dict[str, Manifest]:
    """Templates of pods, by the name of what makes them."""
    found = {}
    for document in documents:
        spec = document.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template is not None:
            found[document["metadata"]["name"]] = template
    return found


def containers(documents: Documents) -> dict[str, Manifest]:
    """The one container of each pod, by the name of what makes the pod."""
    found = {}
    for name, template in pods(documents).items():
        (found[name],) = template["spec"]["containers"]
    return found


def content(document: Manifest) -> dict[str, str]:
    """Of a ConfigMap or a Secret."""
    data: dict[str, str] = document.get("data", {})
    if document["kind"] == "Secret":
        return {key: b64decode(value).decode() for key, value in data.items()}
    return data


def environment(documents: Documents, container: Manifest) -> dict[str, str]:
    """The variables of a container; of Secrets that are not there, nothing."""
    values: dict[str, str] = {}
    for kind, name in sources(container):
        for document in named(documents, kind):
            if document["metadata"]["name"] == name:
                values |= content(document)
    for variable in container.get("env", []):
        if "value" in variable:
            values[variable["name"]] = variable["value"]
            continue
        reference = variable["valueFrom"]["secretKeyRef"]
        for document in named(documents, "Secret"):
            if document["metadata"]["name"] == reference["name"] and reference["key"] in content(document):
                values[variable["name"]] = content(document)[reference["key"]]
    return values


def sources(container: Manifest) -> list[tuple[str, str]]:
    """Kind and name of what all variables are taken from."""
    kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
    return [(kinds[key], of["name"]) for source in container.get("envFrom", []) for key, of in source.items()]


def arguments(documents: Documents, container: Manifest) -> list[str]:
    """Those of a container, with $(NAME) as Kubernetes replaces it."""
    variables = environment(documents, container)
    return [
        re.sub(r"\$\((\w+)\)", lambda found: variables.get(found[1], found[0]), str(argument))
        for argument in container["args"]
    ]


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a selector with matchLabels, and matchExpressions of the operator In, takes these labels."""
    wanted = selector.get("matchLabels", {})
    ranges = {e["key"]: e["values"] for e in selector.get("matchExpressions", []) if e["operator"] == "In"}
    assert len(ranges) == len(selector.get("matchExpressions", [])), "no other operator is known here"
    return wanted.items() <= labels.items() and all(labels.get(key) in values for key, values in ranges.items())


def schema_problems(documents: Documents, version: str) -> list[str]:
    """Fields that this Kubernetes does not know, of another type than it has, or missing."""
    found = []
    for document in documents:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(map(str, error.path))
            found.append(f"{document['metadata']['name']}: Kubernetes {version}: {where}: {error.message}")
    return found


def references(documents: Documents) -> Problems:
    """What pods name is there, with the keys that they take from it, and nothing is there that no pod names."""
    there = {
        (kind, document["metadata"]["name"]): set(content(document))
        for kind in ("ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount")
        for document in named(documents, kind)
    }
    if not named(documents, "Secret"):
        there |= {("Secret", name): keys for name, keys in BROUGHT.items()}
    used = set()
    for pod, template in pods(documents).items():
        spec = template["spec"]
        wanted: list[tuple[str, str, str | None]] = [
            ("ServiceAccount", spec.get("serviceAccountName", "default"), None)
        ]
        for volume in spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                wanted.append(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], None))
            if "secret" in volume:
                wanted.append(("Secret", volume["secret"]["secretName"], None))
        for container in spec["containers"]:
            wanted += [(kind, name, None) for kind, name in sources(container)]
            for variable in container.get("env", []):
                if "valueFrom" in variable:
                    reference = variable["valueFrom"]["secretKeyRef"]
                    wanted.append(("Secret", reference["name"], reference["key"]))
        for kind, name, key in wanted:
            used.add((kind, name))
            if (kind, name) not in there:
                yield f"{pod}: there is no {kind} {name}"
            elif key is not None and key not in there[kind, name]:
                yield f"{pod}: {kind} {name} has no {key}"
    for kind, name in there.keys() - used:
        yield f"{kind} {name} is not used"


def selectors(documents: Documents) -> Problems:
    """What selects pods selects the ones it is for."""
    labels = {name: template["metadata"]["labels"] for name, template in pods(documents).items()}
    for document in documents:
        name, spec = document["metadata"]["name"], document.get("spec", {})
        if document["kind"] == "Deployment" and not selects(spec["selector"], labels[name]):
            yield f"{name}: the Deployment does not select its own pods"
        if document["kind"] == "Service" and not selects({"matchLabels": spec["selector"]}, labels[name]):
            yield f"{name}: the Service does not select the Deployment's pods"
        if document["kind"] == "PodDisruptionBudget" and not selects(spec["selector"], labels[name]):
            yield f"{name}: the PodDisruptionBudget does not select the Deployment's pods"
    for name, template in pods(documents).items():
        for spread in template["spec"].get("topologySpreadConstraints", []):
            if not selects(spread["labelSelector"], labels[name]):
                yield f"{name}: the pods are not spread, another label is looked for"


def scaling(documents: Documents) -> Problems:
    """The autoscaler finds its Deployment, which does not set replicas itself, and keeps at least two."""
    for document in named(documents, "HorizontalPodAutoscaler"):
        name, spec = document["metadata"]["name"], document["spec"]
        target = spec["scaleTargetRef"]
        found = [d for d in named(documents, target["kind"]) if d["metadata"]["name"] == target["name"]]
        if not found or found[0]["apiVersion"] != target["apiVersion"]:
            yield f"{name}: there is no {target['kind']} {target['name']} to scale"
        elif "replicas" in found[0]["spec"]:
            yield f"{name}: the Deployment and the autoscaler both set replicas"
        if not 2 <= spec["minReplicas"] <= spec["maxReplicas"]:
            yield f"{name}: {spec['minReplicas']} to {spec['maxReplicas']} replicas"


def network(documents: Documents) -> Problems:
    """Every pod is closed both ways; the api is opened on its port, to those with a label; Redis to pods of here."""
    policies = named(documents, "NetworkPolicy")
    templates = pods(documents)
    labels = {name: template["metadata"]["labels"] for name, template in templates.items()}
    closed = [
        p["spec"]["podSelector"]
        for p in policies
        if set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"} and not {"ingress", "egress"} & p["spec"].keys()
    ]
    for name in templates:
        if not any(selects(selector, labels[name]) for selector in closed):
            yield f"{name}: no NetworkPolicy closes the pod"
        if not any(selects(p["spec"]["podSelector"], labels[name]) for p in policies if "egress" in p["spec"]):
            yield f"{name}: the pod reaches neither DNS nor Redis"
    for policy in policies:
        name, selector = policy["metadata"]["name"], policy["spec"]["podSelector"]
        taken = [pod for pod in templates if selects(selector, labels[pod])]
        of_redis = selector["matchLabels"].get("app.kubernetes.io/component") == "redis"
        if not taken and not of_redis:
            yield f"{name}: the NetworkPolicy selects no pod"
        for rule in policy["spec"].get("ingress", []):
            if not rule.get("from") or any(not peer for source in rule["from"] for peer in source.values()):
                yield f"{name}: the NetworkPolicy lets anybody in"
            for pod in taken:
                opened = {port["port"] for port in rule.get("ports", [])}
                if opened != set(container_ports(documents, pod)):
                    yield f"{name}: the NetworkPolicy opens {opened} of {pod}"
            if of_redis and not all(any(selects(s["podSelector"], of) for s in rule["from"]) for of in labels.values()):
                yield f"{name}: some pods do not get to Redis"
    api = labels["hdrm-api"]
    if not any(selects(p["spec"]["podSelector"], api) for p in policies if p["spec"].get("ingress")):
        yield "hdrm-api: no NetworkPolicy lets requests in"


def container_ports(documents: Documents, pod: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in containers(documents)[pod].get("ports", [])}


def ports(documents: Documents) -> Problems:
    """The Service, the probes, Prometheus, the command line and the image all mean the same port."""
    known = container_ports(documents, "hdrm-api")
    api, template = containers(documents)["hdrm-api"], pods(documents)["hdrm-api"]
    for document in named(documents, "Service"):
        for port in document["spec"]["ports"]:
            if port["targetPort"] not in known:
                yield f"{document['metadata']['name']}: the Service leads to {port['targetPort']}, which is no port"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if api[probe]["httpGet"]["port"] not in known:
            yield f"hdrm-api: {probe} asks a port that there is not"
    (exposed,) = re.findall(r"^EXPOSE (\d+)$", (ROOT / "docker/Dockerfile").read_text("utf-8"), re.MULTILINE)
    said = {
        exposed,
        template["metadata"]["annotations"]["prometheus.io/port"],
        dict(pairwise(api["args"])).get("--port"),
        *map(str, known.values()),
    }
    if len(said) != 1:
        yield f"hdrm-api: several ports: {said}"


def probes(documents: Documents) -> Problems:
    """Probes ask what the service has, and wait for it longer than it may take."""
    api = containers(documents)["hdrm-api"]
    for probe, path, seconds in (
        ("startupProbe", "/readyz", RESPONSE_SECONDS),
        ("readinessProbe", "/readyz", RESPONSE_SECONDS),
        ("livenessProbe", "/livez", 0.0),
    ):
        if api[probe]["httpGet"]["path"] != path:
            yield f"hdrm-api: {probe} asks {api[probe]['httpGet']['path']}"
        if api[probe].get("timeoutSeconds", 1) <= seconds:
            yield f"hdrm-api: {probe} does not wait long enough"


def ending(documents: Documents) -> Problems:
    """A pod of the api stays until its endpoint is withdrawn and requests in progress are answered."""
    sleep = containers(documents)["hdrm-api"].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if sleep < 5:
        yield "hdrm-api: the server ends before its endpoint is withdrawn"
    if pods(documents)["hdrm-api"]["spec"].get("terminationGracePeriodSeconds", 30) < sleep + GRACE_SECONDS + 2:
        yield "hdrm-api: the pod is killed while requests are answered"


def volumes(documents: Documents) -> Problems:
    """Mounts have volumes and volumes are mounted; only jobs write models; /tmp is there, and bounded."""
    for pod, template in pods(documents).items():
        there = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        mounts = containers(documents)[pod]["volumeMounts"]
        mounted = {mount["name"] for mount in mounts}
        for name in mounted ^ there.keys():
            yield f"{pod}: {name} is a {'volume' if name in there else 'mount'} alone"
        for mount in mounts:
            if "subPath" in mount:
                yield f"{pod}: {mount['name']} is mounted by subPath, which is never brought up to date"
            if mount["name"] == "models" and mount.get("readOnly", False) != (pod == "hdrm-api"):
                yield f"{pod}: may write models: {not mount.get('readOnly', False)}"
            if mount["mountPath"] == "/tmp" and not there.get(mount["name"], {}).get("emptyDir", {}).get("sizeLimit"):
                yield f"{pod}: /tmp is no bounded folder"
        if "/tmp" not in {mount["mountPath"] for mount in mounts}:
            yield f"{pod}: there is no /tmp to write to"


def confinement(documents: Documents) -> Problems:
    """More than the Pod Security Standard `restricted` asks for, and the user of the images."""
    (uid,) = re.findall(r"useradd --uid (\d+)", (ROOT / "docker/Dockerfile").read_text("utf-8"))
    for pod, template in pods(documents).items():
        spec, container = template["spec"], containers(documents)[pod]
        whole, own = spec.get("securityContext", {}), container.get("securityContext", {})
        expected = {
            "runAsNonRoot": whole.get("runAsNonRoot") is True and own.get("runAsNonRoot", True) is True,
            "runAsUser": {whole.get("runAsUser"), own.get("runAsUser", int(uid))} == {int(uid)},
            "fsGroup": whole.get("fsGroup") == int(uid),
            "seccompProfile": whole.get("seccompProfile") == {"type": "RuntimeDefault"} and "seccompProfile" not in own,
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged", False),
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "automountServiceAccountToken": spec.get("automountServiceAccountToken") is False,
            "enableServiceLinks": spec.get("enableServiceLinks") is False,
            "the host": not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys(),
            "volumes": all(
                v.keys() & {"persistentVolumeClaim", "secret", "emptyDir", "configMap"} for v in spec["volumes"]
            ),
        }
        yield from (f"{pod}: {name} is not as it should be" for name, holds in expected.items() if not holds)
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
            yield f"{pod}: the container's resources are not bounded"
    for document in documents:
        if document["kind"] == "ServiceAccount" and document.get("automountServiceAccountToken") is not False:
            yield f"{document['metadata']['name']}: the account's token is mounted"
        if document["apiVersion"].startswith("rbac."):
            yield f"{document['metadata']['name']}: rights in the cluster"


def settings(documents: Documents) -> Problems:
    """Variables are settings that there are, with values that they take; threads are as many as CPUs."""
    known = {field.validation_alias or PREFIX + name.upper() for name, field in Settings.model_fields.items()}
    known |= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}  # read by what speaks to a bucket
    for pod, container in containers(documents).items():
        declared = environment(documents, container)
        for name in {*declared, *(variable["name"] for variable in container.get("env", []))} - known:
            if name != "OMP_NUM_THREADS":
                yield f"{pod}: {name} is no setting"
            elif declared[name] != container["resources"]["requests"]["cpu"]:
                yield f"{pod}: {declared[name]} threads are not as many as CPUs"
        brought = {v["name"]: "redis://redis.invalid:6379/0" for v in container.get("env", []) if "valueFrom" in v}
        with patch.dict(os.environ, brought | declared, clear=True):
            try:
                loaded = load_settings()
            except ConfigError as error:
                yield f"{pod}: {error.message}"
                continue
            yield from (f"{pod}: {name} is no setting" for name in misspelt_variables())
        mounts = {PurePosixPath(mount["mountPath"]): mount["name"] for mount in container["volumeMounts"]}
        # not models_folder: of a bucket without a cache, that is below the home of who runs this
        place = loaded.models_cache if "://" in str(loaded.models) else loaded.models
        root = next((m for m in mounts if place is not None and PurePosixPath(place).is_relative_to(m)), None)
        if root is None:
            yield f"{pod}: models, or copies of them, are not in a volume"
        elif place == loaded.models and mounts[root] != "models":
            yield f"{pod}: HDRM_MODELS is not where the models are"
        if loaded.events != "redis":
            yield f"{pod}: events are not kept for all pods"
        if pod == "hdrm-api":
            yield from keys_file(documents, mounts, loaded.keys_path)


def keys_file(documents: Documents, mounts: Mapping[PurePosixPath, str], path: Path) -> Problems:
    """The file of keys is one of a Secret."""
    volume: Manifest = next(
        (
            v
            for v in pods(documents)["hdrm-api"]["spec"]["volumes"]
            if v["name"] == mounts.get(PurePosixPath(path.parent))
        ),
        {},
    )
    secret = volume.get("secret", {}).get("secretName")
    held = {d["metadata"]["name"]: set(content(d)) for d in named(documents, "Secret")} or BROUGHT
    if path.name not in held.get(secret, ()):
        yield f"hdrm-api: {path} is in no Secret"


def commands(documents: Documents) -> Problems:
    """The program has the commands that the containers run, and what they are to read and write is mounted."""
    for pod, container in containers(documents).items():
        if "command" in container:
            continue  # another program of the image
        words = arguments(documents, container)
        if problem := hdrm_problem([ENTRYPOINT, *words]):
            yield f"{pod}: {problem}"
        mounts = [PurePosixPath(mount["mountPath"]) for mount in container["volumeMounts"]]
        for option, value in pairwise(words):
            if (
                "://" not in value
                and option in ("--data", "--models")
                and not any(PurePosixPath(value).is_relative_to(m) for m in mounts)
            ):
                yield f"{pod}: {option} {value} is not mounted"


def hdrm_problem(words: list[str]) -> str | None:
    """What keeps the program from taking these words as a command line; None if nothing does."""
    command, arguments = typer.main.get_command(app), words[1:]
    while isinstance(command, TyperGroup):
        if arguments[0] not in command.commands:
            return f"{shlex.join(words[: -len(arguments)])} has no command {arguments[0]}"
        command, arguments = command.commands[arguments[0]], arguments[1:]
    try:
        command.make_context(ENTRYPOINT, arguments)
    except typer.TyperException as error:
        return f"{shlex.join(words)}: {error}"
    return None


def images(documents: Documents) -> Problems:
    """Each pod runs this version of the image that it is for."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    for pod, container in containers(documents).items():
        image = "hdrm-serve" if pod == "hdrm-api" else "hdrm-train"
        if not re.fullmatch(rf"(.+/)?{image}:{re.escape(version)}", container["image"]):
            yield f"{pod}: the image is {container['image']}"


def fails_at_once(job: Mapping[str, Any]) -> bool:
    """Whether a retraining whose candidate was refused is not tried again."""
    rules = [rule for rule in job.get("podFailurePolicy", {}).get("rules", []) if rule["action"] == "FailJob"]
    return [rule["onExitCodes"] for rule in rules] == [
        {"containerName": "retrain", "operator": "In", "values": [REFUSED]}
    ]


def jobs(documents: Documents) -> Problems:
    """Trainings do not overlap, end some time, and start at a time of a known zone; the template does not start."""
    for document in named(documents, "CronJob"):
        name, spec = document["metadata"]["name"], document["spec"]
        job = spec["jobTemplate"]["spec"]
        expected = {
            "concurrencyPolicy": spec.get("concurrencyPolicy") == "Forbid",
            "timeZone": spec.get("timeZone") in available_timezones(),
            "schedule": len(spec["schedule"].split()) == 5,
            "suspend": spec.get("suspend", False) == (name == "hdrm-admin"),
            "startingDeadlineSeconds": spec.get("suspend") or spec.get("startingDeadlineSeconds", 0) > 60,
            "backoffLimit": job.get("backoffLimit", 6) <= 2,
            "podFailurePolicy": name == "hdrm-admin" or fails_at_once(job),
            "activeDeadlineSeconds": job.get("activeDeadlineSeconds", 0) > 0,
            "restartPolicy": job["template"]["spec"]["restartPolicy"] == "Never",
        }
        yield from (f"{name}: {field} is not as it should be" for field, holds in expected.items() if not holds)


CHECKS: tuple[Callable[[Documents], Problems], ...] = (
    references,
    selectors,
    scaling,
    network,
    ports,
    probes,
    ending,
    volumes,
    confinement,
    settings,
    commands,
    images,
    jobs,
)


def problems(documents: Documents) -> list[str]:
    """All that does not fit together; each line begins with the name of what it is about."""
    return [problem for check in CHECKS for problem in check(documents)]
