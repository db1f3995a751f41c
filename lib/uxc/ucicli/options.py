"""The options of the uci command, read as glibc's getopt does: they may follow the operands."""

_WITH_ARGUMENT = b"cCdfpPt"
_PLAIN = b"LmnNqsSX"


class OptionError(Exception):
    """An option that does not exist or lacks its argument; the text is getopt's."""


def options(
    arguments: "list[bytes]",
) -> "tuple[list[tuple[bytes, bytes]], list[bytes], OptionError | None]":
    """Return the options with their arguments, the operands, and the error that ended the reading.

    The options before an error take effect, as with the real command.
    """
    found: list[tuple[bytes, bytes]] = []
    operands: list[bytes] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == b"--":
            break
        if word[:1] != b"-" or word == b"-":
            operands.append(word)
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[:1], letters[1:]
            argument = b""
            if letter in _WITH_ARGUMENT:
                if not letters and not rest:
                    return found, operands, _error("option requires an argument", letter)
                argument, letters = letters or rest.pop(0), b""
            elif letter not in _PLAIN:
                return found, operands, _error("invalid option", letter)
            found.append((letter, argument))
    return found, operands + rest, None


def _error(problem: str, letter: bytes) -> OptionError:
    return OptionError(f"{problem} -- '{letter.decode('utf-8', 'surrogateescape')}'")
