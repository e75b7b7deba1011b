import boxed
import numpy as np
import pytest
import torch
from refusal import refusal
from torch import nn

from ra_core.detection import detect, drawn_mean_ap, interval_of, mean_ap
from ra_core.errors import DataError

BOX, FAR = (0, 0, 100, 100), (200, 200, 300, 300)


def target(*objects, ignored=()):
    """The target of a picture out of pairs (box, label)."""
    boxes, labels = [box for box, _ in objects], [label for _, label in objects]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), "labels": torch.tensor(labels).long(),
        "ignored_boxes": torch.tensor([box for box, _ in ignored], dtype=torch.float32).reshape(-1, 4),
        "ignored_labels": torch.tensor([label for _, label in ignored]).long(),
    }  # fmt: skip


def prediction(*objects):
    """A prediction out of triples (box, label, score)."""
    found = target(*((box, label) for box, label, _ in objects))
    scores = torch.tensor([score for _, _, score in objects], dtype=torch.float32)
    return {"boxes": found["boxes"], "labels": found["labels"], "scores": scores}


def share(recall: float) -> float:
    """The part of the 101 recalls 0.00 to 1.00, in percent, that are at most `recall`."""
    return 100 * sum(r <= 100 * recall for r in range(101)) / 101


def of(found, wanted) -> dict:
    """The scores of one picture, to 1e-9."""
    return {name: round(value, 9) for name, value in mean_ap([prediction(*found)], [target(*wanted)]).items()}


def draws_of(*case, **settings) -> np.ndarray:
    return drawn_mean_ap(*case, **settings)[1]


# Exact values


def test_all_or_nothing_found_is_100_or_0():
    assert of([(BOX, 1, 0.9), (FAR, 2, 0.3)], [(BOX, 1), (FAR, 2)]) == {"map": 100, "map50": 100, "map75": 100}
    for found in ([], [(FAR, 1, 0.9)], [(BOX, 2, 0.9)]):  # the last of another class
        assert of(found, [(BOX, 1)]) == {"map": 0, "map50": 0, "map75": 0}


def test_half_found_covers_the_recalls_up_to_a_half():
    assert of([(BOX, 1, 0.9)], [(BOX, 1), (FAR, 1)])["map"] == pytest.approx(share(0.5)) == pytest.approx(5100 / 101)


def test_a_surer_mistake_halves_the_precision_and_a_less_sure_one_costs_nothing():
    assert of([(FAR, 1, 0.95), (BOX, 1, 0.9)], [(BOX, 1)])["map50"] == pytest.approx(50)
    assert of([(FAR, 1, 0.85), (BOX, 1, 0.9)], [(BOX, 1)])["map50"] == pytest.approx(100)


def test_a_second_box_on_the_same_object_is_a_mistake():
    found = [(BOX, 1, 0.9), ((0, 0, 100, 99), 1, 0.8), (FAR, 1, 0.7)]
    # Precision 1 up to recall 1/2, then 2/3.
    expected = share(0.5) + (100 - share(0.5)) * 2 / 3
    assert of(found, [(BOX, 1), (FAR, 1)])["map50"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("height", "passed"), [(100, 10), (97, 10), (92, 9), (78, 6), (74, 5), (62, 3), (52, 1), (48, 0)]
)
def test_the_overlap_decides_at_how_many_of_ten_limits_it_counts(height, passed):
    scores = of([((0, 0, 100, height), 1, 0.5)], [(BOX, 1)])
    expected = {"map": 10 * passed, "map50": 100 * (passed > 0), "map75": 100 * (passed > 5)}
    assert scores == pytest.approx(expected)


def test_classes_count_alike_and_those_without_an_object_not_at_all():
    wanted = [(BOX, 1), ((0, 0, 50, 50), 1), (FAR, 2)]
    assert of([(BOX, 1, 0.9), ((0, 0, 50, 50), 1, 0.8)], wanted)["map50"] == pytest.approx(50)
    assert of([(FAR, 2, 0.9), (FAR, 3, 0.99)], wanted)["map50"] == pytest.approx(50)


