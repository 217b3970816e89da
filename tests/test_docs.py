"""The documents: the README's blocks run and show what comes out, and every command, option and format is in it.

`FIX_GOLDEN=1 pytest tests/test_docs.py` (or `make samples`) rewrites what the README shows; review the diff.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from notegap import cli
from notegap.audit.rows import columns
from notegap.audit.table import CHANGE
from notegap.knowledge import load_checklists
from notegap.report import FORMATS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CONSOLE = re.compile(r"(?<=```console\n)\$ (?P<command>notegap .*)\n(?P<shown>(?:.*\n)*?)(?=```\n)")
PYTHON = re.compile(r"```python\n(?P<code>(?:.*\n)*?)```\n\n```text\n(?P<shown>(?:.*\n)*?)(?=```\n)")
SHELL = re.compile(r"```sh\n((?:.*\n)*?)```\n")
FLOORS = re.compile(r"(?<=<!-- floors -->\n)(?P<shown>(?:.*\n)*?)(?=<!-- /floors -->)")
SAID_OF_FLOORS = {
    ("gaps", "decision"): "checklist items decided rightly: documented or not, raised or not",
    ("gaps", "status"): "checklist items given the very status",
    ("gaps", "F1"): "gaps found (F1)",
    ("facts", "F1"): "facts read, with how they are asserted (F1)",
    ("facts", "value_F1"): "facts read, whatever is asserted of them (F1)",
}
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "models/README.md",
    "benchmarks/README.md",
    "docs/audit.md",
    "docs/auditing.md",
    "docs/audit-spark.md",
    "docs/configuration.md",
    "docs/deployment.md",
    "docs/hl7.md",
]


def readme() -> str:
    return README.read_text(encoding="utf-8")


def commands() -> dict[str, click.Command]:
    """Every command by the words that call it; a group's usual command is called by the group's name."""
    found: dict[str, click.Command] = {}
    for name, command in cli.commands.commands.items():
        inner = command.commands if isinstance(command, click.Group) else {}
        usual = getattr(command, "usual", "")
        found |= {name if word == usual else f"{name} {word}": each for word, each in inner.items()} or {name: command}
    return found


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"} | {"COLUMNS": "80"}
    return subprocess.run(
        command, cwd=ROOT, env=plain, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, check=False
    )


def compare(pattern: re.Pattern[str], number: int, said: str) -> None:
    """The part that `pattern` finds as its `number`th shows `said`; with FIX_GOLDEN, it is made to."""
    match = list(pattern.finditer(readme()))[number]
    if os.environ.get("FIX_GOLDEN"):
        start, end = match.span("shown")
        README.write_text(readme()[:start] + said + readme()[end:], encoding="utf-8")
    else:
        assert match["shown"] == said


@pytest.mark.parametrize("number", range(len(CONSOLE.findall(readme()))))
def test_a_run_shows_what_comes_out(number: int) -> None:
    command = shlex.split(list(CONSOLE.finditer(readme()))[number]["command"])
    done = run([sys.executable, "-m", *command])
    assert (done.returncode in (cli.COMPLETE, cli.GAPS), done.stderr) == (True, "")
    compare(CONSOLE, number, done.stdout)


@pytest.mark.parametrize("number", range(len(PYTHON.findall(readme()))))
def test_the_python_example_prints_what_it_shows(number: int) -> None:
    done = run([sys.executable, "-c", list(PYTHON.finditer(readme()))[number]["code"]])
    assert (done.returncode, done.stderr) == (0, "")
    compare(PYTHON, number, done.stdout)


def test_the_blocks_are_there() -> None:
    assert (len(CONSOLE.findall(readme())), len(PYTHON.findall(readme()))) == (2, 2)


def test_the_floors_are_those_that_are_held() -> None:
    floors = tomllib.loads((ROOT / "tests" / "accuracy_floor.toml").read_text(encoding="utf-8"))
    rows = [
        f"| {SAID_OF_FLOORS[kind, name]} | {value:.2f} |\n" for kind in floors for name, value in floors[kind].items()
    ]
    compare(FLOORS, 0, "".join(["| figure | at least |\n", "|---|---|\n", *rows]))


def test_every_command_with_its_options_is_documented() -> None:
    sections = readme().partition("## Commands")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", sections.replace("\\|", "/"), re.MULTILINE))
    assert [name for name in commands() if f"| `notegap {name} " not in sections] == []
    for name, command in commands().items():
        for option in (parameter for parameter in command.params if isinstance(parameter, click.Option)):
            takes = rows.get(f"`{option.opts[0]}`")
            assert takes is not None, f"{option.opts[0]} of {name} is not in the README"
            assert name in takes.split(", "), f"the README does not say that {name} takes {option.opts[0]}"


def test_every_format_is_documented_for_the_commands_that_print_it() -> None:
    rows = [line for line in readme().splitlines() if line.startswith("| `notegap ")]
    lines = {re.findall(r"`notegap ((?:[a-z-]+ ?)+)", row)[0].strip(): row for row in rows}
    for name, command in commands().items():
        formats = [parameter.type for parameter in command.params if parameter.name == "format_"]
        written = re.findall(r"`(\w+)`", lines[name].rpartition(" | ")[2])
        assert written == [choice for type_ in formats if isinstance(type_, click.Choice) for choice in type_.choices]
    assert set(FORMATS) <= set(re.findall(r"`(\w+)`", readme()))


def test_every_column_of_the_flat_table_is_documented() -> None:
    section = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8").partition("## The flat table\n")[2]
    named = re.findall(r"^\| ((?:`\w+` ?)+) \|", section.partition("\n## ")[0], re.MULTILINE)
    told = [name for names in named for name in re.findall(r"`(\w+)`", names)]
    assert sorted(told) == sorted([*columns(with_text=True), CHANGE])


def test_every_exit_code_is_documented() -> None:
    told = dict(re.findall(r"^\| (\d) \| (.*) \|$", readme(), re.MULTILINE))
    assert list(told) == [str(code) for code in (cli.COMPLETE, cli.GAPS, cli.BROKEN, cli.NOTHING_READ)]


def test_every_family_with_a_checklist_is_named() -> None:
    assert [checklist.id for checklist in load_checklists(()) if checklist.id not in readme()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_files_and_links_named_in_a_document_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    code = "\n".join(SHELL.findall(text) + re.findall(r"`([^`\n]+)`", text))
    for target in re.findall(r"\bmake ([a-z][a-z0-9]*)\b", code):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for link in re.findall(r"\]\(([^)#:]+)\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
        assert ((ROOT / document).parent / link).exists(), link
    for path in re.findall(r"`((?:tests|models|patterns|locks|sample_notes|benchmarks|src)/[\w./-]*)`", text):
        # "patterns/checklists/CODE.yaml" stands for the file that the reader is to write.
        assert path.endswith(("/CODE.yaml", "/NAME.yaml")) or (ROOT / path).exists(), path


@pytest.mark.parametrize("how", ["Add a code", "Add a concept", "Fix a miss", "Change how a provider is asked"])
def test_contributing_tells_how_in_under_15_lines(how: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition(f"## {how}\n")[2].partition("\n## ")[0]
    assert 0 < len(section.strip().splitlines()) < 15


def test_the_changelog_tells_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_concept_and_the_checklist_of_contributing_hold(tmp_path: Path) -> None:
    """A newcomer copies them: they load, and their examples pass."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n# (\S+)\n((?:.*\n)*?)```\n", text)
    assert [name for name, _ in blocks] == ["concepts/tobacco.yaml", "checklists/M46.1.yaml"]
    for name, block in blocks:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(block, encoding="utf-8")
    done = run([sys.executable, "-m", "notegap", "selftest", str(tmp_path)])
    assert (done.stdout, done.stderr, done.returncode) == ("7 of 7 examples pass\n", "", 0)
