"""The reference in docs is what the option table says."""

from pathlib import Path

from uxc.config.document import document
from uxc.config.schema import TABLES

PAGE = Path(__file__).parents[3] / "docs/config.md"


def test_page_is_fresh() -> None:
    """docs/config.md is equal to what the table makes; run uxc.config.document otherwise."""
    assert PAGE.read_text() == document()


def test_page_has_every_option() -> None:
    """No option, older spelling or example of the table is missing in the page."""
    text = document()
    for table in TABLES:
        for row in table.options:
            assert f"| `{row.name}` | {row.kind} |" in text
            assert f"`{row.example}`" in text
            assert not row.old or f"`{row.old}`" in text
