"""Words of a command line, told apart by a table."""

import pytest

from uxc.cli.options import Operand, Option, Syntax, UsageError

SYNTAX = Syntax(
    "shoot",
    "do it",
    (Operand("NAME", "who"), Operand("PLACE", "where", optional=True)),
    (Option("--force -f", "", "hard"), Option("--with -w", "WHAT", "what with")),
)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["a"], {"name": "a"}),
        (["a", "b"], {"name": "a", "place": "b"}),
        (["-f", "a"], {"name": "a", "force": ""}),
        (["a", "--force", "b"], {"name": "a", "force": "", "place": "b"}),
        (["a", "--with", "x"], {"name": "a", "with": "x"}),
        (["a", "--with=x=y"], {"name": "a", "with": "x=y"}),
        (["a", "-w", "-f"], {"name": "a", "with": "-f"}),
        (["a", "-wx"], {"name": "a", "with": "x"}),
        (["--", "-f"], {"name": "-f"}),
        (["-"], {"name": "-"}),
    ],
)
def test_words_find_their_places(words: list[str], values: dict[str, str]) -> None:
    """Options may stand anywhere, in each of their spellings."""
    arguments = SYNTAX.parse(words)

    for key in ("name", "place", "force", "with"):
        assert arguments.given(key) == (key in values)
        assert arguments.text(key, "none") == values.get(key, "none")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "NAME is missing"),
        (["a", "b", "c"], "too many words: 'c'"),
        (["a", "--with"], "needs a value: WHAT"),
        (["a", "--force=1"], "takes no value"),
        (["a", "-f", "--force"], "given twice"),
        (["a", "--forse"], "unknown option '--forse' (did you mean '--force'?)"),
        (["a", "-x"], "unknown option '-x'"),
    ],
)
def test_wrong_words_are_explained(words: list[str], said: str) -> None:
    """The hint is the usage line."""
    with pytest.raises(UsageError) as caught:
        SYNTAX.parse(words)

    assert said in caught.value.message
    assert caught.value.hint == "usage: uxc shoot NAME [PLACE] [OPTION…]"


def test_help_needs_nothing_else() -> None:
    """--help is understood without the operands, and lists everything."""
    assert SYNTAX.parse(["--help"]).given("help")
    text = SYNTAX.help_text()

    for word in ("NAME", "PLACE", "--force", "-w, --with WHAT", "--help", "what with"):
        assert word in text


def test_an_operand_and_an_option_may_share_their_name() -> None:
    """Then it is given once."""
    syntax = Syntax("x", "y", (Operand("SIGNAL", "s"),), (Option("--signal", "S", "s"),))

    with pytest.raises(UsageError, match="given twice"):
        syntax.parse(["--signal", "9", "9"])
