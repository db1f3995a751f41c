"""Write ``docs/config.md`` from the option table: ``python3 -m uxc.config.document``."""

import sys
from collections.abc import Iterator

from uxc.config.schema import TABLES, Option, Table

_PREAMBLE = """\
# Configuration

Made from the option table (`lib/uxc/config/schema.py`) by `python3 -m uxc.config.document`; do not
edit by hand.

Containers are sections of `/etc/config/uxc`, their wiring is in `/etc/config/network`, in netifd's
own language. The manager acts on what is committed (`uci commit`). `uxc check` reads both files and
shows every problem at once:

```
/etc/config/uxc:14: container 'web': option 'memory': '64X' is not a size
```

A wrong section leaves out its own container and nothing else; a warning leaves out nothing. An
interface with `jail`, its cable and the cable's bridge count as parts of the container.

Truth values are `1 on true yes enabled` and `0 off false no disabled`. Sizes take `K`, `M`, `G`
and `T` (powers of 1024), times `s`, `m`, `h` and `d`. A list may be written as several `list` lines
or, except `env` and `mounts`, as one `option` with blanks between the values.
"""

_FILES = {
    "uxc": "\n# /etc/config/uxc\n",
    "network": """
# /etc/config/network

Only what wires containers is read here; the rest of the file is netifd's. Rules beyond single
options:

- A device belongs to one section: not to two interfaces, nor to an interface and a bridge.
- The host's end of a cable is in at most one bridge, or an interface of the host stands on it.
- No device name is given twice, ends of cables included; none is longer than 15 bytes.
- `jail_device` differs between the interfaces of one container, and so do their addresses, also
  from those of other stations of the same bridge.
- A gateway lies in a network of its interface, since the kernel refuses any other.
- An interface whose `jail` no section of `/etc/config/uxc` declares is left alone, with a warning:
  it may belong to a container of procd.
- `ifname` beside `device` in an interface of the host (the old way to add a port, on a newer
  configuration) is obeyed, with a warning: netifd passes over it. `list ports` of the bridge's
  device section is the way to write it today.
""",
}


def document() -> str:
    """Return the whole page."""
    parts = [_PREAMBLE]
    file = ""
    for table in TABLES:
        if table.file != file:
            file = table.file
            parts.append(_FILES[file])
        parts.append("\n".join(_section(table)) + "\n")
    return "".join(parts)


def _section(table: Table) -> Iterator[str]:
    yield f"\n## {table.heading}\n\n```\n{table.declaration}\n```\n"
    yield f"{table.help}\n"
    yield "| Option | Kind | Default | Example | Meaning | Since |"
    yield "|---|---|---|---|---|---|"
    for row in table.options:
        yield _row(row)


def _row(row: Option) -> str:
    default = "**required**" if row.required else row.default or "none"
    unit = f" In {row.unit}." if row.unit else ""
    older = f" Older spelling: `{row.old}`." if row.old else ""
    meaning = f"{row.help}{unit}{older}"
    return f"| `{row.name}` | {row.kind} | {default} | `{row.example}` | {meaning} | {row.since} |"


if __name__ == "__main__":
    sys.stdout.write(document())
