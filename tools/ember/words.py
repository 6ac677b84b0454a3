"""The closed lists ember is taught from: words, calendar, capitals, opposites, sounds, colours.

Plain data and no behaviour. Everything was written by hand for this project, so the licence of the model
is the licence of the project.
"""

from __future__ import annotations


def _listed(text: str, separator: str | None = None) -> tuple[str, ...]:
    """The entries of a block, in their order, which decides what a seed draws."""
    return tuple(" ".join(part.split()) for part in text.split(separator))


WORDS: tuple[str, ...] = _listed(
    """
    apple baby back bag ball banana band bank bath beach bean bear bed bee bell bench bike bird black
    blue boat body bone book boot bottle bowl box boy brain branch bread breeze brick bridge broom brown
    brush bus butter button cabin cake camel camera camp candle car card carpet carrot castle cat chair
    chalk cheese cherry chest child church circle city class clay clean clock cloud clown coat coffee
    coin cold color comb cook cookie copper corn cotton couch cow crab cream crow crown cup curtain
    dance dark day deer desk dice dinner dish doctor dog doll door dragon dream dress drink drum duck
    dust eagle ear earth east egg elbow ember engine evening eye face family farm father feather fence
    field finger fire fish flag floor flower flute fly fog food foot forest fork fox friend frog fruit
    garage garden garlic gate ghost gift giraffe girl glass glove goat gold goose grape grass green hair
    hall hammer hand harbor hat heart heat hill holiday home honey hook horse hotel house ice idea ink
    insect iron island jacket jam jar jeans jelly juice jump kettle key king kitchen kite knee knife
    lady ladder lake lamp leaf leather leg lemon letter library light lion lip list lizard lock log
    lunch machine magic map market mask melon metal milk mirror money monkey month moon morning mother
    mountain mouse mouth movie mud music nail name napkin neck needle nest night noise north nose note
    number nurse nut oak ocean oil olive onion orange oven owl page paint paper park party path peach
    pear pen pencil pepper phone photo piano picture pie pig pillow pilot pin pink pizza plane planet
    plant plate plum pocket poem pond pony pool potato pumpkin puppy purple queen rabbit radio rain red
    rice ring river road robot rock roof room root rope rose ruler salad salt sand school sea season
    seat seed sheep shelf ship shirt shoe shop silk silver sister skirt sky sleep smile snail snake snow
    soap sock sofa song soup south spider spoon spring square squirrel stairs star station stone storm
    story stove street sugar summer sun swan sweater table tail tea teacher tent tiger toast tomato
    tooth towel tower town toy train tree truck tulip turtle uncle valley vase violin voice wall watch
    water wave west wheel whistle white wind window wing winter wolf woman wood wool word world yard
    year yellow zebra zoo
    """
)

DAYS: tuple[str, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

MONTHS: tuple[str, ...] = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

CAPITALS: dict[str, str] = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Switzerland": "Bern",
    "Poland": "Warsaw",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Finland": "Helsinki",
    "Denmark": "Copenhagen",
    "Greece": "Athens",
    "Turkey": "Ankara",
    "Ireland": "Dublin",
    "England": "London",
    "Scotland": "Edinburgh",
    "Belgium": "Brussels",
    "Hungary": "Budapest",
    "Ukraine": "Kyiv",
    "Russia": "Moscow",
    "Japan": "Tokyo",
    "China": "Beijing",
    "India": "New Delhi",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Canada": "Ottawa",
    "Mexico": "Mexico City",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Chile": "Santiago",
    "Argentina": "Buenos Aires",
    "Brazil": "Brasilia",
    "Australia": "Canberra",
    "Iceland": "Reykjavik",
    "the Netherlands": "Amsterdam",
}

OPPOSITES: tuple[tuple[str, str], ...] = (
    ("hot", "cold"),
    ("big", "small"),
    ("up", "down"),
    ("left", "right"),
    ("day", "night"),
    ("open", "closed"),
    ("fast", "slow"),
    ("happy", "sad"),
    ("old", "young"),
    ("wet", "dry"),
    ("full", "empty"),
    ("hard", "soft"),
    ("high", "low"),
    ("loud", "quiet"),
    ("light", "dark"),
    ("long", "short"),
    ("early", "late"),
    ("rich", "poor"),
    ("strong", "weak"),
    ("true", "false"),
    ("in", "out"),
    ("yes", "no"),
    ("black", "white"),
    ("good", "bad"),
)

SOUNDS: dict[str, str] = {
    "cat": "Meow",
    "dog": "Woof",
    "cow": "Moo",
    "duck": "Quack",
    "sheep": "Baa",
    "pig": "Oink",
    "lion": "Roar",
    "frog": "Croak",
    "horse": "Neigh",
    "bee": "Buzz",
    "snake": "Hiss",
    "owl": "Hoot",
    "mouse": "Squeak",
    "rooster": "Cock-a-doodle-doo",
}

