"""Where the lake and the publications are when they are not in a folder: an S3 bucket.

Belongs here: opening it from the usual AWS_* variables, listing, reading, writing and deleting objects, and lending
it to DuckDB. Does not belong here: Delta (deltalake has its own client for the same bucket), nor what is stored.

DuckDB's own httpfs is an extension fetched over the network when it is first used, which a government network does
not allow; pyarrow brings an S3 client along, and DuckDB reads through it by file name like from a folder.
"""

from __future__ import annotations

import os
import posixpath
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import pyarrow.fs as pafs

if TYPE_CHECKING:
    import duckdb

#: Schemes of storage that deltalake, pyarrow and DuckDB all reach.
SCHEMES = ("s3",)
#: Buckets that this process works with. When there are any, every DuckDB connection is lent the client.
_expected: set[str] = set()
#: Bytes: data files up to the first are kept in memory once read, up to the second all together.
_SMALL, _REMEMBERED = 16 << 20, 512 << 20
#: What DuckDB is told when a data file was changed: they never are.
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)


class StorageError(ValueError):
    """A storage URL or its credentials cannot be used; the text names what to change."""


def is_remote(root: str) -> bool:
    """Whether `root` is an object store rather than a folder."""
    return "://" in root and not root.startswith("file://")


def local_path(root: str) -> Path | None:
    """The folder behind a path or a file:// URL, None for an object store."""
    if is_remote(root):
        return None
    return Path(unquote(urlparse(root).path) if root.startswith("file://") else root)


def check(root: str) -> None:
    """Refuse a storage URL of a kind that is not reached, or that names no bucket."""
    parsed = urlparse(root)
    if parsed.scheme not in SCHEMES:
        raise StorageError(f"{root}: kho {parsed.scheme}:// chưa được hỗ trợ (not supported); s3://bucket/prefix")
    if not parsed.netloc or parsed.query or parsed.fragment:
        raise StorageError(f"{root}: cần dạng s3://bucket/prefix (a bucket, and nothing behind the prefix)")


def expect(root: str) -> None:
    """Check a storage URL, and from now on lend its bucket to every DuckDB connection of this process."""
    check(root)
    _expected.add(urlparse(root).netloc)


@dataclass(frozen=True)
class Store:
    """A folder, of a disk or of a bucket: the same few acts on its files. Names are relative, with slashes.

    Example:
        >>> Store.at("s3://kho/dak-lak/lake").read("core_unit/_digests.json")  # doctest: +SKIP
    """

    filesystem: pafs.FileSystem
    root: str

    @classmethod
    def at(cls, root: str) -> Store:
        """The store behind a path, a file:// URL or s3://bucket/prefix; nothing is asked of it yet."""
        folder = local_path(root)
        if folder is not None:
            return cls(pafs.LocalFileSystem(), str(folder.absolute()))
        check(root)
        return cls(client(), root.split("://", 1)[1].rstrip("/"))

    def path(self, name: str) -> str:
        """The name as the file system takes it."""
        return posixpath.join(self.root, name)

    def sizes(self, folder: str = "", *, is_deep: bool = True) -> dict[str, pafs.FileInfo]:
        """Files below `folder` by name, with size in bytes and instant of change; none when there is no such folder."""
        wanted = pafs.FileSelector(self.path(folder), allow_not_found=True, recursive=is_deep)
        found = self.filesystem.get_file_info(wanted)
        return {posixpath.relpath(one.path, self.root): one for one in found if one.type == pafs.FileType.File}

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders right below `folder`, sorted."""
        wanted = pafs.FileSelector(self.path(folder), allow_not_found=True)
        found = self.filesystem.get_file_info(wanted)
        return sorted(one.base_name for one in found if one.type == pafs.FileType.Directory)

    def read(self, name: str) -> str | None:
        """The text of a file, None when there is none."""
        try:
            with self.filesystem.open_input_stream(self.path(name)) as stream:
                return bytes(stream.read()).decode()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place of another; in a bucket that is one step, which a reader sees whole or not at all."""
        with self.filesystem.open_output_stream(self.path(name)) as stream:
            stream.write(content)

    def delete(self, name: str) -> None:
        """Remove a file; that it is gone already is well."""
        try:
            self.filesystem.delete_file(self.path(name))
        except FileNotFoundError:
            return


