"""Draws animals, people and faces.

Every function takes a canvas and the colour of the main part (or None).
"""

from canvas import DARK, hsv, mix, regular_polygon
from places import WHITE, backdrop, sky


def fur(c):
    return c.rng.choice([
        hsv(c.rng.uniform(18, 38), c.rng.uniform(0.3, 0.8), c.rng.uniform(0.4, 0.95)),
        hsv(0, 0, c.rng.uniform(0.2, 0.9)),
    ])  # fmt: skip


def eyes(c, x, y, gap, r):
    for side in (-1, 1):
        if c.rng.random() < 0.5:
            c.circle(x + side * gap, y, r * 1.5, WHITE)
        c.circle(x + side * gap, y, r, (20, 20, 20), False)


def cat(c, _):
    backdrop(c)
    coat, x, y, s = fur(c), c.rng.uniform(0.42, 0.58), c.rng.uniform(0.34, 0.44), c.rng.uniform(0.17, 0.25)
    if c.rng.random() < 0.65:  # sitting, with body and tail
        c.arc(x + s * 1.1, y + s * 1.7, s * 0.6, s * 0.8, -90, 110, coat, 0.04)
        c.ellipse(x, y + s * 1.6, s * 0.8, s * 1.1, coat)
    else:
        y, s = y + 0.1, s * 1.3
    for side in (-1, 1):  # pointed ears
        c.polygon(
            [(x + side * s * 0.95, y - s * 0.2), (x + side * s * 0.8, y - s * 1.35), (x + side * s * 0.2, y - s * 0.8)],
            coat,
        )
    c.ellipse(x, y, s, s * 0.88, coat)
    eyes(c, x, y - s * 0.12, s * 0.4, s * 0.12)
    c.polygon([(x - s * 0.1, y + s * 0.2), (x + s * 0.1, y + s * 0.2), (x, y + s * 0.34)], (230, 130, 140))
    for side in (-1, 1):  # whiskers
        for dy in (0.2, 0.32, 0.44):
            c.line(
                [(x + side * s * 0.3, y + s * 0.32), (x + side * s * 1.25, y + s * dy)],
                DARK if sum(coat) > 250 else WHITE,
                0.005,
            )


def dog(c, _):
    backdrop(c)
    coat, x, y, s = fur(c), c.rng.uniform(0.42, 0.58), c.rng.uniform(0.34, 0.44), c.rng.uniform(0.17, 0.24)
    ear = mix(coat, (50, 30, 20), c.rng.uniform(0.3, 0.7))
    if c.rng.random() < 0.55:  # sitting
        c.ellipse(x, y + s * 1.7, s * 0.85, s * 1.1, coat)
        c.arc(x + s * 1.0, y + s * 1.6, s * 0.5, s * 0.5, -60, 60, coat, 0.04)
    elif c.rng.random() < 0.5:  # standing sideways
        y -= 0.05
        c.ellipse(x + s * 1.1, y + s * 1.3, s * 1.3, s * 0.65, coat)
        for dx in (0.2, 0.6, 1.6, 2.0):
            c.rectangle(x + s * (dx - 0.1), y + s * 1.4, x + s * (dx + 0.15), y + s * 2.6, coat)
        c.line([(x + s * 2.2, y + s), (x + s * 2.7, y + s * 0.3)], coat, 0.04)
        x -= s * 0.2
    else:
        y, s = y + 0.1, s * 1.3
    c.ellipse(x, y, s * 0.85, s, coat)
    for side in (-1, 1):  # hanging ears
        c.ellipse(x + side * s * 0.95, y - s * 0.05, s * 0.3, s * 0.72, ear)
    c.ellipse(x, y + s * 0.45, s * 0.45, s * 0.38, mix(coat, WHITE, 0.4))
    eyes(c, x, y - s * 0.25, s * 0.35, s * 0.11)
    c.ellipse(x, y + s * 0.25, s * 0.2, s * 0.14, (20, 20, 20))
    if c.rng.random() < 0.4:
        c.ellipse(x, y + s * 0.82, s * 0.13, s * 0.22, (230, 90, 110))


