"""`neocog predict MODEL FILE... --dense`: score maps, proofs, boxes and pictures."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, NeocogError, escaped
from ..wording import count_of
from .arguments import whole_from
from .output import console, print_error, print_json

if TYPE_CHECKING:
    from ..dense import Found, Proof, ScoreMap
    from ..model import Model

NOTHING = ("nothing", "background")
"""Class names that mean no object, where there is one and --background says nothing else."""
OUTPUTS = (".npy", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--dense, and what it takes."""
    group = parser.add_argument_group("score maps of images of any size (docs/dense.md)")
    group.add_argument("--dense", action="store_true", help="score every window of each image, as a map")
    group.add_argument(
        "--stride", type=whole_from(1), metavar="N", help="pixels between windows: divides the network's"
    )
    group.add_argument(
        "--scales", type=scales, metavar="LIST", help="sizes of the image, as 1,0.7; fit: as for classification"
    )
    group.add_argument(
        "--method", choices=("auto", "shift", "dilate"), help="how a finer stride is reached (default: the cheaper)"
    )
    group.add_argument("--prove", action="store_true", help="compare with crops one by one; exit code 1 if they differ")
    group.add_argument("--boxes", type=_share, metavar="THRESHOLD", help="boxes of what has that probability")
    group.add_argument(
        "--boxes-by",
        choices=("cells", "regions"),
        help="windows, the best of those that overlap; or touching windows together",
    )
    group.add_argument("--background", metavar="CLASS", help="the class that means nothing is there")
    group.add_argument("--class", dest="heat", metavar="CLASS", help="the class whose heat map -o OUT.png shows")
    group.add_argument(
        "-o", dest="out", type=Path, metavar="OUT", help="scores as .npy, a picture as .png, or a folder for all"
    )
    group.add_argument("--memory", type=whole_from(1), metavar="MIB", help="for a tile of the image (default 1024)")
    group.add_argument("--max-pixels", type=whole_from(1), metavar="N", help="allow larger images than 64 megapixels")


def scales(text: str) -> tuple[float | str, ...]:
    """The type of an argument that lists sizes of an image."""
    found: list[float | str] = []
    for part in text.split(","):
        word = part.strip()
        if word == "fit":
            found.append(word)
        elif re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", word, re.ASCII) and float(word) > 0:
            found.append(float(word))
        else:
            raise argparse.ArgumentTypeError(f"scales are numbers or fit, as 1,0.7, not {word[:40]!r}")
    if len(found) > 16:
        raise argparse.ArgumentTypeError(f"at most 16 scales, not {len(found)}")
    return tuple(found)


def _share(text: str) -> float:
    if not re.fullmatch(r"[01](\.[0-9]{1,9})?|\.[0-9]{1,9}", text, re.ASCII) or float(text) > 1:
        raise argparse.ArgumentTypeError(f"a probability from 0 to 1 is needed, not {text[:40]!r}")
    return float(text)


ONLY_DENSE = {
    **{"stride": "--stride", "scales": "--scales", "method": "--method", "prove": "--prove", "boxes": "--boxes"},
    **{"boxes_by": "--boxes-by", "background": "--background", "heat": "--class", "out": "-o"},
    **{"memory": "--memory", "max_pixels": "--max-pixels"},
}


def refuse_without_dense(args: argparse.Namespace) -> None:
    """Raise NeocogError where something was said that only --dense understands."""
    for name, option in ONLY_DENSE.items():
        if getattr(args, name):
            raise NeocogError(f"{option} belongs to --dense", hint=f"--dense {option} ...")


def run(args: argparse.Namespace, model: Model, files: Sequence[str]) -> int:
    """Score each file. One that cannot be used does not stop the others (2); a proof that fails gives 1."""
    _check(args, model, files)
    documents: list[dict[str, Any]] = []
    failed: list[DataError] = []
    holds = True
    names = _names(files)
    for file in files:
        try:
            document, proofs = _of_file(args, model, file, names[file])
        except DataError as error:
            failed.append(error)
            print_error(error, as_json=False)
            continue
        documents.append(document)
        holds = holds and all(proof.holds for proof in proofs)
    if args.json:
        problems = [{"file": error.where, "error": error.rule} for error in failed]
        print_json(
            {"model": args.model, "images": documents, "failed": problems, "proved": holds if args.prove else None}
        )
    return DataError.exit_code if failed else (0 if holds else 1)


