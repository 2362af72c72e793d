"""Puts a claim into words, in the many ways that people write prompts."""

# The canonical forms lead each list; evaluation uses them.
TEMPLATES = [
    "a photo of {}",
    "a drawing of {}",
    "a picture of {}",
    "an image of {}",
    "a painting of {}",
    "a sketch of {}",
    "an illustration of {}",
    "a cartoon of {}",
    "a simple drawing of {}",
    "clip art of {}",
    "this is {}",
    "this is a photo of {}",
    "there is {}",
    "a photo with {}",
    "a picture showing {}",
    "a bad photo of {}",
    "a good photo of {}",
    "a close-up photo of {}",
    "a rendering of {}",
    "an icon of {}",
]

_SHAPES = {
    "circle": ["circle", "circle", "circle", "disc", "disk", "round shape", "dot"],
    "square": ["square", "square", "square", "box"],
    "triangle": ["triangle"],
    "star": ["star", "star", "five-pointed star"],
    "heart": ["heart", "heart", "heart shape"],
    "diamond": ["diamond", "diamond", "rhombus"],
    "cross": ["cross", "cross", "plus sign"],
    "hexagon": ["hexagon"],
    "ring": ["ring", "ring", "donut shape"],
    "arrow": ["arrow"],
    None: ["shape", "object", "thing", "figure"],
}
_COLOURS = {"purple": ["purple", "purple", "violet"], "gray": ["gray", "grey"]}
_COUNTS = {"2": ["two", "2"], "3": ["three", "3"], "4": ["four", "4"], "5": ["five", "5"]}
_SIZES = {"small": ["small", "small", "little", "tiny"], "large": ["large", "big", "huge"]}
_PATTERNS = {
    "solid": (["solid", "plain"], ["in one colour"]),
    "striped": (["striped", "stripy"], ["with stripes"]),
    "spotted": (["spotted", "dotted", "polka dot"], ["with spots", "with dots", "with polka dots"]),
    "checkered": (["checkered", "checked", "chequered"], ["with a checkered pattern", "with a chessboard pattern"]),
}
_SIDES = {
    "left": ["on the left", "on the left side", "at the left", "left"],
    "right": ["on the right", "on the right side", "at the right", "right"],
    "top": ["at the top", "on top", "near the top", "top"],
    "bottom": ["at the bottom", "near the bottom", "bottom"],
    "center": ["in the center", "in the middle", "in the centre", "centered"],
}
_SCENES = {
    "night sky": [
        "a night sky with a moon",
        "the moon at night",
        "the moon in the night sky",
        "a starry night",
        "the night sky",
        "a moon and stars",
        "a moonlit night",
    ],
    "sunrise": [
        "a sunrise over the sea",
        "the sun rising over the sea",
        "a sunset over the ocean",
        "a sunrise",
        "a sunset",
        "the sun setting at the sea",
    ],
    "house": [
        "a house with a {} roof",
        "a house with {} roof",
        "a {} roofed house",
        "a home with a {} roof",
        "a building with a {} roof",
    ],
    "tree": ["a tree in a field", "a tree", "a green tree on grass", "a single tree in a meadow", "a lone tree"],
    "snowy mountain": [
        "a snowy mountain",
        "a mountain with snow",
        "a snow-capped mountain",
        "mountains covered in snow",
        "snowy mountains",
        "a mountain peak",
    ],
    "empty shelf": [
        "an empty shelf",
        "empty shelves",
        "a shelf with nothing on it",
        "a bare shelf",
        "an empty store shelf",
        "a shelf without products",
        "out of stock shelves",
        "an empty rack",
    ],
    "stocked shelf": [
        "a stocked shelf",
        "a full shelf",
        "a shelf full of products",
        "a stocked store shelf",
        "shelves full of goods",
        "a shelf with products",
        "a well stocked shelf",
        "a supermarket shelf with boxes and bottles",
    ],
    "bicycle rider": [
        "a person riding a bicycle",
        "a person on a bicycle",
        "a cyclist",
        "somebody riding a bike",
        "a person on a bike",
        "a man riding a bicycle",
        "a woman on a bicycle",
        "a person cycling",
    ],
    "boat": [
        "a {} boat at sea",
        "a {} sailing boat",
        "a {} sailboat on the water",
        "a {} boat",
        "a {} ship on the ocean",
        "a {} boat on the sea",
    ],
    "rainy cloud": [
        "a rainy cloud",
        "a rain cloud",
        "rain falling from a cloud",
        "rainy weather",
        "a cloud with rain",
        "rain",
    ],
    "beach": [
        "a beach with an umbrella",
        "a beach",
        "a sunshade on the beach",
        "an umbrella on a sandy beach",
        "a parasol at the beach",
        "a beach by the sea",
    ],
    "city at night": [
        "a city skyline at night",
        "a city at night",
        "skyscrapers at night",
        "tall buildings with lit windows",
        "a skyline at night",
        "a town at night",
    ],
    "rainbow": ["a rainbow", "a rainbow in the sky", "a colorful rainbow", "a colourful rainbow over a field"],
    "desert": ["a cactus in the desert", "a desert with a cactus", "a cactus", "a desert", "cactuses in the sand"],
    "sunny day": [
        "the sun in a blue sky",
        "a sunny day",
        "a bright sun",
        "the sun and clouds",
        "sunny weather",
        "the sun",
    ],
    "cat": ["a cat", "a cat sitting", "a kitten", "a cat with whiskers", "a cute cat"],
    "dog": ["a dog", "a puppy", "a dog with floppy ears", "a cute dog"],
    "fish": ["a {} fish", "a {} fish in the water", "a {} fish swimming"],
    "bird": ["a {} bird", "a {} bird sitting", "a little {} bird"],
    "butterfly": ["a {} butterfly", "a butterfly with {} wings"],
    "car": ["a {} car", "a {} car on the road", "a {} automobile", "a {} vehicle"],
    "bus": ["a {} bus", "a {} bus on the road", "a {} coach"],
    "train": ["a {} train", "a {} train on rails", "a {} steam train", "a {} locomotive"],
    "airplane": ["an airplane in the sky", "an airplane", "a plane flying", "an aeroplane", "a plane", "an aircraft"],
    "flower": ["a {} flower", "a flower with {} petals", "a {} blossom"],
    "apple": ["a {} apple", "a {} apple with a leaf", "a {} fruit"],
    "mushroom": ["a {} mushroom", "a mushroom with a {} cap", "a {} toadstool"],
    "traffic light": [
        "a {} traffic light",
        "a traffic light showing {}",
        "a traffic light that is {}",
        "a {} stop light",
    ],
    "cup": ["a {} cup", "a {} mug", "a {} cup of coffee", "coffee in a {} cup", "a {} coffee mug"],
    "balloon": ["a {} balloon", "a {} balloon in the sky", "a {} balloon on a string"],
    "umbrella": ["a {} umbrella", "an open {} umbrella"],
    "book": ["a {} book", "a book with a {} cover"],
    "snowman": ["a snowman", "a snowman in winter", "a snowman in the snow"],
    "clock": ["a clock", "a wall clock", "a round clock", "a clock showing the time"],
    "tent": ["a {} tent", "a {} camping tent", "a {} tent on grass"],
    "chair": ["a {} chair", "an empty {} chair", "a {} seat"],
    "happy face": ["a happy face", "a smiling face", "a smiley", "a face with a smile", "a happy smiley"],
    "sad face": ["a sad face", "an unhappy face", "a frowning face", "a sad smiley"],
    "person": ["a person", "a person standing", "a stick figure", "a man", "a woman", "somebody standing"],
}


