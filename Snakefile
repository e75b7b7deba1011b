"""The graph of runs: notebooks in, tables and the book out. Use it through `make book` and `make smoke`."""

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

from ra_core.coding import needed, planned, preprocessor_parameters
from ra_core.errors import ParameterError, RAError
from ra_core.experiments import run_parameters
from ra_core.guards import alone, check_place
from ra_core.params import load_profile

try:
    PROFILE = load_profile(config.get("profile", "quick"))
    if workflow.is_main_process:
        folders = "ra_core", "ra_book", "notebooks", "book", f"runs/{PROFILE.name}", "results", "runs/benchmarks"
        check_place(Path(), map(Path, folders))
    jobs = str(config.get("jobs", PROFILE.jobs))
    if not jobs.isdecimal() or int(jobs) < 1:
        raise ParameterError(f"JOBS={jobs} is not allowed; give how many notebooks run side by side, at least 1.")
except RAError as error:
    sys.exit(str(error))  # one sentence instead of Snakemake's traceback
NAME, RUNS = PROFILE.name, f"runs/{PROFILE.name}"
OUTPUT = RUNS if NAME == "smoke" else "book"  # the published book has a fixed place
CORES, NODES = workflow.resource_settings.cores or 0, workflow.resource_settings.nodes or 0
CLUSTER = workflow.remote_exec or NODES > CORES  # other machines run the notebooks
THREADS = PROFILE.threads or 8 if CLUSTER else max(1, CORES // int(jobs))  # of each
LOCK = ExitStack()  # the operating system's; Snakemake's own outlives a killed workflow, so --nolock goes with it
PYTHON = shlex.quote(sys.executable)
EXECUTE = f"{PYTHON} -m ra_core.notebooks {{input.notebook}} {{log.notebook}} profile={NAME}"


def modules(*names):
    """The files of the package that a step runs; other content in one of them runs the step again."""
    found = {name: sorted(path for p in ("ra_core", "ra_book") for path in Path(p).glob(f"{name}.py")) for name in names}
    assert all(found.values()), f"no module of ra_core is named {[name for name in found if not found[name]]}"
    return [str(path) for paths in found.values() for path in paths]


def depends_on(*fields):
    """The part of the profile that a step depends on; another value runs the step again."""
    dumped = PROFILE.model_dump(mode="json")
    return {field: dumped[field] for field in fields}


def weights(*names):
    """The shipped files of these recognizers or detectors; those of torchvision or of the user lie elsewhere."""
    return [str(path) for name in names for path in sorted(Path("ra_core/assets").glob(f"*s/{name}.*"))]


def asks(hours, memory_gb, device=True):
    """What a step asks of a cluster: minutes, MB, and a GPU where it computes on the profile's device."""
    gpu = {"gpu": 1, "gpu_manufacturer": "nvidia"} if device and PROFILE.device in ("auto", "cuda") else {}
    return {"runtime": 60 * hours, "mem_mb": 1000 * memory_gb, **(gpu if CLUSTER else {})}


PICTURES = modules(
    "data/__init__", "data/cifar10", "data/folders", "data/flat_folders", "data/draws", "channels", "metrics", "cores",
)  # fmt: skip
NETWORKS = modules(
    "models/processors", "models/recognizers", "models/cifar_nets", "models/efficientnet_lite", "models/padding",
    "models/registry", "models/weights",
)  # fmt: skip
TRAINING = modules(
    "training/__init__", "training/checkpoint", "training/prefetch", "training/processes", "training/synced_norm",
    "objectives", "losses", "experiments", "evaluation", "chain", "data/boxes",
)  # fmt: skip


localrules:
    book,


onstart:
    try:
        LOCK.enter_context(alone(Path(RUNS, ".workflow.lock"), f"the workflow of profile {NAME}"))
    except RAError as error:
        sys.exit(str(error))


onsuccess:
    LOCK.close()


onerror:
    LOCK.close()


wildcard_constraints:
    task="sr|dn|jpeg",
    mode="[a-z_]+(@[0-9.e+-]+)?",
    dataset="|".join(PROFILE.preprocessing) or "none",
    run="(npp[a-z_]*|post|both)-[^/]+",
    codec="[a-z0-9-]+",
    seed="[0-9]+",


rule book:
    input:
        f"{RUNS}/report/values.json",
        f"{RUNS}/data.json",
        f"{RUNS}/recognizers.csv",
        f"{RUNS}/reference.done",
        f"{RUNS}/planning.csv",
        modules("book", "report", "speed"),
        sorted(map(str, Path().glob("r*s/benchmarks/*.json"))),  # of runs and of results: shown where they are there
        sorted(str(page) for page in Path("book").rglob("*") if page.is_file() and "_build" not in page.parts),
    output:
        touch(f"{RUNS}/book.done"),
    params:
        output=OUTPUT,
    shell:
        f"{PYTHON} -m ra_book.book {NAME} --output {{params.output}}"


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
    resources:
        **asks(1, 16, device=False),
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
    resources:
        **asks(4, 32),
    log:
        notebook=f"{RUNS}/notebooks/02_recognizers.ipynb",
    shell:
        EXECUTE


rule train_processor:
    input:
        PICTURES,
        NETWORKS,
        TRAINING,
        weights(PROFILE.source),
        notebook="notebooks/03_train_processor.ipynb",
    output:
        f"{RUNS}/{{task}}/{{mode}}/seed{{seed}}/run.json",
    params:
        lambda wildcards: run_parameters(PROFILE, wildcards.task, wildcards.mode, int(wildcards.seed)),
    threads: THREADS
    resources:
        **asks(24, 32),
    log:
        notebook=f"{RUNS}/notebooks/03_train_processor-{{task}}-{{mode}}-seed{{seed}}.ipynb",
    shell:
        EXECUTE + " task={wildcards.task} mode={wildcards.mode} seed={wildcards.seed}"


CODING = NETWORKS + TRAINING + modules(
    "data/__init__", "data/draws", "data/crops", "data/elpv", "data/scenes", "data/box_folders", "data/box_parts",
    "detection", "metrics", "cores",
    "codecs/__init__", "codecs/base", "codecs/headers", "codecs/pillow", "codecs/bpg", "coding/__init__", "coding/scores",
    "coding/proxy_ladder", "params/coding", "channels", "models/detectors", "models/cell_nets", "models/preprocessors",
    "models/prox*", "models/dct_rate", "models/entropy", "pretraining/proxies",
)  # fmt: skip


def preprocessors(wildcards):
    """The finished runs that a codec's curves need."""
    names = needed(PROFILE, wildcards.dataset, wildcards.codec)
    return expand(f"{RUNS}/{wildcards.dataset}/{{run}}/seed{{seed}}/run.json", run=names, seed=PROFILE.seeds)


def preprocessor(wildcards):
    """Dataset, codec, method, quality and seed of a run, by the parameters' names of its notebook."""
    codec, method, quality = planned(PROFILE, wildcards.dataset)[wildcards.run]
    given = {"dataset": wildcards.dataset, "codec": codec, "method": method, "quality": quality}
    return given | {"seed": int(wildcards.seed)}


rule train_proxy:
    input:
        CODING,
        modules("coding/agreement", "figures/*"),
        weights(f"{PROFILE.proxy.name.lower()}-*"),
        notebook="notebooks/06_train_proxy.ipynb",
    output:
        expand(f"{RUNS}/{{dataset}}/agreement.csv", dataset=PROFILE.preprocessing),
    params:
        depends_on("proxy"),
        {
            name: [settings.transfer, {codec: [steps.curve, steps.proxy] for codec, steps in settings.codecs.items()}]
            for name, settings in PROFILE.preprocessing.items()
        },
    threads: THREADS
    priority: 1  # long and on its own: at the end it would keep one notebook busy and none beside it
    resources:
        **asks(24, 32),
    log:
        notebook=f"{RUNS}/notebooks/06_train_proxy.ipynb",
    shell:
        EXECUTE


def learned_proxy(wildcards):
    """What a run waits for whose gradient is that of a learned proxy."""
    codec, method, _ = planned(PROFILE, wildcards.dataset)[wildcards.run]
    learned = method != "post" and PROFILE.coding(wildcards.dataset).codecs[codec].proxy != "BlockDCT"
    return [f"{RUNS}/{wildcards.dataset}/agreement.csv"] if learned else []


rule train_preprocessor:
    input:
        CODING,
        lambda wildcards: weights(PROFILE.coding(wildcards.dataset).source),
        learned_proxy,
        notebook="notebooks/07_train_preprocessor.ipynb",
    output:
        f"{RUNS}/{{dataset}}/{{run}}/seed{{seed}}/run.json",
    params:
        lambda wildcards: preprocessor_parameters(PROFILE, **preprocessor(wildcards)),
        given=lambda wildcards: " ".join(f"{k}={v}" for k, v in preprocessor(wildcards).items() if v is not None),
    threads: THREADS
    priority: 1  # before what the long measurements behind it need not wait for
    resources:
        **asks(24, 32),
    log:
        notebook=f"{RUNS}/notebooks/07_train_preprocessor-{{dataset}}-{{run}}-seed{{seed}}.ipynb",
    shell:
        EXECUTE + " {params.given}"


rule rate_accuracy:
    input:
        CODING,
        modules("coding/rate_accuracy", "coding/curves", "coding/bd_rate", "coding/filters", "coding/panels"),
        modules("coding/costs", "codecs/jpeg_files", "figures/*"),
        lambda wildcards: weights(*PROFILE.coding(wildcards.dataset).judges),
        preprocessors,
        notebook="notebooks/08_rate_accuracy.ipynb",
    output:
        f"{RUNS}/{{dataset}}/rates-{{codec}}.csv",
        f"{RUNS}/{{dataset}}/bd-{{codec}}.csv",
        f"{RUNS}/{{dataset}}/cost-{{codec}}.csv",
        f"{RUNS}/{{dataset}}/same_bytes-{{codec}}.csv",
    params:
        lambda wildcards: PROFILE.coding(wildcards.dataset).model_dump(mode="json"),
    threads: THREADS
    priority: 1
    resources:
        **asks(24, 32),
    log:
        notebook=f"{RUNS}/notebooks/08_rate_accuracy-{{dataset}}-{{codec}}.ipynb",
    shell:
        EXECUTE + " dataset={wildcards.dataset} codec={wildcards.codec}"


rule both_ends:
    input:
        modules("coding/both_ends", "figures/*"),
        rules.rate_accuracy.output,
        "book/drawings/both_ends.svg",
        notebook="notebooks/09_both_ends.ipynb",
    output:
        touch(f"{RUNS}/{{dataset}}/both_ends-{{codec}}.done"),
    threads: THREADS
    resources:
        **asks(4, 16),
    log:
        notebook=f"{RUNS}/notebooks/09_both_ends-{{dataset}}-{{codec}}.ipynb",
    shell:
        EXECUTE + " dataset={wildcards.dataset} codec={wildcards.codec} seed=" + str(PROFILE.seeds[0])


rule cross_evaluate:
    input:
        PICTURES,
        NETWORKS,
        TRAINING,  # of runs that it finds missing
        weights(*PROFILE.recognizers),
        modules("figures/*"),
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
    resources:
        **asks(8, 32),
    log:
        notebook=f"{RUNS}/notebooks/04_cross_evaluate-{{task}}.ipynb",
    shell:
        EXECUTE + " task={wildcards.task}"


rule report:
    input:
        [
            f"{RUNS}/{dataset}/{name}.csv"
            for dataset, settings in PROFILE.preprocessing.items()
            for name in ("agreement", *(f"rates-{codec}" for codec in settings.all_codecs))
        ],
        [
            f"{RUNS}/{dataset}/both_ends-{codec}.done"
            for dataset, settings in PROFILE.preprocessing.items()
            for codec in settings.both_ends
        ],
        expand(f"{RUNS}/{{task}}/accuracy.csv", task=PROFILE.tasks),
        modules("report", "figures/*"),
        "book/published.csv",
        notebook="notebooks/05_report.ipynb",
    output:
        f"{RUNS}/accuracy.csv",
        f"{RUNS}/paired.csv",
        f"{RUNS}/report/values.json",
    threads: THREADS
    resources:
        **asks(1, 16, device=False),
    log:
        notebook=f"{RUNS}/notebooks/05_report.ipynb",
    shell:
        EXECUTE


rule reference_results:
    input:
        f"{RUNS}/report/values.json",
        sorted(str(path) for path in Path("results").glob("*/*")),
        modules("reference", "figures/*"),
        notebook="notebooks/11_reference_results.ipynb",
    output:
        touch(f"{RUNS}/reference.done"),
    threads: THREADS
    resources:
        **asks(1, 16, device=False),
    log:
        notebook=f"{RUNS}/notebooks/11_reference_results.ipynb",
    shell:
        EXECUTE


rule planning:
    input:
        expand(f"{RUNS}/{{task}}/{{mode}}/seed{{seed}}/run.json", task=PROFILE.tasks, mode=PROFILE.modes, seed=PROFILE.seeds),
        [
            f"{RUNS}/{dataset}/{run}/seed{seed}/run.json"
            for dataset in PROFILE.preprocessing
            for run in planned(PROFILE, dataset)
            for seed in PROFILE.seeds
        ],
        modules("planning/__init__", "planning/*workload", "reference", "shipped_runs", "figures/planning", "figures/look"),
        notebook="notebooks/12_planning.ipynb",
    output:
        f"{RUNS}/planning.csv",
    params:
        {path.stem: path.read_text(encoding="utf-8") for path in sorted(Path("params").glob("*.yaml"))},
    threads: THREADS
    resources:
        **asks(1, 16, device=False),
    log:
        notebook=f"{RUNS}/notebooks/12_planning.ipynb",
    shell:
        EXECUTE
