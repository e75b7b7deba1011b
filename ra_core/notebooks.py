"""Execution of a notebook by papermill, with its parameters checked first.

`python -m ra_core.notebooks notebooks/03_train_processor.ipynb out.ipynb profile=quick task=sr mode=ra seed=0`
"""

import argparse
import os
import sys
from pathlib import Path

LEFT_OUT = "rfc3987_syntax"  # a grammar of web addresses, that nbformat can do without: two seconds of a start
sys.modules.setdefault(LEFT_OUT, None)

import nbformat  # noqa: E402
import papermill  # noqa: E402
from jupyter_client.manager import AsyncKernelManager  # noqa: E402
from nbclient.exceptions import DeadKernelError  # noqa: E402
from papermill.translators import PythonTranslator  # noqa: E402

import ra_core.human_yaml as human_yaml  # noqa: E402
from ra_core.errors import OutputError, ParameterError, RAError, exit_status  # noqa: E402
from ra_core.files import write_text  # noqa: E402
from ra_core.forked_kernels import folder_of_sockets  # noqa: E402
from ra_core.locks import file_lock  # noqa: E402
from ra_core.progress import BATCH_VARIABLE  # noqa: E402

TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}
KERNEL = {"kernel_name": "python3", "language": "python"}  # this Python, whatever kernel an editor has noted
PATIENCE = 120  # seconds for the last output of a cell; a busy machine takes more than the usual 4


class WholeFiles(papermill.iorw.LocalHandler):
    """Writes the executed copy, which papermill saves after each cell, whole or not at all."""

    def write(self, buf, path):
        write_text(path, buf)


papermill.iorw.papermill_io.register("/", WholeFiles())


def check_parameters(path: Path, given: dict) -> None:
    """Compare parameters with what the notebook's `parameters` cell declares.

    Raises `ParameterError` for a name it does not declare or a value of another type, or when it is no notebook.
    """
    try:
        cells = nbformat.read(path, as_version=4).cells
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", ())]
        found = PythonTranslator.inspect(tagged[0]) if tagged else ()
    except Exception as error:  # a damaged file can raise nearly anything
        raise ParameterError(f"{path} is not a notebook; name one of the folder notebooks/.") from error
    declared = {parameter.name: parameter.inferred_type_name for parameter in found}
    for name, value in given.items():
        if name not in declared:
            raise ParameterError(f"{path} has no parameter {name!r}; it takes {', '.join(declared) or 'none'}.")
        kind = declared[name]
        wrong_bool = isinstance(value, bool) and kind in ("int", "float")
        if wrong_bool or not isinstance(value, TYPES.get(kind, object)):
            raise ParameterError(f"{path}: parameter {name} = {value!r} is not allowed; give a value of type {kind}.")


def execute(path: Path, output: Path, parameters: dict) -> None:
    """Run a notebook with `parameters` and write the executed copy to `output`, also when a cell fails.

    Kernels talk over sockets in a folder of their own, so notebooks can run side by side without meeting on a port.
    Two processes never write the same copy: a job may outlive the workflow that sent it to a cluster. Behind the last
    cell, or when this is interrupted, the kernel is killed: no cell may leave anything to its exit.
    Raises `ParameterError` before anything runs, `OutputError` where another process writes `output` or the disk is
    full, or `RAError` naming the cell and its error.
    """
    path, output = Path(path), Path(output)
    if not path.is_file():
        said = "is no plain file" if path.exists() else "does not exist"
        raise ParameterError(f"{path} {said}; name a notebook of the folder notebooks/.")
    if output.is_dir():
        raise ParameterError(f"{output} is a folder; name a file for the executed copy.")
    check_parameters(path, parameters)

    class IPCKernelManager(AsyncKernelManager):
        def __init__(self, **kwargs):
            super().__init__(**kwargs | {"transport": "ipc", "ip": f"{sockets}/kernel"})

    os.environ[BATCH_VARIABLE] = "1"
    lock = output.with_name(f".{output.name}.lock")
    try:
        held = file_lock(lock, f"the notebook {output}")
        with held, folder_of_sockets() as sockets:
            papermill.execute_notebook(
                str(path), str(output.resolve()), parameters, progress_bar=False, log_output=True, **KERNEL,
                stdout_file=sys.stdout, stderr_file=sys.stderr, kernel_manager_class=IPCKernelManager,
                iopub_timeout=PATIENCE,
                shutdown_kernel="immediate",  # an orderly end takes two seconds
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        begins, reason = ((str(text).strip().splitlines() or [""])[0] for text in (error.source, error.evalue))
        raise RAError(
            f"{path} failed in cell [{error.exec_count}], which begins {begins!r}, with {error.ename}: "
            f"{reason.rstrip('.')} (the partly executed copy is {output})."
        ) from error
    except OSError as error:  # of what a kernel writes beside the copy
        raise OutputError(f"{path} could not be run ({error}); free some space, then run again.") from error
    except DeadKernelError as error:
        raise RAError(
            f"{path} lost its kernel, perhaps for want of memory (the partly executed copy is {output})."
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Run a notebook with its parameters. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(prog="python -m ra_core.notebooks", description=main.__doc__)
    parser.add_argument("notebook", type=Path, help="of the folder notebooks/")
    parser.add_argument("output", type=Path, help="file for the executed copy")
    parser.add_argument("parameters", nargs="*", metavar="name=value", help="the value as in YAML")
    given = parser.parse_args(arguments)
    return exit_status(lambda: execute(given.notebook, given.output, _parsed(given.parameters)))


def _parsed(arguments: list[str]) -> dict[str, object]:
    found = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        reason = "it is given twice" if name in found else "" if equals else "it has no ="
        try:
            found[name] = human_yaml.parse(value)
        except ValueError as error:
            reason = str(error)
        if reason:
            raise ParameterError(f"{argument!r} is no parameter ({reason}); write name=value, the value as in YAML.")
    return found


if __name__ == "__main__":
    sys.exit(main())
