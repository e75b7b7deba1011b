"""Execution of a notebook by papermill, with its parameters checked first.

`python -m ra_core.notebooks notebooks/03_train_processor.ipynb out.ipynb profile=quick task=sr mode=ra seed=0`
"""

import os
import sys
from pathlib import Path

import yaml

from ra_core.errors import ParameterError, RAError
from ra_core.progress import BATCH_VARIABLE

TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}


def check_parameters(path: Path, given: dict) -> None:
    """Compare parameters with what the notebook's `parameters` cell declares.

    Raises `ParameterError` for a name it does not declare or a value of another type.
    """
    import papermill

    declared = papermill.inspect_notebook(str(path))
    for name, value in given.items():
        if name not in declared:
            raise ParameterError(f"{path} has no parameter {name!r}; it takes {', '.join(declared)}.")
        kind = declared[name]["inferred_type_name"]
        allowed = TYPES.get(kind)
        wrong_bool = isinstance(value, bool) and kind in ("int", "float")
        if allowed and (wrong_bool or not isinstance(value, allowed)):
            raise ParameterError(f"{path}: parameter {name} = {value!r} is not allowed; give a value of type {kind}.")


def execute(path: Path, output: Path, parameters: dict) -> None:
    """Run a notebook with `parameters` and write the executed copy to `output`, also when a cell fails.

    Kernels talk over IPC, so notebooks can run side by side without meeting on a port.
    Raises `ParameterError` before anything runs, or `RAError` naming the cell and its error.
    """
    path, output = Path(path), Path(output)
    if not path.exists():
        raise ParameterError(f"{path} does not exist; name a notebook of the folder notebooks/.")
    check_parameters(path, parameters)
    import papermill
    from jupyter_client.manager import AsyncKernelManager

    class IPCKernelManager(AsyncKernelManager):
        def __init__(self, **kwargs):
            super().__init__(**kwargs | {"transport": "ipc"})

    os.environ[BATCH_VARIABLE] = "1"
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(path), str(output), parameters, progress_bar=False, log_output=True,
            stdout_file=sys.stdout, stderr_file=sys.stderr, kernel_manager_class=IPCKernelManager,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        said = str(error.evalue).strip().splitlines() or [""]
        raise RAError(
            f"{path} failed in cell {error.cell_index} with {error.ename}: {said[0]} (the executed copy is {output})"
        ) from error


def main(arguments: list[str]) -> int:
    """Run `NOTEBOOK OUTPUT name=value ...`; values are YAML. Return 0, or 1 after one sentence."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        pairs = [argument.partition("=") for argument in arguments[2:]]
        execute(Path(arguments[0]), Path(arguments[1]), {name: yaml.safe_load(value) for name, _, value in pairs})
    except RAError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
