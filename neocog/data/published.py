"""Published data sets: where their files lie, what they must contain, and what their classes are called.

Every file is pinned by its SHA-256. Sizes and checksums are those of TensorFlow Datasets' lists of checksums, which
other projects' lists repeat.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

DIGITS = tuple("0123456789")
ARTICLES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FINE = (
    *("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy"),
    *("bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee"),
    *("clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant"),
    *("flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower"),
    *("leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom"),
    *("oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate"),
    *("poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark"),
    *("shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower"),
    *("sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train", "trout", "tulip"),
    *("turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm"),
)
"""CIFAR-100's fine labels, in the order of its `fine_label_names.txt`."""


@dataclass(frozen=True)
class Remote:
    """A file on the web: its address, bytes and SHA-256."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of its address."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Published:
    """A set: what it is, its classes, its files, and what is kept of an archive: file names with sizes in bytes."""

    what: str
    classes: tuple[str, ...]
    files: tuple[Remote, ...]
    members: dict[str, int] = field(default_factory=dict)

    @property
    def keeps(self) -> tuple[str, ...]:
        """The names of the files that the set consists of on disk."""
        return tuple(self.members) or tuple(remote.name for remote in self.files)

    def missing(self, folder: Path) -> list[str]:
        """The files that a folder lacks. One packed by gzip may also lie there unpacked."""
        names = {kept: (kept, kept.removesuffix(".gz")) for kept in self.keeps}
        return [kept for kept, either in names.items() if not any((folder / one).is_file() for one in either)]

    @property
    def bytes_to_get(self) -> int:
        """What is downloaded."""
        return sum(remote.size for remote in self.files)


_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"  # LeCun's own page does not serve them any more
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_SVHN = "http://ufldl.stanford.edu/housenumbers/"

PUBLISHED = {
    "mnist": Published(
        "handwritten digits, grey 28x28 (LeCun, Cortes, Burges, 1998)",
        DIGITS,
        (
            Remote(
                f"{_MNIST}train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            Remote(
                f"{_MNIST}train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            Remote(
                f"{_MNIST}t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            Remote(
                f"{_MNIST}t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
    ),
    "fashion-mnist": Published(
        "articles of clothing, grey 28x28 (Xiao, Rasul, Vollgraf, 2017)",
        ARTICLES,
        (
            Remote(
                f"{_FASHION}train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            Remote(
                f"{_FASHION}train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            Remote(
                f"{_FASHION}t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            Remote(
                f"{_FASHION}t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
    ),
    "cifar10": Published(
        "photographs of 10 kinds of things, colour 32x32 (Krizhevsky, 2009)",
        OBJECTS,
        (
            Remote(
                f"{_CIFAR}cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        dict.fromkeys((*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"), 30_730_000),
    ),
    "cifar100": Published(
        "photographs of 100 kinds of things, colour 32x32 (Krizhevsky, 2009)",
        FINE,
        (
            Remote(
                f"{_CIFAR}cifar-100-binary.tar.gz",
                168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        {"train.bin": 153_700_000, "test.bin": 30_740_000},
    ),
    "svhn": Published(
        "house numbers' digits, colour 32x32 (Netzer and others, 2011)",
        DIGITS,
        (
            Remote(
                f"{_SVHN}train_32x32.mat",
                182_040_794,
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            ),
            Remote(
                f"{_SVHN}test_32x32.mat",
                64_275_384,
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            ),
        ),
    ),
}
"""The sets that have names of their own here. MNIST comes with the package."""
