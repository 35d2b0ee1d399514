"""Charts as SVG of the page, drawn by matplotlib when the page is written.

A chart has a drawing for a desktop and one for a phone, with text of the same size. Colours are
variables of the style sheet: a chart follows the theme and prints. matplotlib is imported here
only, and pyplot never, because pyplot's figures are global.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, NARROW = 1180, 348
"""Widths of a chart in pixels of the page, on a desktop and on a phone."""

COLOURS = {
    "text": "#010101",
    "soft": "#010102",
    "line": "#010103",
    "grid": "#010104",
    "raised": "#010105",
    "good": "#010106",
    "bad": "#010107",
    **{f"c{number}": f"#0102{number:02d}" for number in range(1, 9)},
}
"""Colours that stand for the variables of the style sheet, and appear nowhere else."""

MARKERS = ("o", "s", "D", "^", "P", "X", "*", "h")
GLYPHS = ("●", "■", "◆", "▲", "✚", "✖", "★", "⬢")

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evenbench",
    "font.size": 12.5,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "path.simplify": False,
}


@dataclass(frozen=True)
class Chart:
    """A chart of the page: SVG for both widths, a label, and the keys of the series.

    `note` counts cells beyond the chart; empty without any.
    """

    svg: Markup
    label: str
    keys: tuple[tuple[str, str, str], ...] = ()
    """Colour, glyph and name of a series."""
    note: str = ""


@dataclass(frozen=True)
class Canvas:
    """Axes in pixels: `left` and `right` are margins, `narrow` is a phone."""

    axes: Axes
    width: int
    height: int
    narrow: bool
    left: int
    right: int

    def text(self, x: float, y: float, words: str, **style: object) -> None:
        """Write text at pixels from the left and data coordinates from the top."""
        settings = {"colour": "text", "ha": "left", "va": "center", "size": 12.5} | style
        colour = COLOURS[str(settings.pop("colour"))]
        share = (x - self.left) / (self.width - self.left - self.right)
        self.axes.text(
            share,
            y,
            words,
            transform=self.axes.get_yaxis_transform(),
            color=colour,
            clip_on=False,
            **settings,  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class Layout:
    """Height and margins of a chart in pixels."""

    height: int
    left: int
    right: int
    top: int = 24
    bottom: int = 34


def draw(
    name: str,
    layout: Callable[[bool], Layout],
    paint: Callable[[Canvas], None],
    label: str,
    keys: Sequence[str] = (),
    note: str = "",
) -> Chart:
    """Return a chart painted at both widths. `layout` takes whether the width is that of a phone.

    `name` is unique on the page.
    """
    both = Markup("").join(_one(name, narrow, layout(narrow), paint) for narrow in (False, True))
    named = tuple(
        (f"k{place % 8 + 1}", GLYPHS[place % len(GLYPHS)], name) for place, name in enumerate(keys)
    )
    return Chart(both, label, named, note)


def colour(place: int) -> str:
    """Return the colour of the series at a place."""
    return COLOURS[f"c{place % 8 + 1}"]


def _one(name: str, narrow: bool, layout: Layout, paint: Callable[[Canvas], None]) -> Markup:
    import matplotlib
    from matplotlib.figure import Figure

    width = NARROW if narrow else WIDE
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width / 72, layout.height / 72))
        axes = figure.add_axes(
            (
                layout.left / width,
                layout.bottom / layout.height,
                (width - layout.left - layout.right) / width,
                (layout.height - layout.top - layout.bottom) / layout.height,
            )
        )
        _style(axes)
        paint(Canvas(axes, width, layout.height, narrow, layout.left, layout.right))
        file = io.StringIO()
        none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=none)
    kind = "phone" if narrow else "desktop"
    return Markup(
        f'<svg class="drawn {kind}" viewBox="0 0 {width} {layout.height}" aria-hidden="true" '
        f'focusable="false">{_cleaned(file.getvalue(), f"{name}-{kind}")}</svg>'
    )


def _style(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=COLOURS["soft"], labelsize=12, pad=6)
    axes.tick_params(which="minor", length=0)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="x", color=COLOURS["grid"], linewidth=1)


_INNER = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FONT = re.compile(r"font: (?:(bold|\d+) )?([\d.]+)px [^;\"]*")
_LEFT_OUT = re.compile(
    r"<metadata>.*?</metadata>|<style.*?</style>|<clipPath.*?</clipPath>|<!--.*?-->"
    r"| clip-path=\"[^\"]*\"| transform=\"rotate\(-?0 [^\"]*\"|; font-family: [^;\"]*"
    r"|; text-anchor: start|; stroke-linecap: square",
    re.DOTALL,
)
"""What a page needs no copy of. Nothing is drawn outside the axes that a clip would hide."""


def _cleaned(document: str, prefix: str) -> str:
    """The content of matplotlib's document, fit for a page.

    Without matplotlib's style sheet, which would apply to the whole page, with unique ids and
    the fonts of the page.
    """
    inner = _INNER.search(document)
    assert inner
    text = _LEFT_OUT.sub("", inner[1])
    used = set(re.findall(r"(?:xlink:href=\"|url\()#([^\")]+)", text))
    text = re.sub(
        r' id="([^"]+)"', lambda at: f' id="{prefix}-{at[1]}"' if at[1] in used else "", text
    )
    text = text.replace('xlink:href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    text = _TAG.sub(lambda tag: _NUMBER.sub(_rounded, tag[0]), text)
    text = _FONT.sub(_font, text)
    for name, value in COLOURS.items():
        text = text.replace(value, f"var(--{name})")
    text = re.sub(r"\s*\n\s*", " ", text)
    for _ in range(4):  # groups within groups
        text = re.sub(r"<g/> ?|<g> ?</g> ?|<defs> ?</defs> ?", "", text)
    return text.strip()


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _font(match: re.Match[str]) -> str:
    bold = "; font-weight: 640" if match[1] else ""
    return f"font-size: {float(match[2]):g}px{bold}"
