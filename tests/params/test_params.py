from pathlib import Path

import pytest
from refusal import refusal

from ra_core.errors import ParameterError
from ra_core.methods import restoring
from ra_core.params import Network, Task, Training, base, coding, data, header, load_profile, profile, profile_model
from ra_core.registry import load_extensions

HUB = Path(__file__).parents[2] / "params"
PROFILES = sorted(path.stem for path in HUB.glob("*.yaml"))
TASKS = ("sr", "dn", "jpeg")


# The profiles of the project


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_valid_and_its_first_line_runs_it(name):
    profile, text = load_profile(name, folder=HUB), (HUB / f"{name}.yaml").read_text()
    assert profile.name == name
    assert header(name, text)[0] == (f"make {name}" if name == "smoke" else f"make book PROFILE={name}")


@pytest.mark.parametrize(("name", "tasks"), [("smoke", ("sr",)), ("quick", TASKS)])
def test_what_runs_without_network_asks_for_nothing_from_it(name, tasks):
    profile = load_profile(name, folder=HUB)
    assert profile.data.source == "shipped" and (tuple(profile.tasks), profile.modes) == (tasks, restoring()[:4])
    assert profile.recognizers == ["resnet20", "resnet26", "vgg8", "densenet17", "mobilenet"]


def test_imagenet_is_the_published_recipe():
    profile = load_profile("imagenet", folder=HUB)
    said = header("imagenet", (HUB / "imagenet.yaml").read_text())[1]
    assert "keeps 1,000 of the 1,281,167 training pictures" in said and profile.data.validation_per_class == 1
    assert profile.recognizers[:5] == ["resnet18", "resnet50", "resnet101", "densenet121", "vgg16_bn"]
    assert profile.recognizers[5:] == ["convnext_tiny", "vit_b_16", "swin_t"] and profile.is_published_setting
    assert (profile.data.kind, profile.data.resize, profile.data.crop) == ("folder", 256, 224)
    assert profile.data.train_per_class == profile.data.test_per_class == 0  # all
    assert profile.channels.model_dump() == {"factor": 4, "sigma": 0.1, "quality": 10}
    assert (tuple(profile.tasks), profile.modes) == (TASKS, ["plain", "ra", "ra_transformer", "ra_unsupervised"])
    for name, task in profile.tasks.items():
        assert task == Task(processor=Network(name="SRResNet"), transformer=Network(name="ResnetGenerator"))
        training = task.training
        assert (training.lr, training.batch, training.schedule) == (1e-4, 20, "drops")
        assert training.drops == [4 / 6, 5 / 6] and training.precision == "fp32"
        assert training.length(1_281_167) == 6 * 64_059
        assert {mode: profile.mode(mode, name).weight for mode in profile.modes} == {
            "plain": 0, "ra": 1e-3, "ra_transformer": 1e-2,
            "ra_unsupervised": 10 / 1000,  # published on the mean over the classes, ours is on their sum
        }  # fmt: skip


