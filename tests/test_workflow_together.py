"""Two workflows at once, a notebook that fails, a cluster; which profile's book is shown."""

import json
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

from ra_core.params import load_profile
from workflow.graph import steps_of

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
    """A copy of the project with a tiny profile."""
    return copied.project(tmp_path_factory.mktemp("project"), tiny=TINY)


def start(project: Path, *options: str, cores="1", target=TARGET) -> subprocess.Popen:
    venv = project / "a{b}c"  # where Python lies
    if not venv.exists():
        venv.symlink_to(sys.prefix)
    command = [venv / "bin/python", "-m", "snakemake", target, "--nolock", "--rerun-incomplete", *options]
    command += ["--cores", cores] if cores else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(project)])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    return subprocess.Popen([*command, "--config", "profile=tiny"], cwd=project, env=environment, **pipes)


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
    lock, notebooks = project / "runs" / "tiny" / ".workflow.lock", project / "runs" / "tiny" / "notebooks" / "running"
    first = start(project)
    wait_for(lambda: list(notebooks.glob(".*.lock")), first)  # a notebook is at work
    os.killpg(first.pid, signal.SIGSTOP)  # and stays so while others come
    code, said = ended(start(project))
    assert code == 1 and "the workflow of profile tiny" in said

    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL and lock.exists()
    os.killpg(first.pid, signal.SIGKILL)  # and its notebook
    code, said = ended(start(project))
    assert code == 0, said
    assert (project / TARGET).exists() and not lock.exists()


@pytest.mark.slow  # test_notebooks_module says the same of the notebook alone
def test_a_failed_notebook_is_named_and_kept(project):
    path = project / "notebooks" / "01_data_and_channels.ipynb"
    notebook = json.loads(path.read_text())
    second = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"][1]  # the first has the parameters
    second["source"] = ["raise ValueError('the roof leaks')"]
    path.write_text(json.dumps(notebook))
    said = start(project).communicate(timeout=300)[0]
    assert "01_data_and_channels.ipynb failed in cell" in said and "the roof leaks" in said
    kept = json.loads((project / "runs/tiny/notebooks/running/01_data_and_channels.ipynb").read_text())
    assert any(output["output_type"] == "error" for cell in kept["cells"] for output in cell.get("outputs", []))
    assert not (project / TARGET).exists()


def test_what_was_deleted_of_a_finished_profile_is_made_again(tmp_path):
    project = copied.project(tmp_path / "project", tiny=TINY)
    steps = steps_of(load_profile("tiny", folder=project / "params"))
    made = [project / path for step in steps for path in step.outputs] + [project / "runs/tiny/book.done"]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert start(project, "--touch", target="all").communicate(timeout=300)[1] is None

    def planned() -> set[str]:
        said = start(project, "--dry-run", "--quiet", "rules", target="all").communicate(timeout=300)[0]
        return set(re.findall(r"^(\w+) +\d+$", said, flags=re.MULTILINE)) - {"total", "all"}

    assert planned() == set()
    for gone in ("notebooks/13_photographs.ipynb", "report/headline.svg", "recognizers.csv"):
        (project / "runs" / "tiny" / gone).unlink()
    assert planned() == {"photographs", "report", "recognizers", "book"}


def test_a_cluster_is_asked_for_time_memory_and_where_networks_run_a_gpu(project):
    plugin = project / "snakemake_executor_plugin_pretended"
    plugin.mkdir()
    (plugin / "__init__.py").write_text(PRETENDED)
    options = ["--executor", "pretended", "--jobs", "4", "--dry-run", "--forceall"]
    said = start(project, *options, cores="", target="book").communicate(timeout=300)[0]
    asked = dict(re.findall(r"rule (\w+):\n(?:    .*\n)*?    resources: (.*)\n", said))
    asked.pop("book", None)  # runs where the workflow does
    assert asked.keys() == {
        *COMPUTING,
        "data_and_channels",
        "photographs",
        "study",
        "transfer",
        "boundaries",
        "report",
        "reference_results",
        "planning",
    }, said
    assert {rule for rule, resources in asked.items() if "gpu=1, gpu_manufacturer=nvidia" in resources} == COMPUTING
    assert all("runtime=" in resources and "mem_mb=" in resources for resources in asked.values())


@pytest.mark.parametrize("cluster", ["slurm", "kubernetes"])
def test_profiles_of_clusters_keep_what_makes_runs_safe(cluster):
    settings = yaml.safe_load((copied.ROOT / "workflow" / cluster / "config.yaml").read_text())
    assert settings["executor"] == cluster
    assert settings["nolock"] and settings["rerun-incomplete"] and settings["keep-going"]
    assert "cores" not in settings  # by this the Snakefile knows that it is on a cluster


@pytest.fixture
def made(tmp_path):
    """What make needs, and a Python that does nothing."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((copied.ROOT / name).read_bytes())
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin/python").chmod(0o755)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.stamp").touch()
    return tmp_path


def test_make_takes_nothing_from_the_shell_that_is_for_other_projects(made):
    """And a name as it stands, and a cache that can be written."""
    (made / "bin/python").write_text('#!/bin/sh\nenv > said\nprintf "%s\\n" "$@" > arguments\nexit 1\n')
    names = {"SNAKEMAKE_PROFILE", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONIOENCODING", "PYTHONPATH",
             "MPLBACKEND"}  # fmt: skip
    shell = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    shell |= dict.fromkeys(names, "1") | {"HOME": "/dev/null/none"}
    said = subprocess.run(["make", "book", "BIN=bin", "PROFILE=my 'birds"], cwd=made, env=shell, capture_output=True)
    assert said.returncode == 2
    found = dict(line.split("=", 1) for line in (made / "said").read_text().splitlines() if "=" in line)
    assert names.isdisjoint(found) and found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert Path(found["XDG_CACHE_HOME"]) == made / ".cache"
    assert (made / "arguments").read_text().splitlines()[-1] == "profile='my 'birds'"


def test_a_name_never_reaches_the_shell(made):
    name = 'a;touch X;"$(touch Y)"`touch Z`'
    subprocess.run(["make", "book", "BIN=bin", f"PROFILE={name.replace('$', '$$')}"], cwd=made, capture_output=True)
    assert not {"X", "Y", "Z"} & {path.name for path in made.rglob("*")}


def test_make_shows_the_book_of_the_profile_that_was_asked_for(made):
    """Also where nothing was left to build; that of the smoke profile is shown at its own place alone."""
    tmp_path = made
    for name in ("a", "b", "smoke"):
        index = tmp_path / "runs" / name / "_build/html/index.html"
        index.parent.mkdir(parents=True)
        index.write_text(f"book of {name}")
    (tmp_path / "book/_build/html").mkdir(parents=True)  # as earlier versions left it
    for name in ("a", "b", "a", "smoke"):
        command = ["make", "book", "BIN=bin", f"PROFILE={name}"]
        said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert Path(said.strip()).read_text() == f"book of {name}"
        assert (tmp_path / "book/_build/html/index.html").read_text() == f"book of {name if name != 'smoke' else 'a'}"
    mark = tmp_path / "runs/gone/book.done"
    mark.parent.mkdir()
    mark.touch()
    subprocess.run(["make", "book", "BIN=bin", "PROFILE=gone"], cwd=tmp_path, capture_output=True)
    assert not mark.exists()  # so that the book is built again
