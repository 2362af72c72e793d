"""Draws scenes: landscapes, weather, buildings and shelves.

Every function takes a canvas and the colour of the scene's main part (or None)
and leaves placement, proportions and details to chance.
"""

import math

from canvas import hsv, mix, paint

WHITE = (255, 255, 255)


def sky(c, until=1.0):
    """A day sky, or plain paper as in many drawings."""
    if c.rng.random() < 0.75:
        top = hsv(c.rng.uniform(190, 222), c.rng.uniform(0.15, 0.7), c.rng.uniform(0.8, 1.0))
        c.gradient(0, until, top, mix(top, WHITE, c.rng.random()))


def sun(c, x, y, radius):
    colour = hsv(c.rng.uniform(40, 58), c.rng.uniform(0.6, 1), 1.0)
    if c.rng.random() < 0.5:
        for k in range(12):
            a = 2 * math.pi * k / 12
            near, far = 1.25 * radius, 1.7 * radius
            c.line(
                [(x + near * math.cos(a), y + near * math.sin(a)), (x + far * math.cos(a), y + far * math.sin(a))],
                colour,
                0.014,
            )
    c.circle(x, y, radius, colour)


def cloud(c, x, y, size, colour):
    for dx, dy, r in ((-0.9, 0.15, 0.55), (0, -0.15, 0.8), (0.9, 0.12, 0.6), (0.45, 0.25, 0.6), (-0.45, 0.28, 0.55)):
        c.circle(x + dx * size, y + dy * size, r * size * c.rng.uniform(0.9, 1.1), colour, outline=False)


def moon(c, x, y, radius, night):
    colour = hsv(c.rng.uniform(40, 60), c.rng.uniform(0, 0.4), c.rng.uniform(0.88, 1))
    c.circle(x, y, radius, colour, outline=False)
    style = c.rng.random()
    if style < 0.5:  # crescent
        side = c.rng.choice([-1, 1])
        c.circle(x + side * radius * 0.5, y - radius * 0.15, radius * 0.88, night, outline=False)
    elif style < 0.75:
        for _ in range(3):
            a, d = c.rng.uniform(0, 6.3), c.rng.uniform(0, 0.6) * radius
            c.circle(x + d * math.cos(a), y + d * math.sin(a), radius * 0.16, mix(colour, (90, 90, 90), 0.25), False)


def stars(c, n, until=0.7):
    for _ in range(n):
        c.circle(
            c.rng.random(),
            c.rng.uniform(0, until),
            c.rng.uniform(0.003, 0.01),
            (255, 255, c.rng.randint(190, 255)),
            False,
        )


def grass(c, horizon):
    colour = hsv(c.rng.uniform(80, 135), c.rng.uniform(0.4, 0.9), c.rng.uniform(0.45, 0.85))
    c.polygon(
        [(-0.1, horizon), (0.5, horizon - c.rng.uniform(0, 0.06)), (1.1, horizon), (1.1, 1.1), (-0.1, 1.1)], colour
    )


def sea(c, horizon, until=1.0):
    colour = hsv(c.rng.uniform(190, 225), c.rng.uniform(0.5, 0.95), c.rng.uniform(0.45, 0.9))
    c.rectangle(-0.1, horizon, 1.1, until + 0.1, colour)
    for _ in range(c.rng.randint(0, 10)):
        x, y, w = c.rng.random(), c.rng.uniform(horizon + 0.03, until), c.rng.uniform(0.04, 0.12)
        c.line(
            [(x - w, y), (x - w / 2, y - 0.012), (x, y), (x + w / 2, y - 0.012), (x + w, y)],
            mix(colour, WHITE, 0.5),
            0.006,
        )
    return colour


