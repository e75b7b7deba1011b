"""The study kit, on made answers and made choices; no person took part in any of this.

The last tests click through a sheet in a browser, and run the notebook on choices that a test wrote.
"""

import csv
import json
import math
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal

from ra_book.book import find_network
from ra_book.study import CHOICES, alpha, draw, people_needed, preference, read_choices, sheet
from ra_core.errors import DataError, ParameterError

try:
    import browser
except ImportError:  # it needs websocket-client
    browser = None

PLAIN = [f"plain <b>{n}</b>" for n in range(40)]
RA = [said if n % 4 == 0 else f"other {n}" for n, said in enumerate(PLAIN)]  # a quarter is answered alike
in_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(browser is None or browser.find() is None, reason="needs Chromium and websocket-client"),
]


def made(people: int, items: int, share: float, seed: int = 0, person: float = 0.0, picture: float = 0.0):
    """Choices for one of the two, whose chance to prefer RA differs from person to person and picture to picture."""
    rng = np.random.default_rng(seed)
    shift = person * rng.choice([-1, 1], (people, 1)) + picture * rng.choice([-1, 1], (1, items))
    prefers = np.where(rng.random((people, items)) < share + shift, "ra", "plain")
    who, what = np.indices(prefers.shape).reshape(2, -1)
    return pd.DataFrame({"person": who, "item": what, "prefers": prefers.ravel()})


@pytest.fixture
def key():
    return draw(PLAIN, RA, 7, seed=1)


@pytest.fixture
def save(tmp_path):
    """Write rows as a sheet saves them, and return the file."""

    def save(rows, name="choices-p1.csv", head=("person", "item", "choice")):
        with open(tmp_path / name, "w", newline="") as file:
            csv.writer(file).writerows([head, *rows])
        return tmp_path / name

    return save


@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_a_sheet_is_balanced_and_of_pictures_whose_answers_differ(count, seed):
    key = draw(PLAIN, RA, count, seed)
    assert len(key) == key["picture"].nunique() == key["item"].nunique() == count
    assert abs((key["side"] == "left").sum() - (key["side"] == "right").sum()) == count % 2
    assert (key["plain"] != key["ra"]).all()
    assert list(key["plain"]) == [PLAIN[n] for n in key["picture"]] and list(key["ra"]) == [
        RA[n] for n in key["picture"]
    ]
    pd.testing.assert_frame_equal(key, draw(PLAIN, RA, count, seed))


def test_another_seed_draws_other_pictures_sides_and_names():
    drawn = [draw(PLAIN, RA, 24, seed) for seed in range(200)]
    assert len({tuple(key["item"]) for key in drawn}) == len({tuple(key["picture"]) for key in drawn}) == 200
    lefts = np.mean([key["side"] == "left" for key in drawn], axis=0)  # of 200, at each place: about half
    assert 0.5 - 4 * 0.5 / math.sqrt(200) < lefts.min() and lefts.max() < 0.5 + 4 * 0.5 / math.sqrt(200)


@pytest.mark.parametrize("count", [0, 1, 31])
def test_more_items_than_answers_differ_on_are_refused(count):
    said = refusal(ParameterError, draw, PLAIN, RA, count, 0)
    assert str(count) in said and "30 of 40" in said


def test_the_sheet_says_nothing_of_what_is_behind_an_answer(key):
    images = torch.rand(len(key), 3, 8, 8)
    text = sheet(key, images)
    other = {"left": "right", "right": "left"}
    swapped = key.assign(plain=key["ra"], ra=key["plain"], side=key["side"].map(other))
    assert sheet(swapped, images) == text  # the same page, had RA been plain and plain RA
    assert find_network(text) == [] and not re.search(r"https?:|@import|<link|<script src|fetch\(", text)


def test_the_sheet_holds_answers_and_pictures_as_they_are(key):
    images = torch.rand(len(key), 3, 8, 8)
    items = re.search(r"const items = (\[.*\]);", sheet(key, images))[1]
    assert "<" not in items
    for shown, row in zip(json.loads(items), key.itertuples(), strict=True):
        assert shown["item"] == row.item and {shown["left"], shown["right"]} == {row.plain, row.ra}
        assert shown[row.side] == row.ra and set(shown) == {"item", "picture", "left", "right"}


def test_choices_are_undone_by_the_key(key, save):
    files = [
        save([(f"p{n}", item, CHOICES[(n + k) % 4]) for k, item in enumerate(key["item"])], f"{n}.csv")
        for n in range(3)
    ]
    found = read_choices(files, key)
    assert len(found) == 21
    sides = key.set_index("item")["side"]
    for row in found.itertuples():
        wanted = {"both": "both", "neither": "neither", sides[row.item]: "ra"}.get(row.choice, "plain")
        assert row.prefers == wanted


