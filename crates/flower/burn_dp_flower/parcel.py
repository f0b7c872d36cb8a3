"""Files as the content of a message.

A file travels as chunks of 5 MB. Each is a Flower `Array` with a serialization type of our own, so Flower never
looks inside. Flower uploads equal chunks once: a model for a hundred nodes is uploaded once. A manifest says
which files there are and how long they are.

What comes in was made by another machine and is not trusted. All of it is checked before anything is written.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

CHUNKS = "burn-dp.chunks"
HEAD = "burn-dp.head"
STYPE = "burn-dp.chunk"
FORMAT = 1
CHUNK_BYTES = 5_000_000
MAX_FILES = 64
# An honest manifest has at most 80 characters a file. More are not parsed: objects take many times their text.
MAX_MANIFEST = 16 * 1024
DEFAULT_MAX_BYTES = 256 * 2**20

# No slash, no leading dot or dash, nothing that another file system could read in its own way.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)


class ParcelError(ValueError):
    """A message, or a set of files to send, breaks the rules."""


class Packer:
    """Makes messages of files. What several messages carry is read once and is in memory once."""

    def __init__(self) -> None:
        """Starts with nothing read."""
        self._chunks: dict[bytes, Array] = {}
        self._read: dict[Path, tuple[int, list[Array]]] = {}

    def pack(self, files: Mapping[str, Path]) -> RecordDict:
        """Returns a message's content: these files under these names."""
        if len(files) > MAX_FILES:
            raise ParcelError(f"a message carries at most {MAX_FILES} files, not {len(files)}")
        lengths: dict[str, int] = {}
        arrays: dict[str, Array] = {}
        for name, path in files.items():
            check_name(name)
            lengths[name], chunks = self._file(path)
            arrays |= {chunk_key(name, index): chunk for index, chunk in enumerate(chunks)}
        head: dict[str, Any] = {"format": FORMAT, "files": json.dumps(lengths)}
        return RecordDict({CHUNKS: ArrayRecord(arrays), HEAD: ConfigRecord(head)})

    def _file(self, path: Path) -> tuple[int, list[Array]]:
        if path not in self._read:
            length, chunks = 0, []
            with path.open("rb") as file:
                while data := file.read(CHUNK_BYTES):
                    length += len(data)
                    chunks.append(self._chunk(data))
            self._read[path] = (length, chunks)
        return self._read[path]

    def _chunk(self, data: bytes) -> Array:
        digest = hashlib.sha256(data).digest()
        if digest not in self._chunks:
            self._chunks[digest] = Array(dtype="uint8", shape=(len(data),), stype=STYPE, data=data)
        return self._chunks[digest]


def unpack(content: RecordDict, folder: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
    """Writes the files of a message into a folder, which it makes. Writes nothing if a rule is broken."""
    lengths = _manifest(content, max_bytes)
    arrays = content.array_records[CHUNKS]
    expected = {
        chunk_key(name, index): size
        for name, length in lengths.items()
        for index, size in enumerate(chunk_sizes(length))
    }
    if set(arrays) != set(expected):
        raise ParcelError("chunks are missing, or there are chunks of no file")
    for key, size in expected.items():
        if arrays[key].stype != STYPE or len(arrays[key].data) != size:
            raise ParcelError("a chunk is of another type or length than the manifest says")
    folder.mkdir(parents=True)
    for name, length in lengths.items():
        with (folder / name).open("xb") as file:
            for index in range(len(chunk_sizes(length))):
                file.write(arrays[chunk_key(name, index)].data)


def _manifest(content: RecordDict, max_bytes: int) -> dict[str, int]:
    """The names and lengths that a message claims, within the limits."""
    if set(content) != {CHUNKS, HEAD} or CHUNKS not in content.array_records:
        raise ParcelError("the message does not carry files of ours")
    head = content.config_records.get(HEAD)
    if head is None or head.get("format") != FORMAT:
        raise ParcelError(f"the files are not in format {FORMAT}: the other side has another version")
    text = head.get("files")
    if not isinstance(text, str) or len(text) > MAX_MANIFEST:
        raise ParcelError(f"the manifest is not a text of at most {MAX_MANIFEST} characters")
    try:
        lengths = json.loads(text)
    except (ValueError, RecursionError):
        lengths = None
    if not isinstance(lengths, dict) or len(lengths) > MAX_FILES:
        raise ParcelError(f"the manifest is not a table of at most {MAX_FILES} files")
    for name, length in lengths.items():
        check_name(name)
        if type(length) is not int or length < 0:
            raise ParcelError("the manifest has a length that is none")
    if len({name.lower() for name in lengths}) != len(lengths):
        raise ParcelError("two names differ in case only, which some file systems take for one")
    if sum(lengths.values()) > max_bytes:
        raise ParcelError(f"the files are larger than {max_bytes} bytes together")
    return lengths


def check_name(name: str) -> None:
    """Refuses names that are not plain: they become files on another machine."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ParcelError(
            "a file's name has 1 to 64 of the characters A-Z a-z 0-9 _ . - and begins with neither dot nor dash"
        )


def chunk_key(name: str, index: int) -> str:
    """The name of a file's chunk. A colon is in no file's name, so no two chunks share a name."""
    return f"{name}:{index}"


def chunk_sizes(length: int) -> list[int]:
    """The sizes of the chunks of a file: all full but the last. An empty file has none."""
    full, rest = divmod(length, CHUNK_BYTES)
    return [CHUNK_BYTES] * full + [rest] * (rest > 0)