def backdrop(c):
    """Paper, a plain tint, or sky and grass."""
    style = c.rng.random()
    if style < 0.35:
        return
    if style < 0.75:
        tint = hsv(c.rng.uniform(0, 360), c.rng.uniform(0, 0.22), c.rng.uniform(0.85, 1))
        c.gradient(0, 1, tint, tint)
    else:
        sky(c)
        grass(c, c.rng.uniform(0.65, 0.85))


def night_sky(c, _):
    night = hsv(c.rng.uniform(210, 270), c.rng.uniform(0.3, 1), c.rng.uniform(0.05, 0.4))
    c.gradient(0, 1, night, night)
    stars(c, c.rng.randint(0, 50), 0.95)
    moon(c, c.rng.uniform(0.2, 0.8), c.rng.uniform(0.18, 0.55), c.rng.uniform(0.08, 0.22), night)
    if c.rng.random() < 0.4:
        c.polygon(
            [(-0.1, 0.9), (0.3, c.rng.uniform(0.7, 0.9)), (0.7, 0.9), (1.1, 0.8), (1.1, 1.1), (-0.1, 1.1)],
            mix(night, (0, 0, 0), 0.6),
        )


def sunrise(c, _):
    horizon = c.rng.uniform(0.45, 0.7)
    top = hsv(c.rng.uniform(200, 330), c.rng.uniform(0.1, 0.6), c.rng.uniform(0.6, 1))
    glow = hsv(c.rng.uniform(10, 50), c.rng.uniform(0.4, 0.9), 1.0)
    if c.rng.random() < 0.4:
        top = mix(glow, (255, 120, 90), c.rng.random())
    c.gradient(0, horizon, top, glow)
    x, radius = c.rng.uniform(0.2, 0.8), c.rng.uniform(0.08, 0.2)
    colour = hsv(c.rng.uniform(0, 56), c.rng.uniform(0.5, 1), 1.0)
    y = horizon - radius * c.rng.uniform(-0.4, 0.8)
    if c.rng.random() < 0.4:
        for k in range(9):
            a = math.pi * (1 + k / 8)
            c.line(
                [
                    (x + 1.3 * radius * math.cos(a), y + 1.3 * radius * math.sin(a)),
                    (x + 2.2 * radius * math.cos(a), y + 2.2 * radius * math.sin(a)),
                ],
                colour,
                0.012,
            )
    c.circle(x, y, radius, colour)
    sea(c, horizon)
    if c.rng.random() < 0.6:
        for k in range(5):
            w = radius * (1 - k * 0.15)
            yy = horizon + 0.04 + k * 0.06
            c.line([(x - w, yy), (x + w, yy)], colour, 0.012)


def house(c, colour):
    sky(c)
    ground = c.rng.uniform(0.72, 0.85)
    grass(c, ground)
    x, w, h = c.rng.uniform(0.4, 0.6), c.rng.uniform(0.17, 0.3), c.rng.uniform(0.25, 0.35)
    wall = c.rng.choice(
        [hsv(c.rng.uniform(30, 60), c.rng.uniform(0, 0.35), c.rng.uniform(0.85, 1)), hsv(0, 0, c.rng.uniform(0.8, 1))]
    )
    top, foot = ground + 0.04 - h, ground + 0.06
    if c.rng.random() < 0.4:
        c.rectangle(x + w * 0.4, top - 0.2, x + w * 0.65, top, mix(colour, (60, 50, 50), 0.6))
    c.rectangle(x - w, top, x + w, foot, wall)
    over, peak = w * c.rng.uniform(1.05, 1.3), top - c.rng.uniform(0.15, 0.25)
    flat = c.rng.choice([0, 0, 0.5]) * w
    c.polygon([(x - over, top + 0.01), (x - flat, peak), (x + flat, peak), (x + over, top + 0.01)], colour)
    c.rectangle(x - 0.05, foot - h * 0.5, x + 0.04, foot, hsv(c.rng.uniform(15, 35), 0.6, c.rng.uniform(0.3, 0.6)))
    glass = hsv(200, c.rng.uniform(0.1, 0.5), c.rng.uniform(0.7, 1))
    for side in (-1, 1):
        wx = x + side * w * 0.62
        c.rectangle(wx - 0.045, top + 0.06, wx + 0.045, top + 0.15, glass)


