"""How spans of time are written on the command line."""

import pytest
import typer

from zdynamo.cli.data import span_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [("0", 0), ("500ms", 500), ("0s", 0), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("7d", 604_800_000)],
)
def test_a_span_is_a_number_and_its_unit(text: str, ms: int) -> None:
    assert span_ms(text, "--ttl") == ms


@pytest.mark.parametrize("text", ["30", "s", "1.5h", "-1s", "1 s", "1S", "1w", "1s1s", "٣s", "1s\n"])
def test_whatever_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write it as 500ms, 30s, 5m, 2h or 7d"):
        span_ms(text, "--ttl")


def test_the_longest_span_is_a_hundred_years() -> None:
    assert span_ms("36500d", "--ttl") == 36_500 * 86_400_000


@pytest.mark.parametrize("text", ["99999999999999d", "36601d", "9" * 16 + "s", "9" * 5000 + "ms"])
def test_a_longer_span_is_refused_with_the_limit_in_years(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="at most 100 years, or 0 for never"):
        span_ms(text, "--ttl")
