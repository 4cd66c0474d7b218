"""Secret files are private from their first moment, whole at every moment, and never somebody else's link."""

import os
import stat
import sys
import threading
import time

import pytest

from kiro.errors import StorageError
from kiro.storage.files import FileLock, exposure, make_private_folder, read_private, write_private
from kiro.storage.paths import find_paths

posix = pytest.mark.skipif(sys.platform == "win32", reason="mode bits are POSIX")


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_files_and_folders_are_for_the_owner_only_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        write_private(tmp_path / "a" / "b" / "secret", b"x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    assert mode(tmp_path / "a" / "b" / "secret") == 0o600


def test_a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it(tmp_path):
    write_private(tmp_path / "secret", b"one")
    write_private(tmp_path / "secret", b"two")
    assert read_private(tmp_path / "secret") == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_no_file_is_not_an_error(tmp_path):
    assert read_private(tmp_path / "secret") is None


@posix
def test_links_are_refused_for_reading_and_writing(tmp_path):
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for call in (lambda: read_private(tmp_path / "link"), lambda: write_private(tmp_path / "link", b"y")):
        with pytest.raises(StorageError, match="symbolic link"):
            call()
    assert (tmp_path / "real").read_bytes() == b"x"


@posix
def test_a_folder_or_a_pipe_is_no_secret_file(tmp_path):
    with pytest.raises(StorageError):
        read_private(tmp_path)


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        write_private(tmp_path / "secret", b"x")


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StorageError):
        make_private_folder(tmp_path / "a" / "b")


@posix
def test_a_file_that_others_can_read_is_noticed(tmp_path):
    write_private(tmp_path / "secret", b"x")
    assert exposure(tmp_path / "secret") is None
    (tmp_path / "secret").chmod(0o644)
    assert "0644" in exposure(tmp_path / "secret")


def test_one_holder_of_a_lock_at_a_time_also_between_threads(tmp_path):
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with FileLock(tmp_path / "lock"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_waiting_for_a_lock_ends(tmp_path):
    with FileLock(tmp_path / "lock"), pytest.raises(StorageError, match="Another program"):
        FileLock(tmp_path / "lock", timeout_s=0.05).acquire()


def test_a_lock_may_be_released_by_another_thread(tmp_path):
    lock = FileLock(tmp_path / "lock")
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    FileLock(tmp_path / "lock", timeout_s=0.05).acquire()


def test_one_variable_moves_everything(tmp_path):
    paths = find_paths({"KIRO_HOME": str(tmp_path / "home")})
    assert {paths.config_dir, paths.data_dir, paths.state_dir} == {tmp_path / "home"}
    assert not (tmp_path / "home").exists()
    paths.make_folders()
    assert paths.locks_dir.is_dir()


def test_without_it_the_folders_are_the_platforms_and_not_the_ides():
    paths = find_paths({})
    assert all("kiro-proxy" in str(folder) for folder in (paths.config_dir, paths.data_dir, paths.state_dir))
