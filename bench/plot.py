"""Rates as an SVG: a group of bars for each load, a bar for each subject."""

from collections.abc import Sequence
from html import escape

from bench.report import Section

WIDTH, HEIGHT, LEFT, TOP = 760, 240, 60, 40
COLOURS = ("#0b6e4f", "#c1666b", "#d4b483", "#4357ad", "#9aa0a6")


def svg(sections: Sequence[Section]) -> str:
    """A chart for each section that has something to plot, one below the other."""
    plotted = [section for section in sections if section.plot]
    charts = [_chart(section, place * (HEIGHT + 2 * TOP)) for place, section in enumerate(plotted)]
    height = len(plotted) * (HEIGHT + 2 * TOP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{WIDTH}" height="{height}" fill="#fff"/>{"".join(charts)}</svg>\n'
    )


def _chart(section: Section, top: float) -> str:
    highest = max(rate for rates in section.plot.values() for rate in rates.values())
    names = list(next(iter(section.plot.values())))
    group = (WIDTH - LEFT) / len(section.plot)
    bar = group * 0.8 / len(names)
    parts = [_text(LEFT, top + 16, f"{section.title}: answers per second", "start"), _legend(names, top + 30)]
    for place, (load, rates) in enumerate(section.plot.items()):
        left = LEFT + place * group
        parts.append(_text(left + group * 0.4, top + TOP + HEIGHT + 14, load))
        for index, name in enumerate(names):
            tall = (HEIGHT - TOP) * rates[name] / highest
            x, y = left + index * bar, top + TOP + HEIGHT - tall
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar * 0.9:.1f}" height="{tall:.1f}" fill="{COLOURS[index]}"/>'
            )
            parts.append(_text(x + bar * 0.45, y - 4, f"{rates[name]:,.0f}"))
    return "".join(parts)


def _legend(names: Sequence[str], y: float) -> str:
    return "".join(
        f'<rect x="{LEFT + index * 135}" y="{y - 8}" width="9" height="9" fill="{COLOURS[index]}"/>'
        + _text(LEFT + index * 135 + 13, y, name, "start")
        for index, name in enumerate(names)
    )


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
