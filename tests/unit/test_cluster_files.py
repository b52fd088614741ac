"""ray_cluster.yaml is what Ray's launcher accepts, the RayJob what KubeRay documents; both name the pinned Ray."""

import copy
import re
import shlex
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[2]
#: workers come when they are asked for
WAITS = ["resources.actors=4", "resources.gpus_per_actor=1"]


@pytest.fixture
def launcher():
    return yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())


@pytest.fixture
def job():
    return yaml.safe_load((ROOT / "kuberay_rayjob.yaml").read_text())


@pytest.fixture(scope="module")
def ray_pin():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = [each for each in project["dependencies"] if re.match(r"ray\b", each)]
    return SpecifierSet(pin.split("]")[-1])


def _version(image):
    return Version(image.rsplit(":", 1)[1].split("-")[0])


def _pod_groups(job):
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def _containers(job):
    return [container for group in _pod_groups(job) for container in group["template"]["spec"]["containers"]]


def test_the_launcher_accepts_the_cluster(launcher):
    complete = prepare_config(copy.deepcopy(launcher))  # with Ray's own defaults for AWS, as `ray up` does
    validate_config(complete)
    assert complete["head_node_type"] in complete["available_node_types"]
    assert any("ray start --head" in command for command in complete["head_start_ray_commands"])
    assert any("ray start --address" in command for command in complete["worker_start_ray_commands"])


def test_the_launcher_would_refuse_what_is_wrong(launcher):
    misspelt = prepare_config({**copy.deepcopy(launcher), "max_worker": 3})
    with pytest.raises(jsonschema.ValidationError):
        validate_config(misspelt)


def test_workers_with_and_without_a_gpu_come_and_go_and_the_head_is_there_alone(launcher):
    types = launcher["available_node_types"]
    assert launcher["head_node_type"] == "head"
    gpu, cpu = types["gpu"], types["cpu"]
    assert gpu["min_workers"] == cpu["min_workers"] == 0
    assert gpu["max_workers"] + cpu["max_workers"] <= launcher["max_workers"]
    assert gpu["node_config"]["InstanceType"].startswith(("g", "p"))
    assert cpu["node_config"]["InstanceType"].startswith(("c", "m"))
    assert len({kind["node_config"]["ImageId"] for kind in types.values()}) == 1


def test_mounted_files_are_those_the_installation_reads(launcher):
    mounts = launcher["file_mounts"]
    assert all((ROOT / local).is_file() for local in mounts.values())
    (lock,) = mounts
    assert f"pip install --quiet --requirement {lock}" in launcher["setup_commands"]
    assert "/mnt/viba" in "".join(launcher["docker"]["run_options"])


def test_images_carry_the_pinned_ray(launcher, job, ray_pin):
    images = [launcher["docker"]["head_image"], launcher["docker"]["worker_image"]]
    images += [container["image"] for container in _containers(job)]
    versions = {_version(image) for image in images}
    assert versions == {Version(job["spec"]["rayClusterSpec"]["rayVersion"])}
    assert versions.pop() in ray_pin
    assert all("py311" in image for image in images)
    assert "-gpu" in launcher["docker"]["worker_image"]


def test_the_job_is_a_rayjob_with_kuberays_fields(job):
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?", job["metadata"]["name"])
    spec = job["spec"]
    assert set(spec) <= {
        *("entrypoint", "runtimeEnvYAML", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit"),
        "rayClusterSpec",
    }
    assert spec["shutdownAfterJobFinishes"] is True
    assert set(spec["rayClusterSpec"]) == {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"}
    assert set(spec["rayClusterSpec"]["headGroupSpec"]) == {"rayStartParams", "template"}
    for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
        assert set(group) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert 0 == group["minReplicas"] <= group["replicas"] < group["maxReplicas"]
    for group in _pod_groups(job):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_pods_have_resources_and_every_mount_its_volume(job):
    for container in _containers(job):
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert container["resources"]["requests"] == container["resources"]["limits"]
    of_gpu, of_cpu = (
        next(each for each in job["spec"]["rayClusterSpec"]["workerGroupSpecs"] if each["groupName"] == name)
        for name in ("gpu", "cpu")
    )
    limits = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in (of_gpu, of_cpu)]
    assert [each.get("nvidia.com/gpu") for each in limits] == ["1", None]
    assert "nvidia.com/gpu" not in _containers(job)[0]["resources"]["limits"]
    for group in _pod_groups(job):
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_entrypoint_is_a_command_of_ours(job):
    from pipelines.__main__ import parse

    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:3] == ["python", "-m", "pipelines"]
    options = parse(words[3:])
    assert str(options.lake) == "/mnt/viba/lake"
    assert options.set == WAITS
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]["PYTHONPATH"] == _containers(job)[0]["workingDir"]


def test_the_submit_line_of_the_cluster_is_a_command_of_ours():
    from pipelines.__main__ import parse

    text = re.sub(r"\\\n#\s*", "", (ROOT / "ray_cluster.yaml").read_text())
    (line,) = re.findall(r"^#\s+(ray job submit .*)$", text, re.MULTILINE)
    words = shlex.split(line.split(" -- ")[1])
    assert words[:3] == ["python", "-m", "pipelines"]
    assert parse(words[3:]).set == WAITS
