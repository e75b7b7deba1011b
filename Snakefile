"""The graph of runs, made of the steps in `workflow/graph.py`. Use it through `make book` and `make smoke`."""

import atexit
import re
import shlex
import sys
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from ra_core.forked_kernels import copies_of

CORES, NODES = workflow.resource_settings.cores or 0, workflow.resource_settings.nodes or 0
CLUSTER = workflow.remote_exec or NODES > CORES  # other machines run the notebooks
IMPORTED = ("ra_book.figures", "ra_book.widgets", "ra_core.steps", "torch._dynamo")  # by notebooks
HELD = ExitStack()  # until the end
atexit.register(HELD.close)
if not (CLUSTER or {"-n", "--dry-run", "--touch"} & set(sys.argv)):  # others may not need it; it ends with them
    try:
        HELD.enter_context(copies_of(IMPORTED))  # which takes seconds, while the graph is laid
    except OSError as error:
        sys.exit(str(error))

from ra_book.sections import sources
from ra_core.errors import ParameterError, RAError
from ra_core.locks import file_lock
from ra_core.params import load_profile
from workflow.code import Hashes
from workflow.graph import OTHERS, PRIORITIES, steps_of

try:
    PROFILE = load_profile(str(config.get("profile", "quick")))
    jobs = str(config.get("jobs", PROFILE.jobs))
    if not jobs.isdecimal() or int(jobs) < 1:
        raise ParameterError(f"JOBS={jobs} is not allowed; give how many notebooks run side by side, at least 1.")
    STEPS = steps_of(PROFILE)
except RAError as error:
    sys.exit(str(error))  # one sentence instead of Snakemake's traceback
NAME, RUNS = PROFILE.name, f"runs/{PROFILE.name}"
THREADS = PROFILE.threads or 8 if CLUSTER else max(1, CORES // int(jobs))  # of each
HASHES = Hashes(Path(), PROFILE.extensions)
PYTHON = shlex.quote(sys.executable).replace("{", "{{").replace("}", "}}")
# The executed copy is whole when it comes to its place; one that fails stays where it is.
PAGE = f"{PYTHON} -m ra_core.notebooks {{input.notebook}} {{log.notebook}} profile={NAME} {{params.given}}"
PAGE += " && mv {log.notebook} {output.notebook}"
# What a training left is deleted where other code made it; else only its page is drawn anew.
MADE_BY = "{output.notebook}.code"
FORGET = f"if [ -e {MADE_BY} ] && ! grep -qx '{{params.made}}' {MADE_BY}; then rm -rf {{params.keeps}}; fi"
EXECUTE = f"{FORGET} && {PAGE} && echo {{params.made}} > {MADE_BY}"


def of(steps, part):
    """A function that finds the step of a rule which has some wildcards, and returns a part of it."""
    found = {tuple(step.wildcards.values()): step for step in steps}
    return lambda wildcards: part(found[tuple(wildcards[name] for name in steps[0].wildcards)])


def made(step):
    """What a step keeps was made by this code and these files."""
    return HASHES.of_training(step.notebook) + HASHES.of_files(step.files) if step.keeps else ""


def marked(step):
    """The outputs of a rule; what is kept is not deleted before the step runs."""
    mark = update if set(step.keeps) & set(step.outputs) else str
    return [mark(path) for path in step.makes]


localrules:
    all,
    book,


onstart:
    try:  # the operating system's lock; Snakemake's own outlives a killed workflow, so --nolock goes with it
        HELD.enter_context(file_lock(Path(RUNS, ".workflow.lock"), f"the workflow of profile {NAME}"))
    except RAError as error:
        sys.exit(str(error))


rule all:  # its inputs are made again where they were deleted, those of other rules only where these run
    default_target: True
    input:
        [path for step in STEPS for path in step.outputs],
        f"{RUNS}/book.done",


rule book:
    input:
        [path for step in STEPS for path in step.outputs],
        sorted(map(str, Path("notebooks").glob("*.ipynb"))),  # whose text the pages show
        sorted(map(str, Path().glob("r*s/benchmarks/*.json"))),  # of runs and of results: shown where they are there
        [str(path) for path in sources(Path("book"))],
    output:
        touch(f"{RUNS}/book.done"),
    params:
        HASHES.of_module("ra_book.book"),
    shell:
        f"{PYTHON} -m ra_book.book {NAME} --output {RUNS}"


for name, same in groupby(sorted(STEPS, key=lambda step: step.rule), key=lambda step: step.rule):
    same = list(same)
    first = same[0]

    rule:
        name:
            name
        input:
            of(same, lambda step: step.inputs),
            notebook=ancient(f"notebooks/{first.notebook}.ipynb"),  # its cells are in the hash, its text in the book
        output:
            *marked(first)[:-1],
            notebook=marked(first)[-1],
        wildcard_constraints:
            **{key: "|".join({re.escape(step.wildcards[key]) for step in same}) for key in first.wildcards},
        params:
            of(same, lambda step: step.settings),
            HASHES.of_notebook(first.notebook),
            of(same, lambda step: HASHES.of_files(step.files)),
            given=of(same, lambda step: step.given),
            made=of(same, made),
            keeps=of(same, lambda step: list(step.keeps)),
        threads: THREADS
        priority: PRIORITIES.get(name, OTHERS)
        resources:
            **{name: most for name, most in first.resources.items() if CLUSTER or not name.startswith("gpu")},
        log:
            notebook=first.makes[-1].replace("/notebooks/", "/notebooks/running/"),
        shell:
            EXECUTE  # the same for all, as Snakemake looks a name up when a job runs, long after this loop