def fish(c, colour):
    if c.rng.random() < 0.6:
        water = hsv(c.rng.uniform(185, 215), c.rng.uniform(0.15, 0.6), c.rng.uniform(0.8, 1))
        c.gradient(0, 1, water, water)
    x, y, s, d = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.4, 0.6), c.rng.uniform(0.2, 0.3), c.rng.choice([-1, 1])
    fin = mix(colour, (0, 0, 0), c.rng.uniform(0, 0.3))
    c.polygon([(x - d * s * 0.8, y), (x - d * s * 1.5, y - s * 0.55), (x - d * s * 1.5, y + s * 0.55)], fin)
    c.polygon([(x + d * s * 0.3, y - s * 0.5), (x - d * s * 0.3, y - s * 0.9), (x - d * s * 0.45, y - s * 0.4)], fin)
    c.ellipse(x, y, s, s * c.rng.uniform(0.5, 0.65), colour)
    c.circle(x + d * s * 0.6, y - s * 0.12, s * 0.12, WHITE)
    c.circle(x + d * s * 0.63, y - s * 0.12, s * 0.06, (0, 0, 0), False)
    for k in range(c.rng.randint(0, 5)):
        c.ring(x + d * (s * 1.2), y - 0.1 - 0.07 * k, 0.015, (120, 160, 220), 0.006)


def bird(c, colour):
    if c.rng.random() < 0.6:
        sky(c)
    x, y, s, d = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.42, 0.58), c.rng.uniform(0.17, 0.25), c.rng.choice([-1, 1])
    for dx in (-0.15, 0.15):
        c.line([(x + dx * s, y + s * 0.6), (x + dx * s, y + s * 1.15)], (200, 130, 40), 0.012)
    c.polygon([(x - d * s * 0.8, y - s * 0.1), (x - d * s * 1.6, y - s * 0.4), (x - d * s * 1.5, y + s * 0.25)], colour)
    c.ellipse(x, y, s, s * 0.7, colour)
    hx, hy = x + d * s * 0.85, y - s * 0.65
    c.circle(hx, hy, s * 0.45, colour)
    c.polygon(
        [(hx + d * s * 0.4, hy - s * 0.12), (hx + d * s * 0.8, hy + s * 0.05), (hx + d * s * 0.4, hy + s * 0.17)],
        (245, 160, 30),
    )
    c.circle(hx + d * s * 0.12, hy - s * 0.1, s * 0.08, (0, 0, 0), False)
    c.ellipse(x - d * s * 0.15, y, s * 0.55, s * 0.32, mix(colour, (0, 0, 0), 0.25))
    if c.rng.random() < 0.4:
        c.line([(0, y + s * 1.15), (1, y + s * 1.15)], (110, 75, 40), 0.03)


def butterfly(c, colour):
    backdrop(c)
    x, y, s = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.42, 0.58), c.rng.uniform(0.2, 0.3)
    low = mix(colour, c.rng.choice([WHITE, (0, 0, 0)]), c.rng.uniform(0, 0.25))
    for side in (-1, 1):
        c.ellipse(x + side * s * 0.65, y - s * 0.45, s * 0.62, s * 0.58, colour)
        c.ellipse(x + side * s * 0.5, y + s * 0.45, s * 0.45, s * 0.48, low)
        c.circle(x + side * s * 0.7, y - s * 0.45, s * 0.18, mix(colour, WHITE, 0.7), False)
        c.line([(x, y - s * 0.6), (x + side * s * 0.35, y - s * 1.2)], DARK, 0.01)
    c.ellipse(x, y, s * 0.1, s * 0.75, DARK)


def snowman(c, _):
    sky(c)
    c.rectangle(-0.1, c.rng.uniform(0.7, 0.85), 1.1, 1.1, hsv(210, c.rng.uniform(0, 0.1), 0.98))
    x, snow = c.rng.uniform(0.4, 0.6), hsv(210, c.rng.uniform(0, 0.06), 1.0)
    outline = True
    for y, r in ((0.78, 0.17), (0.53, 0.125), (0.33, 0.09)):
        c.circle(x, y, r, snow, outline)
    eyes(c, x, 0.31, 0.035, 0.011)
    c.polygon([(x, 0.33), (x, 0.355), (x + c.rng.choice([-1, 1]) * 0.09, 0.35)], (245, 140, 30))
    for k in range(3):
        c.circle(x, 0.47 + 0.06 * k, 0.012, (20, 20, 20), False)
    for side in (-1, 1):
        c.line([(x + side * 0.11, 0.52), (x + side * 0.26, 0.43)], (100, 70, 40), 0.014)
    if c.rng.random() < 0.7:
        c.rectangle(x - 0.07, 0.13, x + 0.07, 0.25, DARK)
        c.rectangle(x - 0.11, 0.24, x + 0.11, 0.265, DARK)


