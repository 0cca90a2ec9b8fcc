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


@pytest.mark.parametrize("text", ["30", "s", "1.5h", "-1s", "1 s", "1S", "1w", "1s1s", "9" * 16 + "s", "٣s", "1s\n"])
def test_whatever_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write it as 500ms, 30s, 5m, 2h or 7d"):
        span_ms(text, "--ttl")
