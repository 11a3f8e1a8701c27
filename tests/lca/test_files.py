import subprocess

import pytest

from lca.files import is_intact, remove, whole, write_checksum


def test_a_file_appears_as_a_whole_in_a_folder_that_is_made_or_not_at_all(tmp_path):
    path = tmp_path / "removed" / "meanwhile" / "run.json"
    with whole(path) as file:
        file.write(b"{}")
        assert not path.exists()
    assert path.read_bytes() == b"{}"
    with pytest.raises(ZeroDivisionError), whole(path) as file:
        file.write(b"{")
        raise ZeroDivisionError
    assert path.read_bytes() == b"{}"
    assert [*path.parent.iterdir()] == [path]


def test_files_of_one_stem_do_not_meet(tmp_path):
    with whole(tmp_path / "log.parquet") as log, whole(tmp_path / "log.json") as manifest:
        log.write(b"log")
        manifest.write(b"manifest")
    assert (tmp_path / "log.parquet").read_bytes() == b"log"


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "part"
    content = b"0123456789"
    path.write_bytes(content)
    assert is_intact(path) is None
    write_checksum(path)
    assert is_intact(path) is True
    for position in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert is_intact(path) is False


def test_a_checksum_is_what_sha256sum_reads_and_goes_with_its_file(tmp_path):
    path = tmp_path / "part"
    path.write_bytes(b"rows")
    write_checksum(path)
    subprocess.run(["sha256sum", "--check", "part.sha256"], cwd=tmp_path, check=True)
    remove(path)
    assert not [*tmp_path.iterdir()]
    remove(path)
