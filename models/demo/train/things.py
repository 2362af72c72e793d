"""Draws single things: vehicles, plants and household goods.

Every function takes a canvas and the colour of the main part (or None).
"""

import math

from canvas import DARK, hsv, mix, regular_polygon
from places import WHITE, backdrop, grass, sky


def road(c, y):
    if c.rng.random() < 0.6:
        c.rectangle(-0.1, y, 1.1, c.rng.choice([y + 0.12, 1.1]), hsv(0, 0, c.rng.uniform(0.3, 0.65)))
    else:
        c.line([(0, y), (1, y)], c.ink, 0.01)


def wheel(c, x, y, r):
    c.circle(x, y, r, DARK)
    c.circle(x, y, r * 0.45, (190, 190, 195), False)


def car(c, colour):
    backdrop(c)
    x, y, s = 0.5 + c.rng.uniform(-0.07, 0.07), c.rng.uniform(0.55, 0.7), c.rng.uniform(0.28, 0.4)
    road(c, y + s * 0.42)
    roof = c.rng.uniform(0.55, 0.75)
    c.polygon(
        [
            (x - s * 0.65, y - s * 0.1),
            (x - s * 0.4, y - s * roof),
            (x + s * 0.3, y - s * roof),
            (x + s * 0.62, y - s * 0.1),
        ],
        colour,
    )
    glass = hsv(200, c.rng.uniform(0.1, 0.5), c.rng.uniform(0.7, 1))
    c.polygon(
        [
            (x - s * 0.5, y - s * 0.12),
            (x - s * 0.33, y - s * (roof - 0.1)),
            (x - s * 0.05, y - s * (roof - 0.1)),
            (x - s * 0.05, y - s * 0.12),
        ],
        glass,
    )
    c.polygon(
        [
            (x + s * 0.03, y - s * 0.12),
            (x + s * 0.03, y - s * (roof - 0.1)),
            (x + s * 0.25, y - s * (roof - 0.1)),
            (x + s * 0.47, y - s * 0.12),
        ],
        glass,
    )
    c.rectangle(x - s, y - s * 0.15, x + s, y + s * 0.28, colour)
    for side in (-1, 1):
        wheel(c, x + side * s * 0.58, y + s * 0.28, s * 0.2)


def bus(c, colour):
    backdrop(c)
    x, y, w, h = (
        0.5 + c.rng.uniform(-0.05, 0.05),
        c.rng.uniform(0.45, 0.55),
        c.rng.uniform(0.33, 0.43),
        c.rng.uniform(0.18, 0.24),
    )
    road(c, y + h + 0.05)
    c.rectangle(x - w, y - h, x + w, y + h, colour)
    n, glass = c.rng.randint(4, 6), hsv(200, c.rng.uniform(0.1, 0.5), c.rng.uniform(0.7, 1))
    for k in range(n):
        left = x - w + 0.03 + k * (2 * w - 0.04) / n
        c.rectangle(left, y - h * 0.75, left + (2 * w - 0.1) / n, y - h * 0.05, glass)
    for dx in (-0.6, 0.6):
        wheel(c, x + dx * w, y + h, 0.055)


def train(c, colour):
    backdrop(c)
    y, h = c.rng.uniform(0.5, 0.6), c.rng.uniform(0.11, 0.15)
    rail = y + h + 0.09
    c.line([(0, rail), (1, rail)], DARK, 0.014)
    for k in range(14):
        c.line([(k / 13, rail), (k / 13 - 0.015, rail + 0.035)], (110, 80, 50), 0.016)
    # Engine with a chimney and a cab.
    c.rectangle(0.62, y - h * 0.6, 0.93, y + h, colour)
    c.rectangle(0.56, y - h * 1.5, 0.7, y + h, colour)
    c.rectangle(0.84, y - h * 1.4, 0.9, y - h * 0.6, DARK)
    c.rectangle(0.59, y - h * 1.2, 0.67, y - h * 0.4, (200, 230, 250))
    if c.rng.random() < 0.5:
        for k in range(3):
            c.circle(0.85 - 0.08 * k, y - h * 2 - 0.06 * k, 0.03 + 0.012 * k, (200, 200, 205), False)
    waggon = colour if c.rng.random() < 0.75 else mix(colour, (60, 60, 60), 0.3)
    for left in (0.04, 0.3):
        c.rectangle(left, y - h, left + 0.23, y + h, waggon)
        for k in range(2):
            c.rectangle(left + 0.03 + 0.1 * k, y - h * 0.6, left + 0.1 + 0.1 * k, y + h * 0.15, (200, 230, 250))
    for wx in (0.09, 0.22, 0.35, 0.48, 0.62, 0.74, 0.87):
        wheel(c, wx, y + h + 0.04, 0.042)


