"""The examples in the docs do what they say: each block is run, and `expression  # value` is compared."""

import ast
import re
from pathlib import Path

import pytest

from zdynamo.fixtures.cluster import InProcessCluster

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
CLIENT = re.compile(r'(Async)?Client\("127\.0\.0\.1:7400"[^)]*\)')


@pytest.mark.parametrize("page", ["README.md", "docs/consistency.md", "docs/client.md"])
def test_the_examples_do_what_they_say(page: str, zdynamo_cluster: InProcessCluster) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text())
    names: dict[str, object] = {"zdynamo_cluster": zdynamo_cluster}

    for block in blocks:
        run(CLIENT.sub(_of_the_cluster, block), names)

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


def _of_the_cluster(made: re.Match[str]) -> str:
    return f'zdynamo_cluster.{"async_client" if made[1] else "client"}("a")'


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True
