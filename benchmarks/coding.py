"""Times the coding step (encode, decode, rate) of a batch against the published way of doing it.

`python benchmarks/coding.py` writes runs/benchmarks/coding.json and prints a table. The published way writes each
picture as PNG, calls the coder and the decoder through a shell, reads the decoded PNG and asks
`cat FILE | wc -c` for the rate, one picture at a time. Both ways use the same coder and settings here, and must
give the same pixels and bytes.

Their coder is a C program; ours is Python (`coder.py`), which takes longer to start. So the published way is timed
once more with the program's work done in this process, after starting a small C program through the shell in its
stead: `ratio_c` is what the ratio would be had the coder been written in C. Where real C programs are on the PATH
(Debian: libheif-examples, libjpeg-turbo-progs) they are timed as well: `ratio_programs`. They bring their own versions
of the libraries, so their bytes and pixels may differ a little; by how much is reported. All timings of a round follow
one another, so that a busy machine slows all of them.
"""

import argparse
import os
import shlex
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import coder
import numpy as np
import torch
from PIL import Image
from timing import about, spread, timed

from ra_core.codecs import load_codec
from ra_core.codecs.base import Codec
from ra_core.cores import cores
from ra_core.data import cifar10
from ra_core.files import write_json

TARGET = 10  # how many times as fast our way is to be
RATIOS = {"published": "ratio", "published_c": "ratio_c", "programs": "ratio_programs"}  # by way: theirs over ours
QUALITIES = {"jpeg": 10, "heic": 34, "webp": 20, "avif": 40}
PROGRAMS = {  # the file they read and write, and how they are called; Pillow keeps quantisers below 256 as well
    "jpeg": (".ppm", "cjpeg -baseline -quality {quality} -outfile {coded} {source}", "djpeg -outfile {result} {coded}"),
    "heic": (".png", "heif-enc {settings} -o {coded} {source}", "heif-convert --quiet {coded} {result}"),
}


def sample_pictures(count: int, side: int) -> list[np.ndarray]:
    """Return pictures (side, side, 3): shipped ones, enlarged and laid out as a mosaic of 4 x 4."""
    images = cifar10.load("shipped", "test").images[: 16 * count].permute(0, 2, 3, 1).numpy()
    tile = side // 4
    tiles = np.stack([Image.fromarray(image).resize((tile, tile), Image.Resampling.BICUBIC) for image in images])
    grid = tiles.reshape(count, 4, 4, tile, tile, 3).transpose(0, 1, 3, 2, 4, 5)
    return list(np.ascontiguousarray(grid.reshape(count, 4 * tile, 4 * tile, 3)))


def our_way(codec: Codec, quality: float, pictures: list, threads: int | None = None) -> tuple[list, list]:
    """Code a batch in memory; return decoded pictures and bits a pixel."""
    files = codec.encode(pictures, quality, threads)
    decoded = codec.decode(files, threads)
    return decoded, [8 * len(file) / picture[..., 0].size for file, picture in zip(files, pictures, strict=True)]


def published_way(
    codec: Codec, quality: float, pictures: list, folder: Path, run: Callable, kind: str = ".png"
) -> tuple[list, list]:
    """Code a batch as the published code does: files, shell, one picture after the other."""
    decoded, rates = [], []
    for number, picture in enumerate(pictures):
        names = (f"{number}{kind}", f"{number}{codec.suffix}", f"{number}_out{kind}")
        source, coded, result = (str(folder / name) for name in names)
        Image.fromarray(picture).save(source)
        run("encode", codec.name, str(quality), source, coded)
        run("decode", codec.name, coded, result)
        decoded.append(np.asarray(Image.open(result)))
        with os.popen(f"cat {shlex.quote(coded)} | wc -c") as answer:
            rates.append(8 * int(answer.read()) / picture[..., 0].size)
    return decoded, rates


def as_program(*arguments: str) -> None:
    """Start the coder through a shell."""
    shell(shlex.join([sys.executable, coder.__file__, *arguments]))


def as_if_in_c(*arguments: str) -> None:
    """Start a C program that does nothing through a shell, and do the coder's work here."""
    shell("cat /dev/null")
    coder.main(*arguments)


def real_programs(codec: Codec, quality: float) -> tuple[Callable, str] | None:
    """Return what starts the C programs of a codec with our settings, and the kind of file they take, if any."""
    kind, encode, decode = PROGRAMS.get(codec.name, ("", "", ""))
    if not (encode and shutil.which(encode.split()[0]) and shutil.which(decode.split()[0])):
        return None
    given = codec.describe()["settings"].get("enc_params", {}) | {"x265:qp": str(quality), "chroma": "420"}
    settings = " ".join(f"-p {key}={value}" for key, value in given.items())

    def run(task: str, name: str, *arguments: str) -> None:
        *_, source, target = (shlex.quote(argument) for argument in arguments)
        if task == "encode":
            shell(encode.format(quality=quality, settings=settings, source=source, coded=target))
        else:
            shell(decode.format(coded=source, result=target))

    return run, kind


