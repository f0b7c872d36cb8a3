"""Files in messages: what goes out comes in, and what breaks a rule does not."""

import json

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from burn_dp_flower import parcel
from burn_dp_flower.parcel import CHUNKS, HEAD, STYPE, Packer, ParcelError, unpack


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(parcel, "CHUNK_BYTES", 4)


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}


def chunk(data, stype=STYPE):
    return Array(dtype="uint8", shape=(len(data),), stype=stype, data=data)


def message(lengths, chunks, **head):
    return RecordDict(
        {
            CHUNKS: ArrayRecord({name: chunk(data) for name, data in chunks.items()}),
            HEAD: ConfigRecord({"format": 1, "files": json.dumps(lengths), **head}),
        }
    )


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 9])
def test_files_of_every_length_travel(tmp_path, small_chunks, size):
    files = write(tmp_path / "a", model=bytes(range(size)), empty=b"")
    unpack(Packer().pack(files), tmp_path / "b")
    assert read(tmp_path / "b") == {"model": bytes(range(size)), "empty": b""}


def test_no_files_travel_too(tmp_path):
    unpack(Packer().pack({}), tmp_path / "b")
    assert read(tmp_path / "b") == {}


def test_flower_itself_carries_shared_and_missing_chunks(tmp_path, small_chunks):
    for files in ({}, write(tmp_path / "a", zeros=bytes(11))):
        record = Packer().pack(files)[CHUNKS]
        again = ArrayRecord.inflate(record.deflate(), record.children)
        assert {name: array.data for name, array in again.items()} == {n: a.data for n, a in record.items()}


def test_equal_chunks_are_in_memory_once(tmp_path, small_chunks):
    packer = Packer()
    files = write(tmp_path / "a", zeros=bytes(8), more=bytes(4))
    arrays = [*packer.pack(files)[CHUNKS].values(), *packer.pack(files)[CHUNKS].values()]
    assert len(arrays) == 6
    assert len({id(array.data) for array in arrays}) == 1


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-rf", "a/b", "../a", "/etc/passwd", "a\\b", "a:0", "a b", "a\n", "ä", "a\0", "x" * 65],
)
def test_hostile_names_are_refused(tmp_path, name):
    with pytest.raises(ParcelError):
        unpack(message({name: 1}, {f"{name}:0": b"x"}), tmp_path / "b")
    with pytest.raises(ParcelError):
        Packer().pack({name: tmp_path})
    assert not (tmp_path / "b").exists()


def test_names_that_differ_in_case_only_are_refused(tmp_path):
    with pytest.raises(ParcelError, match="case"):
        unpack(message({"a": 1, "A": 1}, {"a:0": b"x", "A:0": b"y"}), tmp_path / "b")


@pytest.mark.parametrize(
    ("lengths", "chunks"),
    [
        ({"a": 5}, {"a:0": b"1234"}),  # a chunk is missing
        ({"a": 4}, {"a:0": b"1234", "a:1": b"5"}),  # there is one too many
        ({"a": 0}, {"a:0": b"1"}),
        ({"a": 3}, {"a:0": b"1234"}),  # the length lies
        ({"a": 4}, {"a:0": b"123"}),
        ({"a": 8}, {"a:0": b"12345", "a:1": b"678"}),  # lengths are swapped between chunks
        ({"a": 1}, {"b:0": b"1"}),  # a chunk of no file
        ({"a": -1}, {}),
        ({"a": True}, {"a:0": b"1"}),
        ({"a": 1.0}, {"a:0": b"1"}),
        ({"a": "1"}, {"a:0": b"1"}),
        ({"a": None}, {}),
        ([["a", 1]], {"a:0": b"1"}),
        ("a", {}),
        ({f"f{i}": 0 for i in range(65)}, {}),
    ],
)
def test_manifests_that_lie_are_refused(tmp_path, small_chunks, lengths, chunks):
    with pytest.raises(ParcelError):
        unpack(message(lengths, chunks), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_too_many_bytes_are_refused(tmp_path, small_chunks):
    content = message({"a": 4, "b": 2}, {"a:0": b"1234", "b:0": b"56"})
    with pytest.raises(ParcelError, match="larger than 5 bytes"):
        unpack(content, tmp_path / "b", max_bytes=5)
    unpack(content, tmp_path / "b", max_bytes=6)


def test_a_gibibyte_is_refused_before_a_byte_is_written(tmp_path):
    data = bytes(parcel.CHUNK_BYTES)
    many = 2**30 // len(data) + 1
    content = message({"reply": many * len(data)}, {f"reply:{index}": data for index in range(many)})
    with pytest.raises(ParcelError, match="larger than"):
        unpack(content, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_the_longest_honest_manifest_is_taken(tmp_path):
    names = [f"{index:02}{'x' * 62}" for index in range(64)]
    unpack(message(dict.fromkeys(names, 0), {}), tmp_path / "b")
    assert sorted(read(tmp_path / "b")) == names


def test_too_many_files_are_not_sent(tmp_path):
    with pytest.raises(ParcelError, match="at most 64"):
        Packer().pack({f"f{i}": tmp_path for i in range(65)})


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({HEAD: ConfigRecord({"format": 1, "files": "{}"})}),
        RecordDict({CHUNKS: ConfigRecord(), HEAD: ConfigRecord({"format": 1, "files": "{}"})}),
        RecordDict({CHUNKS: ArrayRecord({}), HEAD: ArrayRecord({})}),
        RecordDict({CHUNKS: ArrayRecord({}), HEAD: ConfigRecord({"format": 2, "files": "{}"})}),
        RecordDict({CHUNKS: ArrayRecord({}), HEAD: ConfigRecord({"format": 1})}),
        RecordDict({CHUNKS: ArrayRecord({}), HEAD: ConfigRecord({"format": 1, "files": "[" * 100_000})}),
        RecordDict({CHUNKS: ArrayRecord({}), HEAD: ConfigRecord({"format": 1, "files": '{"a": ' + "9" * 9999 + "}"})}),
        RecordDict({CHUNKS: ArrayRecord({}), HEAD: ConfigRecord({"format": 1, "files": "{" + " " * 20_000 + "}"})}),
        RecordDict({CHUNKS: ArrayRecord({}), HEAD: ConfigRecord({"format": 1, "files": [1, 2]})}),
        RecordDict({CHUNKS: ArrayRecord({"a:0": chunk(b"1", "numpy.ndarray")}), HEAD: ConfigRecord(
            {"format": 1, "files": '{"a": 1}'})}),
        RecordDict({CHUNKS: ArrayRecord({}), HEAD: ConfigRecord({"format": 1, "files": "{}"}), "x": ConfigRecord()}),
    ],
)  # fmt: skip
def test_messages_of_others_are_refused(tmp_path, content):
    with pytest.raises(ParcelError):
        unpack(content, tmp_path / "b")
    assert not (tmp_path / "b").exists()