def a_tree(c, x, foot, size):
    trunk = hsv(c.rng.uniform(18, 35), c.rng.uniform(0.4, 0.8), c.rng.uniform(0.25, 0.55))
    leaf = hsv(c.rng.uniform(80, 145), c.rng.uniform(0.5, 0.9), c.rng.uniform(0.3, 0.75))
    w = size * 0.09
    c.rectangle(x - w, foot - size * 0.5, x + w, foot, trunk)
    style = c.rng.random()
    if style < 0.35:
        c.circle(x, foot - size * 0.75, size * 0.35, leaf)
    elif style < 0.7:
        for dx, dy in ((-0.22, -0.6), (0.22, -0.6), (0, -0.85), (0, -0.62)):
            c.circle(x + dx * size, foot + dy * size, size * 0.25, leaf, outline=False)
    else:
        for k in range(3):
            y, half = foot - size * (0.3 + 0.22 * k), size * (0.4 - 0.09 * k)
            c.polygon([(x - half, y), (x, y - size * 0.38), (x + half, y)], leaf)


def tree(c, _):
    sky(c)
    horizon = c.rng.uniform(0.62, 0.8)
    grass(c, horizon)
    if c.rng.random() < 0.3:
        sun(c, c.rng.choice([0.14, 0.86]), 0.15, 0.07)
    a_tree(c, c.rng.uniform(0.3, 0.7), c.rng.uniform(horizon + 0.02, 0.92), c.rng.uniform(0.45, 0.68))


def snowy_mountain(c, _):
    sky(c)
    for _ in range(c.rng.randint(1, 3)):
        x, w, peak = c.rng.uniform(0.2, 0.8), c.rng.uniform(0.35, 0.6), c.rng.uniform(0.12, 0.4)
        rock = hsv(c.rng.uniform(200, 260), c.rng.uniform(0, 0.3), c.rng.uniform(0.3, 0.65))
        foot = 1.0
        c.polygon([(x - w, foot), (x, peak), (x + w, foot)], rock)
        t = c.rng.uniform(0.25, 0.5)
        y = peak + (foot - peak) * t
        snow = [(x, peak), (x + w * t, y)]
        for k in range(1, 6):
            snow.append((x + w * t * (1 - k / 3), y + (0.06 if k % 2 else -0.02)))
        c.polygon([*snow, (x - w * t, y)], hsv(210, c.rng.uniform(0, 0.08), 1.0))
    if c.rng.random() < 0.5:
        c.rectangle(-0.1, 0.88, 1.1, 1.1, c.rng.choice([hsv(210, 0.05, 0.98), hsv(110, 0.5, 0.55)]))


def _shelf(c, stocked):
    rng = c.rng
    wall = rng.choice(
        [
            hsv(rng.uniform(20, 60), rng.uniform(0, 0.25), rng.uniform(0.75, 1)),
            hsv(rng.uniform(0, 360), rng.uniform(0, 0.15), rng.uniform(0.5, 1)),
        ]
    )
    c.gradient(0, 1, wall, wall)
    wood = rng.choice(
        [
            hsv(rng.uniform(18, 38), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8)),
            hsv(210, rng.uniform(0, 0.15), rng.uniform(0.25, 0.95)),
        ]
    )
    back = mix(wall, rng.choice([(0, 0, 0), WHITE, wood]), rng.uniform(0, 0.35))
    x0, x1 = rng.uniform(0.02, 0.2), rng.uniform(0.8, 0.98)
    y0, y1 = rng.uniform(0.02, 0.2), rng.uniform(0.8, 0.98)
    thick = rng.uniform(0.015, 0.04)
    rows = rng.randint(2, 5)
    framed = rng.random() < 0.75
    if framed:
        c.rectangle(x0, y0, x1, y1, back)
    height = (y1 - y0) / rows
    labels = rng.random() < 0.25
    for row in range(rows):
        board = y0 + (row + 1) * height - thick
        if stocked:
            _goods(c, x0 + thick, x1 - thick, board, height - 1.6 * thick)
        c.rectangle(x0, board, x1, board + thick, wood)
        if labels:
            for k in range(5):
                lx = x0 + (k + 0.5) * (x1 - x0) / 5
                c.rectangle(lx - 0.03, board, lx + 0.03, board + thick, (250, 250, 235), False)
    if framed:
        c.rectangle(x0, y0, x1, y0 + thick, wood)
        for x in (x0, x1 - thick):
            c.rectangle(x, y0, x + thick, y1, wood)