def airplane(c, _):
    sky(c)
    x, y, s, d = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.35, 0.6), c.rng.uniform(0.26, 0.38), c.rng.choice([-1, 1])
    body = c.rng.choice([hsv(210, c.rng.uniform(0, 0.1), c.rng.uniform(0.8, 1)), hsv(c.rng.uniform(0, 360), 0.6, 0.9)])
    wing = mix(body, (60, 70, 90), 0.35)
    c.polygon(
        [(x - d * s * 0.75, y), (x - d * s * 1.05, y - s * 0.5), (x - d * s * 0.8, y - s * 0.5), (x - d * s * 0.4, y)],
        wing,
    )
    c.ellipse(x, y, s, s * 0.17, body)
    c.polygon(
        [(x + d * s * 0.2, y), (x - d * s * 0.3, y + s * 0.55), (x - d * s * 0.5, y + s * 0.55), (x - d * s * 0.2, y)],
        wing,
    )
    c.polygon(
        [
            (x + d * s * 0.15, y - s * 0.12),
            (x - d * s * 0.15, y - s * 0.45),
            (x - d * s * 0.28, y - s * 0.45),
            (x - d * s * 0.12, y - s * 0.12),
        ],
        wing,
    )
    for k in range(5):
        c.circle(x + d * s * (0.55 - 0.2 * k), y - s * 0.03, s * 0.035, (90, 140, 200), False)


def flower(c, colour):
    backdrop(c)
    x, y, s = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.3, 0.42), c.rng.uniform(0.13, 0.2)
    green = hsv(c.rng.uniform(95, 140), 0.7, c.rng.uniform(0.4, 0.7))
    c.line([(x, y), (x + c.rng.uniform(-0.04, 0.04), 0.97)], green, 0.025)
    if c.rng.random() < 0.8:
        side = c.rng.choice([-1, 1])
        c.polygon([(x, 0.8), (x + side * 0.1, 0.66), (x + side * 0.22, 0.66), (x + side * 0.12, 0.77)], green)
    n = c.rng.randint(5, 9)
    for k in range(n):
        a = 2 * math.pi * k / n
        c.circle(x + s * math.cos(a), y + s * math.sin(a), s * (3.0 / n + 0.1), colour)
    middle = hsv(48, 0.8, 1.0) if not (colour[0] > 200 and colour[1] > 180) else (120, 75, 35)
    c.circle(x, y, s * 0.5, middle)


def apple(c, colour):
    backdrop(c)
    x, y, s = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.5, 0.62), c.rng.uniform(0.2, 0.3)
    points = []
    for k in range(30):
        a = 2 * math.pi * k / 30
        dip = 0.25 * math.exp(-(((a - 1.5 * math.pi) / 0.35) ** 2)) + 0.08 * math.exp(
            -(((a - 0.5 * math.pi) / 0.3) ** 2)
        )
        points.append((x + s * (1 - dip * 0.3) * math.cos(a), y + s * (1 - dip) * math.sin(a)))
    c.polygon(points, colour)
    c.line([(x, y - s * 0.72), (x + 0.02, y - s * 1.2)], (95, 60, 30), 0.022)
    c.polygon(
        [(x + 0.02, y - s), (x + s * 0.35, y - s * 1.35), (x + s * 0.65, y - s * 1.1), (x + s * 0.3, y - s * 0.95)],
        hsv(110, 0.7, c.rng.uniform(0.4, 0.7)),
    )