def _face(c, smile):
    backdrop(c)
    x, y, s = c.rng.uniform(0.44, 0.56), c.rng.uniform(0.44, 0.56), c.rng.uniform(0.27, 0.4)
    c.circle(x, y, s, hsv(c.rng.uniform(28, 56), c.rng.uniform(0.25, 0.9), 1.0), outline=True)
    for side in (-1, 1):
        c.ellipse(x + side * s * 0.36, y - s * 0.28, s * 0.1, s * c.rng.uniform(0.1, 0.16), (20, 20, 20))
    if smile:
        c.arc(x, y + s * 0.05, s * 0.55, s * 0.5, 25, 155, (60, 20, 20), 0.022)
    else:
        c.arc(x, y + s * 0.75, s * 0.5, s * 0.42, 205, 335, (60, 20, 20), 0.022)


def happy_face(c, _):
    _face(c, smile=True)


def sad_face(c, _):
    _face(c, smile=False)


def _limbs(c):
    """A limb width and colours for a person: thin ink, or clothes."""
    stick = c.rng.random() < 0.45
    clothes = c.ink if stick else hsv(c.rng.uniform(0, 360), c.rng.uniform(0.4, 0.9), c.rng.uniform(0.3, 0.9))
    skin = c.rng.choice([WHITE, (245, 205, 170), (200, 150, 110), (120, 80, 55)])
    return (0.014 if stick else c.rng.uniform(0.03, 0.05)), clothes, skin


def person(c, _):
    backdrop(c)
    x, top, s = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.1, 0.2), c.rng.uniform(0.65, 0.78)
    width, clothes, skin = _limbs(c)
    hip, neck = top + 0.6 * s, top + 0.22 * s
    spread, arms = c.rng.uniform(0.06, 0.13), c.rng.uniform(-0.15, 0.3) * s
    for side in (-1, 1):
        c.line([(x, hip), (x + side * spread, top + s)], mix(clothes, (20, 20, 60), 0.4), width)
        c.line([(x, neck + 0.05), (x + side * 0.18, neck + arms)], clothes, width)
    c.line([(x, neck), (x, hip)], clothes, width * (1 if width < 0.02 else 2.4))
    c.circle(x, top + 0.1 * s, 0.1 * s, skin, outline=True)


def bicycle_rider(c, _):
    backdrop(c)
    x, y, r, d = c.rng.uniform(0.45, 0.55), c.rng.uniform(0.7, 0.78), c.rng.uniform(0.12, 0.16), c.rng.choice([-1, 1])
    half = r * c.rng.uniform(1.5, 1.75)
    if c.rng.random() < 0.5:
        c.line([(0, y + r), (1, y + r)], c.ink, 0.01)
    frame = c.rng.choice([c.ink, hsv(c.rng.uniform(0, 360), 0.8, 0.8)])
    back, front = (x - d * half, y), (x + d * half, y)
    seat, handle, pedal = (
        (x - d * half * 0.4, y - r * 1.35),
        (x + d * half * 0.7, y - r * 1.6),
        (x - d * half * 0.05, y),
    )
    for hub in (back, front):
        c.ring(*hub, r, DARK, c.rng.choice([0.012, 0.02]))
        if c.rng.random() < 0.5:
            for px, py in regular_polygon(6, r):
                c.line([hub, (hub[0] + px, hub[1] + py)], (140, 140, 145), 0.004)
    fork = (x + d * half * 0.62, y - r * 1.25)
    for path in (
        [back, pedal, fork, seat, back],
        [pedal, seat],
        [front, handle],
        [handle, (handle[0] + d * 0.03, handle[1])],
    ):
        c.line(path, frame, 0.014)
    width, clothes, skin = _limbs(c)
    head = (x + d * half * 0.1, y - r * 3.9)
    shoulder, hip = (x + d * half * 0.05, y - r * 3.1), (seat[0], seat[1] - 0.02)
    knee = (x + d * half * 0.35, y - r * 0.9)
    c.line([hip, knee, pedal], mix(clothes, (20, 20, 60), 0.5), width)
    c.line([hip, shoulder], clothes, width * (1 if width < 0.02 else 1.8))
    c.line([shoulder, handle], clothes, width)
    c.circle(*head, r * 0.58, skin, outline=True)