def _goods(c, left, right, foot, space):
    """Boxes, bottles and cans along one board, with the odd gap."""
    rng = c.rng
    x = left + rng.uniform(0, 0.02)
    same = rng.random() < 0.3
    colour = hsv(rng.uniform(0, 360), rng.uniform(0.3, 1), rng.uniform(0.4, 1))
    kind, w, h = rng.choice(["box", "bottle", "can", "round"]), rng.uniform(0.05, 0.12), rng.uniform(0.5, 0.92)
    while True:
        if not same:
            colour = hsv(rng.uniform(0, 360), rng.uniform(0.2, 1), rng.uniform(0.3, 1))
            kind, w, h = rng.choice(["box", "bottle", "can", "round"]), rng.uniform(0.04, 0.13), rng.uniform(0.5, 0.92)
        if x + w > right:
            return
        top = foot - h * space
        if kind == "box":
            c.rectangle(x, top, x + w, foot, colour)
        elif kind == "bottle":
            c.rectangle(x, foot - 0.65 * h * space, x + w, foot, colour)
            c.rectangle(x + w * 0.33, top, x + w * 0.67, foot - 0.64 * h * space, colour)
        elif kind == "can":
            c.rectangle(x, foot - 0.7 * h * space, x + w, foot, colour)
            c.rectangle(x, foot - 0.5 * h * space, x + w, foot - 0.2 * h * space, mix(colour, WHITE, 0.6), False)
        else:
            r = min(w / 2, h * space / 2)
            c.circle(x + w / 2, foot - r, r, colour)
        x += w + rng.choice([0.004, 0.01, 0.01, 0.02, 0.06])


def empty_shelf(c, _):
    _shelf(c, stocked=False)


def stocked_shelf(c, _):
    _shelf(c, stocked=True)


def boat(c, colour):
    sky(c)
    horizon = c.rng.uniform(0.5, 0.7)
    sea(c, horizon)
    x, y, s = c.rng.uniform(0.4, 0.6), horizon + c.rng.uniform(0.0, 0.12), c.rng.uniform(0.7, 1.15)
    hull = [(x - 0.28 * s, y), (x + 0.28 * s, y), (x + 0.18 * s, y + 0.13 * s), (x - 0.18 * s, y + 0.13 * s)]
    c.polygon(hull, colour)
    sail = hsv(50, c.rng.uniform(0, 0.12), c.rng.uniform(0.93, 1))
    c.line([(x, y), (x, y - 0.42 * s)], (90, 60, 40), 0.016)
    c.polygon([(x + 0.02, y - 0.42 * s), (x + 0.24 * s, y - 0.04), (x + 0.02, y - 0.04)], sail)
    if c.rng.random() < 0.6:
        c.polygon([(x - 0.02, y - 0.36 * s), (x - 0.18 * s, y - 0.04), (x - 0.02, y - 0.04)], sail)


