"""Draws geometric shapes: kind, colour, number, size, place and pattern."""

import math

from PIL import Image, ImageDraw

from canvas import SIZE, hsv, mix, paint, regular_polygon

_RADIUS = {"small": (0.075, 0.105), "medium": (0.13, 0.24), "large": (0.31, 0.42)}
_PLACE = {"left": 0, "center": 1, "right": 2, "top": 0, "bottom": 2}


def outline_of(shape, rng):
    """The corner points of a shape of radius 1 around the origin."""
    if shape in ("circle", "ring"):
        return regular_polygon(40)
    if shape == "square":
        return [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
    if shape == "triangle":
        return [(x, y + 0.12) for x, y in regular_polygon(3, 1.08)]
    if shape == "star":
        inner = rng.uniform(0.38, 0.5)
        outer_points, inner_points = regular_polygon(5, 1.08), regular_polygon(5, inner, -54)
        return [p for pair in zip(outer_points, inner_points) for p in pair]
    if shape == "heart":
        points = []
        for k in range(36):
            t = 2 * math.pi * k / 36
            y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
            points.append((math.sin(t) ** 3, -y / 16 - 0.05))
        return points
    if shape == "diamond":
        width = rng.uniform(0.6, 0.8)
        return [(0, -1.08), (width, 0), (0, 1.08), (-width, 0)]
    if shape == "cross":
        w = rng.uniform(0.25, 0.38)
        return [
            (-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w),
            (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w),
        ]  # fmt: skip
    if shape == "hexagon":
        return regular_polygon(6, 1.0, rng.choice([-90, 0]))
    if shape == "arrow":
        shaft, neck = rng.uniform(0.18, 0.3), rng.uniform(-0.05, 0.2)
        points = [(-1, -shaft), (neck, -shaft), (neck, -0.68), (1, 0), (neck, 0.68), (neck, shaft), (-1, shaft)]
        turn = math.radians(rng.choice([0, 0, 90, 180, 270]))
        return [_rotate(p, turn) for p in points]
    raise ValueError(shape)


def draw_shapes(canvas, subject):
    rng = canvas.rng
    background = _background(canvas, subject)
    colour = paint(rng, subject.colour)
    second = _second_colour(subject, colour, background, rng)
    radius = rng.uniform(*_RADIUS[subject.size])
    count = int(subject.count)
    if count > 1:
        radius = min(radius, {2: 0.2, 3: 0.17, 4: 0.15, 5: 0.13}[count])
    for x, y in _centres(subject, count, radius, rng):
        _draw_one(canvas, subject, x, y, radius * rng.uniform(0.93, 1.0), colour, second)


def _rotate(point, angle):
    x, y = point
    return (x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle))


def _background(canvas, subject):
    rng = canvas.rng
    shade = paint(rng, subject.background)
    if subject.background in ("yellow", "blue", "green", "pink") and rng.random() < 0.6:
        shade = mix(shade, (255, 255, 255), rng.uniform(0.2, 0.55))
    far = mix(shade, rng.choice([(0, 0, 0), (255, 255, 255)]), rng.choice([0, 0, 0, 0.08, 0.15]))
    canvas.gradient(0, 1, shade, far)
    return shade


def _second_colour(subject, colour, background, rng):
    """The other colour of a pattern: white or black, whichever shows, or a darker or lighter shade."""
    if subject.colour == "white":
        return hsv(0, 0, rng.uniform(0.0, 0.45))
    if subject.colour in ("black", "brown", "purple", "blue", "red", "green", "gray"):
        return hsv(0, 0, rng.uniform(0.9, 1.0))
    return rng.choice([hsv(0, 0, rng.uniform(0.95, 1.0)), hsv(0, 0, rng.uniform(0.0, 0.25))])


