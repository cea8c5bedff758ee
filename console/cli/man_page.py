"""The manual page, made of the parser: `python -m console.cli.man_page > docs/upload-console.1`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from console import __version__
from console.cli import app

_FILES = """\
.TP
.I ./config.toml
.TP
.I ~/.config/upload-console/config.toml
The configuration, the first one that is there; \\-\\-config and UPLOAD_CONSOLE_CONFIG name another.
.TP
.I ~/.local/state/upload-console/screen.json
How you like to look at things: theme, columns, order, views, bookmarks.
"""
_ENVIRONMENT = """\
.TP
.B UPLOAD_CONSOLE_CONFIG
The configuration file.
.TP
.B UPLOAD_CONSOLE_<SECTION>__<KEY>
One setting, stronger than the file: UPLOAD_CONSOLE_S3__BUCKET=media.
.TP
.B AWS_PROFILE, AWS_ACCESS_KEY_ID, ...
Credentials for S3, as every AWS tool takes them.
.TP
.B NO_COLOR
No colours.
"""
_SEE_ALSO = "upload-console config --example explains every setting; upload-console doctor says what is wrong.\n"


def man_page() -> str:
    """The whole page, in roff."""
    command: Any = get_command(app)
    context = command.make_context("upload-console", [], resilient_parsing=True)
    parts = [
        f'.TH UPLOAD\\-CONSOLE 1 "" "upload\\-console {__version__}" "User Commands"\n',
        ".SH NAME\nupload\\-console \\- a full\\-screen console for uploads to S3\n",
        ".SH SYNOPSIS\n.B upload\\-console\n[\\fIOPTIONS\\fR] [\\fICOMMAND\\fR [\\fIARGUMENTS\\fR]]\n",
        f".SH DESCRIPTION\n{_text(command.help)}\n",
        ".SH OPTIONS\n",
        *_options(command, context),
        ".SH COMMANDS\n",
    ]
    for name in command.list_commands(context):
        each = command.get_command(context, name)
        if each.hidden:
            continue
        inner = each.make_context(name, [], parent=context, resilient_parsing=True)
        arguments = " ".join(_argument(one) for one in each.get_params(inner) if one.param_type_name == "argument")
        parts += [f".SS upload\\-console {_text(name)} {arguments}\n{_text(each.help)}\n", *_options(each, inner)]
    parts += [
        f".SH EXIT STATUS\n{_text(command.epilog.removeprefix('Exit codes: '))}\n",
        f".SH FILES\n{_FILES}",
        f".SH ENVIRONMENT\n{_ENVIRONMENT}",
        f".SH SEE ALSO\n{_text(_SEE_ALSO)}",
    ]
    return "".join(parts)


def _options(command: Any, context: Any) -> Iterator[str]:
    for param in command.get_params(context):
        if getattr(param, "hidden", False):
            continue
        if param.param_type_name == "argument":
            yield f".TP\n{_argument(param)}\n{_text(getattr(param, 'help', '') or '')}\n"
            continue
        names = ", ".join(rf"\fB{_text(name)}\fR" for name in sorted(param.opts, key=len))  # click: any order
        for other in param.secondary_opts:
            names += rf", \fB{_text(other)}\fR"
        value = "" if param.is_flag else rf" \fI{_text(param.metavar or param.name.upper())}\fR"
        yield f".TP\n{names}{value}\n{_text(param.help or '')}\n"


def _argument(param: Any) -> str:
    return rf"\fI{_text(param.metavar or param.name.upper())}\fR" + (r"\ ..." if param.nargs == -1 else "")


def _text(words: str) -> str:
    """Words that mean nothing to roff; typer's markup is escaped there with backslashes already."""
    plain = re.sub(r"\\(?=\[)", "", " ".join(words.split()))
    escaped = plain.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write(man_page())
