"""The examples in the docs do what they say: each block is run, and `expression  # value` is compared."""

import ast
import re
from pathlib import Path

import pytest

from threads.clusters import running

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
CLIENT = re.compile(r'Client\("127\.0\.0\.1:7400"[^)]*\)')


@pytest.mark.parametrize("page", ["README.md", "docs/consistency.md", "docs/client.md"])
def test_the_examples_do_what_they_say(page: str) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text())

    with running("abc") as cluster:
        names: dict[str, object] = {"zmq_context": cluster.context}
        try:
            for block in blocks:
                run(CLIENT.sub('Client("inproc://a-client", context=zmq_context)', block), names)
        finally:
            if "db" in names:
                names["db"].close()  # type: ignore[attr-defined]

    assert blocks


def run(block: str, names: dict[str, object]) -> None:
    """Statement by statement; a comment behind an expression says what it is."""
    lines = block.splitlines()
    for statement in ast.parse(block).body:
        said = lines[(statement.end_lineno or 1) - 1].partition("  # ")[2]
        if not isinstance(statement, ast.Expr) or not _is_literal(said):
            exec(compile(ast.Module([statement], []), "<docs>", "exec"), names)
            continue
        found = eval(compile(ast.Expression(statement.value), "<docs>", "eval"), names)
        assert found == ast.literal_eval(said), f"{lines[statement.lineno - 1]}: it is {found!r}"


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True