def mushroom(c, colour):
    backdrop(c)
    x, y, s = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.45, 0.55), c.rng.uniform(0.24, 0.34)
    w = s * c.rng.uniform(0.25, 0.4)
    c.polygon(
        [(x - w, y), (x + w, y), (x + w * 1.25, y + s * 1.05), (x - w * 1.25, y + s * 1.05)],
        hsv(42, c.rng.uniform(0.05, 0.25), 0.95),
    )
    cap = [
        (x + s * math.cos(math.pi * (1 + k / 16)), y + s * 0.85 * math.sin(math.pi * (1 + k / 16))) for k in range(17)
    ]
    c.polygon(cap, colour)
    if c.rng.random() < 0.75:
        for dx, dy, r in ((-0.5, -0.3, 0.12), (0.05, -0.55, 0.14), (0.5, -0.28, 0.11), (-0.1, -0.18, 0.09)):
            c.circle(x + dx * s, y + dy * s, r * s, WHITE, False)


def cup(c, colour):
    backdrop(c)
    x, y, w, h = (
        c.rng.uniform(0.4, 0.52),
        c.rng.uniform(0.45, 0.55),
        c.rng.uniform(0.16, 0.24),
        c.rng.uniform(0.18, 0.25),
    )
    c.ring(x + w, y + h * 0.45, h * 0.42, colour, 0.035)
    c.polygon(
        [(x - w, y - h * 0.4), (x + w, y - h * 0.4), (x + w * 0.85, y + h * 1.1), (x - w * 0.85, y + h * 1.1)], colour
    )
    c.ellipse(x, y - h * 0.4, w, h * 0.18, (90, 55, 30))
    if c.rng.random() < 0.7:
        for dx in (-0.4, 0, 0.4):
            sx, sy = x + dx * w, y - h * 0.75
            c.line(
                [(sx, sy), (sx + 0.02, sy - 0.05), (sx - 0.01, sy - 0.1), (sx + 0.015, sy - 0.15)],
                (170, 170, 175),
                0.01,
            )


def balloon(c, colour):
    sky(c)
    x, y, s = c.rng.uniform(0.35, 0.65), c.rng.uniform(0.3, 0.42), c.rng.uniform(0.15, 0.22)
    c.line([(x, y + s * 1.2), (x + 0.03, y + s * 2), (x - 0.02, y + s * 2.6), (x, 0.97)], (90, 90, 95), 0.008)
    c.polygon([(x, y + s * 1.15), (x - 0.025, y + s * 1.32), (x + 0.025, y + s * 1.32)], colour)
    c.ellipse(x, y, s, s * 1.2, colour)
    c.ellipse(x - s * 0.4, y - s * 0.5, s * 0.16, s * 0.24, mix(colour, WHITE, 0.7), False)


def umbrella(c, colour):
    backdrop(c)
    x, y, s = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.42, 0.52), c.rng.uniform(0.28, 0.38)
    foot = y + s * c.rng.uniform(0.9, 1.15)
    c.line([(x, y - s * 0.9), (x, foot)], c.ink, 0.018)
    c.arc(x - 0.045, foot, 0.045, 0.05, 0, 180, c.ink, 0.018)
    top = [
        (x + s * math.cos(math.pi * (1 + k / 16)), y + s * 0.8 * math.sin(math.pi * (1 + k / 16))) for k in range(17)
    ]
    scallops = []
    for k in range(4, 0, -1):
        left, right = x - s + (k - 1) * s / 2, x - s + k * s / 2
        scallops += [(right, y), ((left + right) / 2, y - 0.045), (left, y)]
    c.polygon(top + scallops, colour)


