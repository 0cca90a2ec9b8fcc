#!/usr/bin/env python3
"""Writes the keys of a bucket to a file, and puts them into a cluster again: the same, or another one.

python docs/examples/dump.py save 127.0.0.1:7400 default default.dump
python docs/examples/dump.py load 127.0.0.1:7400 default default.dump

The file holds a MessagePack array for each key: the key, and all its siblings. A save that fails exits with 1 and
leaves an older file of that name as it is.
"""

import argparse
import os
import sys
from itertools import islice

import msgpack

from zdynamo import Client
from zdynamo.errors import ZdynamoError

AT_ONCE = 200


def save(db: Client, bucket: str, path: str) -> int:
    """Keys that are written or deleted meanwhile are saved as they are at some moment."""
    saved = 0
    with open(f"{path}.part", "wb") as file:
        keys = db.keys(bucket)
        while some := list(islice(keys, AT_ONCE)):
            for key, found in db.get_many(some, bucket=bucket).items():
                if isinstance(found, ZdynamoError):
                    raise found
                if found:  # else it was deleted after it was listed
                    file.write(msgpack.packb([key, found.siblings], datetime=True))
                    saved += 1
    os.replace(f"{path}.part", path)
    return saved


def load(db: Client, bucket: str, path: str) -> int:
    """What is there under a key of the file is written over."""
    loaded = whole = 0
    with open(path, "rb") as file:
        entries = msgpack.Unpacker(file, timestamp=3, strict_map_key=False)
        for key, siblings in entries:
            before = db.get(key, bucket=bucket)
            for value in siblings:  # all replace what was there before, and not each other
                db.put(key, value, bucket=bucket, context=before.context)
            loaded, whole = loaded + 1, entries.tell()
    if whole < os.path.getsize(path):
        raise ValueError(f"{path} ends in the middle of a key; those before it are loaded: {loaded}")
    return loaded


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the keys of a bucket to a file, or put them into a cluster.")
    parser.add_argument("verb", choices=["save", "load"])
    parser.add_argument("node", metavar="HOST:PORT", help="the public address of any member")
    parser.add_argument("bucket")
    parser.add_argument("file")
    given = parser.parse_args()
    try:
        with Client(given.node) as db:
            count = {"save": save, "load": load}[given.verb](db, given.bucket, given.file)
    except (ZdynamoError, OSError, ValueError, TypeError) as problem:
        sys.exit(f"{given.verb} failed: {problem}")
    print(f"{count} key{'s' * (count != 1)}")
