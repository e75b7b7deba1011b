"""`python -m ra_core.apply INPUT OUTPUT`: a run (`--run`), or a codec alone, on a folder of pictures."""

import argparse
import sys
from pathlib import Path

from ra_core.apply.folder import apply
from ra_core.errors import exit_status


def main(arguments: list[str] | None = None) -> int:
    """Apply a run or a codec to a folder. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m ra_core.apply", description="Apply a run, or a codec alone, to a folder of pictures."
    )
    parser.add_argument("source", type=Path, metavar="INPUT", help="folder of pictures")
    parser.add_argument("target", type=Path, metavar="OUTPUT", help="folder for the results, outside of INPUT")
    parser.add_argument("--run", type=Path, help="folder of a preprocessor's or processor's run; else the codec alone")
    parser.add_argument("--codec", help="codec of the standard files (default: the run's; a processor: PNG only)")
    parser.add_argument("--quality", type=float, help="in the codec's own unit (default: the run's)")
    parser.add_argument("--strength", type=float, help="of an adaptive preprocessor (default: by the quality)")
    parser.add_argument("--transformer", action="store_true", help="apply the processor's transformer too")
    parser.add_argument("--workers", type=int, help="pictures at once (default: one a core, at most four)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    given = vars(parser.parse_args(arguments))
    return exit_status(lambda: apply(**given))


if __name__ == "__main__":
    sys.exit(main())
