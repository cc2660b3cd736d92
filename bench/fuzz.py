"""Readers of what strangers write, given that changed at random, for as long as one likes.

    bench/fuzz.py [--minutes 10] [--seed 0] [--readers notation,images]

Each reader starts from good examples. One after another is changed a few times at random (bits, bytes, cuts, pieces
repeated, swapped between examples, or replaced by what readers have tripped over: large numbers, zero bytes, brackets),
read, and kept as an example of its own when it leads the reader to a message not seen before. A reader may refuse by a
NeocogError; anything else, or a second spent on one input, is a find: its input is written to `fuzz/`, and the program
ends with exit code 1. Prints how many inputs each reader was given, how many it accepted and how many ways it refused.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import tarfile
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
from page import row
from PIL import Image
from safetensors.numpy import load as numpy_load

from neocog import NeocogError, Network, load, train
from neocog.data import Dataset, Splits
from neocog.data.decode import decode
from neocog.data.idx import read_idx
from neocog.data.lists import read_list
from neocog.data.matfile import read_mat
from neocog.data.pack import pack
from neocog.data.packed import read_packed
from neocog.data.shards import read_shards
from neocog.files import seal
from neocog.retrieval import Index, load_index
from neocog.training.checkpoint import read_checkpoint
from neocog.training.recipe import read_recipe
from neocog.training.run import read_config

NETWORK = Network.parse("INPUT[4x4x1] -> CONV3-2 -> BN -> RELU -> FC3")
TEXTS = [
    b"INPUT[28x28x1] -> [CONV5-20 -> RELU -> POOL2]*2 -> FC500 -> RELU -> FC10",
    b"def b(k) = ADD[ CONV3-k -> BN -> RELU | ID ] -> RELU\nINPUT[8x8x4] -> b(4) "
    b" -> CONCAT[ CONV1-2 | POOL3(S=1, P=1) ] -> GAP # x",
    b"INPUT[128x4] -> CONV5-8(S=2, P=0, D=1, G=4) -> LRN -> AUX(0.3)[ FC3 ] -> DROPOUT(0.5) -> FC3",
]
ODD = [
    b"",
    b"\0",
    b"\xff" * 9,
    b"9" * 40,
    b"-1",
    b"[" * 99,
    b"(" * 99,
    b"{" * 99,
    b'"',
    b"\n",
    b"\xe2\x80\xae",
    b"NaN",
    b"1e999",
]
SLOW = 1.0
FOLDER = Path("fuzz")


@dataclass
class Reader:
    """What reads a file, examples of it, and what came of changed ones."""

    name: str
    read: Callable[[Path], object]
    examples: list[bytes]
    suffix: str = ""
    given: int = 0
    accepted: int = 0
    refusals: set[str] = field(default_factory=set)

    def try_one(self, rng: random.Random, folder: Path) -> str | None:
        """Give it one changed example; what is wrong with the reader, if anything is."""
        content = changed(rng, self.examples)
        path = folder / f"input{self.suffix}"
        path.write_bytes(content)
        self.given += 1
        began = process_time()
        try:
            self.read(path)
            self.accepted += 1
        except NeocogError as error:
            if error.rule not in self.refusals and len(self.refusals) < 1000:
                self.refusals.add(error.rule)
                self.examples.append(content[: 1 << 20])
        except Exception:  # whatever else comes out is what is looked for
            return self._kept(content, traceback.format_exc())
        spent = process_time() - began
        return self._kept(content, f"{spent:.1f} s for one input") if spent > SLOW else None

    def _kept(self, content: bytes, what: str) -> str:
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"{self.name}-{self.given}{self.suffix}"
        path.write_bytes(content)
        return f"{self.name}: {path}\n{what}"


def changed(rng: random.Random, examples: list[bytes]) -> bytes:
    """One of the examples, changed once to three times."""
    made = bytearray(rng.choice(examples))
    for _ in range(rng.randint(1, 3)):
        a = rng.randint(0, len(made))
        b = min(len(made), a + rng.choice((1, 1, 2, 4, 16, 256)))
        match rng.randrange(7):
            case 0 if made:
                made[min(a, len(made) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                made[a:b] = rng.randbytes(b - a)
            case 2:
                del made[a:b]
            case 3:
                del made[a:]
            case 4:
                made[a:a] = made[a:b] * rng.choice((1, 2, 50))
            case 5:
                other = rng.choice(examples)
                c = rng.randint(0, len(other))
                made[a:b] = other[c : c + 64]
            case _:
                made[a:b] = rng.choice(ODD)
    return bytes(made)


def planned(path: Path) -> object:
    """A text, parsed, with all that follows from it before anything runs."""
    network = Network.parse(path.read_bytes().decode("utf-8", errors="surrogateescape"))
    return str(network), network.plan() if len(network.nodes) < 500 else None  # deep ones rightly take their time


def resealed(content: bytes) -> bytes:
    """The file with its checksum made right again, so that what lies behind it is reached; as it was if it has none."""
    try:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        metadata, tensors = header["__metadata__"], numpy_load(content)
        ((key, text),) = metadata.items()
        document = json.loads(text)
        del document["sha256"]
        return seal(key, document, tensors)
    except Exception:  # not a file that says what its checksum is of: the plain reader's matter
        return content


def of_folder(path: Path) -> object:
    """The settings that stand in a run folder under their name."""
    (path.parent / "config.yaml").write_bytes(path.read_bytes())
    return read_config(path.parent)


def of_sealed(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """A reader of sealed files, given them with a right checksum."""

    def then(path: Path) -> object:
        path.write_bytes(resealed(path.read_bytes()))
        return read(path)

    return then


def readers(folder: Path) -> list[Reader]:
    """Every reader with its examples."""
    rng = np.random.default_rng(0)
    train_set, test_set = (
        Dataset("made up", split, rng.integers(0, 256, (40, 4, 4, 1), np.uint8), np.arange(40) % 3, ("a", "b", "c"))
        for split in ("train", "test")
    )
    run = folder / "run"
    train(NETWORK, Splits(train_set, test_set), epochs=1, batch_size=8, engine="torch", out=run, progress="none")
    model, checkpoint = (run / "model.safetensors").read_bytes(), next((run / "checkpoints").iterdir()).read_bytes()
    for split in ("train", "test"):
        for name in "ab":
            (folder / "images" / split / name).mkdir(parents=True)
            for k in range(3):
                pixels = rng.integers(0, 256, (9, 11, 3), np.uint8)
                Image.fromarray(pixels).save(folder / "images" / split / name / f"{k}.png")
    pack(str(folder / "images"), folder / "packed.safetensors", NETWORK.input_shape)
    table = b"path,label,split\na.png,cat,train\n'b.png',dog,test\n"
    recipe = b'network = "INPUT[4x4x1] -> FC3"\ndata = "mnist"\nepochs = 2\nlr = 0.1\nwhiten = true\n'
    features, names = rng.standard_normal((3, 4)).astype(np.float32), ("a.png", "b.png", "c.png")
    made = Index(features, names, np.arange(3), ("a", "b", "c"), "0" * 64, "relu1", "mean", "model.safetensors")
    index = made.save(folder / "index.safetensors").read_bytes()
    reads_checkpoint = partial(read_checkpoint, network=NETWORK)
    return [
        Reader("notation", planned, list(TEXTS), ".net"),
        Reader("model", load, [model], ".safetensors"),
        Reader("sealed-model", of_sealed(load), [model], ".safetensors"),
        Reader("index", load_index, [index], ".safetensors"),
        Reader("sealed-index", of_sealed(load_index), [index], ".safetensors"),
        Reader("checkpoint", reads_checkpoint, [checkpoint], ".safetensors"),
        Reader("sealed-checkpoint", of_sealed(reads_checkpoint), [checkpoint], ".safetensors"),
        Reader("config", of_folder, [(run / "config.yaml").read_bytes()], ".yaml"),
        Reader("recipe", read_recipe, [recipe], ".toml"),
        Reader("list", read_list, [table, table.replace(b",", b"\t")], ".csv"),
        Reader("shards", read_shards, [shard(folder / "images" / "train")], ".tar"),
        Reader("idx", partial(read_idx, axes=3), [b"\0\0\x08\3" + struct.pack(">3I", 4, 3, 2) + bytes(24)], ".idx"),
        Reader("mat", read_mat, [mat(np.arange(6, dtype=np.uint8)), mat(np.arange(4.0))], ".mat"),
        Reader("packed", read_packed, [(folder / "packed.safetensors").read_bytes()], ".safetensors"),
        Reader("image", decode, list(images(rng)), ".img"),
    ]


def shard(folder: Path) -> bytes:
    """A tar file of WebDataset, with the images of a folder of classes."""
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in sorted(folder.rglob("*.png")):
            for suffix, content in ((".png", path.read_bytes()), (".cls", path.parent.name.encode())):
                member = tarfile.TarInfo(f"{path.parent.name}{path.stem}{suffix}")
                member.size = len(content)
                archive.addfile(member, BytesIO(content))
    return out.getvalue()


def mat(values: np.ndarray) -> bytes:
    """A MAT file with one array of bytes or real numbers, packed by zlib as MATLAB does."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    of_class, stored = (9, 2) if values.dtype == np.uint8 else (6, 9)
    parts = (
        element(6, struct.pack("<II", of_class, 0)),
        element(5, struct.pack("<ii", 1, len(values))),
        element(1, b"x"),
        element(stored, values.tobytes()),
    )
    packed = zlib.compress(element(14, b"".join(parts)))
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed


