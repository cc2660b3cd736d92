"""The data doctor finds each of twelve planted faults by the names of its files, and nothing in a healthy folder."""

from __future__ import annotations

import json
import shutil
import tarfile
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from golden_images import GOLDEN
from PIL import Image

from neocog import DataError
from neocog.data import Dataset
from neocog.data.doctor import diagnose, diagnose_images

CLASSES = ("cat", "dog")
SPLITS = {"train": 6, "test": 3}


def scene(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A picture of broad coloured areas with some grain, as photographs have them."""
    rng = np.random.default_rng(seed)
    broad = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 4, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(broad) + grain, 0, 255).astype(np.uint8))


def write_healthy(root):
    seed = 0
    for split, count in SPLITS.items():
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                scene(seed).save(root / split / name / f"{k}.png")
                seed += 1
    return root


@pytest.fixture(scope="session")
def healthy(tmp_path_factory):
    return write_healthy(tmp_path_factory.mktemp("healthy") / "photos")


@pytest.fixture
def photos(healthy, tmp_path):
    return shutil.copytree(healthy, tmp_path / "photos")


def places(diagnosis, kind):
    return [group for finding in diagnosis.findings if finding.name == kind for group in finding.places]


def kinds(diagnosis):
    return {finding.name: finding.grave for finding in diagnosis.findings}


def test_a_healthy_folder_has_nothing_the_matter(healthy):
    diagnosis = diagnose(str(healthy))
    assert diagnosis.findings == ()
    assert diagnosis.figures["images"] == {"train": 12, "test": 6}
    assert diagnosis.figures["classes"]["train"] == {"cat": 6, "dog": 6}
    assert diagnosis.figures["sizes"] == {"72x96": 18}
    assert diagnosis.figures["decoded_per_second"] > 0


# The faults: each plants one in a healthy folder and gives its kind, the files it must be found in, and whether
# it is grave.


def truncated(root):
    path = root / "train/cat/0.jpg"
    scene(100).save(path, quality=90)
    path.write_bytes(path.read_bytes()[:-200])
    return "corrupt", ("train/cat/0.jpg",), True


def no_image(root):
    (root / "train/dog/notes.jpg").write_text("these are my notes\n" * 9)
    return "corrupt", ("train/dog/notes.jpg",), True


def twice_in_a_class(root):
    shutil.copy(root / "train/cat/1.png", root / "train/cat/copy of 1.png")
    return "duplicate", ("train/cat/1.png", "train/cat/copy of 1.png"), False


def in_two_splits(root):
    Image.open(root / "train/cat/2.png").save(root / "test/cat/other name.bmp")
    return "leak", ("train/cat/2.png", "test/cat/other name.bmp"), True


def nearly_in_two_splits(root):
    image = Image.open(root / "train/dog/3.png")
    image.resize((64, 48)).point(lambda v: min(255, int(v * 1.05))).save(root / "test/dog/small.jpg", quality=70)
    return "leak", ("train/dog/3.png", "test/dog/small.jpg"), True


def in_two_classes(root):
    shutil.copy(root / "train/cat/4.png", root / "train/dog/twin.png")
    return "two classes", ("train/cat/4.png", "train/dog/twin.png"), True


def misspelt_class(root):
    (root / "test/dgo").mkdir()
    scene(101).save(root / "test/dgo/a.png")
    return "class mismatch", ("test/dgo/a.png",), True


def class_in_two_cases(root):
    (root / "train/Cat").mkdir()
    scene(102).save(root / "train/Cat/a.png")
    return "class names", ("train/Cat/a.png",), True


def empty_class(root):
    (root / "train/bird").mkdir()
    return "empty class", ("train/bird",), False


def transparent(root):
    image = scene(103).convert("RGBA")
    image.putalpha(128)
    image.save(root / "train/dog/logo.png")
    return "transparent", ("train/dog/logo.png",), False


def sixteen_bits(root):
    grey = np.asarray(scene(104).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(root / "train/cat/deep.png")
    return "16-bit", ("train/cat/deep.png",), False


def turned(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(105).save(root / "test/dog/phone.jpg", exif=exif)
    return "turned by EXIF", ("test/dog/phone.jpg",), False


TWELVE = [
    truncated, no_image, twice_in_a_class, in_two_splits, nearly_in_two_splits, in_two_classes, misspelt_class,
    class_in_two_cases, empty_class, transparent, sixteen_bits, turned,
]  # fmt: skip


def found(diagnosis, kind, names):
    """Whether a finding of the kind names these files together, or its one file."""
    return any(set(names) <= set(group) for group in places(diagnosis, kind))


@pytest.mark.parametrize("plant", TWELVE, ids=lambda plant: plant.__name__)
def test_each_fault_is_found_by_its_files(plant, photos):
    kind, names, grave = plant(photos)
    diagnosis = diagnose(str(photos))
    assert found(diagnosis, kind, names)
    assert diagnosis.grave is grave
    finding = next(finding for finding in diagnosis.findings if finding.name == kind)
    assert (finding.grave, bool(finding.action)) == (grave, True)
    assert kind in finding.text()
    assert json.dumps(finding.as_dict())


def test_all_twelve_are_found_together(photos):
    planted = [plant(photos) for plant in TWELVE]
    diagnosis = diagnose(str(photos))
    assert len(planted) == 12
    assert [(kind, names) for kind, names, _ in planted if not found(diagnosis, kind, names)] == []
    graves = [finding.grave for finding in diagnosis.findings]
    assert graves == sorted(graves, reverse=True)


def test_class_names_in_two_unicode_forms_are_one_class_misspelt(photos):
    for seed, (split, form) in enumerate((("train", "NFC"), ("test", "NFC"), ("train", "NFD")), start=110):
        folder = photos / split / unicodedata.normalize(form, "café")
        folder.mkdir()
        scene(seed).save(folder / f"{form}.png")
    assert kinds(diagnose(str(photos)))["class names"] is True


def test_faults_in_shards_are_found_by_their_members(photos, tmp_path):
    shutil.copy(photos / "train/cat/1.png", photos / "test/cat/9.png")
    (photos / "train/dog/2.png").write_bytes(b"no image")
    for split in SPLITS:
        with tarfile.open(tmp_path / f"{split}.tar", "w") as shard:
            for k, path in enumerate(sorted((photos / split).rglob("*.png"))):
                (tmp_path / "label.cls").write_text(path.parent.name)
                shard.add(path, f"{k:03d}.png")
                shard.add(tmp_path / "label.cls", f"{k:03d}.cls")
    shutil.rmtree(photos)
    diagnosis = diagnose(str(tmp_path))
    assert places(diagnosis, "corrupt") == [("train.tar/008.png",)]
    assert places(diagnosis, "leak") == [("test.tar/003.png", "train.tar/001.png")]
    assert diagnosis.figures["images"] == {"train": 12, "test": 7}


def test_sixteen_bits_are_seen_in_colour_too(photos):
    (photos / "train/cat/deep.png").write_bytes(GOLDEN["PNG RGB 16"].content)
    assert places(diagnose(str(photos)), "16-bit") == [("train/cat/deep.png",)]


def test_imbalance_comes_with_the_weights_that_even_it_out(photos):
    for k in range(1, 6):
        (photos / "train/dog" / f"{k}.png").unlink()
    finding = next(f for f in diagnose(str(photos)).findings if f.name == "imbalance")
    assert "6 training images of cat, 1 of dog" in finding.says
    assert "dog 3.5, cat 0.583" in finding.action  # 7 / (2 * 1), 7 / (2 * 6)


def test_a_link_to_itself_and_a_list_of_files_that_are_not_there_are_no_mistake_of_the_doctor(photos):
    (photos / "train/self").symlink_to("self")
    assert "empty class" not in kinds(diagnose(str(photos)))
    (photos / "list.csv").write_text("".join(f"nowhere/{k % 2}/{k}.png,{k % 2}\n" for k in range(4)))
    assert len(places(diagnose(str(photos / "list.csv")), "corrupt")) == 4
    (photos / "list.csv").write_text("".join(f"train/{n}/{k}.png,{n}s\n" for n in CLASSES for k in range(6)))
    assert kinds(diagnose(str(photos / "list.csv"))) == {}


def test_one_class_is_too_few(tmp_path):
    for k in range(3):
        (tmp_path / "all/cat").mkdir(parents=True, exist_ok=True)
        scene(k).save(tmp_path / "all/cat" / f"{k}.png")
    assert kinds(diagnose(str(tmp_path / "all")))["single class"] is True


def test_what_sets_some_images_apart_is_named(photos):
    scene(106).convert("CMYK").save(photos / "train/cat/print.jpg")
    scene(107).convert("L").save(photos / "train/cat/grey.png")
    scene(108, (12, 12)).save(photos / "train/cat/icon.png")
    scene(109, (300, 60)).save(photos / "train/cat/banner.png")
    diagnosis = diagnose(str(photos))
    for kind, name in (("CMYK", "print.jpg"), ("grey", "grey.png"), ("very small", "icon.png"),
                       ("far from square", "banner.png")):  # fmt: skip
        assert places(diagnosis, kind) == [(f"train/cat/{name}",)]
    assert not diagnosis.grave


def test_a_folder_that_is_no_split_is_said_to_be_left_out(photos):
    (photos / "test").rename(photos / "tset")
    assert any("tset" in finding.says for finding in diagnose(str(photos)).findings if finding.name == "left out")


def test_a_class_that_a_split_lacks_is_named(photos):
    shutil.rmtree(photos / "test/cat")
    finding = next(f for f in diagnose(str(photos)).findings if f.name == "absent class")
    assert "the test split has no images of cat" in finding.says


def test_mean_and_deviation_are_of_the_training_images(healthy):
    pixels = np.concatenate(
        [np.asarray(Image.open(path)).reshape(-1, 3) for path in sorted((healthy / "train").rglob("*.png"))]
    )
    figures = diagnose(str(healthy)).figures
    np.testing.assert_allclose(figures["mean"], pixels.mean(axis=0) / 255, atol=1e-4)
    np.testing.assert_allclose(figures["std"], pixels.std(axis=0) / 255, atol=1e-4)


@pytest.mark.parametrize("source", ["no such folder", ""])
def test_a_source_that_is_not_there_is_refused(source):
    with pytest.raises(DataError):
        diagnose(source)


def arrays():
    rng = np.random.default_rng(3)
    return [
        Dataset("marks", split, rng.integers(0, 256, (n, 7, 9, 1), np.uint8), np.arange(n) % 3, ("a", "b", "c"))
        for split, n in (("train", 60), ("test", 30))
    ]


def test_images_in_memory_that_are_in_both_splits_or_two_classes_are_found():
    train, test = arrays()
    train.images[7], train.images[11], train.images[20] = test.images[29], train.images[2], train.images[4]
    diagnosis = diagnose_images([train, test])
    assert places(diagnosis, "leak") == [("train image 7", "test image 29")]
    assert places(diagnosis, "duplicate") == [("train image 2", "train image 11")]
    assert places(diagnosis, "two classes") == [("train image 4", "train image 20")]
    assert diagnosis.grave


def test_healthy_images_in_memory_have_nothing_the_matter():
    diagnosis = diagnose_images(arrays())
    assert diagnosis.findings == ()
    assert diagnosis.figures["images"] == {"train": 60, "test": 30}


def test_images_in_memory_of_rare_classes_are_counted():
    train, test = arrays()
    train = replace(train, labels=np.minimum(np.arange(60) // 50, 1))
    found = kinds(diagnose_images([train, test]))
    assert set(found) == {"absent class", "imbalance"}