def shell(command: str) -> None:
    if os.system(f"{command} >{os.devnull}"):
        raise SystemExit(f"this command failed: {command}")


def compare(codec: Codec, quality: float, pictures: list, rounds: int, folder: Path) -> dict:
    """Time all ways in turn; return seconds a batch, and their ratios round by round."""
    our_way(codec, quality, pictures)  # libraries are loaded
    ways = {"published": (as_program,), "published_c": (as_if_in_c,)}
    if programs := real_programs(codec, quality):
        ways["programs"] = programs
    seconds, unlike = {name: [] for name in ("ours", *ways)}, {}
    for _ in range(rounds):
        took, (decoded, rates) = timed(our_way, codec, quality, pictures)
        seconds["ours"].append(took)
        for name, way in ways.items():
            took, (found, found_rates) = timed(published_way, codec, quality, pictures, folder, *way)
            seconds[name].append(took)
            unlike[name] = differences(decoded, rates, found, found_rates)
            if name != "programs" and (found_rates != rates or unlike[name]["largest_level"]):
                raise SystemExit(f"{codec.name}: the two ways do not give the same pictures and rates.")
    ratios = {
        RATIOS[name]: spread([b / a for a, b in zip(seconds["ours"], seconds[name], strict=True)]) for name in ways
    }
    extra = {"programs_differ": unlike["programs"]} if programs else {}
    took = {f"{name}_s": spread(values) for name, values in seconds.items()}
    return {"bits_a_pixel": statistics.mean(rates), **took, **ratios, **extra}


def differences(decoded: list, rates: list, found: list, found_rates: list) -> dict[str, float]:
    """Return by how much other files and pictures differ from ours."""
    gaps = [np.abs(a.astype(int) - b[..., :3]) for a, b in zip(decoded, found, strict=True)]
    return {
        "bytes_percent": 100 * (sum(found_rates) / sum(rates) - 1),
        "mean_level": float(np.mean(gaps)), "largest_level": int(np.max(gaps)),
    }  # fmt: skip


def scaling(codec: Codec, quality: float, pictures: list, rounds: int, most: int) -> dict:
    """Return pictures encoded and decoded a second over 1 to `most` threads, and what they gain over one."""
    table = {}
    files = codec.encode(pictures, quality)
    for step, work, items in (("encode", codec.encode, (pictures, quality)), ("decode", codec.decode, (files,))):
        counts = range(1, most + 1)
        seconds = {threads: [] for threads in counts}
        for _ in range(rounds):
            for threads in counts:
                seconds[threads].append(timed(work, *items, threads)[0])
        rates = {n: len(pictures) / statistics.median(seconds[n]) for n in counts}
        table[step] = {str(n): {"pictures_s": rates[n], "gain": rates[n] / rates[1]} for n in counts}
    return table


def show(name: str, result: dict) -> None:
    """Print what was measured of a codec."""
    print(f"{name}: {result['bits_a_pixel']:.3f} bits a pixel; seconds a batch, and how many times as fast ours is:")
    for way, ratio in RATIOS.items():
        if ratio in result:
            print("  {} {median:.2f} s".format(way, **result[f"{way}_s"]), end=", ")
            print("{median:.1f} times ({low:.1f} to {high:.1f})".format(**result[ratio]))
    if unlike := result.get("programs_differ"):
        print("  the programs' files are {bytes_percent:+.1f} %, pixels {mean_level:.2f} levels off".format(**unlike))
    for step, counts in result["scaling"].items():
        line = ", ".join(f"{n}: {row['pictures_s']:.0f} (x {row['gain']:.2f})" for n, row in counts.items())
        print(f"  {step}, pictures a second by threads: {line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the coding step against the published way.")
    parser.add_argument("--codecs", nargs="+", default=["jpeg", "heic"], choices=list(QUALITIES))
    parser.add_argument("--batch", type=int, default=8, help="pictures a batch")
    parser.add_argument("--side", type=int, default=256, help="pixels, a multiple of 4")
    parser.add_argument("--rounds", type=int, default=5, help="timings of each way")
    parser.add_argument("--threads", type=int, default=cores(), help="most threads of the scaling")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/coding.json"))
    options = parser.parse_args()
    pictures = sample_pictures(options.batch, options.side)
    results = {}
    with tempfile.TemporaryDirectory(prefix="coding-") as folder:
        for name in options.codecs:
            codec, quality = load_codec(name), QUALITIES[name]
            results[name] = compare(codec, quality, pictures, options.rounds, Path(folder))
            results[name]["scaling"] = scaling(codec, quality, 4 * pictures, options.rounds, options.threads)
            results[name]["codec"] = codec.describe() | {"at": quality}
            show(name, results[name])
    batch = {"pictures": options.batch, "side": options.side, "rounds": options.rounds}
    found = {"batch": batch, "target": TARGET, "codecs": results}
    write_json(options.output, about(torch.device("cpu")) | found)
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