def _check(args: argparse.Namespace, model: Model, files: Sequence[str]) -> None:
    """Whether what was asked for goes together."""
    for option, name in (("--background", args.background), ("--class", args.heat)):
        if name is not None and name not in model.classes:
            raise NeocogError(
                f"{option} names no class of the model", received=name[:80], hint=", ".join(model.classes)[:160]
            )
    if args.boxes_by and args.boxes is None:
        raise NeocogError("--boxes-by says how boxes are made; --boxes THRESHOLD asks for them")
    if (args.runtime, args.dtype) not in (("auto", "float32"), ("torch", "float32")):
        raise NeocogError("--dense is computed by torch in float32", received=f"{args.runtime}, {args.dtype}")
    if args.tta != "none":
        raise NeocogError("--dense looks at every window once; --tta is for whole images")
    kind = args.out.suffix.lower() if args.out else ""
    if kind in OUTPUTS and (len(files) > 1 or (kind == ".npy" and len(args.scales or (1,)) > 1)):
        raise NeocogError(
            f"one {kind} file holds one map",
            received=f"{count_of(len(files), 'image')}, {count_of(len(args.scales or (1,)), 'scale')}",
            hint="-o FOLDER",
        )
    if args.heat and kind != ".png":
        raise NeocogError("--class names the class that -o OUT.png shows")
    if kind not in ("", *OUTPUTS):
        raise NeocogError("-o is a .npy or .png file, or a folder", received=str(args.out)[:80])


def _names(files: Sequence[str]) -> dict[str, str]:
    """What the files of each image are called in a folder: by its own name, numbered where several share one."""
    found: dict[str, str] = {}
    for file in files:
        stem, number = Path(file).stem, 2
        name = stem
        while name in found.values():
            name, number = f"{stem}-{number}", number + 1
        found[file] = name
    return found


def _of_file(args: argparse.Namespace, model: Model, file: str, name: str) -> tuple[dict[str, Any], list[Proof]]:
    """The document of an image, which is printed too, and the proofs."""
    from ..data.decode import PIXELS
    from ..dense import boxes, prove, score
    from ..dense.plane import Picture
    from ..dense.tiles import MEMORY
    from ..files import write_atomically

    place = _Place(args.out, name, args.scales or (1.0,))
    picture = Picture.of(file, args.max_pixels or PIXELS)
    maps = [
        score(
            model,
            picture,
            stride=args.stride,
            scale=scale,
            method=args.method or "auto",
            memory=args.memory or MEMORY,
            into=place.scores(scale),
            told=_tell,
        )
        for scale in place.scales
    ]
    proofs = [prove(one) for one in maps] if args.prove else []
    background = args.background or next((word for word in NOTHING if word in model.classes), None)
    found = boxes(maps, args.boxes, args.boxes_by or "cells", background) if args.boxes is not None else None
    pictures = dict(_pictures(place, maps, found, background, args.heat))
    document = _document(file, maps, proofs, found, place.written(pictures))
    if place.folder:
        pictures[place.folder / f"{name}.json"] = json.dumps(document, indent=1).encode()
    for path, content in pictures.items():
        write_atomically(path, content)
    if not args.json:
        _print(document, maps, proofs)
    return document, proofs


