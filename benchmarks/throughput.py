"""Times our training step and evaluation against the published way (`published.py`), on the machine at hand.

`python benchmarks/throughput.py` prints ratios with their spread and writes runs/benchmarks/throughput.json, which
the book's status page shows. Both ways get the same networks (the published SRResNet, ResNet-18 with random weights,
which take as long as trained ones), pictures (files of about 340 x 256 pixels, made from those that ship, cropped to
224) and batch, and take turns within each round, so that a busy machine slows both. Ours is `ra_core.training.fit`
itself with bf16 and channels-last, from the file to the updated weights.

On a GPU each way has its own best batch, and ours is set beside the same networks on tensors that lie ready on the
card (1 is a data path that costs nothing) and beside the card's bf16 peak. `--only crops` times how fast a core cuts
crops out of pictures that are kept decoded (`data.cache`) and out of their files, `--only processes` two processes
beside one.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from coding import sample_pictures
from loops import CLASSES, OurLoop, their_loop, their_seconds
from PIL import Image
from published import ssims, through_file
from throughput_gpu import BATCHES, Plan, time_gpu
from throughput_processes import time_processes
from timing import about, in_turn, timed

from ra_core.channels import Jpeg, from_arrays
from ra_core.channels.jpeg_tensors import through_jpeg
from ra_core.data import load_splits
from ra_core.errors import ParameterError
from ra_core.files import write_json
from ra_core.metrics import ssim
from ra_core.params import Data
from ra_core.training import pick_device

# What is asked for on two CPU cores with bf16 instructions, by what is timed.
TARGETS = {
    "sr ra": 1.6, "sr plain": 1.6, "dn ra": 3.5, "dn plain": 1.6, "jpeg ra": 3.5,
    "jpeg channel, of a core": 5, "SSIM": 20,
}  # fmt: skip
GPU_TARGET, READY = 5, 0.95
CORES, CROPS = 16, 10_000  # so many cores are to cut so many crops a second out of decoded pictures


def write_pictures(root: Path, count: int) -> None:
    """Write as many picture files of about 340 x 256 pixels for training as for validation."""
    pictures = [Image.fromarray(p).resize((341, 256)) for p in sample_pictures(min(count, 64), 256)]
    for part in ("train", "val"):
        for number in range(count):
            path = root / part / str(number % CLASSES) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            pictures[number % len(pictures)].save(path, quality=90)


def time_training(name: str, options, root: Path, scratch: Path, device: torch.device) -> dict:
    """Time the step of a task and mode on the CPU."""
    task, mode = name.split()
    ours = OurLoop(task, mode, root, scratch, options.batch, device)
    theirs = their_loop(task, mode, root, scratch, options.batch, device, workers=0)
    ours.seconds(0, 1), their_seconds(theirs, 0, 1)  # memory and kernels are chosen
    steps, pictures = options.steps, options.batch * options.steps
    found = in_turn(lambda: ours.seconds(0, steps), lambda: their_seconds(theirs, 0, steps), options.rounds)
    return found | {key: pictures / found[f"{key}_s"]["median"] for key in ("ours", "published")}


def time_evaluation(task: str, options, root: Path, scratch: Path, device: torch.device) -> dict:
    """Time evaluation from the file to the numbers, fp32 both."""
    ours = OurLoop(task, "ra", root, scratch, options.batch, device)
    theirs = their_loop(task, "ra", root, scratch, options.batch, device, workers=0)
    ours.evaluate(), theirs.evaluate()
    return in_turn(lambda: timed(ours.evaluate)[0], lambda: timed(theirs.evaluate)[0], options.rounds)


def time_parts(options, scratch: Path, device: torch.device) -> dict:
    """Time what is done to each picture beside the networks: SSIM and the JPEG channel, and check that they agree."""
    arrays = sample_pictures(16, 224)
    images, channel = from_arrays(arrays).to(device), Jpeg(10)
    pictures = [Image.fromarray(array) for array in arrays]

    def through_files():
        return torch.stack([through_file(p, scratch / f"{i}.jpeg") for i, p in enumerate(pictures)])

    decoded = channel(images)
    if not torch.equal(decoded.cpu(), through_files()):
        raise SystemExit("the two JPEG channels do not give the same pictures.")
    gap = (ssim(decoded, images).cpu() - torch.tensor(ssims(decoded, images))).abs().max().item()
    if gap > 1e-4:
        raise SystemExit(f"the two ways of SSIM differ by {gap:.2g}.")

    def both(ours, theirs, rounds: int, tick=time.perf_counter) -> dict:
        return in_turn(lambda: timed(ours, tick=tick)[0], lambda: timed(theirs, tick=tick)[0], rounds)

    def code():
        return channel(images)

    def tensors(count: int, side: int, times: int) -> dict:
        batch = from_arrays(sample_pictures(count, side)).to(device)

        def computed():
            return [through_jpeg(batch, 10, "4:2:0").sum().item() for _ in range(times)]

        def coded():
            return [channel.transmit(batch)[0].sum().item() for _ in range(times)]

        if computed() != coded():
            raise SystemExit("JPEG in tensors does not give the pictures of Pillow.")
        return both(computed, coded, options.rounds + 4, time.process_time)

    return {
        "jpeg in tensors beside Pillow, of a core, 32 pixels": tensors(32, 32, 20),
        "jpeg in tensors beside Pillow, of a core, 224 pixels": tensors(64, 224, 1),
        "SSIM": both(lambda: ssim(decoded, images).sum().item(), lambda: ssims(decoded, images), options.rounds),
        "jpeg channel": both(code, through_files, options.rounds + 4),
        # What other cores and the disk do is not counted.
        "jpeg channel, of a core": both(code, through_files, options.rounds + 4, time.process_time),
    }


def time_crops(folder: Path, rounds: int, count: int = 100, batch: int = 50) -> dict:
    """Time random crops of 224 pixels, of decoded pictures and of JPEG files of 500 x 375, of a core."""
    (folder / "jpeg").mkdir(parents=True)
    for number, picture in enumerate(sample_pictures(count, 500)):
        Image.fromarray(picture[:375]).save(folder / "jpeg" / f"{number}.jpg", quality=90)

    def loaded(kind: str):
        data = Data(kind="folder", source="jpeg", test_share=0.1, validation_share=0.1, cache=kind)
        return load_splits(data, ("train",), folder, folder / "runs")["train"]

    def read(pictures, batches: int) -> list[torch.Tensor]:
        orders = [torch.randperm(len(pictures), generator=torch.Generator().manual_seed(n)) for n in range(batches)]
        return [pictures.training_batch(order[:batch], torch.Generator().manual_seed(7))[0] for order in orders]

    rows, files, few, many = {}, loaded("none"), 2, 40
    for kind in ("memory", "disk"):
        kept = loaded(kind)
        if not all(map(torch.equal, read(kept, many), read(files, many))):
            raise SystemExit("the crops of decoded pictures are not those of their files.")
        row = in_turn(
            lambda kept=kept: timed(read, kept, many, tick=time.process_time)[0] / many,
            lambda: timed(read, files, few, tick=time.process_time)[0] / few,
            rounds,
        )
        rates = {key: batch / row[f"{key}_s"]["median"] for key in ("ours", "published")}
        rows[f"crops, data.cache: {kind}, of a core"] = row | rates
    return rows


def line(name: str, row: dict, target: float | None) -> str:
    low, middle, high = (row["ratio"][key] for key in ("low", "median", "high"))
    wanted = f", at least {target:g} x is wanted" if target else ""
    rates = f": {row['ours']:.2f} against {row['published']:.2f} pictures/s" if "ours" in row else ""
    most = f"; {row['apart']['median']:.2f} x where they tell each other nothing" if "apart" in row else ""
    return f"{name}: {middle:.2f} x ({low:.2f} to {high:.2f}{wanted}){rates}{most}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time training and evaluation against the published way.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--only", nargs="+", help="some of the names that are printed")
    parser.add_argument("--batch", type=int, default=4, help="pictures a step on the CPU")
    parser.add_argument("--steps", type=int, default=1, help="steps of each way in a round on the CPU")
    parser.add_argument("--gpu-steps", type=int, default=40, help="steps of each way in a round on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/throughput.json"))
    options = parser.parse_args()
    os.environ["RA_BATCH"] = "1"  # no bar
    try:
        device = pick_device(options.device)
    except ParameterError as error:
        parser.error(str(error))
    here, started = torch.device("cpu"), time.perf_counter()
    results: dict[str, dict] = {"training": {}, "parts": {}, "gpu": {}}

    def wanted(name: str) -> bool:
        return not options.only or name in options.only

    def keep(part: str, name: str, row: dict, target: float | None) -> None:
        results[part][name] = row | {"target": target}
        print(line(name, row, target), flush=True)

    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        root, scratch = Path(folder) / "pictures", Path(folder) / "scratch"
        scratch.mkdir()
        write_pictures(root, max(BATCHES) if device.type == "cuda" else 4 * CLASSES)
        for task in ("sr", "dn", "jpeg") if device.type == "cuda" else ():
            if wanted(f"{task} ra"):
                plan = Plan(options.gpu_steps, options.rounds)
                row = time_gpu(task, plan, root, scratch, device) | {"ready_target": READY}
                stated = f", {row['of_peak']:.0%} of the card's" if row["of_peak"] else ""
                keep("gpu", f"{task} ra", row, GPU_TARGET)
                print(
                    f"  batch {row['batch']} against {row['published_batch']}; {row['ready']['median']:.0%} of the "
                    f"speed on ready tensors ({READY:.0%} is wanted); {row['tflops']:.0f} TFLOP/s, "
                    f"{row['of_product']:.0%} of a large bf16 product{stated}"
                )
        if device.type != "cuda":
            print("No CUDA device is used, so the step on a GPU is not timed.")
            for name in ("sr ra", "sr plain", "dn ra", "dn plain", "jpeg ra"):
                if wanted(name):
                    keep("training", name, time_training(name, options, root, scratch, here), TARGETS[name])
        if wanted("evaluation"):
            keep("parts", "sr evaluation", time_evaluation("sr", options, root, scratch, device), None)
        rows = time_parts(options, scratch, device) if wanted("parts") else {}
        rows |= time_processes(root, scratch, options.rounds + 2) if wanted("processes") else {}
        for name, row in rows.items():
            keep("parts", name, row, row.get("target", TARGETS.get(name)))
        if wanted("crops"):
            for name, row in time_crops(Path(folder) / "crops", options.rounds).items():
                keep("parts", name, row, None)
                product = f"{CORES} cores: {CORES * row['ours']:,.0f} against {CORES * row['published']:,.0f} crops/s"
                print(f"  {product}, at least {CROPS:,} are wanted")
    settings = {"batch": options.batch, "steps": options.steps, "rounds": options.rounds}
    seconds = time.perf_counter() - started
    write_json(options.output, about(device) | {"settings": settings} | results | {"seconds": seconds})
    print(f"{seconds:.0f} s; written to {options.output}")


if __name__ == "__main__":
    main()