def book(c, colour):
    backdrop(c)
    x, y, w, h = (
        c.rng.uniform(0.45, 0.55),
        c.rng.uniform(0.45, 0.55),
        c.rng.uniform(0.2, 0.28),
        c.rng.uniform(0.26, 0.34),
    )
    if c.rng.random() < 0.5:  # closed, upright
        c.polygon(
            [
                (x - w + 0.04, y - h - 0.03),
                (x + w + 0.04, y - h - 0.03),
                (x + w + 0.04, y + h - 0.03),
                (x - w + 0.04, y + h - 0.03),
            ],
            (240, 235, 220),
        )
        c.rectangle(x - w, y - h, x + w, y + h, colour)
        c.rectangle(x - w, y - h, x - w + 0.05, y + h, mix(colour, (0, 0, 0), 0.35))
        for k in range(2):
            c.line(
                [(x - w * 0.4, y - h * 0.5 + 0.08 * k), (x + w * 0.6, y - h * 0.5 + 0.08 * k)], (245, 235, 190), 0.02
            )
    else:  # open
        w, h = w * 1.4, h * 0.7
        c.polygon(
            [
                (x - w - 0.03, y - h + 0.02),
                (x, y - h + 0.07),
                (x + w + 0.03, y - h + 0.02),
                (x + w + 0.03, y + h + 0.04),
                (x, y + h + 0.09),
                (x - w - 0.03, y + h + 0.04),
            ],
            colour,
        )
        for side in (-1, 1):
            c.polygon(
                [(x, y - h + 0.05), (x + side * w, y - h), (x + side * w, y + h), (x, y + h + 0.05)], (248, 245, 235)
            )
            for k in range(5):
                yy = y - h + 0.1 + k * 0.07
                c.line([(x + side * 0.04, yy + 0.02), (x + side * (w - 0.04), yy)], (150, 150, 150), 0.006)


def clock(c, _):
    backdrop(c)
    x, y, s = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.42, 0.58), c.rng.uniform(0.26, 0.38)
    rim = hsv(c.rng.uniform(0, 360), c.rng.uniform(0, 0.8), c.rng.uniform(0.1, 0.8))
    c.circle(x, y, s, rim)
    c.circle(x, y, s * 0.87, hsv(45, c.rng.uniform(0, 0.12), 1.0))
    for k in range(12):
        px, py = regular_polygon(12, s)[k]
        c.line([(x + px * 0.68, y + py * 0.68), (x + px * 0.8, y + py * 0.8)], DARK, 0.014)
    for length, width in ((0.42, 0.026), (0.62, 0.016)):
        a = c.rng.uniform(0, 6.3)
        c.line([(x, y), (x + s * length * math.cos(a), y + s * length * math.sin(a))], DARK, width)
    c.circle(x, y, 0.018, DARK, False)


def tent(c, colour):
    sky(c)
    ground = c.rng.uniform(0.68, 0.78)
    grass(c, ground)
    x, w, h, foot = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.3, 0.4), c.rng.uniform(0.38, 0.5), ground + 0.1
    c.polygon([(x - w, foot), (x, foot - h), (x + w, foot)], colour)
    c.polygon([(x - w * 0.25, foot), (x, foot - h * 0.7), (x + w * 0.25, foot)], mix(colour, (20, 20, 20), 0.7))


def chair(c, colour):
    backdrop(c)
    x, y, w = c.rng.uniform(0.4, 0.6), c.rng.uniform(0.55, 0.62), c.rng.uniform(0.14, 0.2)
    d, leg = c.rng.choice([-1, 1]), mix(colour, (40, 25, 15), c.rng.uniform(0, 0.5))
    for dx in (-0.9, 0.9):
        c.line([(x + dx * w, y), (x + dx * w * 1.05, y + 0.3)], leg, 0.026)
    back = x + d * w * 0.95
    c.line([(back, y), (back + d * 0.03, y - 0.36)], leg, 0.03)
    c.polygon(
        [(back, y - 0.1), (back + d * 0.05, y - 0.1), (back + d * 0.07, y - 0.38), (back + d * 0.01, y - 0.38)], colour
    )
    c.polygon(
        [(x - w * 1.1, y - 0.03), (x + w * 1.1, y - 0.03), (x + w * 1.1, y + 0.03), (x - w * 1.1, y + 0.03)], colour
    )