def _centres(subject, count, radius, rng):
    margin = min(0.5, radius * 1.12 + 0.01)
    if count == 1:
        row = column = 1
        for word in subject.position.split():
            if word in ("left", "right"):
                column = _PLACE[word]
            elif word != "center":
                row = _PLACE[word]
        low, high = max(margin, 0.08), min(1 - margin, 0.92)
        wander = 0.06
        place = [low + rng.uniform(0, wander), 0.5 + rng.uniform(-wander, wander), high - rng.uniform(0, wander)]
        return [(place[column], place[row])]
    for _ in range(400):
        if rng.random() < 0.3:  # in a row
            step = rng.uniform(max(2.15 * radius, 0.5 / count), max(2.2 * radius, 0.95 / count))
            points = [(0.5 + (k - (count - 1) / 2) * step, 0) for k in range(count)]
            y = rng.uniform(margin, 1 - margin)
            points = [(x, y + rng.uniform(-0.02, 0.02)) for x, _ in points]
            if rng.random() < 0.25:
                points = [(y, x) for x, y in points]
        else:
            points = [(rng.uniform(margin, 1 - margin), rng.uniform(margin, 1 - margin)) for _ in range(count)]
        inside = all(margin <= x <= 1 - margin and margin <= y <= 1 - margin for x, y in points)
        apart = all(math.dist(p, q) > 2.15 * radius for k, p in enumerate(points) for q in points[:k])
        if inside and apart:
            return points
    cells = [(0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.2, 0.8), (0.8, 0.8)]
    return rng.sample(cells, count)


def _draw_one(canvas, subject, x, y, radius, colour, second):
    rng = canvas.rng
    angle = math.radians(rng.uniform(-10, 10))
    points = [_rotate(p, angle) for p in outline_of(subject.shape, rng)]
    points = [(x + radius * px, y + radius * py) for px, py in points]
    if subject.pattern == "solid":
        canvas.polygon(points, colour)
    else:
        pixels = [(px * SIZE, py * SIZE) for px, py in points]
        mask = Image.new("L", (SIZE, SIZE), 0)
        ImageDraw.Draw(mask).polygon(pixels, fill=255)
        canvas.image.paste(_pattern(subject.pattern, radius, colour, second, rng), (0, 0), mask)
        canvas.draw.line([*pixels, pixels[0], pixels[1]], fill=colour, width=2 + canvas.line_width // 2, joint="curve")
    if subject.shape == "ring":
        hole = rng.uniform(0.45, 0.68) * radius
        behind = canvas.image.getpixel((1, min(SIZE - 1, round(y * SIZE))))
        canvas.circle(x, y, hole, behind)


def _pattern(name, radius, colour, second, rng):
    image = Image.new("RGB", (SIZE, SIZE), colour)
    draw = ImageDraw.Draw(image)
    step = max(9, radius * SIZE * rng.uniform(0.3, 0.55))
    shift = rng.uniform(0, step)
    n = int(SIZE / step) + 3
    if name == "striped":
        direction = rng.choice(["vertical", "horizontal", "diagonal"])
        for k in range(-n, n):
            a = k * step + shift
            b = a + step * rng.uniform(0.42, 0.52)
            if direction == "vertical":
                draw.rectangle([a, 0, b, SIZE], fill=second)
            elif direction == "horizontal":
                draw.rectangle([0, a, SIZE, b], fill=second)
            else:
                draw.polygon([(a, 0), (b, 0), (b + SIZE, SIZE), (a + SIZE, SIZE)], fill=second)
    elif name == "spotted":
        dot = step * rng.uniform(0.24, 0.33)
        for i in range(n):
            for j in range(n):
                cx, cy = i * step + shift + (j % 2) * step / 2 - step, j * step + shift - step
                draw.ellipse([cx - dot, cy - dot, cx + dot, cy + dot], fill=second)
    else:
        for i in range(n):
            for j in range(n):
                if (i + j) % 2:
                    cx, cy = (i - 1) * step + shift, (j - 1) * step + shift
                    draw.rectangle([cx, cy, cx + step, cy + step], fill=second)
    return image
