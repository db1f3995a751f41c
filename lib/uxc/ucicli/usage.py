"""The usage text of uci."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.paths import Paths

_COMMANDS = """\
batch
export     [<config>]
import     [<config>]
changes    [<config>]
commit     [<config>]
add        <config> <section-type>
add_list   <config>.<section>.<option>=<string>
del_list   <config>.<section>.<option>=<string>
show       [<config>[.<section>[.<option>]]]
get        <config>.<section>[.<option>]
set        <config>.<section>[.<option>]=<value>
delete     <config>[.<section>[[.<option>][=<id>]]]
rename     <config>.<section>[.<option>]=<name>
revert     <config>[.<section>[.<option>]]
reorder    <config>.<section>=<position>
"""
_OPTIONS = """\
-c <path>  set the search path for config files (default: {confdir})
-C <path>  set the search path for config override files (default: {conf2dir})
-d <str>   set the delimiter for list values in uci show
-f <file>  use <file> as input instead of stdin
-m         when importing, merge data into an existing package
-n         name unnamed sections on export (default)
-N         don't name unnamed sections
-p <path>  add a search path for config change files
-P <path>  add a search path for config change files and use as default
-t <path>  set save path for config change files
-q         quiet mode (don't print error messages)
-s         force strict mode (stop on parser errors, default)
-S         disable strict mode
-X         do not use extended syntax on 'show'
"""


def usage(program: str, paths: "Paths") -> str:
    """Return the text that explains commands and options, with the folders of ``paths``."""
    options = _OPTIONS.format(confdir=paths.config_dir, conf2dir=paths.uci_conf2_dir)
    return (
        f"Usage: {program} [<options>] <command> [<arguments>]\n\n"
        f"Commands:\n{_indented(_COMMANDS)}\n"
        f"Options:\n{_indented(options)}\n"
    )


def _indented(lines: str) -> str:
    return "".join(f"\t{line}\n" for line in lines.splitlines())
