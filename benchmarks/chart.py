"""The chart: what protecting a route adds to a request, by location and by who protects it."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from environments import OURS, PREDECESSOR
from goals import Results

SHAPES = ("headers", "cookies", "cookies + CSRF", "query string", "JSON body")

# Subject, name in the legend, colour.
BARS = (
    (PREDECESSOR, "quart-jwt-extended 0.1.0", "#b8bec9"),
    ("jwt.decode by hand", "jwt.decode by hand", "#7d8aa3"),
    (OURS, "quart-jwt-extended 1.0", "#0b7a75"),
)

WIDTH = 760
LEFT = 130
RIGHT = 70
TOP = 84
BAR = 16
GAP = 18
INK = "#1f2933"
FAINT = "#66727f"


def overhead_chart(results: Results, about: dict[str, Any]) -> str:
    """An SVG document; plain enough not to need a library."""
    overheads = {
        (shape, subject): results.overhead(shape, subject)
        for shape in SHAPES
        for subject, _, _ in BARS
    }
    scale = (WIDTH - LEFT - RIGHT) / max(overheads.values())
    parts = [
        _text(20, 30, "What protecting a route adds to a request", size=17, weight=600),
        *_legend(),
    ]
    y = TOP
    for shape in SHAPES:
        middle = y + BAR * len(BARS) / 2 + 4
        parts.append(_text(LEFT - 10, middle, shape, anchor="end"))
        for subject, _, colour in BARS:
            overhead = overheads[shape, subject]
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{max(overhead, 0) * scale:.1f}" '
                f'height="{BAR - 2}" rx="2" fill="{colour}"/>'
            )
            end = LEFT + max(overhead, 0) * scale + 6
            parts.append(_text(end, y + BAR - 5, f"{overhead:.0f} µs", size=11, colour=FAINT))
            y += BAR
        y += GAP
    versions = about["versions"]
    parts.append(
        _text(
            20,
            y + 14,
            f"HS256, in process; Quart {versions['Quart']}, PyJWT {versions['PyJWT']}, "
            f"{about['python']}, {about['cpu']}",
            size=11,
            colour=FAINT,
        )
    )
    height = y + 30
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" role="img">\n'
        f"<title>Overhead of a protected route, by location of the token</title>\n"
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _legend() -> list[str]:
    parts = []
    x = 20
    for _, name, colour in BARS:
        parts.append(f'<rect x="{x}" y="46" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(_text(x + 18, 56, name, size=12))
        x += 40 + 7 * len(name)
    return parts


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 13,
    weight: int = 400,
    anchor: str = "start",
    colour: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )
