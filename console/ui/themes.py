"""The looks of the console: one dark, one light, and two that use the terminal's own colours.

Owns the themes, what this program's own variables are in those of Textual, and which theme is taken where the terminal
has few colours. The last two suit 16 colours, NO_COLOR and terminals whose palette somebody chose with care.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from console.errors import ConfigurationError
from console.formatting import visible

DARK: Final = "console-dark"
LIGHT: Final = "console-light"
DARK_256: Final = "console-dark-256"
LIGHT_256: Final = "console-light-256"
TERMINAL_DARK: Final = "console-terminal"
TERMINAL_LIGHT: Final = "console-terminal-light"

THEMES: Final = (
    Theme(
        name=DARK,
        primary="#6cb6ff",
        secondary="#8ddb8c",
        accent="#6cb6ff",
        warning="#e3b341",
        error="#ff7b72",
        success="#7ee787",
        foreground="#d5dbe3",
        background="#0f1419",
        surface="#151b22",
        panel="#1d252e",
        dark=True,
        variables={
            "muted": "#8a96a3",
            "frame": "#37424e",
            "cursor": "#22354a",
            "cursor-blurred": "#1b2530",
            "trough": "#3a4653",
            "input-cursor-background": "#d5dbe3",
        },
    ),
    Theme(
        name=LIGHT,
        primary="#0757b3",
        secondary="#1a7f37",
        accent="#0757b3",
        warning="#8a5a00",
        error="#c0272d",
        success="#156c2c",
        foreground="#1f2530",
        background="#fbfbf9",
        surface="#f4f4f1",
        panel="#e9e9e4",
        dark=False,
        variables={
            "muted": "#5a6370",
            "frame": "#b9bdb8",
            "cursor": "#cfe3fa",
            "cursor-blurred": "#e4e8ec",
            "trough": "#b6bcc3",
        },
    ),
    # Colours that a terminal of 256 has: others are rounded to the nearest, which for dark ones is none of the kind.
    Theme(
        name=DARK_256,
        primary="#5fafff",
        secondary="#87d787",
        accent="#5fafff",
        warning="#d7af5f",
        error="#ff8787",
        success="#87d787",
        foreground="#dadada",
        background="#121212",
        surface="#1c1c1c",
        panel="#262626",
        dark=True,
        variables={
            "muted": "#9e9e9e",
            "frame": "#585858",
            "cursor": "#005f87",
            "cursor-blurred": "#3a3a3a",
            "trough": "#4e4e4e",
            "input-cursor-background": "#dadada",
        },
    ),
    Theme(
        name=LIGHT_256,
        primary="#005faf",
        secondary="#005f00",
        accent="#005faf",
        warning="#875f00",
        error="#af0000",
        success="#005f00",
        foreground="#262626",
        background="#ffffff",
        surface="#eeeeee",
        panel="#e4e4e4",
        dark=False,
        variables={
            "muted": "#585858",
            "frame": "#b2b2b2",
            "cursor": "#afd7ff",
            "cursor-blurred": "#dadada",
            "trough": "#b2b2b2",
        },
    ),
    *(
        Theme(
            name=name,
            ansi=True,
            primary="ansi_blue",
            secondary="ansi_cyan",
            warning="ansi_yellow",
            error="ansi_red",
            success="ansi_green",
            accent="ansi_cyan" if dark else "ansi_blue",
            foreground="ansi_default",
            background="ansi_default",
            surface="ansi_default",
            panel="ansi_default",
            boost="ansi_default",
            dark=dark,
            variables={
                "muted": "ansi_default",
                "frame": "ansi_default",
                "cursor": "ansi_default",
                "cursor-blurred": "ansi_default",
                "trough": "ansi_default",
                "ansi-background": "ansi_black" if dark else "ansi_white",
                "ansi-foreground": "ansi_white" if dark else "ansi_black",
                "border-blurred": "ansi_default",
                "block-cursor-foreground": "ansi_black" if dark else "ansi_bright_white",
                "block-cursor-background": "ansi_white" if dark else "ansi_blue",
                "input-cursor-text-style": "reverse",
            },
        )
        for name, dark in ((TERMINAL_DARK, True), (TERMINAL_LIGHT, False))
    ),
)

_ALL: Final[Mapping[str, Theme]] = {**{theme.name: theme for theme in THEMES}, **BUILTIN_THEMES}

# Variables of this program only: a mixture of the background with that colour, and how much of that it takes.
_MIXTURES: Final[Mapping[str, tuple[str, float]]] = {
    "muted": ("foreground", 0.75),
    "frame": ("foreground", 0.25),
    "cursor": ("primary", 0.2),
    "cursor-blurred": ("foreground", 0.08),
    "trough": ("foreground", 0.25),
}


def own_variables(theme: Theme) -> dict[str, str]:
    """What the style sheet asks for by names that Textual does not have, for a theme that knows nothing of them."""
    if theme.ansi:
        return dict.fromkeys(_MIXTURES, "ansi_default")
    colours = theme.to_color_system().generate()
    background = Color.parse(colours["background"])
    return {
        name: background.blend(Color.parse(colours[other]), share).hex for name, (other, share) in _MIXTURES.items()
    }


def names() -> frozenset[str]:
    """All themes that can be chosen."""
    return frozenset(_ALL)


def suitable(theme: str, environment: Mapping[str, str], colours: int | None) -> str:
    """The theme to start with: the one asked for, or the terminal's own colours where it has no more to give.

    `colours` is how many the terminal shows (None where that is unknown).

    Raises:
        ConfigurationError: there is no such theme.
    """
    chosen = _ALL.get(theme)
    if chosen is None:
        raise ConfigurationError(
            f"ui.theme: there is no theme {visible(repr(theme))}", advice=f"Known themes: {', '.join(_ALL)}."
        )
    if colours == 256 and not environment.get("NO_COLOR"):
        return {DARK: DARK_256, LIGHT: LIGHT_256}.get(theme, theme)
    few = bool(environment.get("NO_COLOR")) or (colours is not None and colours < 256)
    if not few or chosen.ansi:
        return theme
    return TERMINAL_DARK if chosen.dark else TERMINAL_LIGHT