def test_pictures_are_ranked_together_and_targets_may_lack_ignored_objects():
    predictions = [prediction((BOX, 1, 0.6)), prediction((FAR, 1, 0.7)), prediction()]
    targets = [{"boxes": t["boxes"], "labels": t["labels"]} for t in (target((BOX, 1)), target((BOX, 1)), target())]
    assert mean_ap(predictions, targets)["map50"] == pytest.approx(share(0.5) / 2)  # precision 1/2 up to recall 1/2


def test_ignored_objects_neither_help_nor_hurt():
    found = prediction((FAR, 1, 0.95), ((200, 200, 290, 300), 1, 0.94), (BOX, 1, 0.9))
    assert mean_ap([found], [target((BOX, 1), ignored=[(FAR, 1)])])["map50"] == pytest.approx(100)
    assert mean_ap([found], [target((BOX, 1))])["map50"] == pytest.approx(100 / 3)
    assert mean_ap([prediction()], [target((BOX, 1), ignored=[(FAR, 1)])])["map50"] == 0


# Against another computation


def random_case(seed: int, pictures: int = 12):
    """Targets and predictions of three classes, some shifted, some wrong; all scores differ."""
    draws = np.random.default_rng(seed)
    predictions, targets, scores = [], [], list(draws.permutation(1000) / 1000)
    for _ in range(pictures):
        wanted, found = [], []
        for _ in range(draws.integers(0, 4)):
            left, top, width, height = draws.integers(0, 60, 2).tolist() + draws.integers(10, 40, 2).tolist()
            label = int(draws.integers(1, 4))
            wanted.append(((left, top, left + width, top + height), label))
            for _ in range(draws.integers(0, 3)):
                shift = draws.integers(-5, 6, 4)
                box = tuple((np.array(wanted[-1][0]) + shift).tolist())
                seen = label if draws.random() < 0.8 else int(draws.integers(1, 4))
                found.append((box, seen, scores.pop()))
        for _ in range(draws.integers(0, 2)):
            left, top = draws.integers(0, 60, 2).tolist()
            found.append(((left, top, left + 20, top + 20), int(draws.integers(1, 4)), scores.pop()))
        targets.append(target(*wanted))
        predictions.append(prediction(*found))
    targets[0], predictions[0] = target((BOX, 1)), prediction((BOX, 1, 0.999))
    return predictions, targets


