"""Pictures: what is drawn lies on the pixels that it is about, and says what it is."""

from __future__ import annotations

import re
from importlib import import_module
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from explain.conftest import NETS, images_for, model_of
from explain.test_methods import detector, planted
from PIL import Image

import neocog.explain
from neocog import Network
from neocog.data import Dataset
from neocog.errors import NeocogError
from neocog.explain import METHODS, ask, colours, explain, field_on_image, patches, picture
from neocog.explain.placing import onto_image, seen
from neocog.explain.sheet import GAP, LINE, MARGIN, Bar, Panel, Strip, draw, tiled
from neocog.lettering import legible
from neocog.wording import Text, said


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def panel_of(sheet: np.ndarray, shown, strip: int, number: int) -> np.ndarray:
    """The pixels of a panel in the first strip, by the layout's rule."""
    panels = shown.strips[strip].panels
    left = MARGIN + sum(panel.size[1] + GAP for panel in panels[:number])
    height, width = panels[number].size
    top = MARGIN + LINE + LINE
    return sheet[top : top + height, left : left + width]


@pytest.mark.parametrize(("height", "width", "channels", "at"), [(20, 34, 1, (9, 24)), (31, 17, 3, (22, 3))])
def test_the_map_in_the_picture_lies_on_the_planted_pattern(height, width, channels, at):
    model = detector(height, width, channels)
    image = planted(height, width, channels, at)
    shown = picture(model, "occlusion", image, target="1", evidence=False)
    sheet = pixels_of(shown.picture())
    for number in (1, 2):
        part = panel_of(sheet, shown, 0, number)
        redness = part[..., 0] - part[..., 2]
        i, j = np.unravel_index(redness.argmax(), redness.shape)
        scale = part.shape[0] / height
        assert at[0] <= (i + 0.5) / scale <= at[0] + 5
        assert at[1] <= (j + 0.5) / scale <= at[1] + 5
    own = panel_of(sheet, shown, 0, 0)
    enlarged = np.asarray(Image.fromarray(colours.in_colour(image)).resize(own.shape[1::-1], Image.Resampling.NEAREST))
    np.testing.assert_array_equal(own, enlarged)


def test_a_large_photo_is_explained_as_the_network_sees_it(tmp_path):
    model = detector(20, 34, 1)
    large = planted(20, 34, 1, (9, 24)).repeat(9, axis=0).repeat(9, axis=1)
    Image.fromarray(large[..., 0]).save(tmp_path / "large.png")
    (found,) = explain(model, [tmp_path / "large.png"], "grad-cam", layers=("relu1",), target="1", evidence=False)
    assert found.image.shape == (20, 34, 1)
    assert found.peak == (11, 26)
    assert any("resized to 20x34" in said(note, "en") for note in found.notes)


def test_positions_look_where_the_plan_says():
    """Behind valid convolutions a map does not stretch over the image: it starts where its first view is centred."""
    network = Network.parse("INPUT[21x13x1] -> CONV5-1(P=0) -> POOL2(fit=floor) -> CONV3-1(P=0) -> FC2")
    row = network.plan()["conv2"]
    import torch

    for position in [(0, 0), (3, 1), (5, 0)]:
        maps = torch.zeros(1, *row.output.spatial)
        maps[0][position] = 1
        placed = onto_image(maps, row.field, (21, 13))[0]
        spans = seen(row, position)
        centre = [(low + high) / 2 for low, high in spans]
        i, j = np.unravel_index(int(placed.argmax()), placed.shape)
        edge = [p in (0, n - 1) for p, n in zip(position, row.output.spatial, strict=True)]
        for at, middle, beyond in zip((i, j), centre, edge, strict=True):
            assert abs(at - middle) <= 0.5 or beyond, "beyond the first and last centre a map goes on"
    flat = onto_image(torch.ones(1, *row.output.spatial), row.field, (21, 13))
    torch.testing.assert_close(flat, torch.ones(1, 21, 13))