def test_imagenet_fast_and_its_sweep_differ_in_means_alone():
    names = ("imagenet", "imagenet_fast", "imagenet_sweep")
    published, fast, sweep = (load_profile(name, folder=HUB) for name in names)
    for key in ("data", "channels", "source"):
        assert getattr(fast, key) == getattr(sweep, key) == getattr(published, key)
    assert (fast.modes, fast.seeds, fast.unseen) == (published.modes, published.seeds, published.unseen)
    for name, task in fast.tasks.items():
        assert (task.processor, task.transformer) == (published.task(name).processor, published.task(name).transformer)
        training = task.training
        assert training == sweep.task(name).training and training.compile and training.precision == "bf16"
        assert training.lr == pytest.approx(1e-4 * (training.batch / 20) ** 0.5, rel=0.02)
        assert training.length(1_280_000) == 6 * 10_000
    weights = [sweep.mode(mode, "sr").weight for mode in sweep.modes]
    assert weights == [0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
    for changes in (
        {"channels": {"quality": 75}}, {"data": {"crop": 96}}, {"source": "resnet34"},
        {"tasks": {"dn": {"processor": {"width": 32}}}}, {"tasks": {"sr": {"transformer": {"blocks": 2}}}},
    ):  # fmt: skip
        assert not load_profile("imagenet", changes, folder=HUB).is_published_setting


def test_pictures_are_called_as_their_data_set_or_their_folder(write):
    titles = {"cifar10": "CIFAR-10", "cifar10_odd": "the odd classes of CIFAR-10", "cells": "solar cells"}
    for kind, title in titles.items():
        assert write(f"data: {{kind: {kind}}}\n").data.title == title
    assert write("data: {kind: folder, source: my/birds/train}\n").data.title == "birds"


def test_photos_has_networks_of_the_published_size_and_tests_on_a_folder_of_its_own(empty_project):
    profile = load_profile("photos", folder=HUB)
    assert (tuple(profile.tasks), profile.data.title) == (TASKS, "photos")
    assert profile.modes == ["plain", "ra", "ra_unsupervised"]
    assert profile.recognizers == [f"efficientnet_lite{i}" for i in range(3)]
    assert (profile.data.source, profile.data.test) == ("data/photos/train", "data/photos/test")
    assert {(task.processor, task.transformer) for task in profile.tasks.values()} == {(Network(), Task().transformer)}


def test_what_a_profile_leaves_out_is_the_published_recipe(write):
    assert write("").model_dump() == write("# nothing\n").model_dump()
    assert write("").task("dn").training == Training(epochs=None, steps=None, batch=20, lr=1e-4, drops=[4 / 6, 5 / 6])
    training = write("tasks: {sr: {training: {epochs: 30}}}").task("sr").training  # published for small data
    assert training.length(5000) == 30 * 250 and [round(drop * 30) for drop in training.drops] == [20, 25]


def test_every_number_is_described():
    known = [model for module in (base, coding, data, profile) for model in vars(module).values()]
    models = {model for model in known if isinstance(model, type) and issubclass(model, base.Strict)}
    undescribed = [
        (model.__name__, name)
        for model in {*models, type(profile_model()(name="x").channels)}
        for name, field in model.model_fields.items()
        if any(kind in str(field.annotation) for kind in ("int", "float")) and not field.description
    ]
    assert len(models) > 9 and undescribed == []


# What a profile means


@pytest.mark.parametrize(
    ("training", "pictures", "steps"),
    [
        ({}, 100, 30),
        ({}, 101, 36),  # the last short batch counts
        ({"epochs": 2.0, "batch": 10}, 95, 20),
        ({"epochs": 0.5, "batch": 10}, 100, 5),
        ({"epochs": 0.001}, 100, 1),
        ({"steps": 7}, 100, 7),
    ],
)
def test_the_length_of_a_training(training, pictures, steps):
    assert Training(**training).length(pictures) == steps


def test_numbers_are_numbers_however_they_are_written(write):
    profile = write("tasks: {dn: {training: {lr: 1e-4, epochs: 3}, weights: {ra: 2e-3}}}\nchannels: {sigma: 5E-2}")
    training = profile.task("dn").training
    assert (training.lr, training.epochs, profile.channels.sigma) == (1e-4, 3, 0.05)
    assert profile.mode("ra", "dn").weight == 2e-3


def test_modes_go_by_the_names_of_the_paper_too(write):
    profile = write("modes: [plain, ra_transform]\ntasks: {dn: {weights: {ra_transform: 0.5}}}")
    assert profile.modes == ["plain", "ra_transformer"]
    assert profile.mode("ra_transform", "dn") == profile.mode("ra_transformer", "dn")
    assert profile.mode("ra_transform", "dn").weight == 0.5


def test_a_task_or_mode_that_a_profile_lacks_is_refused(write):
    profile = write("modes: [plain, ra]\ntasks: {sr: {}, dn: {}}")
    assert refusal(ParameterError, profile.task, "jpeg") == "profile mine has no task 'jpeg'; choose one of sr, dn."
    assert "has no mode 'ra_unsupervised'; choose one of plain, ra." in refusal(
        ParameterError, profile.mode, "ra_unsupervised", "dn"
    )
    assert "method 'best' is unknown" in refusal(ParameterError, profile.mode, "best", "dn")
    assert "no task 'jpeg'" in refusal(ParameterError, profile.mode, "ra", "jpeg")


def test_overrides_are_merged_and_give_the_profile_another_name(write, tmp_path):
    text = "tasks: {dn: {training: {steps: 9, lr: 1e-3}}, sr: {}}\nseeds: [0, 1]"
    profile = write(text, tasks={"dn": {"training": {"lr": 0.5}}}, seeds=[7], device="cpu")
    assert profile.name == "mine-custom"
    assert profile.task("dn").training == Training(steps=9, lr=0.5)
    assert (list(profile.tasks), profile.seeds, profile.device) == (["dn", "sr"], [7], "cpu")
    assert write(text).name == "mine" and load_profile("mine", {}, tmp_path) == write(text)
    said = refusal(ParameterError, write, "", channels={"quality": 0})
    assert said.startswith(f"{tmp_path / 'mine.yaml'} with overrides: channels.quality = 0: ")
    assert "name = 'x' is not allowed" in refusal(ParameterError, write, "", name="x")


# What is refused


def test_an_unknown_profile_is_refused_with_the_known_ones(tmp_path, write):
    write("")
    said = refusal(ParameterError, load_profile, "quik", None, tmp_path)
    assert said == f"profile 'quik' is unknown; choose one of mine (they lie in {tmp_path})."
    elsewhere = f"../{tmp_path.name}/mine"  # is a file, but runs would lie outside their folder
    assert "is unknown; choose one of mine" in refusal(ParameterError, load_profile, elsewhere, folder=tmp_path)
    for name in ("2024", "no", "my birds"):  # which a command line or YAML would take for something else
        (tmp_path / f"{name}.yaml").touch()
        assert f"{name}.yaml" in refusal(ParameterError, load_profile, name, folder=tmp_path)
    assert ", ".join(PROFILES) in refusal(ParameterError, load_profile, "quik", None, HUB)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # unknown keys
        ("foo: 3", "'foo' is an unknown key; known here are name, extensions, data, channels, tasks, "),
        ("data: {crops: 3}", "data: 'crops' is an unknown key; known here are kind, source, "),
        ("tasks: {dn: {training: {lrate: 1}}}", "tasks.dn.training: 'lrate' is an unknown key; known here are "),
        ("preprocessing: {xx: {}}", "preprocessing.xx.source: Field required ("),
        ("tasks: {xx: {}}", "task 'xx' is unknown; choose one of sr, "),
        ("1: 2", "a key is no text"), ("seeds: [0]\nseeds: [1]", "the key 'seeds' stands twice"),
        ("name: other", "name = 'other' is not allowed; a profile has the name of its file."),
        # wrong types
        ("threads: 9999", "threads = 9999: "), ("jobs: 9999999999", "jobs = 9999999999 is not allowed"),
        ("tasks: {dn: {training: {batch: 9999999999}}}", "batch = 9999999999 is not allowed"),
        ("threads: 010", "threads = '010': "),
        ("seeds: 3", "seeds = 3: "), ("seeds: [true]", "seeds.0 = True: "), ("threads: '2'", "threads = '2': "),
        ("tasks: {sr: {training: {steps: 1e3}}}", "tasks.sr.training.steps = 1000.0: "),
        ("tasks: {sr: {training: {lr: yes}}}", "tasks.sr.training.lr = True: "),
        ("tasks: {sr: {training: {lr: '1e-4'}}}", "tasks.sr.training.lr = '1e-4': "),
        ("tasks: [sr]", "tasks = ['sr']: "), ("source: 18", "source = 18: "), ("unseen: [3]", "unseen.0 = 3: "),
        # impossible values
        ("device: gpu", "device = 'gpu': Input should be 'auto', 'cpu', 'cuda' or 'mps'"),
        ("channels: {factor: 1}", "channels.factor = 1: Input should be greater than or equal to 2"),
        ("channels: {factor: 3}", "channels.factor = 3 is not allowed: SRResNet enlarges by 2, 4, 8 or 16"),
        ("channels: {sigma: 25.5}", "channels.sigma = 25.5: Input should be less than or equal to 1"),
        ("channels: {sigma: .nan}", "channels.sigma = nan: "), ("channels: {quality: 101}", "channels.quality = 101: "),
        ("data: {kind: folder, crop: 300}", "a crop of 300 pixels does not fit into the 256 resized to"),
        ("tasks: {}", "tasks: Dictionary should have at least 1 item"), ("modes: []", "modes = []: "),
        ("tasks: {sr: {processor: {name: UNet}}}", "tasks.sr.processor.name = 'UNet': processor 'UNet' is unknown"),
        ("tasks: {sr: {processor: {name: ResnetGenerator}}}", "keeps the size; give SRResNet"),
        ("tasks: {sr: {training: {schedule: linear}}}", "schedule = 'linear': Input should be 'drops' or 'cosine'"),
        ("tasks: {sr: {training: {drops: [2]}}}", "tasks.sr.training.drops.0 = 2: Input should be less than 1"),
        ("tasks: {sr: {training: {epochs: 1, steps: 1}}}", "give epochs or steps, not both"),
        ("tasks: {sr: {weights: {ra: -1}}}", "tasks.sr.weights: a lambda is a number above 0"),
        ("tasks: {sr: {weights: {plain: 1}}}", "for a mode with a recognition term (0 is the mode plain)"),
        ("tasks: {sr: {weights: {magic: 1}}}", "method 'magic' is unknown; choose one of plain, ra, "),
        ("modes: [best]", "modes = ['best']: method 'best' is unknown"),
        ("modes: [npp]", "method 'npp' works around a codec"),
        ("modes: [ra_transform, ra_transformer]", "a mode is named twice"),
        ("seeds: [1, 1]", "seeds = [1, 1]: seeds must be different and from 0 to 1000000000"),
        ("source: vgg8", "source = 'vgg8' and unseen = ['resnet26', 'vgg8', "),
        ("extensions: [no_such_module]", "extension 'no_such_module' cannot be imported (ModuleNotFoundError"),
        ("data: {kind: folder, source: a, test_share: 0.9}", "nothing to train on; their sum must be below 1"),
        ("data: {cache: disk}", "data: cache = 'disk' keeps the decoded pictures of kind: folder; leave it out"),
        ("data: {kind: folder, cache: yes}", "data.cache"),
        ("data: {test: a}", "data: test = 'a' is a folder beside that of kind: folder"),
        # no profile at all
        ("seeds: [1", "cannot be read as YAML ("),
        ("- sr\n- dn", "holds a list"), ("sr", "holds a str"), ("0", "holds a int"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_with_file_key_value_and_what_is_allowed(write, tmp_path, text, said):
    found = refusal(ParameterError, write, text)
    assert said in found and "\n" not in found, found
    assert found.startswith(str(tmp_path / "mine.yaml")) or text.startswith("extensions"), found


def test_of_several_problems_the_first_is_told_and_the_others_are_counted(write):
    said = refusal(ParameterError, write, "seeds: 3\ndevice: gpu\nthreads: -1")
    assert "seeds = 3: " in said and "(2 more to mend)." in said


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as YAML (" in refusal(ParameterError, load_profile, "mine", None, tmp_path)


# One's own tasks

BLUR = """
from dataclasses import dataclass

from ra_core.channels import Channel, parameter, task


@task("{name}", "deblurring")
@dataclass(frozen=True)
class Blur(Channel):
    {field}: float = parameter(2.0, "{name}: standard deviation of the blur, pixels", gt=0, le=8)

    def __call__(self, images, generator=None, indices=None):
        return images
"""


def test_a_task_of_ones_own_has_its_parameters_in_the_profile(tmp_path):
    (tmp_path / "params").mkdir()
    (tmp_path / "my_blur_task.py").write_text(BLUR.format(name="my_blur", field="my_radius"))
    text = "extensions: [my_blur_task]\ntasks: {my_blur: {}}\nchannels: {my_radius: 3.5}"
    (tmp_path / "params" / "mine.yaml").write_text(text)
    profile = load_profile("mine", folder=tmp_path / "params")
    assert list(profile.tasks) == ["my_blur"] and profile.channel("my_blur").my_radius == 3.5
    assert profile.channels.factor == 4
    said = refusal(ParameterError, load_profile, "mine", {"channels": {"my_radius": 9}}, tmp_path / "params")
    assert "channels.my_radius = 9: Input should be less than or equal to 8" in said
    (tmp_path / "my_second_sr.py").write_text(BLUR.format(name="sr", field="radius"))
    assert "task 'sr' is registered already" in refusal(ParameterError, load_extensions, ["my_second_sr"])