def overlap(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def average_precision(predictions, targets, label: int, limit: float) -> float | None:
    """The average precision of a class from its definition, without any cleverness."""
    found, free, total = [], [], 0
    for picture, (p, t) in enumerate(zip(predictions, targets, strict=True)):
        free.append([box for box, seen in zip(t["boxes"].tolist(), t["labels"].tolist(), strict=True) if seen == label])
        total += len(free[-1])
        rows = zip(p["scores"].tolist(), p["boxes"].tolist(), p["labels"].tolist(), strict=True)
        found += [(score, picture, box) for score, box, seen in rows if seen == label]
    if not total:
        return None
    hits = []
    for _, picture, box in sorted(found, reverse=True):
        best = max(free[picture], key=lambda other: overlap(box, other), default=None)
        hits.append(best is not None and overlap(box, best) >= limit)
        if hits[-1]:
            free[picture].remove(best)
    points = [(sum(hits[:n]) / total, sum(hits[:n]) / n) for n in range(1, len(hits) + 1)]
    best = [max((p for r, p in points if r >= recall / 100), default=0) for recall in range(101)]
    return 100 * sum(best) / 101


@pytest.mark.parametrize("seed", range(6))
def test_it_agrees_with_the_definition(seed):
    predictions, targets = random_case(seed)
    for metric, limit in (("map50", 0.5), ("map75", 0.75)):
        values = [average_precision(predictions, targets, label, limit) for label in (1, 2, 3)]
        expected = np.mean([value for value in values if value is not None])
        assert mean_ap(predictions, targets)[metric] == pytest.approx(expected, abs=1e-6)


# Intervals


def test_a_draw_is_the_score_of_the_pictures_drawn():
    predictions, targets = random_case(3)
    for prediction_ in predictions:  # a picture drawn twice has equal scores: keep those of others apart
        prediction_["scores"] = prediction_["scores"].clamp(min=1e-3)
    values = draws_of(predictions, targets, draws=36, seed=5)
    times = np.random.default_rng(5).multinomial(12, np.full(12, 1 / 12), size=36)
    for value, row in zip(values, times, strict=True):
        drawn = np.repeat(np.arange(12), row)
        expected = mean_ap([predictions[i] for i in drawn], [targets[i] for i in drawn])["map50"]
        assert value == pytest.approx(expected, abs=1e-9)


def test_the_interval_holds_the_score_and_shrinks_with_more_pictures():
    predictions, targets = random_case(1, pictures=30)
    value, low, high = interval_of(*drawn_mean_ap(predictions, targets, draws=300))
    assert value == mean_ap(predictions, targets)["map50"] and low < value < high
    _, more_low, more_high = interval_of(*drawn_mean_ap(predictions * 8, targets * 8, draws=300))
    assert (more_high - more_low) == pytest.approx((high - low) / 8**0.5, rel=0.35)


def test_the_interval_lies_around_the_score_where_the_draws_lie_above_it():
    draws = np.random.default_rng(0)
    wanted = [target((BOX, 1), (FAR, 1)) for _ in range(40)]
    found = [prediction(*(((0, 0, 100, int(side)), 1, float(score)) for side, score in zip(
        draws.integers(20, 101, 6), draws.random(6), strict=True))) for _ in range(40)]  # fmt: skip
    value, low, high = interval_of(*drawn_mean_ap(found, wanted, draws=300))
    assert draws_of(found, wanted, draws=300).mean() > value + 0.1 * (high - low)
    assert abs((low + high) / 2 - value) < 0.15 * (high - low)


def test_the_seed_draws_the_same_pictures_for_everybody():
    predictions, targets = random_case(1)
    once = draws_of(predictions, targets, draws=20, seed=1)
    assert np.array_equal(once, draws_of(predictions, targets, draws=20, seed=1))
    assert not np.array_equal(once, draws_of(predictions, targets, draws=20, seed=2))
    # One detector finds everything where the other finds nothing: draw by draw they add up.
    halves = [prediction((BOX, 1, 0.9)), prediction()] * 6
    others = [prediction(), prediction((BOX, 1, 0.9))] * 6
    truth = [target((BOX, 1))] * 12
    a, b = (draws_of(found, truth, draws=50) for found in (halves, others))
    assert np.abs(a + b - 100).max() < 1.01 and a.std() > 5


def test_draws_without_any_object_are_no_number_and_do_not_disturb_the_interval():
    predictions, targets = [prediction((BOX, 1, 0.9)), prediction()], [target((BOX, 1)), target()]
    values = draws_of(predictions, targets, draws=100)
    assert 10 < np.isnan(values).sum() < 40 and np.allclose(values[~np.isnan(values)], 100)
    assert interval_of(*drawn_mean_ap(predictions, targets)) == pytest.approx((100, 100, 100))


def test_pictures_without_any_box_are_refused_and_nothing_is_printed(capfd):
    refusal(DataError, mean_ap, [prediction()], [target()])
    mean_ap([prediction()], [target((BOX, 1))])
    assert capfd.readouterr() == ("", "")


# Detecting


def test_a_detector_is_asked_in_batches_and_answers_in_order():
    detector, pictures = boxed.Bright(), boxed.pictures(7)
    detector.weight = nn.Parameter(torch.zeros(1))  # which says where it is
    found = detect(detector, pictures, batch=3)
    assert [len(images) for images in detector.seen] == [3, 3, 1] and not detector.training
    assert mean_ap(found, pictures.all_targets()) == pytest.approx({"map": 100, "map50": 100, "map75": 100})


def test_boxes_are_found_in_full_precision_whatever_the_training_around_has():
    class Fine(boxed.Bright):
        def forward(self, images):
            assert not torch.is_autocast_enabled("cpu")
            return super().forward(images)

    with torch.autocast("cpu", torch.bfloat16):
        assert len(detect(Fine(), boxed.pictures(2))) == 2
