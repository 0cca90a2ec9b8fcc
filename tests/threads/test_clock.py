"""The clock that can be made wrong, for tests of whole processes."""

from pathlib import Path

from zdynamo.threads.clock import SHIFT, now, shifted_by, true_now


def test_the_wall_clock_is_wrong_by_what_the_file_says_at_that_moment_and_the_other_clock_is_not(
    tmp_path: Path,
) -> None:
    file = tmp_path / "shift"
    file.write_bytes(SHIFT.pack(0))
    wrong = shifted_by(file)
    right_before = true_now()
    with file.open("r+b") as opened:
        opened.write(SHIFT.pack(-3_600_000))

    moment = wrong()

    assert abs(moment.wall_ms + 3_600_000 - right_before.wall_ms) < 60_000
    assert 0 <= moment.monotonic_ms - right_before.monotonic_ms < 60_000


def test_nothing_is_shifted_unless_the_environment_says_so() -> None:
    assert now is true_now
