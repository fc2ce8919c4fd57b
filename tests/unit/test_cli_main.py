"""The frame around the commands: help, exit codes, one line for every error, and how words become values."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

import svd_core
from svd_core.cli import main as main_module
from svd_core.cli import options, output
from svd_core.errors import Cancelled, InputError, NumericsError, OutputError
from tests.command_line import ROOT, assert_refused, run_here, run_there

COMMANDS = ("demo", "animate", "inspect", "measure", "bench", "selftest")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_here(capsys, *command, "--help")
    assert left.value.code == 0
    assert "usage: svd" in capsys.readouterr().out


def test_help_and_package_import_no_torch() -> None:
    code = (
        "import sys, svd_core\n"
        "from svd_core.cli.main import main\n"
        "dir(svd_core), svd_core.__version__\n"
        "for name in ('', 'demo', 'animate', 'inspect', 'measure', 'bench', 'selftest'):\n"
        "    try: main([*name.split(), '--help'])\n"
        "    except SystemExit: pass\n"
        "sys.exit(3 if 'torch' in sys.modules else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_every_public_name_is_there() -> None:
    for name in svd_core.__all__:
        assert getattr(svd_core, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = svd_core.nonsense


def test_no_command_and_wrong_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(capsys).code == 2
    assert run_here(capsys, "--version").out.startswith("svd-studio ")
    assert_refused(run_here(capsys, "anmiate"), "'anmiate'", "animate")
    assert_refused(run_here(capsys, "inspect"), "FILE|FOLDER", "svd inspect --help")
    assert_refused(run_here(capsys, "inspect", "a", "--camera", "pan"), "--camera", "svd inspect --help")
    # An abbreviation would change its meaning with the next option that starts alike.
    assert_refused(run_here(capsys, "measure", "a", "--js"), "--js")


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        (InputError("Expected a; found b. Do c."), 2, "Expected a; found b. Do c."),
        (OutputError("full"), 1, "full"),
        (NumericsError("two\nlines"), 1, "two lines"),
        (Cancelled("Stopped here."), 130, "Stopped here."),
        (KeyboardInterrupt(), 130, "Stopped."),
        (OSError(errno.EIO, "I/O error"), 1, "I/O error"),
        (MemoryError(), 1, "Memory ran out"),
    ]
    for error, code, words in cases:

        def fail(_: list[str], error: BaseException = error) -> int:
            raise error

        monkeypatch.setattr(main_module, "_run", fail)
        assert_refused(run_here(capsys, "animate"), words, code=code)
        with_trace = run_here(capsys, "animate", "--debug")
        assert with_trace.code == code and "Traceback" in with_trace.err


def test_unforeseen_errors_are_one_line_too() -> None:
    code = (
        "import svd_core.cli.main as m\n"
        "def fail(arguments): raise ZeroDivisionError('a fault of ours')\n"
        "m._run = fail\n"
        "m.entry()\n"
    )
    for flag, trace in ((), False), (("--debug",), True):
        done = subprocess.run([sys.executable, "-c", code, *flag], capture_output=True, cwd=ROOT, text=True, timeout=60)
        assert done.returncode == 1
        assert "svd: Internal error (ZeroDivisionError: a fault of ours)" in done.stderr
        assert ("Traceback" in done.stderr) == trace


def test_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m svd_core --help | head -c 1 > {os.devnull}"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, cwd=ROOT, timeout=60)
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr


def test_sizes() -> None:
    assert options.size("1024x576") == (1024, 576)
    assert options.size(" 64X32 ") == (64, 32)
    for wrong in ("", "64", "64x", "-64x64", "0x64", "64x64x3", "axb", "999999x1"):
        with pytest.raises(InputError, match="WIDTHxHEIGHT"):
            options.size(wrong)


def test_numbers() -> None:
    assert options.whole("--frames", 2, 256)("14") == 14
    for wrong in ("0", "1", "257", "500", "14.0", "1e3", "", "٣٠٠", "9" * 40):
        with pytest.raises(InputError, match=r"--frames as a whole number in 2 \.\. 256"):
            options.whole("--frames", 2, 256)(wrong)
    assert options.number("--x", 0, 1)("0.5") == 0.5
    for wrong in ("nan", "inf", "-0.1", "x", ""):
        with pytest.raises(InputError, match="--x as a number"):
            options.number("--x", 0, 1)(wrong)


def test_rates() -> None:
    parse = options.rate("--fps")
    assert parse("30000/1001") == Fraction(30000, 1001)
    assert parse("23.976") == Fraction(2997, 125)
    for wrong in ("0", "-1", "1/0", "x", "1001", "nan", "inf", "1e-999999999"):
        with pytest.raises(InputError, match="--fps as frames a second"):
            parse(wrong)


def test_pictures_from_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("b2.png", "b10.png", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in options.pictures([str(tmp_path)])] == ["a.jpg", "b2.png", "b10.png"]
    assert [path.name for path in options.pictures([str(tmp_path / "b*.png")])] == ["b10.png", "b2.png"]
    assert options.pictures(["missing.png"]) == [Path("missing.png")]


class Narrow(io.TextIOWrapper):
    """A Windows console of the western code page."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="cp1252", errors="strict")

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode("cp1252")  # type: ignore[attr-defined]


def test_console_of_a_western_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names from elsewhere must not end the program."""
    out, err = Narrow(), Narrow()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    console = output.Console()
    console.say("größe 夜.png ✓")
    console.note("夜 is late")
    output.write_error("no 夜")
    console.table(("夜", "b"), [("x", "1")])
    output.Console(json=True).result({"file": "夜.png"})
    assert "größe ?.png ?" in out.text
    assert '"file": "\\u591c.png"' in out.text
    assert "svd: no ?" in err.text


def test_command_line_in_a_western_windows(tmp_path: Path) -> None:
    outcome = run_there("inspect", tmp_path / "夜.safetensors", PYTHONIOENCODING="cp1252")
    assert_refused(outcome)


def test_json_has_words_for_what_json_has_not() -> None:
    text = output.to_json(
        {"a": float("nan"), "b": [float("inf"), 1.5], "c": Fraction(1, 2), "d": Path("x")}, indent=None
    )
    assert text == '{"a": null, "b": [null, 1.5], "c": "1/2", "d": "x"}'


def test_progress_is_silent_when_quiet_and_brief_in_logs(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        with output.Console(quiet=quiet).progress(3, "work") as bar:
            for _ in range(3):
                bar.update()
        assert capsys.readouterr().err == ""