def _tell(done: int, tiles: int) -> None:
    """Progress over many tiles, on stderr."""
    watched = sys.stderr.isatty()
    if tiles > 1 and (watched or done * 10 // tiles > (done - 1) * 10 // tiles):
        end = "\r" if watched and done < tiles else "\n"
        print(f"{done:,} of {count_of(tiles, 'tile')}", file=sys.stderr, end=end, flush=True)


@dataclass(frozen=True)
class _Place:
    """Where what is made of an image goes: one .npy or .png file, or a folder for all of it, under the image's name."""

    out: Path | None
    name: str
    scales: Sequence[float | str]

    @property
    def kind(self) -> str:
        """`.npy` or `.png`; nothing for a folder."""
        kind = self.out.suffix.lower() if self.out else ""
        return kind if kind in OUTPUTS else ""

    @property
    def folder(self) -> Path | None:
        """The folder, if it is one."""
        return None if self.kind else self.out

    def stem(self, scale: float | str) -> str:
        """The beginning of the names of what is made at one scale."""
        return self.name if len(self.scales) == 1 else f"{self.name}-{scale}"

    def scores(self, scale: float | str) -> Path | None:
        """The file for the scores, if there is to be one."""
        if self.folder:
            return self.folder / f"{self.stem(scale)}.npy"
        return self.out if self.kind == ".npy" else None

    def written(self, pictures: Iterable[Path]) -> list[str]:
        """Every file that is there in the end."""
        scores = [path for scale in self.scales if (path := self.scores(scale))]
        document = [self.folder / f"{self.name}.json"] if self.folder else []
        return [str(path) for path in (*scores, *pictures, *document)]


def _pictures(
    place: _Place, maps: Sequence[ScoreMap], found: Sequence[Found] | None, background: str | None, heat: str | None
) -> Iterator[tuple[Path, bytes]]:
    """The pictures that were asked for, with the files for them."""
    from ..dense.heat import boxes_picture, class_picture, kinds_picture

    if place.folder:
        for scale, one in zip(place.scales, maps, strict=True):
            yield place.folder / f"{place.stem(scale)}-classes.png", kinds_picture(one, background)
        if found is not None:
            yield place.folder / f"{place.name}-boxes.png", boxes_picture(maps[0], found)
    elif place.out and place.kind == ".png":
        one = maps[0]
        if heat:
            yield place.out, class_picture(one, heat)
        else:
            yield place.out, kinds_picture(one, background) if found is None else boxes_picture(one, found)


def _document(
    file: str, maps: Sequence[ScoreMap], proofs: Sequence[Proof], found: Sequence[Found] | None, written: Sequence[str]
) -> dict[str, Any]:
    from ..dense import averaged
    from ..dense.scoremap import posterior_of

    one = maps[0]
    shares = posterior_of(one.model, averaged(maps))
    order = sorted(range(len(shares)), key=lambda k: -shares[k])[:5]
    described = [_described(each) for each in maps]
    for each, proof in zip(described, proofs, strict=False):
        each["proof"] = proof.as_json()
    height, width = one.plane.picture.size
    document: dict[str, Any] = {
        "file": file,
        "image": [height, width],
        "notes": list(one.plane.notes),
        "maps": described,
        "averaged": [{"class": one.classes[k], "probability": float(shares[k])} for k in order],
        "written": list(written),
    }
    if found is not None:
        document["boxes"] = [box.as_json() for box in found]
    return document


def _described(one: ScoreMap) -> dict[str, Any]:
    route, border = one.route, one.border
    return {
        "scale": one.plane.scale,
        "plane": list(one.plane.size),
        "size": list(one.cells),
        "unread": list(one.unread),
        "stride": list(route.stride),
        "network_stride": list(route.form.sight.jump),
        "method": route.method,
        "window": list(route.sight.window),
        "receptive_field": [b - a + 1 for a, b in zip(route.sight.first, route.sight.last, strict=True)],
        "first_cell": {
            "box": list(one.window(0, 0)),
            "sees": [list(ends) for ends in route.sight.field_of((0, 0))],
        },
        "cells_that_see_padding": int(border.sum()),
        "crops": one.crops,
        "operations_ratio": one.ratio,
        "tiles": one.tiling.count,
        "memory_bytes": one.tiling.bytes,
        "seconds": one.seconds,
    }


def _print(document: dict[str, Any], maps: Sequence[ScoreMap], proofs: Sequence[Proof]) -> None:
    out = console()
    notes = f"   [{'; '.join(document['notes'])}]" if document["notes"] else ""
    out.print(
        f"{escaped(document['file'])}: {document['image'][1]}x{document['image'][0]} pixels{notes}", soft_wrap=True
    )
    for k, one in enumerate(document["maps"]):
        for line in _lines(one, maps[k]):
            out.print(f"  {line}", soft_wrap=True)
        if proofs:
            for line in proof_lines(proofs[k]):
                out.print(f"  {line}", soft_wrap=True)
    shown = ", ".join(f"{escaped(each['class'])} ({each['probability']:.1%})" for each in document["averaged"][:3])
    out.print(f"  averaged over all windows: {shown}", soft_wrap=True)
    for box in document.get("boxes", ()):
        corners = ", ".join(f"{x:.0f}" for x in box["box"])
        out.print(f"  {escaped(box['class'])} {box['score']:.3f} at ({corners})", soft_wrap=True)
    for path in document["written"]:
        out.print(f"  written: {escaped(path)}", soft_wrap=True)


def _lines(one: dict[str, Any], found: ScoreMap) -> list[str]:
    rows, columns = one["size"]
    stride, own, window = (_times(one[name]) for name in ("stride", "network_stride", "window"))
    how = {"own": "the network's own", "shift": f"of {own} by shifted passes", "dilate": f"of {own} by dilation"}
    box = ", ".join(f"{x:.4g}" for x in one["first_cell"]["box"])
    (top, bottom), (first, last) = one["first_cell"]["sees"]
    padding, cells = one["cells_that_see_padding"], count_of(one["crops"], "cell")
    below, right = one["unread"]
    unread = f"; {count_of(below, 'row')} below and {count_of(right, 'column')} at the right are left over"
    left_over = unread if below or right else ""
    passes = sum(1 for _ in found.route.passes(found.cells))
    return [
        f"scale {one['scale']:.4g}: a map of {rows} x {columns} cells, windows of {window} pixels, "
        f"stride {stride}, {how[one['method']]}",
        f"the first cell stands for ({box}) of the image and sees rows {top} to {bottom}, columns {first} to {last}"
        f"{left_over}",
        f"{padding:,} of {cells} see{'s' * (padding == 1)} the padding of layers at the image's edge"
        if padding
        else "no cell sees padding",
        f"it {'stands for' if found.is_padded else 'equals'} {count_of(one['crops'], 'crop')}; one by one "
        f"{'it takes' if one['crops'] == 1 else 'they take'} "
        f"{one['operations_ratio']:.1f} times the operations of "
        f"{'this pass' if passes == 1 else f'these {passes} passes'}",
        f"{one['seconds']:.2f} s, {count_of(one['tiles'], 'tile')} of "
        f"{one['memory_bytes'] / 2**20:,.0f} MiB by the plan",
    ]


def _times(values: Sequence[int]) -> str:
    return "x".join(map(str, values if len(set(values)) > 1 else values[:1]))


def _cells(count: int, sees: str, has: str = "") -> str:
    """`1 cell sees padding`, `2 cells see padding and have what they see`: those words behind the verbs."""
    see, have = ("sees", "has") if count == 1 else ("see", "have")
    return f"{count_of(count, 'cell')} {see} {sees}" + (f" and {have} {has}" if has else "")


def proof_lines(proof: Proof) -> list[str]:
    """What a proof says, in words."""
    inside, edge, equal, alone = proof.inside, proof.edge, proof.equal, proof.alone
    lines = [f"proof ({'holds' if proof.holds else 'FAILS'}, to {proof.tolerance:.1e}):"]
    if inside.said:
        lines.append(
            f"  {_cells(inside.said, 'no padding', 'the scores of their crop with its surroundings')}: "
            f"{inside.crops:,} compared, largest difference {inside.difference:.1e}"
        )
    if edge.said:
        lines.append(
            f"  {_cells(edge.said, 'padding', 'those of their crop with its surroundings as far as the image goes')}: "
            f"{edge.crops:,} compared, largest difference {edge.difference:.1e}"
        )
    for name, cells, first in proof.seen_by:
        lines.append(f"    {cells:,} see{'s' * (cells == 1)} the padding of {name}, {first:,} of them none before it")
    if not proof.padded:
        lines.append(
            f"  no crop sees padding, so every cell has the scores of its crop cut out: {equal.crops:,} compared, "
            f"largest difference {equal.difference:.1e}"
        )
    else:
        shown = ", ".join(proof.padded[:4]) + (f" and {len(proof.padded) - 4} more" if len(proof.padded) > 4 else "")
        lines += [
            f"  a crop cut out sees zeros at its own edges, the padding of {shown}; {_cells(equal.said, 'the same')}",
            f"  so crops cut out differ: by {alone.difference:.2g} at most, {proof.within:,} of {alone.crops:,} agree, "
            f"{proof.same_class:,} have the same class",
        ]
    return lines