def test_the_caption_says_target_method_layer_scale_and_evidence():
    model = model_of(NETS["resnet"])
    (found,) = explain(model, images_for(model, 1), "integrated-gradients", target="2")
    target, how, evidence = found.lines()
    assert target.startswith("image 1: class class 2, ")
    assert how.startswith("integrated-gradients (Sundararajan et al., 2017); scale -")
    assert "99.5% of the pixels" in how
    assert "steps" in how
    assert "sum off by " in evidence
    assert "likeness to the map of random weights" in evidence
    assert "deletion" in evidence
    (cam,) = explain(model, images_for(model, 1), "grad-cam", evidence=False)
    assert f"grad-cam at {cam.layer} (" in cam.lines()[1]
    (guided,) = explain(model, images_for(model, 1), "guided-backprop")
    assert "this method follows the image whatever was learned" in guided.lines()[2]


CHINESE = re.compile(r"[\u4e00-\u9fff]")


def test_every_sentence_of_the_room_is_there_in_both_languages_with_the_same_gaps():
    room = [import_module(f"neocog.explain.{path.stem}") for path in Path(neocog.explain.__file__).parent.glob("*.py")]
    texts = [text for module in room for text in vars(module).values() if isinstance(text, Text)]
    assert len(texts) > 50
    for text in texts + [method.says for method in METHODS]:
        gaps = [set(re.findall(r"\{\d[^}]*\}", words)) for words in (text.en, text.zh)]
        assert gaps[0] == gaps[1], text.en
        assert not CHINESE.search(text.en), text.en
        assert CHINESE.search(text.zh) or not re.search("[a-z]{3}", text.en), text.en


def test_every_method_has_its_line_on_the_page():
    page = (Path(neocog.explain.__file__).parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
    for method in METHODS:
        assert re.search(rf"^\| .*`{re.escape(method.name)}`.* \|$", page, re.MULTILINE), method.name


@pytest.mark.parametrize("method", ["integrated-gradients", "activations", "filters", "field"])
def test_a_picture_speaks_the_language_asked_for(method):
    model = model_of(NETS["resnet"])
    shown = picture(model, method, [] if method == "filters" else images_for(model, 1))
    english, chinese = shown.picture(), shown.picture("zh")
    assert (english != chinese) == (legible(shown.title, "zh") == shown.title.zh)
    for here, there in zip(shown.lines(), shown.lines("zh"), strict=True):
        assert not CHINESE.search(here)
        assert CHINESE.search(there)
        assert sorted(re.findall(r"\d+\.\d+", here)) == sorted(re.findall(r"\d+\.\d+", there)), "the same numbers"


def test_what_was_done_to_the_image_is_said_in_the_language_asked_for(tmp_path):
    photo = np.zeros((70, 90, 4), np.uint8)
    photo[..., 0], photo[..., 3] = 200, np.arange(90)
    Image.fromarray(photo).save(tmp_path / "a.png")
    (found,) = explain(model_of(NETS["lenet"]), [tmp_path / "a.png"], "grad-cam", evidence=False)
    (_, here), (_, there) = found.lines(), found.lines("zh")
    assert here.endswith("; transparency laid on an even ground; colour made grey; middle resized to 20x20")
    assert there.endswith("；透明处衬以均匀底色；彩色转为灰度；取中部，缩放到 20x20")


def test_the_same_question_gives_the_same_bytes():
    model = model_of(NETS["vgg"])
    for name in ("smoothgrad", "grad-cam"):
        one, two = (picture(model, name, images_for(model, 2)).picture() for _ in range(2))
        assert one == two


def test_colours_are_told_apart_and_zero_is_white():
    ramp = colours.painted(np.linspace(0, 1, 60)[None], signed=False, scale=1.0)[0].astype(float)
    luminance = ramp @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) >= -0.5).all(), "brighter is more"
    ends = colours.painted(np.array([[-1.0, 0.0, 1.0]]), signed=True, scale=1.0)[0].astype(int)
    assert ends[0, 2] > ends[0, 0]
    assert ends[2, 0] > ends[2, 2]
    assert (ends[1] == 247).all()
    assert colours.scale_of(np.zeros((3, 3))) == 1.0


def test_a_map_of_nothing_leaves_the_image():
    image = np.full((4, 4, 1), 200, np.uint8)
    assert (colours.overlaid(image, np.zeros((4, 4)), signed=True, scale=1.0) == 150).all()