def rainy_cloud(c, _):
    if c.rng.random() < 0.6:
        shade = hsv(c.rng.uniform(200, 230), c.rng.uniform(0, 0.35), c.rng.uniform(0.65, 1))
        c.gradient(0, 1, shade, shade)
    gray = hsv(c.rng.uniform(200, 230), c.rng.uniform(0, 0.2), c.rng.uniform(0.4, 0.8))
    x, y = c.rng.uniform(0.4, 0.6), c.rng.uniform(0.25, 0.38)
    drop = hsv(c.rng.uniform(200, 230), c.rng.uniform(0.5, 0.9), c.rng.uniform(0.5, 1))
    slant = c.rng.choice([0, 0.02, -0.03])
    for _ in range(c.rng.randint(8, 35)):
        dx, dy = x + c.rng.uniform(-0.27, 0.27), c.rng.uniform(y + 0.1, 0.95)
        c.line([(dx, dy), (dx + slant, dy + c.rng.uniform(0.03, 0.07))], drop, c.rng.choice([0.007, 0.012]))
    cloud(c, x, y, c.rng.uniform(0.15, 0.22), gray)


def beach(c, _):
    sky(c)
    horizon = c.rng.uniform(0.35, 0.5)
    shore = horizon + c.rng.uniform(0.12, 0.22)
    sea(c, horizon)
    c.polygon(
        [(-0.1, shore), (0.5, shore + c.rng.uniform(-0.03, 0.05)), (1.1, shore), (1.1, 1.1), (-0.1, 1.1)],
        hsv(c.rng.uniform(38, 48), c.rng.uniform(0.25, 0.6), c.rng.uniform(0.85, 1)),
    )
    if c.rng.random() < 0.5:
        sun(c, c.rng.choice([0.15, 0.85]), 0.14, 0.07)
    x, foot, r = c.rng.uniform(0.3, 0.7), c.rng.uniform(0.8, 0.92), c.rng.uniform(0.2, 0.28)
    top = foot - c.rng.uniform(0.38, 0.45)
    c.line([(x, foot), (x, top)], (130, 100, 70), 0.016)
    shades = [hsv(c.rng.uniform(0, 360), 0.8, 0.95), c.rng.choice([WHITE, (250, 220, 60)])]
    for k in range(6):
        a, b = math.pi * (1 + k / 6), math.pi * (1 + (k + 1) / 6)
        wedge = [
            (x + r * math.cos(a + (b - a) * t / 4), top + 0.1 + 0.75 * r * math.sin(a + (b - a) * t / 4))
            for t in range(5)
        ]
        c.polygon([(x, top + 0.1), *wedge], shades[k % 2], outline=False)
    if c.rng.random() < 0.4:
        c.polygon(
            [(x + 0.1, foot), (x + 0.3, foot), (x + 0.33, foot + 0.05), (x + 0.13, foot + 0.05)],
            hsv(c.rng.uniform(0, 360), 0.7, 0.9),
        )


def city_at_night(c, _):
    night = hsv(c.rng.uniform(215, 275), c.rng.uniform(0.4, 1), c.rng.uniform(0.08, 0.35))
    c.gradient(0, 1, night, mix(night, (200, 120, 120), c.rng.uniform(0, 0.3)))
    stars(c, c.rng.randint(0, 20), 0.4)
    if c.rng.random() < 0.3:
        moon(c, c.rng.uniform(0.1, 0.9), 0.14, 0.05, night)
    x = -0.05
    while x < 1:
        w, top = c.rng.uniform(0.09, 0.2), c.rng.uniform(0.25, 0.7)
        wall = hsv(c.rng.uniform(200, 280), c.rng.uniform(0, 0.4), c.rng.uniform(0.0, 0.35))
        c.rectangle(x, top, x + w, 1.05, wall)
        step = c.rng.uniform(0.035, 0.05)
        for i in range(int(w / step)):
            for j in range(int((0.96 - top) / 0.06)):
                if c.rng.random() < 0.65:
                    wx, wy = x + 0.012 + i * step, top + 0.025 + j * 0.06
                    c.rectangle(
                        wx, wy, wx + 0.02, wy + 0.028, hsv(c.rng.uniform(42, 58), c.rng.uniform(0.3, 0.8), 1.0), False
                    )
        x += w + c.rng.choice([0, 0.01, 0.03])