def test_a_file_that_came_through_a_spreadsheet_or_holds_few_items_is_read(key, save):
    item = key["item"][0]
    whole = save([("p1", item, "both")])
    whole.write_bytes(b"\xef\xbb\xbf" + whole.read_bytes())  # the mark that some programs begin UTF-8 with
    assert list(read_choices([whole], key)["prefers"]) == ["both"]
    assert len(read_choices([save([])], key)) == len(read_choices([], key)) == 0


@pytest.mark.parametrize(
    ("rows", "head", "named"),
    [
        ([("p1", "i000000", "left")], ("person", "item", "choice"), "'i000000'"),
        ([("p1", "FIRST", "ra")], ("person", "item", "choice"), "left, right, both, neither"),
        ([("p1", "FIRST", "")], ("person", "item", "choice"), "''"),
        ([("p1", "left")], ("person", "choice"), "no column 'item'"),
        ([("p1", "FIRST", "left"), ("p1", "FIRST", "left")], ("person", "item", "choice"), "second choice"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(key, save, rows, head, named):
    file = save([[key["item"][0] if cell == "FIRST" else cell for cell in row] for row in rows], head=head)
    said = refusal(DataError, read_choices, [file], key)
    assert str(file) in said and named in said


def test_a_person_twice_and_what_is_no_table_are_refused(key, save, tmp_path):
    rows = [("p1", item, "left") for item in key["item"]]
    said = refusal(DataError, read_choices, [save(rows), save(rows, "copy.csv")], key)
    assert "copy.csv" in said and "'p1'" in said
    for content in (b"", b"\xff\xfe\x00", b'person,item,choice\n"p1,i'):
        (tmp_path / "broken.csv").write_bytes(content)
        assert "broken.csv" in refusal(DataError, read_choices, [tmp_path / "broken.csv"], key)
    assert "gone.csv" in refusal(DataError, read_choices, [tmp_path / "gone.csv"], key)


@pytest.mark.parametrize(("share", "person", "picture"), [(0.5, 0, 0), (0.7, 0, 0.25), (0.6, 0.3, 0), (0.6, 0.2, 0.2)])
def test_the_interval_holds_the_share_that_choices_were_drawn_with(share, person, picture):
    found = [preference(made(10, 24, share, seed, person, picture)) for seed in range(200)]
    held = np.mean([each.low <= 100 * share <= each.high for each in found])
    assert held >= 0.91  # 95 % within the chance of 200 draws, or more
    tosses = [196 * math.sqrt(each.share * (100 - each.share) / 1e4 / each.choices) for each in found]
    widths = [(each.high - each.low) / 2 for each in found]
    assert np.mean(widths) > np.mean(tosses) * (1.6 if person or picture else 1)


def test_the_share_counts_what_prefers_one_of_the_two():
    choices = made(4, 10, 0.5)
    ties = choices["item"] < 3
    left = preference(choices[~ties])
    assert preference(choices.assign(prefers=choices["prefers"].where(~ties, "both"))) == left
    assert left.choices == 28 and left.share == pytest.approx(100 * (choices["prefers"][~ties] == "ra").mean())
    swapped = preference(choices[~ties].replace({"ra": "plain", "plain": "ra"}))
    assert (swapped.low, swapped.high) == pytest.approx((100 - left.high, 100 - left.low))


def test_where_all_agree_the_interval_still_has_a_width():
    found = preference(made(6, 12, 1.0))
    assert found.share == found.high == 100 and 0 < found.low < 70  # as of 4 independent choices, with Student's t


def test_of_one_person_there_is_no_interval():
    found = preference(made(1, 8, 0.5))
    assert 0 <= found.share <= 100 and math.isnan(found.low) and math.isnan(found.high)


def test_four_times_as_many_people_halve_the_width():
    for width in (40, 10, 2):
        assert people_needed(width / 2, 0.05) == pytest.approx(4 * people_needed(width, 0.05), abs=4)
    # One choice each of a fair coin: the textbook's 1.96² / 4 / 0.05² for five points to either side.
    assert people_needed(10, 0.25) == 385


def test_more_people_do_not_make_up_for_few_pictures():
    floor = 2 * 100 * 1.96 * math.sqrt(0.01)
    assert people_needed(floor - 0.1, 0.05, 0.01) == math.inf
    assert people_needed(floor + 0.1, 0.05, 0.01) > people_needed(floor + 5, 0.05, 0.01) > 2


def test_the_number_of_people_gives_the_width_that_was_asked_for():
    found = preference(made(40, 100, 0.6, person=0.3, picture=0.1))
    needed = people_needed(10, found.by_people, found.by_pictures)
    again = preference(made(int(needed), 100, 0.6, 1, person=0.3, picture=0.1))
    assert again.high - again.low == pytest.approx(10, abs=1.5)


def test_alpha_is_that_of_the_published_example():
    # Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C: four observers, twelve units.
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    units = list(zip(*observers, strict=True))
    counts = [[unit.count(value) for value in "12345"] for unit in units]
    assert alpha(counts) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_one_where_all_agree_and_zero_by_chance():
    assert alpha([[4, 0], [0, 4], [4, 0]]) == 1
    assert math.isnan(alpha([[4, 0], [4, 0]])) and math.isnan(alpha([[1, 0], [0, 1]]))
    by_chance = np.random.default_rng(0).multinomial(10, [0.4, 0.3, 0.2, 0.1], size=2000)
    assert abs(alpha(by_chance)) < 0.02
    assert alpha([[2, 2], [2, 2]]) < 0


def clicked(page, choice: str, by_key: bool) -> str:
    """Choose on a page as a person would, and return the item."""
    item = page.js("document.querySelector('#picture').dataset.item")
    keys = {
        "left": ("ArrowLeft", 37),
        "right": ("ArrowRight", 39),
        "both": ("ArrowUp", 38),
        "neither": ("ArrowDown", 40),
    }
    if by_key:
        page.press(*keys[choice])
    else:
        page.js(f"document.querySelector('[data-choice={choice}]').click()")
    return item


@pytest.fixture
def opened(key, tmp_path):
    """A sheet of made pictures, open in a browser that saves into `saved`."""
    (tmp_path / "sheet.html").write_text(sheet(key, torch.rand(len(key), 3, 32, 32)))
    with browser.page((tmp_path / "sheet.html").as_uri(), tmp_path / "browser", (900, 900)) as page:
        page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"))
        page.wait("document.readyState === 'complete' && Boolean(document.querySelector('#picture').dataset.item)")
        yield page


def saved(page, folder) -> list:
    """Press the button that saves, and return the files that came."""
    page.js("document.querySelector('#save').click()")
    return browser.wait(lambda: sorted(folder.glob("*.csv")), 20, "saved file")


class TestInABrowser:
    pytestmark = in_browser

    def test_what_a_test_clicked_is_what_is_read(self, opened, key, tmp_path):
        sides = key.set_index("item")["side"]
        made = {}
        for number in range(len(key)):
            assert opened.js("document.querySelector('#place').textContent") == f"{number + 1} of {len(key)}"
            item = opened.js("document.querySelector('#picture').dataset.item")
            choice = ["neither", "both"][number] if number < 2 else sides[item]  # RA on all others
            if number == 6:
                choice = {"left": "right", "right": "left"}[sides[item]]  # but the last
            assert clicked(opened, choice, by_key=number % 2 == 0) == item
            made[item] = choice
        assert opened.js("document.querySelector('#question').hidden") and len(made) == len(key)
        [file] = saved(opened, tmp_path / "saved")
        found = read_choices([file], key)
        assert dict(zip(found["item"], found["choice"], strict=True)) == made
        assert file.name == f"choices-{found['person'][0]}.csv" and found["person"].nunique() == 1
        assert found["prefers"].value_counts().to_dict() == {"ra": 4, "plain": 1, "both": 1, "neither": 1}
        assert preference(found).share == 80

    def test_going_back_changes_a_choice_and_a_part_can_be_saved(self, opened, key, tmp_path):
        assert opened.js("document.querySelector('#save').disabled && document.querySelector('#back').disabled")
        first = clicked(opened, "left", by_key=True)
        second = clicked(opened, "both", by_key=True)
        opened.press("Backspace", 8)
        assert opened.js("document.querySelector('[aria-pressed=true]').dataset.choice") == "both"
        assert clicked(opened, "right", by_key=True) == second
        [file] = saved(opened, tmp_path / "saved")
        found = read_choices([file], key)
        assert list(zip(found["item"], found["choice"], strict=True)) == [(first, "left"), (second, "right")]

    def test_the_page_asks_for_nothing_and_shows_its_pictures(self, opened):
        picture = "document.querySelector('#picture')"
        assert opened.wait(f"{picture}.complete && {picture}.naturalWidth") == 32
        loaded = opened.js("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert [name for name in loaded if not name.startswith("data:")] == []


@pytest.mark.slow
def test_the_notebook_says_what_a_test_chose(tmp_path, monkeypatch):
    from copied import ROOT

    from ra_core.notebooks import execute
    from ra_core.progress import BATCH_VARIABLE

    monkeypatch.setenv(BATCH_VARIABLE, "")  # put back at the end
    given = {"folder": str(tmp_path / "study"), "items": 4}

    def said() -> str:
        execute(ROOT / "notebooks/14_study.ipynb", tmp_path / "out.ipynb", given)
        cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
        return "".join(str(output) for cell in cells for output in cell.get("outputs", []))

    assert "awaits people" in said()
    drawn = (tmp_path / "study/sheet.html").read_bytes()
    key = pd.read_csv(tmp_path / "study/key.csv")
    (tmp_path / "study/choices").mkdir()
    for person in ("p1", "p2"):
        rows = key.assign(person=person, choice=key["side"])[["person", "item", "choice"]]
        rows.to_csv(tmp_path / f"study/choices/{person}.csv", index=False)
    text = said()
    assert "100.0 [" in text and "awaits people" not in text
    assert (tmp_path / "study/sheet.html").read_bytes() == drawn