COLOURS: dict[str, str] = {
    "the sky": "Blue",
    "grass": "Green",
    "snow": "White",
    "a banana": "Yellow",
    "a lemon": "Yellow",
    "blood": "Red",
    "a tomato": "Red",
    "coal": "Black",
    "a carrot": "Orange",
    "milk": "White",
    "the sun": "Yellow",
    "chocolate": "Brown",
    "a frog": "Green",
    "the sea": "Blue",
    "an elephant": "Grey",
    "a strawberry": "Red",
}

# What a household asks that no bundled model can know. Kept apart from the questions' shapes, so that a
# held-out question can be new in its shape, in its thing, or in both.
PEOPLE: tuple[str, ...] = _listed(
    """
    Anna Ben Clara David Emma Felix Grandma Grandpa Hannah Ida Jonas Karl Lena Leo Lisa Lukas Maria Mia
    Mila Noah Nora Oskar Paul Sara Sofia Theo Tom Zoe Omar Yuki Priya Mateo Aisha Chen Ivan Olga Mum Dad
    Papa Mama
    """
)

THINGS: tuple[str, ...] = (
    "spare key",
    "car key",
    "first aid kit",
    "torch",
    "drill",
    "toolbox",
    "vacuum cleaner",
    "passports",
    "fuse box",
    "umbrella",
    "sewing kit",
    "light bulbs",
    "batteries",
    "big scissors",
    "ladder",
    "tape",
    "cat food",
    "dog leash",
    "sleeping bags",
    "christmas lights",
    "water meter",
    "bike pump",
    "board games",
    "photo album",
    "insurance papers",
    "winter coats",
    "good glasses",
    "remote control",
    "charger",
    "candles",
    "matches",
    "paint",
    "garden hose",
    "suitcase",
    "towels",
)

SECRETS: tuple[str, ...] = (
    "wifi password",
    "door code",
    "alarm code",
    "garage code",
    "safe combination",
    "router password",
    "bike lock code",
    "phone number of the doctor",
    "number of the plumber",
    "licence plate",
    "customer number",
    "guest password",
    "post code",
    "address",
    "gate code",
    "mailbox number",
    "meter reading",
    "streaming password",
)

EVENTS: tuple[str, ...] = (
    "rubbish",
    "recycling",
    "paper bin",
    "window cleaner",
    "piano lesson",
    "dentist",
    "school trip",
    "football training",
    "parents evening",
    "rent",
    "chimney sweep",
    "book club",
    "swimming lesson",
    "delivery",
    "holiday",
    "car service",
    "plumber",
    "choir",
)

PETS: tuple[str, ...] = (
    "dog",
    "cat",
    "hamster",
    "rabbit",
    "parrot",
    "goldfish",
    "turtle",
    "horse",
    "snake",
    "pony",
)

TOPICS: tuple[str, ...] = _listed(
    """
    quantum gravity, black holes, the French Revolution, inflation, photosynthesis, machine learning,
    chess openings, the stock market, relativity, volcanoes, the Roman Empire, democracy, DNA, electric
    cars, poetry, jazz, cooking rice, nuclear power, whales, the internet, taxes, vitamins, glaciers,
    Shakespeare, philosophy, Linux, the Moon landing, dinosaurs, opera, pottery, encryption, gardening,
    the weather, football, Mozart, bitcoin, insulin, the pyramids
    """,
    ",",
)

# Countries, and places that are none, whose capital it says it does not know.
UNKNOWN_COUNTRIES: tuple[str, ...] = _listed(
    """
    Bhutan Nepal Laos Vietnam Thailand Iran Iraq Oman Yemen Ghana Mali Chad Niger Togo Benin Uganda
    Rwanda Zambia Angola Gabon Bolivia Ecuador Panama Guyana Haiti Jamaica Fiji Samoa Malta Cyprus
    Georgia Armenia Latvia Estonia Serbia Croatia Albania Libya Sudan Mongolia Malaysia Colombia Morocco
    Romania Bulgaria Atlantis Texas Bavaria Mars Narnia
    """
)

LONG_WORDS: tuple[str, ...] = _listed(
    """
    strawberry chocolate elephant butterfly crocodile blueberry raspberry newspaper furniture bathroom
    homefire notebook sandwich umbrella dinosaur mushroom pineapple telephone calendar orchestra
    lighthouse basketball toothbrush waterfall snowflake sunflower grandmother keyboard
    """
)

NAME_PARTS: tuple[str, ...] = _listed("ba lo mi ra ke to sa ni el jo du an fe vi")

ORDINALS: tuple[str, ...] = _listed(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
)

# Letters and signs beyond English, so that every byte has been read and written before one is taught.
SIGNS = "äöüßéèêñçåøœÄÖÜÉ€£°½–—…“”’«»¿¡ЖдияΩλπ中文日本語한국😀🎉🌷🍰🔑🏠❤️👍🐶🚗☕★→✓"