def client(environment: Mapping[str, str] = os.environ) -> pafs.FileSystem:
    """The S3 client for the variables that deltalake reads as well; one per endpoint and region.

    AWS_ENDPOINT_URL names a server other than Amazon's, AWS_ALLOW_HTTP=true lets it speak http, AWS_REGION (or
    AWS_DEFAULT_REGION) its region; keys come from where Amazon's tools look for them.
    """
    return _client(*_place(environment))


def _place(environment: Mapping[str, str]) -> tuple[str, str]:
    endpoint = environment.get("AWS_ENDPOINT_URL") or ""
    if endpoint.startswith("http://") and environment.get("AWS_ALLOW_HTTP", "").lower() != "true":
        raise StorageError(
            f"AWS_ENDPOINT_URL {endpoint}: http cần AWS_ALLOW_HTTP=true (not encrypted; allow it by name)"
        )
    return endpoint, environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""


@cache
def _client(endpoint: str, region: str) -> pafs.FileSystem:
    options: dict[str, Any] = {"retry_strategy": pafs.AwsStandardS3RetryStrategy(max_attempts=5)}
    if endpoint:
        options |= {"endpoint_override": endpoint}
    if region:
        options |= {"region": region}
    return pafs.S3FileSystem(**options)


def lent() -> tuple[str, str] | None:
    """The endpoint and region whose s3:// files `lend` lets DuckDB read; None where the process has no bucket."""
    return _place(os.environ) if _expected else None


def lend(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a DuckDB connection read s3:// files, when this process works with a bucket; nothing otherwise."""
    if place := lent():
        connection.register_filesystem(_for_duckdb(*place))


@cache
def _for_duckdb(endpoint: str, region: str) -> Any:
    # Imported for buckets only: a folder needs neither.
    from fsspec.implementations.arrow import ArrowFSWrapper  # type: ignore[import-untyped]  # noqa: PLC0415

    remembered = _Remembered(_client(endpoint, region))

    class Bucket(ArrowFSWrapper):  # type: ignore[misc]
        """pyarrow's client under the scheme that deltalake names its files with, for reading a lake's data files.

        These never change under their name, so that each is asked for once: without that, a night of a small
        province made 230 requests for every file.
        """

        protocol = ("s3",)
        cachable = False

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            name = self._strip_protocol(path)
            return {"name": name, "size": remembered.size(name), "type": "file", "mtime": _NEVER}

        def exists(self, path: str, **_: Any) -> bool:
            try:
                self.info(path)
            except FileNotFoundError:
                return False
            return True

        def glob(self, path: str, **_: Any) -> list[str]:
            return [self._strip_protocol(path)] if self.exists(path) else []

        def modified(self, path: str) -> datetime:  # noqa: ARG002 - the signature is fsspec's
            return _NEVER

        def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
            if mode != "rb":
                raise StorageError(f"{path}: DuckDB only reads from a bucket")
            return remembered.open(self._strip_protocol(path))

    return Bucket(_client(endpoint, region))


class _Remembered:
    """Sizes of a bucket's files, and the content of small ones up to a total; the least recently read goes first."""

    def __init__(self, filesystem: pafs.FileSystem) -> None:
        self._filesystem = filesystem
        self._sizes: dict[str, int] = {}
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._total = 0
        self._lock = Lock()

    def size(self, name: str) -> int:
        """Bytes of a file; `FileNotFoundError` when there is none."""
        if name not in self._sizes:
            found = self._filesystem.get_file_info(name)
            if found.type != pafs.FileType.File:
                raise FileNotFoundError(name)
            self._sizes[name] = found.size
        return self._sizes[name]

    def open(self, name: str) -> Any:
        """The file, to be read at any place."""
        if self.size(name) > _SMALL:
            return self._filesystem.open_input_file(name)
        with self._lock:
            if name in self._contents:
                self._contents.move_to_end(name)
                return BytesIO(self._contents[name])
        with self._filesystem.open_input_file(name) as stream:
            content = bytes(stream.read())
        with self._lock:
            if name not in self._contents:
                self._contents[name] = content
                self._total += len(content)
            while self._total > _REMEMBERED:
                self._total -= len(self._contents.popitem(last=False)[1])
        return BytesIO(content)