def images(rng: np.random.Generator) -> Iterator[bytes]:
    """Small pictures of every format that is read."""
    pixels = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
    for form in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"):
        for mode in ("RGB", "L", "P"):
            out = BytesIO()
            try:
                pixels.convert(mode).save(out, form)
            except OSError:  # a format without that mode
                continue
            yield out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", default="")
    args = parser.parse_args()
    warnings.simplefilter("error")  # a warning is no answer either
    with TemporaryDirectory() as name:
        chosen = [r for r in readers(Path(name)) if not args.readers or r.name in args.readers.split(",")]
        finds = tried(chosen, 60 * args.minutes, args.seed, Path(name))
    for reader in chosen:
        print(row([reader.name, f"{reader.given:,}", f"{reader.accepted:,}", f"{len(reader.refusals):,}"]))
    print(f"seed {args.seed}, {sum(reader.given for reader in chosen):,} inputs, {len(finds)} finds")
    for find in finds:
        print(find)
    sys.exit(bool(finds))


def tried(chosen: list[Reader], seconds: float, seed: int, folder: Path) -> list[str]:
    """What was found in so many seconds, the readers taking turns."""
    rng, finds, ends = random.Random(seed), [], perf_counter() + seconds
    while perf_counter() < ends and len(finds) < 20:
        for reader in chosen:
            if find := reader.try_one(rng, folder):
                finds.append(find)
    return finds


if __name__ == "__main__":
    main()
