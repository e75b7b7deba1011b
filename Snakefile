"""The graph of runs: notebooks in, tables and the book out. Use it through `make book` and `make smoke`."""

import shlex
import sys
from pathlib import Path

from ra_core.errors import RAError
from ra_core.experiments import run_parameters
from ra_core.params import load_profile

try:
    PROFILE = load_profile(config.get("profile", "quick"))
except RAError as error:
    sys.exit(str(error))  # one sentence instead of Snakemake's traceback
NAME, RUNS = PROFILE.name, f"runs/{PROFILE.name}"
OUTPUT = RUNS if NAME == "smoke" else "book"  # the published book has a fixed place
THREADS = max(1, workflow.cores // int(config.get("jobs", PROFILE.jobs)))  # of each notebook
PYTHON = shlex.quote(sys.executable)
EXECUTE = f"{PYTHON} -m ra_core.notebooks {{input.notebook}} {{log.notebook}} profile={NAME}"


def modules(*names):
    """The files of the package that a step runs; other content in one of them runs the step again."""
    return [str(path) for name in names for path in sorted(Path("ra_core").glob(f"{name}.py"))]


def depends_on(*fields):
    """The part of the profile that a step depends on; another value runs the step again."""
    dumped = PROFILE.model_dump(mode="json")
    return {field: dumped[field] for field in fields}


def weights(*names):
    """The shipped files of these recognizers; those of torchvision or of the user lie elsewhere."""
    return [str(path) for name in names for path in sorted(Path("ra_core/assets/recognizers").glob(f"{name}.*"))]


PICTURES = modules("data", "cifar10", "folders", "channels", "metrics")
NETWORKS = modules("models/processors", "models/recognizers", "models/cifar_nets")


wildcard_constraints:
    task="sr|dn|jpeg",
    mode="[a-z_]+",
    seed="[0-9]+",


rule book:
    input:
        f"{RUNS}/report/values.json",
        f"{RUNS}/data.json",
        f"{RUNS}/recognizers.csv",
        modules("book"),
        sorted(str(page) for page in Path("book").rglob("*") if page.is_file() and "_build" not in page.parts),
    output:
        touch(f"{RUNS}/book.done"),
    params:
        output=OUTPUT,
    shell:
        f"{PYTHON} -m ra_core.book {NAME} --output {{params.output}}"


rule data_and_channels:
    input:
        PICTURES,
        modules("figures/pictures", "figures/look"),
        notebook="notebooks/01_data_and_channels.ipynb",
    output:
        f"{RUNS}/data.json",
    params:
        depends_on("data", "channels"),
        list(PROFILE.tasks),
    threads: THREADS
    log:
        notebook=f"{RUNS}/notebooks/01_data_and_channels.ipynb",
    shell:
        EXECUTE


rule recognizers:
    input:
        PICTURES,
        NETWORKS,
        weights(*PROFILE.recognizers),
        modules("evaluation", "figures/networks", "figures/look"),
        notebook="notebooks/02_recognizers.ipynb",
    output:
        f"{RUNS}/recognizers.csv",
    params:
        depends_on("data", "source", "unseen"),
    threads: THREADS
    log:
        notebook=f"{RUNS}/notebooks/02_recognizers.ipynb",
    shell:
        EXECUTE


rule train_processor:
    input:
        PICTURES,
        NETWORKS,
        weights(PROFILE.source),
        modules("losses", "training", "experiments", "evaluation", "chain"),
        notebook="notebooks/03_train_processor.ipynb",
    output:
        f"{RUNS}/{{task}}/{{mode}}/seed{{seed}}/run.json",
    params:
        lambda wildcards: run_parameters(PROFILE, wildcards.task, wildcards.mode, int(wildcards.seed)),
    threads: THREADS
    log:
        notebook=f"{RUNS}/notebooks/03_train_processor-{{task}}-{{mode}}-seed{{seed}}.ipynb",
    shell:
        EXECUTE + " task={wildcards.task} mode={wildcards.mode} seed={wildcards.seed}"


rule cross_evaluate:
    input:
        PICTURES,
        NETWORKS,
        weights(*PROFILE.recognizers),
        modules("evaluation", "chain", "experiments", "figures/*"),
        lambda wildcards: expand(
            f"{RUNS}/{wildcards.task}/{{mode}}/seed{{seed}}/run.json", mode=PROFILE.modes, seed=PROFILE.seeds
        ),
        notebook="notebooks/04_cross_evaluate.ipynb",
    output:
        f"{RUNS}/{{task}}/accuracy.csv",
        f"{RUNS}/{{task}}/paired.csv",
        f"{RUNS}/{{task}}/panel.npz",
    params:
        depends_on("data", "channels", "source", "unseen", "evaluation_batch"),
    threads: THREADS
    log:
        notebook=f"{RUNS}/notebooks/04_cross_evaluate-{{task}}.ipynb",
    shell:
        EXECUTE + " task={wildcards.task}"


rule report:
    input:
        expand(f"{RUNS}/{{task}}/accuracy.csv", task=PROFILE.tasks),
        modules("report", "figures/*"),
        "book/published.csv",
        notebook="notebooks/05_report.ipynb",
    output:
        f"{RUNS}/accuracy.csv",
        f"{RUNS}/paired.csv",
        f"{RUNS}/report/values.json",
    threads: THREADS
    log:
        notebook=f"{RUNS}/notebooks/05_report.ipynb",
    shell:
        EXECUTE
