"""Lists what tests need from the system besides Python, and the Debian packages that bring it. Needs no other module.

python3 scripts/system_tools.py              says in one line what is lacking and the cure
python3 scripts/system_tools.py --packages   prints the packages that .ci/run must install
"""

import ctypes.util
import shutil
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple


class SystemTool(NamedTuple):
    """A program, or a shared library as the linker names it, and the Debian packages that bring it."""

    name: str
    packages: tuple[str, ...]
    is_library: bool = False

    @property
    def is_there(self) -> bool:
        """Tells whether it can be used here."""
        return (ctypes.util.find_library if self.is_library else shutil.which)(self.name) is not None


TOOLS: Final = (
    SystemTool("curl", ("curl",)),
    SystemTool("openssl", ("openssl",)),
    SystemTool("pdffonts", ("poppler-utils",)),
    SystemTool("pdfinfo", ("poppler-utils",)),
    SystemTool("pdftoppm", ("poppler-utils",)),
    SystemTool("pdftotext", ("poppler-utils",)),
    SystemTool("qpdf", ("qpdf",)),
    SystemTool("zbarimg", ("zbar-tools",)),
    SystemTool("softhsm2-util", ("softhsm2",)),
    SystemTool("chromium", ("chromium",)),
    SystemTool("postfix", ("postfix",)),
    SystemTool("promtool", ("prometheus",)),
    SystemTool("systemd-analyze", ("systemd",)),
    SystemTool("php", ("php-cli", "php-redis", "php-predis")),
    SystemTool("node", ("nodejs",)),
    SystemTool("npm", ("npm",)),
    SystemTool("soffice", ("libreoffice-calc", "libreoffice-l10n-fr")),
    SystemTool("pango-1.0", ("libpango-1.0-0",), is_library=True),  # this and the next two are for WeasyPrint
    SystemTool("pangoft2-1.0", ("libpangoft2-1.0-0",), is_library=True),
    SystemTool("harfbuzz-subset", ("libharfbuzz-subset0",), is_library=True),
)


def lacking(names: Iterable[str] = ()) -> list[SystemTool]:
    """Returns the tools that are not installed, among these names or among all."""
    wanted = set(names) or {tool.name for tool in TOOLS}
    return [tool for tool in TOOLS if tool.name in wanted and not tool.is_there]


def cure(tools: Iterable[SystemTool]) -> str:
    """Returns the command that installs these tools."""
    return f"apt-get install {' '.join(packages(tools))}"


def packages(tools: Iterable[SystemTool]) -> list[str]:
    """Returns the packages of these tools, each once."""
    return list(dict.fromkeys(package for tool in tools for package in tool.packages))


def main(arguments: list[str]) -> None:
    """Prints what is lacking; nothing if all tools are installed."""
    found = lacking()
    if not found:
        return
    if arguments == ["--packages"]:
        print(*packages(found))
    else:
        names = ", ".join(tool.name for tool in found)
        print(f"This system lacks {names}, and tests that need them are skipped: {cure(found)}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
