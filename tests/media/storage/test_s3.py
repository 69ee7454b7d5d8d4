from media.storage import open_store

def test_reads_what_was_written(bucket: str) -> None:
    store = open_store(f"{bucket}/prefix")
    store.write("a/b", b"hello")
    assert store.read("a/b") == b"hello"
