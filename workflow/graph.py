"""The steps of a profile as data: which notebook is executed with what, after which others, and what it leaves.

`python -m workflow.graph PROFILE` lists them. A step is executed again when a parameter, the meaning of its code
(`workflow.code`) or the content of a file that it reads has changed, and when a step before it was.
"""

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from ra_book.sections import report_files
from ra_core.errors import exit_status
from ra_core.judges import members_of
from ra_core.params import Profile, load_profile
from ra_core.runs import Run, needed, planned

TRAINING = ("train_processor", "train_preprocessor")  # rules
MEASURED = ("rates", "bd", "cost", "same_bytes", "filters")  # tables of a codec

# Of rules that may begin the highest goes first: what the book is about is there early, and no long step is the last.
PRIORITIES = {
    "cross_evaluate": 5, "train_processor": 4,
    "train_preprocessor": 3, "rate_accuracy": 3,  # what the longest wait for, and these
    "train_proxy": 2,  # long, and nothing waits for it but the report
    "report": 0, "reference_results": 0,  # short, beside the last
}  # fmt: skip
OTHERS = 1


@dataclass(frozen=True)
class Step:
    """One execution of a notebook.

    `rule` is the name of its kind in the workflow. `makes` are its files, with names of `wildcards` in braces where
    several steps are of one kind; the executed copy is the last of them. `parameters` are the notebook's beside
    `profile`, `settings` the other values that its result depends on, `files` what it reads that no step makes. A step
    that `keeps` paths leaves them alone when only its page is drawn anew, as they took hours; they are deleted when
    what makes them has changed. `resources` are what it asks of a cluster: minutes, MB and perhaps a GPU.
    """

    rule: str
    notebook: str
    makes: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    wildcards: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, object] = field(default_factory=dict)
    settings: object = None
    files: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    resources: dict[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the executed copy: that of the notebook and what tells it from others of its kind."""
        return "-".join([self.notebook, *self.wildcards.values()])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The paths of the files that it makes."""
        return tuple(path.format(**self.wildcards) for path in self.makes)

    @property
    def given(self) -> str:
        """The parameters as they are written behind the notebook on a command line."""
        return " ".join(f"{name}={value}" for name, value in self.parameters.items() if value is not None)


def steps_of(profile: Profile) -> list[Step]:
    """Return every step of a profile, each after those that it waits for."""
    runs, dumped = f"runs/{profile.name}", profile.model_dump(mode="json")
    restoring = [] if profile.processors else [run for task in profile.tasks for run in planned(profile, task)]
    coding = [run for dataset in profile.learning for run in planned(profile, dataset)]

    def settings(*fields: str) -> dict:
        return {name: dumped[name] for name in fields}

    steps = [
        Step(
            "photographs", "13_photographs", (),
            # Few where everything is tiny, as in the profile smoke.
            parameters={"pictures": min(20, dumped["data"]["test_per_class"] or 20)},
            files=tables_of("photos", "photos_transformer"), resources=asks(1, 16),
        ),
        Step(
            "study", "14_study", (), resources=asks(1, 16),
            files=("ra_book/study.html", *(path.as_posix() for path in sorted(Path(runs).glob("study/choices/*.csv")))),
        ),
        Step(
            "data_and_channels", "01_data_and_channels", (f"{runs}/data.json",),
            settings=[settings("data", "channels"), list(profile.tasks)], resources=asks(1, 16),
        ),
        Step(
            "recognizers", "02_recognizers", (f"{runs}/recognizers.csv",), files=shipped(*profile.recognizers),
            settings=settings("data", "source", "unseen"), resources=asks(4, 32, profile),
        ),
        *(_train_processor(profile, runs, run) for run in restoring),
        *_train_proxy(profile, runs),
        *(_train_preprocessor(profile, runs, run) for run in coding),
    ]  # fmt: skip
    for task in profile.tasks:
        judged = planned(profile, task)
        steps.append(Step(
            "cross_evaluate", "04_cross_evaluate",
            tuple(f"{runs}/{{task}}/{name}" for name in ("accuracy.csv", "paired.csv", "answers.npz")),
            inputs=() if profile.processors else finished(runs, judged),
            wildcards={"task": task}, parameters={"task": task},
            files=shipped(*profile.recognizers) + (kept(judged) if profile.processors else ()),
            settings=settings("data", "channels", "processors", "source", "unseen", "evaluation_batch"),
            resources=asks(8, 32, profile),
        ))  # fmt: skip
    judged = [output for step in steps if step.rule == "cross_evaluate" for output in step.outputs]
    steps += [
        _across_sources(profile, runs, "15_transfer", ("transfer", "later"), judged),
        _across_sources(profile, runs, "16_boundaries", ("boundaries", "prediction"), judged),
    ]
    for dataset in profile.preprocessing:
        steps += _coding_steps(profile, runs, dataset)
    steps = with_pages(runs, steps)
    return steps + with_pages(runs, _last_steps(profile, runs, steps))


def _across_sources(profile: Profile, runs: str, notebook: str, tables: tuple[str, ...], judged: list[str]) -> Step:
    """Return the step of some tables: measured where modes learn from several judges, else what is kept is shown."""
    rule = notebook.partition("_")[2]
    others = ["transfer", "sources"]
    others += ["objectives", "objectives_strong", "photos_sources", "photos_sources_dn_jpeg"] * (rule == "transfer")
    shown = tables_of(*(name for name in others if name != profile.name))  # its own are what it makes
    if not profile.compares_sources:
        return Step(rule, notebook, (), files=shown, resources=asks(1, 16))
    return Step(
        rule, notebook, tuple(f"{runs}/{name}.csv" for name in tables), tuple(judged),
        files=shipped(*profile.recognizers) + shown, resources=asks(8, 32, profile),
    )  # fmt: skip


def with_pages(runs: str, steps: list[Step]) -> list[Step]:
    """Return steps whose executed copies are among what they make."""
    names = ["-".join([step.notebook, *map("{{{}}}".format, step.wildcards)]) for step in steps]
    pages = [f"{runs}/notebooks/{name}.ipynb" for name in names]
    return [replace(step, makes=(*step.makes, page)) for step, page in zip(steps, pages, strict=True)]


def finished(runs: str, chosen: list[Run]) -> tuple[str, ...]:
    """Return the files with which runs are complete."""
    return tuple(f"{runs}/{run.name}/run.json" for run in chosen)


def kept(chosen: list[Run]) -> tuple[str, ...]:
    """Return the files of finished runs that no step makes."""
    return tuple(os.path.relpath(path) for run in chosen for path in sorted(run.folder.iterdir()))


def tables_of(*profiles: str) -> tuple[str, ...]:
    """Return the tables of profiles that were measured once and are kept."""
    return tuple(str(path) for name in profiles for path in sorted(Path("results", name).glob("*.csv")))


def asks(hours: int, memory_gb: int, profile: Profile | None = None) -> dict[str, object]:
    """Return what a step asks of a cluster; a GPU where it computes on the device of a profile, and that may be one."""
    gpu = {"gpu": 1, "gpu_manufacturer": "nvidia"} if profile and profile.device in ("auto", "cuda") else {}
    return {"runtime": 60 * hours, "mem_mb": 1000 * memory_gb, **gpu}


def shipped(*names: str) -> tuple[str, ...]:
    """Return the files of networks that ship, and of judges that are files; others lie elsewhere."""
    places = ("ra_core/assets/*s", "judges")
    return tuple(str(path) for name in names for place in places for path in sorted(Path().glob(f"{place}/{name}.*")))


def _train_processor(profile: Profile, runs: str, run: Run) -> Step:
    given = {name: run.parameters[name] for name in ("task", "mode", "seed")} | {"steps": 10}  # by hand, unwatched
    step = _training("train_processor", "03_train_processor", profile, runs, run, given)
    waits = run.before and "plain" in profile.modes  # else its own notebook trains that
    inputs = finished(runs, [run.before]) if waits else ()
    return replace(step, inputs=inputs)


def _train_preprocessor(profile: Profile, runs: str, run: Run) -> Step:
    """Return the step of a training around a codec."""
    given = {name: run.parameters[name] for name in ("dataset", "codec", "method", "quality", "seed")}
    step = _training("train_preprocessor", "07_train_preprocessor", profile, runs, run, given)
    if "learned_proxy" not in run.parameters:
        return step
    proxy, compared = shipped(f"{profile.proxy.name.lower()}-*"), f"{runs}/{given['dataset']}/agreement.csv"
    return replace(step, files=step.files + proxy, inputs=(compared,))


def _training(rule: str, notebook: str, profile: Profile, runs: str, run: Run, given: dict) -> Step:
    wildcards = dict(zip(("place", "method", "seed"), run.name.split("/"), strict=True))
    return Step(
        rule, notebook, (f"{runs}/{{place}}/{{method}}/{{seed}}/run.json",), wildcards=wildcards, parameters=given,
        settings=run.parameters, files=shipped(*members_of(run.parameters["source"])),
        keeps=(f"{runs}/{run.name}/run.json",), resources=asks(24, 32, profile),
    )  # fmt: skip


def _train_proxy(profile: Profile, runs: str) -> list[Step]:
    """Return the step of the learned proxy, which is compared with the codecs of every data set that trains."""
    if not profile.learning:
        return []
    compared = {
        name: [own.transfer, {codec: [ladder.curve, ladder.proxy] for codec, ladder in own.codecs.items()}]
        for name, own in profile.learning.items()
    }
    return [Step(
        "train_proxy", "06_train_proxy", tuple(f"{runs}/{name}/agreement.csv" for name in profile.learning),
        settings=[profile.proxy.model_dump(mode="json"), compared], files=shipped(f"{profile.proxy.name.lower()}-*"),
        keeps=(f"{runs}/proxies",), resources=asks(24, 32, profile),
    )]  # fmt: skip


def _coding_steps(profile: Profile, runs: str, dataset: str) -> list[Step]:
    """Return the measurements of a data set: every codec, and those with both ends once more."""
    settings, steps = profile.coding(dataset), []
    for codec in settings.all_codecs:
        given, judged = {"dataset": dataset, "codec": codec}, needed(profile, dataset, codec)
        steps.append(Step(
            "rate_accuracy", "08_rate_accuracy",
            tuple(f"{runs}/{{dataset}}/{name}-{{codec}}.csv" for name in MEASURED),
            inputs=() if settings.trained else finished(runs, judged), wildcards=given, parameters=given,
            settings=settings.model_dump(mode="json"),
            files=shipped(*settings.judges) + (kept(judged) if settings.trained else ()),
            resources=asks(24, 32, profile),
        ))  # fmt: skip
    measured = {step.wildcards["codec"]: step.outputs for step in steps}
    for codec in settings.both_ends:
        given = {"dataset": dataset, "codec": codec}
        steps.append(Step(
            "both_ends", "09_both_ends", (), inputs=measured[codec],
            wildcards=given, parameters=given | {"seed": profile.seeds[0]}, files=("book/drawings/both_ends.svg",),
            resources=asks(4, 16, profile),
        ))  # fmt: skip
    return steps


def _last_steps(profile: Profile, runs: str, steps: list[Step]) -> list[Step]:
    """Return what puts the results of all other steps together."""
    tables = [
        step.outputs if step.rule == "train_proxy" else step.outputs[:1]
        for step in steps
        if step.rule in ("train_proxy", "cross_evaluate", "rate_accuracy", "both_ends")
    ]
    measured, small = sum(tables, ()), asks(1, 16)
    merged = ("accuracy", "paired", *(("rate_accuracy", "bd_rate") if profile.preprocessing else ()))
    return [
        Step(
            "report", "05_report",
            (*(f"{runs}/{name}.csv" for name in merged), *(f"{runs}/report/{name}" for name in report_files(profile))),
            measured, files=("book/published.csv",), resources=small,
        ),
        Step(
            "reference_results", "11_reference_results", (), measured,
            files=tuple(str(path) for path in sorted(Path("results").glob("*/*"))), resources=small,
        ),
        Step(
            "planning", "12_planning", (f"{runs}/planning.csv",),
            tuple(path for step in steps if step.rule in TRAINING for path in step.keeps),  # whose rates it reads
            files=tuple(
                str(path)
                for kind in ("params/*.yaml", "results/*/trainings.csv") for path in sorted(Path().glob(kind))
            ), resources=small,
        ),
    ]  # fmt: skip


def main(profile: str) -> None:
    """Print the steps of a profile, each with what it waits for and makes."""
    for step in steps_of(load_profile(profile)):
        print(f"{step.name}: {step.given or 'profile alone'}", *(f"  {path}" for path in step.outputs), sep="\n")


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(*sys.argv[1:])))
