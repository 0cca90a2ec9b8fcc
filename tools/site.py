"""What `mkdocs.yml` needs beside settings: pages and files from outside `docs/`, and headings named as elsewhere.

Links in the repository work on a code host and in the site alike: `docs/options.md` links to `../configs/zdynamo.toml`,
and `ARCHITECTURE.md` to `docs/decisions.md`.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BESIDE = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")
FOLDERS = ("configs",)
LOADED = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?((?:https?:)?//[^"'\s>]+)""")
LINKED = re.compile(r"""<link\b[^>]*\bhref=["']?((?:https?:)?//[^"'\s>]+)""")


def slug(heading: str, separator: str = "-") -> str:
    """The anchor of a heading: lower case, without marks, a dash for each space."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", separator)


def in_site(markdown: str, page: str) -> str:
    """Links as the site has them, where what lies beside `docs/` lies in it."""
    return re.sub(r"\]\(docs/" if page in BESIDE else r"\]\(\.\./", "](", markdown)


def loaded_from_elsewhere(html: str) -> list[str]:
    """What a browser would fetch from another site."""
    return LOADED.findall(html) + LINKED.findall(html)


def on_config(config: Any) -> Any:
    config.mdx_configs["toc"]["slugify"] = slug
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    for path in [*(ROOT / name for name in BESIDE), *paths]:
        files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    return in_site(markdown, page.file.src_uri)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    from mkdocs.exceptions import PluginError

    if found := loaded_from_elsewhere(output):
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {', '.join(found)}")
    return output
