from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError

import pytest

from neocog.data import download as downloading
from neocog.data import load_data
from neocog.data.download import PAUSES, download
from neocog.data.get import get
from neocog.data.published import PUBLISHED, Published, Remote
from neocog.errors import DataError, RunError

CONTENT = bytes(range(256)) * 4000  # some chunks of it


@dataclass
class Site:
    """A web server, and how it behaves: one entry of `faults` is used up by each request."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[object] = field(default_factory=list)
    ranges: bool = True
    asked: list[str] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.headers.get("Range", "all"))
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, str):
            request.send_response(302)
            request.send_header("Location", fault)
            return request.end_headers()
        content = self.files.get(request.path)
        if content is None or isinstance(fault, tuple):
            return request.send_error(fault[0] if isinstance(fault, tuple) else 404)
        start = int(self.asked[-1].split("=")[1][:-1]) if self.ranges and self.asked[-1] != "all" else 0
        if start >= len(content):
            return request.send_error(416)
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        request.wfile.write(content[start:fault] if isinstance(fault, int) else content[start:])
        return None


@pytest.fixture
def site():
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            made.answer(self)
            self.close_connection = True

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def remote(site: Site, content: bytes = CONTENT, name: str = "set.bin") -> Remote:
    site.files.setdefault(f"/{name}", content)
    return Remote(f"{site.address}/{name}", len(content), hashlib.sha256(content).hexdigest())


def fetch(one: Remote, path) -> list[float]:
    """Download, and the pauses that were made."""
    pauses: list[float] = []
    download(one, path, sleep=pauses.append)
    return pauses


def refusal(one: Remote, path) -> str:
    with pytest.raises(RunError) as caught:
        fetch(one, path)
    return str(caught.value)


def test_a_file_is_brought_to_its_place_and_told_of(site, tmp_path):
    told: list[int] = []
    download(remote(site), tmp_path / "new" / "set.bin", told.append)
    assert (tmp_path / "new" / "set.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["set.bin"]
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, len(CONTENT))
    assert len(told) > 3


def test_a_connection_that_is_cut_is_resumed_where_it_ended(site, tmp_path):
    site.faults = [300_000, 700_000, None]
    assert fetch(remote(site), tmp_path / "set.bin") == [PAUSES[0], PAUSES[0]]
    assert (tmp_path / "set.bin").read_bytes() == CONTENT
    assert site.asked == ["all", "bytes=300000-", "bytes=700000-"]


def test_a_download_that_was_interrupted_goes_on_in_the_next_run(site, tmp_path):
    (tmp_path / ".set.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(remote(site), tmp_path / "set.bin") == []
    assert (tmp_path / "set.bin").read_bytes() == CONTENT
    assert site.asked == ["bytes=1000-"]


def test_a_server_without_ranges_is_asked_for_all_of_it_again(site, tmp_path):
    site.ranges, site.faults = False, [300_000, None]
    assert fetch(remote(site), tmp_path / "set.bin") == [PAUSES[0]]
    assert (tmp_path / "set.bin").read_bytes() == CONTENT


def test_pauses_grow_until_the_last_try_and_what_came_is_kept(site, tmp_path):
    site.faults = [1000] + [(503,)] * (len(PAUSES) + 1)
    pauses: list[float] = []
    with pytest.raises(RunError) as caught:
        download(remote(site), tmp_path / "set.bin", sleep=pauses.append)
    assert pauses == [PAUSES[0], *PAUSES]
    assert list(PAUSES) == sorted(set(PAUSES))
    assert str(caught.value) == (
        f"{site.address}/set.bin: this file could not be downloaded in 6 tries\n"
        "  received: 503 Service Unavailable\n"
        "  try: the same again later: what has come is kept, and it goes on from there"
    )
    assert (tmp_path / ".set.bin.part").read_bytes() == CONTENT[:1000]


def test_a_server_that_is_not_there_is_tried_again_and_named(site, tmp_path):
    one = remote(site)
    closed = Remote(one.url.replace(site.address, "http://127.0.0.1:9"), one.size, one.sha256)
    assert "127.0.0.1:9/set.bin: this file could not be downloaded in 6 tries" in refusal(closed, tmp_path / "set.bin")


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"x", bytes(len(CONTENT)), CONTENT + b"more"])
def test_wrong_content_is_refused_and_removed(site, tmp_path, content):
    site.files["/set.bin"] = content
    if content.startswith(CONTENT):  # only what was to come is taken
        fetch(remote(site), tmp_path / "set.bin")
        assert (tmp_path / "set.bin").read_bytes() == CONTENT
        return
    message = refusal(remote(site), tmp_path / "set.bin")
    assert f"this file must have SHA-256 {hashlib.sha256(CONTENT).hexdigest()}; it was removed" in message
    assert f"received: {hashlib.sha256(content).hexdigest()}" in message
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_shorter_than_it_should_be_is_never_taken_for_whole(site, tmp_path):
    site.files["/set.bin"] = CONTENT[:-1]
    assert "could not be downloaded" in refusal(remote(site), tmp_path / "set.bin")
    assert not (tmp_path / "set.bin").exists()


def test_a_start_that_is_not_the_files_is_refused_and_removed(site, tmp_path):
    (tmp_path / ".set.bin.part").write_bytes(b"another file")
    assert "it was removed" in refusal(remote(site), tmp_path / "set.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_is_longer_than_the_file_is_thrown_away(site, tmp_path):
    (tmp_path / ".set.bin.part").write_bytes(bytes(len(CONTENT) + 1))
    fetch(remote(site), tmp_path / "set.bin")
    assert (tmp_path / "set.bin").read_bytes() == CONTENT


def test_an_address_without_a_file_is_not_tried_again(site, tmp_path):
    one = remote(site)
    site.files.clear()
    assert refusal(one, tmp_path / "set.bin") == (f"{one.url}: this file is not there\n  received: 404 Not Found")
    assert len(site.asked) == 1


@pytest.mark.parametrize("elsewhere", ["file:///etc/passwd", "ftp://127.0.0.1/set.bin", "data:,x"])
def test_a_redirection_to_another_kind_of_address_is_refused(site, tmp_path, elsewhere):
    site.faults = [elsewhere]
    message = refusal(remote(site), tmp_path / "set.bin")
    assert message == (
        f"{site.address}/set.bin: this address leads where it may not\n"
        f"  received: 302 Found - Redirection to url '{elsewhere}' is not allowed"
    )
    assert len(site.asked) == 1


def test_a_redirection_of_the_same_kind_is_followed(site, tmp_path):
    one = remote(site)
    site.files["/elsewhere"] = site.files.pop("/set.bin")
    site.faults = [f"{site.address}/elsewhere"]
    fetch(one, tmp_path / "set.bin")
    assert (tmp_path / "set.bin").read_bytes() == CONTENT


def test_from_https_nothing_leads_to_http():
    request = downloading.urllib.request.Request("https://example.org/set.bin")
    with pytest.raises(HTTPError, match="is not allowed"):
        downloading._SameScheme().redirect_request(request, io.BytesIO(), 302, "", {}, "http://example.org/set.bin")


def test_a_disk_without_room_is_refused_before_anything_is_asked(site, tmp_path):
    one = remote(site)
    huge = Remote(one.url, 2**62, one.sha256)
    message = refusal(huge, tmp_path / "set.bin")
    assert f"{tmp_path}: {2**62:,} bytes more are needed here" in message
    assert site.asked == []


def test_a_folder_that_cannot_be_made_is_named(site, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert str(tmp_path / "taken" / "set.bin") in refusal(remote(site), tmp_path / "taken" / "set.bin")


class Nobody:
    def __init__(self) -> None:
        self.files: list[str] = []

    def file(self, one: Remote) -> None:
        self.files.append(one.name)

    def told(self, done: int) -> None:
        pass


def tar(members: dict[str, bytes], link: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    return stream.getvalue()


RECORDS = {"train.bin": bytes(3074 * 3), "test.bin": bytes(3074 * 2)}


@pytest.fixture
def archived(site, monkeypatch):
    """CIFAR-100 as an archive on the local server, with what should not be in it."""

    def publish(content: bytes) -> None:
        one = remote(site, content, "cifar.tar.gz")
        sizes = {name: len(record) for name, record in RECORDS.items()}
        monkeypatch.setitem(PUBLISHED, "cifar100", Published("", PUBLISHED["cifar100"].classes, (one,), sizes))

    return publish


def test_an_archive_gives_the_files_that_are_known_and_nothing_else(site, archived, tmp_path, monkeypatch):
    others = {"../../escaped": b"x", "/tmp/escaped": b"x", "cifar/readme.html": b"x"}
    archived(tar({f"cifar-100-binary/{name}": record for name, record in RECORDS.items()} | others, link="link"))
    monkeypatch.setenv("NEOCOG_DATA", str(tmp_path))
    assert get("cifar100", tmp_path / "cifar100", Nobody()) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cifar100", "test.bin", "train.bin"]
    assert len(load_data("cifar100").train) == 3
    assert get("cifar100", tmp_path / "cifar100", Nobody()) == 0
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tar({"train.bin": RECORDS["train.bin"]}), "this archive lacks files of the set"),
        (tar({**RECORDS, "test.bin": b"short"}), "this archive lacks files of the set\n  received: test.bin"),
        (tar(RECORDS, link="test.bin")[:100], "this archive"),
        (b"no archive at all", "this archive"),
    ],
    ids=["a file is missing", "a file is short", "cut off", "no archive"],
)
def test_an_archive_that_lacks_a_file_is_refused(archived, tmp_path, content, says):
    archived(content)
    with pytest.raises(RunError) as caught:
        get("cifar100", tmp_path, Nobody())
    assert says in str(caught.value)
    assert PUBLISHED["cifar100"].missing(tmp_path)


def test_only_missing_files_of_a_set_are_fetched(site, tmp_path, monkeypatch):
    files = tuple(remote(site, name.encode(), name) for name in ("a.gz", "b.gz", "c.mat"))
    monkeypatch.setitem(PUBLISHED, "svhn", Published("", ("x",), files))
    (tmp_path / "a").write_bytes(b"unpacked")
    (tmp_path / "c.mat").write_bytes(b"here")
    watcher = Nobody()
    assert get("svhn", tmp_path, watcher) == 1
    assert watcher.files == ["b.gz"]
    assert (tmp_path / "b.gz").read_bytes() == b"b.gz"


def test_a_set_that_is_not_published_is_refused(tmp_path):
    with pytest.raises(DataError, match="mnist, fashion-mnist, cifar10, cifar100, svhn"):
        get("imagenet", tmp_path, Nobody())


def test_every_published_file_is_pinned():
    for name, published in PUBLISHED.items():
        for one in published.files:
            assert one.url.startswith(("https://", "http://")), name
            assert len(bytes.fromhex(one.sha256)) == 32
            assert one.size > 1000
    assert [len(published.classes) for published in PUBLISHED.values()] == [10, 10, 10, 100, 10]
