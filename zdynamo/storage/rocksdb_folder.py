"""Opening the folder of a RocksDB store: bounded memory, and never an empty store where there was a full one."""

import os
import shutil
from pathlib import Path

from rocksdict import AccessType, BlockBasedOptions, Cache, DBRecoveryMode, Options, Rdict

from zdynamo.errors import ConfigError, StoreDamaged

WRITE_BUFFER_BYTES = 8 * 2**20
WRITE_BUFFERS_MAX = 3  # one being written, others being flushed: at the bound writes wait
BLOCK_CACHE_BYTES = 8 * 2**20  # with indices and filters; the page cache of the system is the larger one
OPEN_FILES_MAX = 256
LOG_FILE_BYTES_MAX = 2**20
LOG_FILES_MAX = 2
BLOOM_BITS = 10  # for each key: a get of an absent key reads no block, but for 1%
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT_FILE = "BOOT"  # the boot of the machine in which the store was last opened
UNUSABLE = ("lock", "Permission denied", "Read-only file system", "No space left", "Too many open files")


def open_database(folder: Path) -> Rdict:
    """Make an empty store if there is nothing, else open what is there. Raises: ConfigError, StoreDamaged."""
    try:
        if not folder.exists() or not any(folder.iterdir()):
            _create(folder)
        boot = BOOT_ID.read_bytes() if BOOT_ID.exists() else b""
        known = (folder / BOOT_FILE).read_bytes() if (folder / BOOT_FILE).exists() else b""
        database = _open(folder, _options(rebooted=not boot or boot != known))
        (folder / BOOT_FILE).write_bytes(boot)
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from None
    return database


def remedy(folder: Path) -> str:
    return (
        f"to rebuild it from the other replicas, move {folder} away and start this node again; "
        "the records come back once they are repaired"
    )


def _create(folder: Path) -> None:
    """Make an empty store beside the folder and move it there, so that a folder is a whole store."""
    draft = folder.with_name(folder.name + ".new")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(parents=True)
    options = _options(rebooted=False)
    options.create_if_missing(True)
    _open(draft, options).close()
    draft.rename(folder)
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _open(folder: Path, options: Options) -> Rdict:
    try:
        return Rdict(str(folder), options, access_type=AccessType.read_write())
    except Exception as error:  # rocksdict raises nothing narrower
        reason = " ".join(str(error).split())
        if any(cause in reason for cause in UNUSABLE):
            raise _unusable(folder, reason) from None
        raise StoreDamaged(f"{folder} is damaged ({reason}): {remedy(folder)}") from None


def _options(*, rebooted: bool) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(False)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX)
    options.set_max_background_jobs(2)  # one flush, one compaction
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_keep_log_file_num(LOG_FILES_MAX)
    options.set_max_log_file_size(LOG_FILE_BYTES_MAX)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    options.set_wal_recovery_mode(_recovery(rebooted=rebooted))
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_bloom_filter(BLOOM_BITS, False)
    options.set_block_based_table_factory(blocks)
    return options


def _recovery(*, rebooted: bool) -> DBRecoveryMode:
    """How much of the write-ahead log may be missing.

    A killed process leaves at most its last entry half written. Only a crash of the machine may tear what was not yet
    fsynced anywhere: then all up to the first tear is taken.
    """
    return DBRecoveryMode.point_in_time() if rebooted else DBRecoveryMode.tolerate_corrupted_tail_records()


def _unusable(folder: Path, reason: str) -> ConfigError:
    return ConfigError(f"node.data: {folder} cannot be used ({reason}): choose another folder, or mend this one")