def rainbow(c, _):
    sky(c)
    if c.rng.random() < 0.7:
        grass(c, c.rng.uniform(0.75, 0.88))
    x, y, r = c.rng.uniform(0.42, 0.58), c.rng.uniform(0.75, 0.9), c.rng.uniform(0.4, 0.55)
    band = c.rng.uniform(0.025, 0.04)
    for k, hue in enumerate([0, 30, 55, 120, 215, 275]):
        c.arc(x, y, r - k * band, r - k * band, 180, 360, hsv(hue, 0.9, 0.95), band * 1.15)
    if c.rng.random() < 0.4:
        for side in (-1, 1):
            cloud(c, x + side * (r - 0.08), y, 0.09, (250, 250, 255))


def desert(c, _):
    sky(c)
    horizon = c.rng.uniform(0.55, 0.75)
    c.polygon(
        [(-0.1, horizon), (0.3, horizon - 0.05), (0.7, horizon + 0.03), (1.1, horizon - 0.03), (1.1, 1.1), (-0.1, 1.1)],
        hsv(c.rng.uniform(30, 45), c.rng.uniform(0.35, 0.7), c.rng.uniform(0.8, 1)),
    )
    if c.rng.random() < 0.6:
        sun(c, c.rng.choice([0.15, 0.85]), 0.15, 0.08)
    green = hsv(c.rng.uniform(100, 145), c.rng.uniform(0.5, 0.9), c.rng.uniform(0.35, 0.7))
    for _ in range(c.rng.randint(1, 2)):
        x, foot, s = c.rng.uniform(0.2, 0.8), c.rng.uniform(0.78, 0.93), c.rng.uniform(0.35, 0.6)
        w = 0.15 * s
        c.line([(x, foot), (x, foot - s)], green, w)
        c.circle(x, foot - s, w / 2, green, False)
        for side, low in ((-1, 0.4), (1, 0.55)):
            ax = x + side * 0.28 * s
            c.line([(x, foot - low * s), (ax, foot - low * s), (ax, foot - (low + 0.28) * s)], green, w * 0.7)


def sunny_day(c, _):
    top = hsv(c.rng.uniform(195, 215), c.rng.uniform(0.3, 0.7), 1.0)
    c.gradient(0, 1, top, mix(top, WHITE, c.rng.random() * 0.6))
    if c.rng.random() < 0.5:
        grass(c, c.rng.uniform(0.75, 0.9))
    sun(c, c.rng.uniform(0.2, 0.8), c.rng.uniform(0.2, 0.4), c.rng.uniform(0.1, 0.19))
    for _ in range(c.rng.randint(0, 3)):
        cloud(c, c.rng.random(), c.rng.uniform(0.1, 0.65), c.rng.uniform(0.06, 0.1), (252, 252, 255))


def traffic_light(c, colour_name):
    sky(c)
    x, y, w = c.rng.uniform(0.35, 0.65), c.rng.uniform(0.1, 0.2), c.rng.uniform(0.1, 0.15)
    h = w * c.rng.uniform(4.2, 4.8)
    c.rectangle(x - 0.025, y + h, x + 0.025, 1.05, hsv(0, 0, c.rng.uniform(0.2, 0.5)))
    c.rectangle(x - w, y, x + w, y + h, hsv(0, 0, c.rng.uniform(0.05, 0.3)))
    for k, name in enumerate(["red", "yellow", "green"]):
        lamp = paint(c.rng, name)
        if name != colour_name:
            lamp = mix(lamp, (30, 30, 30), c.rng.uniform(0.72, 0.95))
        c.circle(x, y + h * (k + 0.5) / 3, w * 0.62, lamp)
