"""Two workflows at once, and what the Snakefile says before it starts; what it asks of a cluster."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import copied
import pytest
import yaml

TARGET = "runs/tiny/data.json"
COMPUTING = {"recognizers", "train_processor", "cross_evaluate"}
PRETENDED = """
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings
common_settings = CommonSettings(
    non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False,
    pass_default_storage_provider_args=False, pass_default_resources_args=False, pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)
class Executor(RemoteExecutor):
    pass
"""
TINY = "data: {train_per_class: 2, test_per_class: 2, validation_per_class: 1}\nmodes: [plain]\nunseen: [vgg8]\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a tiny profile for each device."""
    profiles = {name: f"{TINY}device: {device}\n" for name, device in {"tiny": "auto", "on_cpu": "cpu"}.items()}
    return copied.project(tmp_path_factory.mktemp("project"), **profiles)


def start(project: Path, *options: str, profile="tiny", cores="1", target=TARGET) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", target, "--nolock", "--rerun-incomplete", *options]
    command += ["--cores", cores] if cores else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(project)])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    return subprocess.Popen([*command, "--config", f"profile={profile}"], cwd=project, env=environment, **pipes)


def ended(workflow: subprocess.Popen) -> tuple[int, str]:
    """Return a workflow's exit status and its last line."""
    said = workflow.communicate(timeout=300)[0].strip()
    return workflow.returncode, said.splitlines()[-1]


def wait_for(there, workflow: subprocess.Popen) -> None:
    end = time.time() + 200
    while not there() and time.time() < end and workflow.poll() is None:
        time.sleep(0.05)
    assert there(), workflow.communicate()[0]


def test_a_second_workflow_gives_way_and_sigkill_leaves_nothing_in_the_way(project):
    lock, notebooks = project / "runs" / "tiny" / ".workflow.lock", project / "runs" / "tiny" / "notebooks"
    first = start(project)
    wait_for(lambda: list(notebooks.glob(".*.lock")), first)  # a notebook is at work
    os.killpg(first.pid, signal.SIGSTOP)  # and stays so while others come
    code, said = ended(start(project))
    assert code == 1
    assert said.startswith(f"the workflow of profile tiny is under way already (process {first.pid} on ")
    assert ended(start(project, "--dry-run"))[0] == 0  # to look is always allowed

    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL and lock.exists()
    os.killpg(first.pid, signal.SIGKILL)  # and its notebook
    code, said = ended(start(project))
    assert code == 0, said
    assert (project / TARGET).exists() and not lock.exists()


def test_a_file_of_the_future_is_named_before_anything_runs(project):
    path = project / "ra_core" / "losses.py"
    now = path.stat().st_mtime
    os.utime(path, (time.time() + 86400,) * 2)
    try:
        code, said = ended(start(project))
    finally:
        os.utime(path, (now, now))
    assert code == 1 and said.startswith("ra_core/losses.py is dated in the future (")


@pytest.mark.parametrize(("profile", "with_gpu"), [("tiny", COMPUTING), ("on_cpu", set())])
def test_a_cluster_is_asked_for_time_memory_and_where_networks_run_a_gpu(project, profile, with_gpu):
    plugin = project / "snakemake_executor_plugin_pretended"
    plugin.mkdir(exist_ok=True)
    (plugin / "__init__.py").write_text(PRETENDED)
    options = ["--executor", "pretended", "--jobs", "4", "--dry-run", "--forceall"]
    said = start(project, *options, profile=profile, cores="", target="book").communicate(timeout=300)[0]
    asked = dict(re.findall(r"rule (\w+):\n(?:    .*\n)*?    resources: (.*)\n", said))
    asked.pop("book", None)  # runs where the workflow does
    assert asked.keys() == {*COMPUTING, "data_and_channels", "report", "reference_results", "planning"}, said
    assert {rule for rule, resources in asked.items() if "gpu=1, gpu_manufacturer=nvidia" in resources} == with_gpu
    for resources in asked.values():
        assert int(re.search(r"runtime=(\d+)", resources)[1]) >= 60
        assert 8000 <= int(re.search(r"mem_mb=(\d+)", resources)[1]) <= 64000


@pytest.mark.parametrize("cluster", ["slurm", "kubernetes"])
def test_profiles_of_clusters_keep_what_makes_runs_safe(cluster):
    settings = yaml.safe_load((copied.ROOT / "workflow" / cluster / "config.yaml").read_text())
    assert settings["executor"] == cluster
    assert settings["nolock"] and settings["rerun-incomplete"] and settings["keep-going"]
    assert "cores" not in settings  # by this the Snakefile knows that it is on a cluster