def canonical(claim):
    """The plain wording, such as "two red circles on the left"."""
    return _tidy(_scene(claim, None) if claim.kind != "shapes" else _shapes(claim, None))


def caption(claim, rng):
    """One of many wordings, often inside a template."""
    text = _tidy(_scene(claim, rng) if claim.kind != "shapes" else _shapes(claim, rng))
    style = rng.random()
    if style < 0.2:
        text = _without_article(text)
    if style > 0.45:
        text = rng.choice(TEMPLATES[:4] if rng.random() < 0.6 else TEMPLATES).format(text)
    if rng.random() < 0.15:
        text += "."
    return text


def _pick(options, rng):
    return rng.choice(options) if rng else options[0]


def _colour(name, rng):
    return _pick(_COLOURS.get(name, [name]), rng)


def _scene(claim, rng):
    text = _pick(_SCENES[claim.kind], rng)
    if "{}" not in text:
        return text
    if claim.colour:
        return text.format(_colour(claim.colour, rng))
    if claim.kind == "house":
        return _pick(["a house", "a home", "a house with a roof"], rng)
    bare = [t for t in _SCENES[claim.kind] if "a {} " in t or "open {} " in t]
    return _pick(bare, rng).replace("{} ", "")


def _shapes(claim, rng):
    chance = rng.random if rng else lambda: 1.0
    noun = _pick(_SHAPES[claim.shape], rng)
    if claim.shape is None and claim.colour and not claim.count and chance() < 0.5:
        return f"something {_colour(claim.colour, rng)}"
    colour = _colour(claim.colour, rng) if claim.colour else ""
    before, after = [], []
    if claim.size:
        before.append(_pick(_SIZES[claim.size], rng))
    if claim.pattern:
        adjectives, phrases = _PATTERNS[claim.pattern]
        if claim.pattern != "solid" and chance() < 0.25:
            after.append(_pick(phrases, rng))
        else:
            before.append(_pick(adjectives, rng))
    if colour:
        if rng and claim.pattern and chance() < 0.3:
            before.insert(len(before) - 1, colour)
        elif claim.count in (None, "1") and chance() < 0.05:
            after.insert(0, f"that is {colour}")
        else:
            before.append(f"{colour} coloured" if chance() < 0.03 else colour)
    if claim.count and claim.count != "1":
        words = [_pick(_COUNTS[claim.count], rng), *before, _plural(noun)]
    else:
        words = [("one" if claim.count and chance() < 0.06 else "a"), *before, noun]
    words += after
    if claim.position:
        words.append(_position(claim.position, rng))
    if claim.background:
        words.append(f"on a {_colour(claim.background, rng)} background")
    return " ".join(words)


def _position(position, rng):
    if " " not in position:
        return _pick(_SIDES[position], rng)
    row, column = position.split()
    other = {"top": "upper", "bottom": "lower"}[row]
    return _pick(
        [
            f"in the {row} {column} corner",
            f"in the {row} {column}",
            f"at the {row} {column}",
            f"in the {other} {column} corner",
            f"in the {other} {column}",
        ],
        rng,
    )


def _plural(noun):
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def _without_article(text):
    for article in ("a ", "an ", "the "):
        if text.startswith(article):
            return text[len(article) :]
    return text


def _tidy(text):
    words = " ".join(text.split()).split(" ")
    for n, word in enumerate(words[:-1]):
        if word in ("a", "an"):
            words[n] = "an" if words[n + 1][0] in "aeiou" else "a"
    return " ".join(words)
