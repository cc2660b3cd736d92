"""The table and the event file of a run, read back by code that shares nothing with what wrote them."""

from __future__ import annotations

import csv
import struct

import pytest

from neocog.report.events import append_scalars, crc32c
from neocog.report.results import append_results, best_epoch

EPOCH = {
    "epoch": 1,
    "steps": 12,
    "lr": 0.02,
    "train_loss": 1.25,
    "train_accuracy": 0.5,
    "loss": 1.0,
    "accuracy": 2 / 3,
    "measured_on": "test",
    "seconds": 1.5,
    "images_per_second": 1234567.8,
}


def test_of_equally_accurate_epochs_the_first_with_the_smallest_loss_is_the_best():
    epochs = [{"epoch": k, "accuracy": a, "loss": loss} for k, a, loss in ((1, 0.5, 0.1), (2, 0.6, 0.3), (3, 0.6, 0.2))]
    assert best_epoch(epochs)["epoch"] == 3
    assert best_epoch([*epochs, {"epoch": 4, "accuracy": 0.6, "loss": 0.2}])["epoch"] == 3


def test_epochs_become_a_table_under_the_usual_names(tmp_path):
    path = tmp_path / "results.csv"
    append_results(path, EPOCH)
    append_results(path, {**EPOCH, "epoch": 2, "loss": 0.75})
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first) == ["epoch", "train/loss", "train/acc1", "val/loss", "val/acc1", "lr", "images_per_s", "seconds"]
    assert {name: float(value) for name, value in first.items()} == pytest.approx(
        {"epoch": 1, "train/loss": 1.25, "train/acc1": 0.5, "val/loss": 1, "val/acc1": 0.666667, "lr": 0.02,
         "images_per_s": 1234570, "seconds": 1.5}
    )  # fmt: skip
    assert (second["epoch"], second["val/loss"]) == ("2", "0.75")


def bitwise_crc32c(data: bytes) -> int:
    """The definition, bit by bit: division of the reversed message by the polynomial."""
    register = 0xFFFFFFFF
    for byte in data:
        for k in range(8):
            low = (register ^ byte >> k) & 1
            register = register >> 1 ^ (0x82F63B78 if low else 0)
    return register ^ 0xFFFFFFFF


def records(content: bytes) -> list[bytes]:
    """The records of a TFRecord file, their checksums compared."""
    found = []
    while content:
        (length,) = struct.unpack_from("<Q", content)
        data = content[12 : 12 + length]
        for part, place in ((content[:8], 8), (data, 12 + length)):
            crc = bitwise_crc32c(part)
            rotated = (crc >> 15) | ((crc << 17) & 0xFFFFFFFF)
            assert struct.unpack_from("<I", content, place) == ((rotated + 0xA282EAD8) % 2**32,)
        assert len(data) == length
        found.append(data)
        content = content[16 + length :]
    return found


def fields(message: bytes) -> list[tuple[int, object]]:
    """The fields of a protocol buffer by their numbers, by the wire format's description."""
    found, at = [], 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            found.append((number, varint()))
        else:
            size = {1: 8, 5: 4}[kind] if kind != 2 else varint()
            found.append((number, message[at : at + size]))
            at += size
    return found


def scalars(event: bytes) -> tuple[int, dict[str, float]]:
    """Step and values by tag of an event."""
    content = dict(fields(event))
    values = [dict(fields(value)) for number, value in fields(content[5]) if number == 1]
    return content[2], {value[1].decode(): struct.unpack("<f", value[2])[0] for value in values}


def test_scalars_come_back_from_the_event_file(tmp_path):
    path = tmp_path / "events.out.tfevents.neocog"
    append_scalars(path, 3, {"train/loss": 0.5, "lr": 0.25})
    append_scalars(path, 70_000, {"val/acc1": 0.75})
    version, first, second = records(path.read_bytes())
    assert dict(fields(version))[3] == b"brain.Event:2"
    assert scalars(first) == (3, {"train/loss": 0.5, "lr": 0.25})
    assert scalars(second) == (70_000, {"val/acc1": 0.75})
    times = [struct.unpack("<d", dict(fields(event))[1])[0] for event in (version, first, second)]
    assert 1.7e9 < times[0] <= times[1] <= times[2]


@pytest.mark.parametrize(
    ("data", "crc"),
    [  # RFC 3720, B.4, and the check value of CRC catalogues
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_the_checksum_is_the_published_one(data, crc):
    assert crc32c(data) == bitwise_crc32c(data) == crc
