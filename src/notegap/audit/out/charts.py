"""Charts as inline SVG: drawn by matplotlib, their text left as text, their colours left to the page's style.

A page's policy allows no style that it did not name, so every style of the drawing becomes an attribute or a class.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

from notegap.audit.suppress import Rate
from notegap.report.lines import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SVG = "http://www.w3.org/2000/svg"
_WIDTH = 4.9
_BAR = 0.29
_LABEL = 23
# What a colour stands for; the page's style gives it, by the class.
_CLASSES = {
    "#a00001": "v-bar",
    "#a00002": "v-whisker",
    "#a00003": "v-grid",
    "#a00004": "v-mean",
    "#a00005": "v-soft",
    "#a00006": "v-track",
}
_COLORS = {name: color for color, name in _CLASSES.items()}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "notegap",
    "text.parse_math": False,
    "font.size": 9.5,
    "axes.unicode_minus": False,
}
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def rate_bars(rates: Sequence[Rate], *, name: str, title: str, mean: float | None = None) -> Markup:
    """Shares as bars from 0 to 100 %, each with its interval; `mean`, the share of all, as a line."""
    height = _BAR * len(rates) + 0.55

    def draw(axes: Axes) -> None:
        places = range(len(rates))
        axes.barh(places, [rate.share for rate in rates], height=0.62, color=_COLORS["v-bar"], clip_on=False)
        for place, rate in zip(places, rates, strict=True):
            low, high = rate.interval
            axes.plot([low, high], [place, place], color=_COLORS["v-whisker"], linewidth=1.4, clip_on=False)
            axes.text(1.03, place, f"{percent(rate.share)}", va="center", ha="left", clip_on=False)
        axes.set_yticks(list(places), [label(rate.name) for rate in rates])
        axes.set_ylim(len(rates) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.grid(axis="x", color=_COLORS["v-grid"], linewidth=0.7)
        if mean is not None:
            axes.plot(
                [mean, mean], [-0.6, len(rates) - 0.4], color=_COLORS["v-mean"], linewidth=1.2, linestyle=(0, (3, 2))
            )
            axes.text(
                mean, -0.72, f"all {percent(mean)}", ha="center", va="bottom", color=_COLORS["v-soft"], clip_on=False
            )

    return _drawn(
        draw, (_WIDTH, height + 0.2), (0.36, 0.36, 0.52, 0.26), name=name, title=title, description=told(rates)
    )


def rate_columns(
    rates: Sequence[Rate], *, name: str, title: str, mean: float | None = None, small: bool = False
) -> Markup:
    """Shares over time as columns from 0 to 100 %, each with its interval; `small` when many stand side by side."""

    def draw(axes: Axes) -> None:
        places = range(len(rates))
        axes.bar(places, [rate.share for rate in rates], width=0.62, color=_COLORS["v-bar"])
        for place, rate in zip(places, rates, strict=True):
            low, high = rate.interval
            axes.plot([place, place], [low, high], color=_COLORS["v-whisker"], linewidth=1.4)
        step = math.ceil(len(rates) / (4 if small else 6))
        axes.set_xticks(list(places)[::step], [label(rate.name, 12) for rate in rates[::step]])
        axes.set_xlim(-0.6, max(len(rates), 4) - 0.4)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.grid(axis="y", color=_COLORS["v-grid"], linewidth=0.7)
        if mean is not None:
            axes.plot(
                [-0.6, max(len(rates), 4) - 0.4],
                [mean, mean],
                color=_COLORS["v-mean"],
                linewidth=1.2,
                linestyle=(0, (3, 2)),
            )

    size, margins = ((3.7, 1.9), (0.14, 0.3, 0.84, 0.12)) if small else ((_WIDTH, 2.5), (0.1, 0.3, 0.88, 0.12))
    return _drawn(draw, size, margins, name=name, title=title, description=told(rates))


def step_bars(steps: Sequence[Rate], *, name: str, title: str) -> Markup:
    """Steps of which each is part of the one before, as bars of their number."""
    most = max((step.whole for step in steps), default=0) or 1

    def draw(axes: Axes) -> None:
        places = range(len(steps))
        axes.barh(places, [most] * len(steps), height=0.62, color=_COLORS["v-track"])
        axes.barh(places, [step.part for step in steps], height=0.62, color=_COLORS["v-bar"])
        for place, step in zip(places, steps, strict=True):
            axes.text(
                most * 1.03, place, f"{step.part:,} ({percent(step.share)})", va="center", ha="left", clip_on=False
            )
        axes.set_yticks(list(places), [label(step.name) for step in steps])
        axes.set_ylim(len(steps) - 0.4, -0.6)
        axes.set_xlim(0, most)
        axes.set_xticks([])

    height = 0.4 * len(steps) + 0.2
    return _drawn(draw, (_WIDTH, height), (0.24, 0.1, 0.5, 0.1), name=name, title=title, description=told(steps))


def number_bars(rates: Sequence[Rate], *, name: str, title: str) -> Markup:
    """Numbers of notes as bars."""
    most = max((rate.whole for rate in rates), default=0) or 1

    def draw(axes: Axes) -> None:
        places = range(len(rates))
        axes.barh(places, [rate.whole for rate in rates], height=0.62, color=_COLORS["v-bar"])
        for place, rate in zip(places, rates, strict=True):
            axes.text(rate.whole + most * 0.02, place, f"{rate.whole:,}", va="center", ha="left", clip_on=False)
        axes.set_yticks(list(places), [label(rate.name, 26) for rate in rates])
        axes.set_ylim(len(rates) - 0.4, -0.6)
        axes.set_xlim(0, most)
        axes.set_xticks([])

    description = "; ".join(f"{rate.name}: {rate.whole:,}" for rate in rates)
    size = (_WIDTH, _BAR * len(rates) + 0.2)
    return _drawn(draw, size, (0.4, 0.1, 0.46, 0.1), name=name, title=title, description=description)


def percent(share: float) -> str:
    """A share as one says it."""
    return f"{share * 100:.1f}\u00a0%" if 0 < share < 0.1 else f"{share * 100:.0f}\u00a0%"


def told(rates: Sequence[Rate]) -> str:
    """What a chart of shares shows, in words."""
    return "; ".join(f"{shown(rate.name)}: {rate.part:,} of {rate.whole:,}, {percent(rate.share)}" for rate in rates)


def label(text: str, most: int = _LABEL) -> str:
    """A group's name beside its bar."""
    line = _NOT_XML.sub("\ufffd", shown(text))
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _drawn(
    draw: Callable[[Axes], None],
    size: tuple[float, float],
    margins: tuple[float, float, float, float],
    *,
    name: str,
    title: str,
    description: str,
) -> Markup:
    """A chart: `margins` are left, bottom, width as shares of the figure's (bottom and top in inches)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    width, height = size
    left, bottom, across, top = margins
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The page's font has the letters that matplotlib's lacks.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((left, bottom / height, across, 1 - (bottom + top) / height))
        axes.set_axisbelow(True)
        draw(axes)
        axes.tick_params(length=0, pad=6)
        for spine in axes.spines.values():
            spine.set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _cleaned(file.getvalue(), name=name, title=title, description=description)


def _cleaned(svg: str, *, name: str, title: str, description: str) -> Markup:
    """A drawing of matplotlib as part of a page: no style, no id, its title and description in words."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - drawn above
    width, height = root.attrib["viewBox"].split()[2:]
    made = ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {width} {height}",
            "class": "chart",
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
        },
    )
    ElementTree.SubElement(made, "title", {"id": f"{name}-title"}).text = _NOT_XML.sub("\ufffd", title)
    ElementTree.SubElement(made, "desc", {"id": f"{name}-desc"}).text = _NOT_XML.sub("\ufffd", description)
    for element in root.iter():
        kind = element.tag.removeprefix(f"{{{_SVG}}}")
        if kind in ("path", "text"):
            attributes = _attributes(element.attrib)
            # What is neither filled nor stroked is the empty background.
            if kind == "path" and attributes.get("fill") == "none" and "class" not in attributes:
                continue
            ElementTree.SubElement(made, kind, attributes).text = element.text
    return Markup(ElementTree.tostring(made, encoding="unicode"))  # noqa: S704 - ElementTree escapes


def _attributes(given: dict[str, str]) -> dict[str, str]:
    style = dict(part.strip().split(": ", 1) for part in given.get("style", "").split(";") if part.strip())
    kept: dict[str, Any] = {}
    if "d" in given:
        kept["d"] = " ".join(given["d"].split())
    for name in ("x", "y"):
        if name in given:
            kept[name] = given[name]
    if not given.get("transform", "rotate(-0").startswith("rotate(-0"):
        kept["transform"] = given["transform"]
    for name in ("text-anchor", "font-size", "stroke-width", "stroke-dasharray"):
        if name in style:
            kept[name] = style[name].removesuffix("px") if name == "font-size" else style[name]
    for paint in ("fill", "stroke"):
        color = style.get(paint)
        if color in _CLASSES:
            kept["class"] = f"{_CLASSES[color]}"
    if style.get("fill") == "none":
        kept["fill"] = "none"
    return kept
