"""Lessons: the numbers of the notes, both languages, pictures that come out the same, and what cannot be asked."""

from __future__ import annotations

import importlib
import json
import re
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

import neocog.lessons as room
from neocog import DataError, NeocogError
from neocog.cli import main
from neocog.lessons import LESSONS, Question, Table, Taught, Text, backward, fc_as_conv, filters, lesson_of
from neocog.lessons.learning import accuracy, descend, digits
from neocog.lessons.windows import Case
from neocog.lettering import legible
from neocog.network import Network

PAGES = [Path(__file__).parents[2] / "docs" / name for name in ("lessons.md", "lessons.zh-CN.md")]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
NAMES = [lesson.name for lesson in LESSONS]


@cache
def taught(name: str) -> Taught:
    """A lesson with hardly any training: enough to see all that it says."""
    lesson = lesson_of(name)
    return lesson.teach(Question(steps=2 if "steps" in lesson.takes else None))


def said(name: str) -> list[Text]:
    """Every text that a lesson may print."""
    found = [lesson_of(name).title]
    for block in taught(name).blocks:
        if isinstance(block, Text):
            found.append(block)
        elif isinstance(block, Table):
            found += [cell for row in (block.header, *block.rows) for cell in row if isinstance(cell, Text)]
    return found + [claim.text for claim in taught(name).claims]


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["demo", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_sentence_is_there_in_both_languages(name):
    """Sentences are Chinese where they are sentences; words of the notation and symbols stay as they are."""
    assert any(CHINESE.search(text.zh) for text in said(name))
    for text in said(name):
        assert bool(text.en) == bool(text.zh)
        assert not CHINESE.search(text.en), text.en
        if re.search(r"[a-z]{3,} [a-z]{3,}", text.en):
            assert CHINESE.search(text.zh), text.zh


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_numbers_to_fill_in(name):
    module = importlib.import_module(f"neocog.lessons.{name.replace('-', '_')}")
    for text in (value for value in vars(module).values() if isinstance(value, Text)):
        assert set(re.findall(r"\{\d[^}]*\}", text.en)) == set(re.findall(r"\{\d[^}]*\}", text.zh)), text.en


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_says_the_same_again(name):
    lesson = lesson_of(name)
    again = lesson.teach(Question(steps=2 if "steps" in lesson.takes else None))
    english, chinese = again.picture("en"), again.picture("zh")
    assert english == taught(name).picture("en")
    assert (english != chinese) == (legible(lesson.title, "zh") == lesson.title.zh)
    assert again.blocks == taught(name).blocks
    assert json.dumps(again.numbers) == json.dumps(taught(name).numbers)
    for picture in (english, chinese):
        with Image.open(BytesIO(picture)) as image:
            assert image.format == "PNG"
            assert image.width <= 1300


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_show_every_lesson_and_its_picture_and_no_claim_fails(page):
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^## ([\w-]+)$", text, re.MULTILINE)
    assert shown == NAMES
    folder = "images/lessons/zh" if "zh" in page.name else "images/lessons"
    assert re.findall(rf"\({folder}/([\w-]+)\.png\)", text) == NAMES
    assert not re.search(r"^(FAILS|不成立)", text, re.MULTILINE)


def test_a_lesson_is_one_file_and_has_facts():
    assert len(set(NAMES)) == len(NAMES) == 10
    for lesson in LESSONS:
        assert (Path(room.__file__).parent / f"{lesson.name.replace('-', '_')}.py").exists()
        assert lesson.facts


def test_convolution_flips_and_correlation_does_not():  # fact C1, C2
    numbers = lesson_of("convolution").teach(Question()).numbers
    assert numbers["cross_correlation"]["narrow"] == [-2, -2, -2]
    assert numbers["convolution"]["narrow"] == [2, 2, 2]
    assert [len(numbers["convolution"][mode]) for mode in ("narrow", "same", "wide")] == [3, 5, 7]


def test_im2col_of_alexnet():  # fact C8
    numbers = taught("im2col").numbers
    assert numbers["alexnet"] == {"X_col": [363, 3025], "W_row": [96, 363], "W_row X_col": [96, 3025]}
    assert np.array_equal(np.array(numbers["w_row"]) @ numbers["x_col"], numbers["product"])


@pytest.mark.parametrize(
    ("case", "windows"),
    [
        (Case(5, 3, 1, 1, 1), Fraction(5)),
        (Case(5, 3, 1, 1, 2), Fraction(3)),
        (Case(5, 3, 1, 1, 3), Fraction(7, 3)),
        (Case(10, 3, 0, 1, 2), Fraction(9, 2)),
        (Case(7, 3, 0, 1, 3), Fraction(7, 3)),
        (Case(9, 3, 0, 2, 1), Fraction(5)),
    ],
)
def test_windows_that_fit_and_that_do_not(case, windows):  # fact C3, C9
    assert case.windows == windows
    assert case.fits == (windows.denominator == 1)


def test_the_gradient_of_the_worked_example_is_written_out_term_by_term():  # fact C15
    assert backward.sentence(2, 2).startswith("∇a22 = δ11·w22 + δ12·w21 + δ21·w12 + δ22·w11 = ")
    numbers = taught("backward").numbers
    assert numbers["gradient_a"] == [[1, 1, -2], [5, 8, 2], [6, 17, 12]]
    assert (numbers["gradient_w"], numbers["gradient_b"]) == ([[22, 27], [37, 42]], 5)
    assert [len(backward.terms(i, j)) for i in (1, 2, 3) for j in (1, 2, 3)] == [1, 2, 1, 2, 4, 2, 1, 2, 1]


def test_a_claim_that_numbers_do_not_bear_out_is_said_to_fail(monkeypatch, capsys, tmp_path):
    """The kernel turned the wrong way is found by the lesson itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backward, "convolve", backward.cross_correlate)
    assert main(["demo", "backward"]) == 1
    assert "FAILS   terms, formulas and the reference's backward pass agree" in capsys.readouterr().out


def test_gradients_behind_sigmoids_shrink_and_behind_relu_do_not():  # fact A1
    numbers = taught("vanishing").numbers
    assert max(numbers["largest_slope"]) <= 0.25
    assert numbers["gradient"]["SIGMOID"][0] < 1e-4
    assert 0.1 < numbers["gradient"]["RELU"][0] < 10


def test_zero_weights_leave_all_neurons_alike():  # fact A4
    assert taught("initialisation").numbers["zero"]["deviation"] == [0.0] * 6
    assert taught("initialisation").numbers["small"]["deviation"][-1] < 1e-6


def test_parameters_with_and_without_sharing():  # fact C7, C12
    numbers = taught("sharing").numbers
    assert numbers["alexnet"] == {"shared": 34_944, "unshared": 105_705_600}
    assert [numbers[name]["parameters"] for name in ("CONV", "LOCAL", "FC")] == [104, 10_400, 78_800]


def test_one_pass_gives_the_scores_of_all_windows():  # fact N1, N5
    assert taught("fc-as-conv").numbers["largest_difference_of_windows"] < 1e-12
    assert all(claim.holds for claim in taught("fc-as-conv").claims)


def test_an_epoch_draws_each_image_once():  # fact A5
    """With one mini-batch for all, a step's loss is that of all digits, whatever their order: it cannot oscillate."""
    network, data = Network.parse("INPUT[14x14x1] -> FC10"), digits(40)
    weights = {"fc1.weight": np.zeros((10, 196)), "fc1.bias": np.zeros(10)}
    learned = descend(network, weights, data, batch=40, steps=30, lr=0.02)
    assert learned.losses == sorted(learned.losses, reverse=True)
    assert accuracy(network, learned.weights, data) > 0.8


def test_shifted_digits_lose_what_leaves_the_image():
    data = digits(3)
    moved = data.shifted(1, -2)
    assert np.array_equal(moved.x[:, :, 1:, :-2], data.x[:, :, :-1, 2:])
    assert np.ptp(moved.x[:, :, 0]) == 0


def test_filters_take_a_photo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    photo = np.clip(rng.normal(128, 20, (40, 700, 3)) + np.linspace(-60, 60, 700)[None, :, None], 0, 255)
    Image.fromarray(photo.astype(np.uint8)).save("photo.png")
    found = document(capsys, "filters", "photo.png", "-o", "out.png")
    assert found["numbers"]["size"] == [18, 320]
    assert found["picture"] == "out.png"
    Image.new("L", (9, 9), 200).save("flat.png")
    claims = document(capsys, "filters", "flat.png")["claims"]
    assert all(claim["holds"] for claim in claims)
    assert "this image is even, and stays so under mean, gaussian and sharpen" in str(claims)
    assert " < " not in str(claims)
    with pytest.raises(DataError, match="no such file"):
        filters.LESSON.teach(Question(photo=tmp_path / "gone.png"))


def test_the_command_lists_lessons_and_answers_in_json(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed = document(capsys, "--list", "--lang", "zh")
    assert [entry["lesson"] for entry in listed["lessons"]] == NAMES
    found = document(capsys, "windows", "-W", "10", "-P", "0", "-S", "2", "--lang", "zh")
    assert found["lesson"] == "windows"
    assert found["facts"] == ["C2", "C3", "C9"]
    assert found["numbers"]["cases"][0]["quotient"] == 4.5
    assert found["numbers"]["cases"][0]["windows"] is None
    assert all(CHINESE.search(claim["claim"]) for claim in found["claims"][:1])
    assert (tmp_path / "windows.png").read_bytes()[:4] == b"\x89PNG"
    short = document(capsys, "batch-size", "--steps", "16", "--seed", "3")
    assert [run["steps"] for run in short["numbers"]["runs"]] == [1024, 256, 64, 16]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bakward"], "there is no such lesson"),
        ([], "a lesson is needed"),
        (["backward", "--steps", "3"], "this lesson does not take that"),
        (["backward", "-W", "3"], "backward with -W"),
        (["windows", "photo.png"], "windows with photo"),
        (["windows", "-W", "2", "-F", "9", "-P", "0"], "so E=9"),
        (["windows", "-W", "70"], "at most 64"),
        (["windows", "-S", "0"], "a whole number from 1"),
        (["filters", "gone.png"], "there is no such file"),
        (["im2col", "-o", "picture.jpg"], "a name ending in .png"),
    ],
)
def test_what_cannot_be_asked_is_said_in_words(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_unknown_lessons_have_near_names():
    with pytest.raises(NeocogError, match="vanishing"):
        lesson_of("vanish")


def test_vgg16_on_a_larger_image_gives_the_scores_of_36_crops():  # fact N2
    network, jump = fc_as_conv.larger()
    shapes = dict(zip((node.name for node in network.nodes), network.shapes, strict=True))
    assert (shapes["pool5"].as_list(), network.shapes[-1].as_list(), jump) == ([12, 12, 512], [6, 6, 1000], 32)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", ["backward", "vanishing", "fc-as-conv"])
def test_words_and_tables_fit_a_narrow_screen(name, language, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    main(["demo", name, "--lang", language])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert not any(line.startswith(tuple("，。；：、）”")) for line in lines)
