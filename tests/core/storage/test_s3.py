"""What only S3 has: credentials, buckets, parts, and a server that goes away. All against a real server."""

import hashlib
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from bench.seaweed import SeaweedServer
from core.errors import SettingsError, StorageError
from core.files import sha256_file
from core.storage import Store, open_store

MIB = 2**20


def operations(store: Store, tmp_path: Path) -> list[Callable[[], object]]:
    source = tmp_path / "source"
    source.write_bytes(b"1")
    return [
        lambda: store.read("key"),
        lambda: store.head("key"),
        lambda: list(store.list()),
        lambda: store.open("key").__enter__(),
        lambda: store.write("key", b"1"),
        lambda: store.write("key", b"1", if_absent=True),
        lambda: store.upload(source, "key"),
        lambda: store.download("key", tmp_path / "target"),
        lambda: store.delete("key"),
    ]


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 256 MiB in which no two blocks are equal."""
    path = tmp_path_factory.mktemp("big") / "source"
    with path.open("wb") as stream:
        for _ in range(16):
            stream.write(os.urandom(16 * MIB))
    return path


def unfinished_uploads(server: SeaweedServer, bucket: str) -> list[object]:
    client = boto3.client("s3")
    return list(client.list_multipart_uploads(Bucket=bucket.removeprefix("s3://")).get("Uploads", []))


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_wrong_key_is_told_without_its_value(
    bucket: str, seaweed: SeaweedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "wrong-and-not-to-be-shown")
    start = time.monotonic()
    for operation in operations(open_store(bucket), tmp_path):
        with pytest.raises(StorageError) as error:
            operation()
        message = str(error.value)
        assert bucket in message
        assert "403" in message or "InvalidAccessKeyId" in message or "SignatureDoesNotMatch" in message
        assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message
        assert "wrong-and-not-to-be-shown" not in message and seaweed.secret_key not in message
    assert time.monotonic() - start < 5, "a refused request must not be tried again"


def test_missing_credentials_are_told(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match="no S3 credentials were found; set AWS_ACCESS_KEY_ID"):
        open_store(bucket).read("key")


def test_a_missing_bucket_is_told(bucket: str, tmp_path: Path) -> None:
    for operation in operations(open_store("s3://no-such-bucket/prefix"), tmp_path)[:-1]:
        with pytest.raises(StorageError, match=r"s3://no-such-bucket/prefix.*NoSuchBucket.*create the bucket"):
            operation()


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "no scheme", "ftp://127.0.0.1"])
def test_a_wrong_endpoint_names_its_variable(bucket: str, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StorageError, match="check AWS_ENDPOINT_URL"):
        open_store(bucket).read("key")


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "gs://bucket", "file://relative", ""])
def test_an_unusable_uri_is_told(uri: str) -> None:
    with pytest.raises(SettingsError, match=r"s3://bucket/prefix|file:///folder|known: s3, file"):
        open_store(uri)


def test_256_mb_travel_up_and_down_in_parts(bucket: str, seaweed: SeaweedServer, big: Path, tmp_path: Path) -> None:
    store = open_store(bucket)
    store.upload(big, "big")
    found = store.head("big")
    assert found is not None and found.size == 256 * MIB
    assert found.etag.endswith("-16"), "an upload of this size goes in parts of 16 MiB"
    store.download("big", tmp_path / "target")
    assert sha256_file(tmp_path / "target") == sha256_file(big)
    assert unfinished_uploads(seaweed, bucket) == []
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_5000_objects_are_listed_whole(bucket: str) -> None:
    store = open_store(f"{bucket}/many")
    names = [f"{i % 7}/{i:05}" for i in range(5000)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.write(name, name.encode()), names))
    found = list(store.list())
    assert sorted(one.key for one in found) == sorted(names)
    assert {one.size for one in found} == {7}
    assert [one.key for one in store.list("3/0")] == sorted(name for name in names if name.startswith("3/0"))


@contextmanager
def outage(server: SeaweedServer, when: Callable[[], bool]) -> Iterator[threading.Event]:
    """Kill the server as soon as ``when`` holds and start it again a second later."""
    happened, over = threading.Event(), threading.Event()

    def act() -> None:
        while not when() and not over.is_set():
            time.sleep(0.005)
        if not over.is_set():
            server.kill()
            happened.set()
            time.sleep(1)
            server.start()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield happened
    finally:
        over.set()
        thread.join()


def test_an_upload_survives_the_server_being_killed(bucket: str, seaweed: SeaweedServer, big: Path) -> None:
    store = open_store(bucket)
    with outage(seaweed, lambda: bool(unfinished_uploads(seaweed, bucket))) as happened:
        store.upload(big, "big")
        assert happened.is_set(), "the upload was over before the server was killed"
    digest = hashlib.sha256()
    with store.open("big") as stream:
        while block := stream.read(MIB):
            digest.update(block)
    assert digest.hexdigest() == sha256_file(big)


def test_a_download_survives_the_server_being_killed(
    bucket: str, seaweed: SeaweedServer, big: Path, tmp_path: Path
) -> None:
    store = open_store(bucket)
    store.upload(big, "big")
    folder = tmp_path / "into"

    def begun() -> bool:
        return folder.is_dir() and any(path.stat().st_size > 4 * MIB for path in folder.iterdir())

    with outage(seaweed, begun) as happened:
        store.download("big", folder / "target")
        assert happened.is_set(), "the download was over before the server was killed"
    assert sha256_file(folder / "target") == sha256_file(big)
    assert [path.name for path in folder.iterdir()] == ["target"]


def test_a_file_cut_off_while_it_is_uploaded_leaves_nothing_behind(
    bucket: str, seaweed: SeaweedServer, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.touch()
    os.truncate(source, 512 * MIB)
    store = open_store(bucket)

    def cut() -> None:
        while not unfinished_uploads(seaweed, bucket):
            time.sleep(0.005)
        os.truncate(source, MIB)

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(StorageError, match="source became shorter while it was uploaded"):
        store.upload(source, "key")
    thread.join()
    assert store.head("key") is None
    assert unfinished_uploads(seaweed, bucket) == []


def test_a_full_disk_ends_a_download_and_leaves_nothing_behind(bucket: str, tmp_path: Path) -> None:
    store = open_store(bucket)
    source = tmp_path / "source"
    source.write_bytes(bytes(40 * MIB))
    store.upload(source, "key")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 * MIB, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*target.*free space"):
            store.download("key", tmp_path / "into" / "target")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "into").iterdir()) == []


def test_an_object_replaced_while_it_is_read_is_no_mixture(bucket: str) -> None:
    store = open_store(bucket)
    store.write("key", b"a" * 4 * MIB)
    with store.open("key") as stream:
        assert stream.read(10) == b"a" * 10
        store.write("key", b"b" * 4 * MIB)
        stream.seek(3 * MIB)
        with pytest.raises(StorageError, match="replaced while it was read"):
            stream.read(10)


def test_the_markers_with_which_consoles_show_folders_are_no_objects(bucket: str) -> None:
    boto3.client("s3").put_object(Bucket=bucket.removeprefix("s3://"), Key="base/folder/")
    store = open_store(f"{bucket}/base")
    store.write("folder/object", b"1")
    assert [found.key for found in store.list()] == ["folder/object"]


def test_nothing_is_contacted_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert open_store("s3://bucket/a/b/").uri == "s3://bucket/a/b"