def test_nothing_is_cut_off_and_names_cannot_break_the_layout():
    panels = tuple(
        Panel("a name much longer than its panel is wide " * 3, np.zeros((9, 4, 3), np.uint8), Bar(True, 1e-5))
        for _ in range(2)
    )
    sheet = pixels_of(draw("title\x00\n" * 40, [Strip(panels, ("word " * 200, "line\nbreak"))]))
    assert (sheet[:10] == 255).all()
    assert (sheet[-MARGIN // 2 :] == 255).all()
    assert (sheet[:, -MARGIN // 2 :] == 255).all()
    assert tiled(np.zeros((5, 3, 2, 3), np.uint8), 2).shape == (3 * 4 - 1, 2 * 3 - 1, 3)


def test_a_picture_too_large_for_memory_is_refused():
    with pytest.raises(NeocogError, match=r"at most 60,000,000 pixels\n  received: \d+x\d+\n  try: fewer images"):
        draw("many", [Strip((Panel("one", np.zeros((9, 4, 3), np.uint8)),))] * 400)


# --- what a unit sees -------------------------------------------------------------------------------------------------


def test_the_effective_field_lies_in_the_theoretical_one_around_the_pattern():
    model = detector(31, 17, 3)
    question = ask(model, planted(31, 17, 3, (22, 3)), layers=("relu1",), unit=0)
    field, unit, value = field_on_image.field_at(question, question.layer(), 0)
    assert (field.position, unit, field.view) == ((24, 5), 0, ((22.0, 26.0), (3.0, 7.0)))
    seen = np.zeros((31, 17), bool)
    seen[22:27, 3:8] = True
    np.testing.assert_array_equal(field.seen, seen)
    assert value == pytest.approx(2 * 9 - 14 + 16 - 9 + 0, abs=12)
    shown = picture(model, "field", planted(31, 17, 3, (22, 3)), layers=("relu1",), unit=0)
    part = panel_of(pixels_of(shown.picture()), shown, 0, 0)
    yellow = np.argwhere((part == (0xFF, 0xD4, 0x00)).all(axis=-1))
    scale = part.shape[0] / 31
    assert np.abs(yellow.min(axis=0) / scale - (22, 3)).max() < 0.3
    assert np.abs(yellow.max(axis=0) / scale - (27, 8)).max() < 0.3


# --- patches ----------------------------------------------------------------------------------------------------------


def dataset_of(images: np.ndarray, classes: int = 2) -> Dataset:
    labels = np.arange(len(images)) % classes
    return Dataset("made up", "test", images, labels, tuple(f"class {k}" for k in range(classes)))


@pytest.mark.parametrize(("height", "width", "channels"), [(20, 34, 1), (31, 17, 3)])
def test_the_best_patches_are_the_planted_ones_cut_to_the_field(height, width, channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 90, (30, height, width, channels), dtype=np.uint8)
    spots = {3: (0, 0), 11: (height - 5, width - 5), 20: (4, 7)}
    for n, at in spots.items():
        images[n] = planted(height, width, channels, at)
    question = ask(detector(height, width, channels), [], data=dataset_of(images), layers=("relu1",))
    (best,) = patches.strongest(question, question.layer(), [0], 3)
    assert [found.image for found in best] == sorted(spots)
    row = question.subject.planned["relu1"]
    for found in best:
        at = spots[found.image]
        assert found.position == (at[0] + 2, at[1] + 2)
        patch = patches.cut(images[found.image], seen(row, found.position))
        np.testing.assert_array_equal(patch, images[found.image][at[0] : at[0] + 5, at[1] : at[1] + 5])


def test_a_patch_is_grey_beyond_the_image():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    patch = patches.cut(image, ((-1, 1), (2, 4)))[..., 0]
    assert patch.tolist() == [[128, 128, 128], [2, 3, 128], [6, 7, 128]]


def test_patches_and_their_picture_say_where_they_are_from():
    model = detector(20, 34, 1)
    images = np.stack([planted(20, 34, 1, (k, k)) for k in range(12)])
    shown = picture(model, "patches", data=dataset_of(images), layers=("relu1",), count=1)
    assert len(shown.strips) == 1
    assert {row["image"] for row in shown.document["patches"]} == set(range(9))
    assert Image.open(BytesIO(shown.picture())).width > 700
