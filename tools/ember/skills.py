"""The skills ember has: what can be asked, how it is said, and the one right answer.

A skill yields *items*; an item is a question's meaning (`key`), the ways to say it, and the answer.
Promise: every question is on exactly one side of the training / held-out split, and for skills that must
generalise (sums, letters, words) the side hangs on the operands alone, so no other phrasing of a held-out
sum is ever trained. For closed lists (days, capitals, small talk), where the fact itself has to be learned,
the side hangs on the item together with its phrasing: the wording is new, the fact is not.
Cost: pure Python, microseconds a question; the same `random.Random` gives the same questions.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ember import words

UNKNOWN = "I don't know that yet. You can teach me."
TOO_BIG = "That is too big for me. I only know sums up to 20."
HELD_OUT_PERCENT = 10


@dataclass(frozen=True)
class Question:
    """One question in clean form (`text`), its one right `answer`, and the skill it belongs to."""

    skill: str
    text: str
    answer: str


@dataclass(frozen=True)
class Skill:
    """A named kind of question; `draw(rng, held_out)` makes one from the asked side of the split."""

    name: str
    weight: float
    draw: Callable[[random.Random, bool], Question]


def is_held_out(*key: object, percent: int = HELD_OUT_PERCENT) -> bool:
    """Whether a key is on the held-out side; a hash, so it never moves when lists grow."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < percent


def normalised(text: str) -> str:
    """A saying without case, spaces and marks, so that "Hi!" and "hi" are one wording for the split."""
    return "".join(char for char in text.lower() if char.isalnum() or char in "+-*/")


def _until(rng: random.Random, make: Callable[[random.Random], tuple[tuple[object, ...], Question]], held_out: bool) -> Question:
    """Redraw until the key is on the wanted side (expected ten draws for the rare side)."""
    while True:
        key, question = make(rng)
        if is_held_out(*key) == held_out:
            return question


def _closed(name: str, facts: Sequence[tuple[str, str]], phrasings: Sequence[str]) -> Callable[[random.Random, bool], Question]:
    """A closed list of (thing, answer), asked by phrasings with `{x}`; the split is on thing and phrasing."""

    def make(rng: random.Random) -> tuple[tuple[object, ...], Question]:
        thing, answer = rng.choice(facts)
        phrasing = rng.choice(phrasings)
        return (name, normalised(phrasing.format(x=thing))), Question(name, phrasing.format(x=thing), answer)

    return lambda rng, held_out: _until(rng, make, held_out)


def _fixed(name: str, groups: dict[str, Sequence[str]]) -> Callable[[random.Random, bool], Question]:
    """Fixed sayings: answer -> the ways to ask for it; the split is on the wording."""
    answers = list(groups)

    def make(rng: random.Random) -> tuple[tuple[object, ...], Question]:
        answer = rng.choice(answers)
        text = rng.choice(groups[answer])
        return (name, normalised(text)), Question(name, text, answer)

    return lambda rng, held_out: _until(rng, make, held_out)


# ---------------------------------------------------------------- small talk and who it is

SMALL_TALK: dict[str, Sequence[str]] = {
    "Hello! I am ember. Ask me something small.": (
        "Hi", "Hi!", "Hello", "Hello!", "Hey", "Hi there", "Hello there", "Good morning", "Good evening", "Hello ember",
        "Hi ember", "Good day", "Hey there!", "Good afternoon", "Greetings", "Hey ember!", "Hiya", "Howdy", "Yo", "Hello again",
        "Good morning!", "Hi again", "Moin", "Hallo", "Welcome", "Hello, ember!", "Good evening!", "Nice to meet you",
    ),
    "You are welcome!": (
        "Thanks", "Thank you", "Thanks!", "Thank you!", "Thanks a lot", "Thank you very much", "Many thanks", "Great, thanks",
        "Thanks, ember", "Cheers", "Thank you so much", "Perfect, thank you", "Thx", "Ok thanks", "Cool, thanks!", "That helps, thanks",
        "Thank you, ember", "Great, thank you!", "Thanks for the help", "Thanks for that",
    ),
    "Goodbye! See you soon.": (
        "Bye", "Goodbye", "Bye!", "See you", "See you later", "Good night", "Bye bye", "Goodbye, ember", "See you tomorrow",
        "Bye ember", "I have to go", "Good night!", "Until tomorrow", "See you soon", "Ciao", "Talk to you later", "Farewell",
        "Bye for now", "I am going now", "Goodbye!",
    ),
    "I am small and warm, thank you!": (
        "How are you?", "How are you doing?", "How do you do?", "How is it going?", "How are you today?", "Are you well?",
        "How do you feel?", "Are you okay?", "How are things?", "What's up?", "How have you been?", "How are you, ember?",
        "How is your day?", "You ok?", "How goes it?", "Everything fine?",
    ),
    "Thank you! That keeps me warm.": (
        "Good job", "Well done", "Great!", "Very good", "You are great", "Good answer", "Correct!", "That is right", "Nice!", "Perfect!",
        "I like you", "You are clever", "Nice work", "Well done, ember", "Great answer", "Good ember", "That is correct", "Super!",
    ),
    "I am sorry. Tell me: this should have been ..., and I will learn it.": (
        "That is wrong", "Wrong!", "No, that is not right", "That was wrong", "Wrong answer", "You are wrong", "That is not correct",
        "Not right", "That's wrong", "Incorrect", "No, wrong", "Bad answer", "That is a mistake", "You made a mistake", "This is wrong",
        "That is false",
    ),
}

IDENTITY: dict[str, Sequence[str]] = {
    "I am ember, a tiny language model. I live on your machine, in Homefire.": (
        "Who are you?", "What are you?", "Tell me about yourself", "Introduce yourself", "Who is this?", "Who am I talking to?",
        "What is ember?", "Who is ember?", "What kind of model are you?", "Describe yourself", "Say something about yourself",
        "What are you, ember?", "Who are you exactly?", "Are you a language model?", "What model are you?", "Which model is this?",
        "And who are you?", "Can you introduce yourself?", "Tell me who you are", "So what are you?",
    ),
    "My name is ember.": (
        "What is your name?", "What's your name?", "Do you have a name?", "Tell me your name", "How are you called?", "What are you called?",
        "Your name?", "What should I call you?", "What do I call you?", "Say your name", "And your name?", "May I know your name?",
        "What name do you have?", "Name?",
    ),
    "I add small numbers, count letters, and know days, months and some capitals. The rest you can teach me.": (
        "What can you do?", "What do you know?", "Help", "What can I ask you?", "What are you good at?", "How can you help me?",
        "What are your skills?", "What can you do for me?", "What do you do?", "Help me", "What can you help with?", "Can you help me?",
        "What questions can I ask?", "Show me what you can do", "Tell me what you can do", "What are you able to do?", "What else can you do?",
        "What can I do with you?",
    ),
    "The Homefire project made me. A script trained me from nothing, in minutes.": (
        "Who made you?", "Who built you?", "Who created you?", "Where do you come from?", "Who trained you?", "How were you made?",
        "Who is your maker?", "Who wrote you?", "How were you trained?", "Who developed you?", "Where are you from?", "What company made you?",
        "Who are your makers?", "Who invented you?", "How did you come to be?",
    ),
    "Tell me: this should have been ... Then I train, and next time I know it.": (
        "How do you learn?", "How can I teach you?", "Can you learn?", "How do I teach you something?", "Can I teach you?",
        "Do you learn?", "How do I correct you?", "How does learning work?", "How do you get better?", "Can you learn new things?",
        "Can I correct you?", "How do I train you?", "How can you learn from me?", "Teach me how to teach you", "Will you learn this?",
        "Can you get smarter?",
    ),
    "On your own machine, and nowhere else.": (
        "Where do you live?", "Where are you?", "Where do you run?", "Where is my data?", "Do you send my data away?", "Are you in the cloud?",
        "Where do my messages go?", "Do you run in the cloud?", "Are you on my computer?", "Where are you running?", "Is my data safe?",
        "Who can read my messages?", "Where is my data stored?", "Do you need the internet?",
    ),
    "No, I am a tiny language model.": (
        "Are you human?", "Are you a person?", "Are you alive?", "Are you a real person?", "Are you a man?", "Are you a woman?",
        "Are you a human being?", "Do you have feelings?", "Are you conscious?", "Are you a big model?", "Are you ChatGPT?", "Are you Claude?",
        "Are you smart?", "Are you a robot?", "Do you have a body?",
    ),
    "Why was the computer cold? It left a window open.": (
        "Tell me a joke", "Do you know a joke?", "Make me laugh", "Say something funny", "A joke, please", "Another joke", "Tell a joke",
        "Joke", "Can you tell me a joke?", "Tell me something funny", "Do you know any jokes?", "I want a joke", "Cheer me up",
    ),
}

# ---------------------------------------------------------------- numbers

ADD_PHRASINGS = (
    "What is {a} + {b}?", "{a}+{b}", "{a} plus {b}", "What is {a} plus {b}?", "{a} + {b}", "{a} + {b} = ?", "How much is {a} + {b}?",
    "Add {a} and {b}", "What is the sum of {a} and {b}?", "Can you add {a} and {b}?", "How much is {a} plus {b}?", "{a}+{b}=",
    "Calculate {a} + {b}", "What's {a} + {b}?", "{a} and {b} makes?",
)  # fmt: skip
SUB_PHRASINGS = (
    "What is {a} - {b}?", "{a}-{b}", "{a} minus {b}", "What is {a} minus {b}?", "{a} - {b}", "{a} - {b} = ?", "How much is {a} - {b}?",
    "Subtract {b} from {a}", "Take {b} from {a}", "How much is {a} minus {b}?", "{a}-{b}=", "Calculate {a} - {b}", "What's {a} - {b}?",
    "What is {a} take away {b}?",
)  # fmt: skip


def _add(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    total = rng.randint(0, 20)
    a = rng.randint(0, total)
    b = total - a
    text = rng.choice(ADD_PHRASINGS).format(a=a, b=b)
    return ("add", min(a, b), max(a, b)), Question("add", text, f"{a} + {b} = {total}")


def _sub(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    a = rng.randint(0, 20)
    b = rng.randint(0, a)
    text = rng.choice(SUB_PHRASINGS).format(a=a, b=b)
    return ("sub", a, b), Question("sub", text, f"{a} - {b} = {a - b}")


def _big_sum(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    low, high = rng.choice(((21, 99), (100, 999), (1000, 9999)))
    a, b = rng.randint(low, high), rng.randint(0, high)
    if rng.random() < 0.5:
        a, b = b, a
    sign = rng.choice(("+", "+", "-", "*", "/"))
    if sign == "+":
        text = rng.choice(ADD_PHRASINGS).format(a=a, b=b)
    elif sign == "-":
        text = rng.choice(SUB_PHRASINGS).format(a=a, b=b)
    else:
        word = {"*": "times", "/": "divided by"}[sign]
        text = rng.choice(("What is {a} {s} {b}?", "{a}{s}{b}", "{a} {s} {b}", "{a} {w} {b}", "What is {a} {w} {b}?")).format(
            a=a, b=b, s=sign, w=word
        )
    return ("big_sum", a, b, sign), Question("big_sum", text, TOO_BIG)


# ---------------------------------------------------------------- letters

COUNT_PHRASINGS = (
    "How many letters are in {w}?", "Count the letters in {w}", "How many letters does {w} have?", "How many letters in {w}?",
    "How many letters has {w}?", "How long is the word {w}?", "How many letters are in the word {w}?", 'How many letters are in "{w}"?',
    "Number of letters in {w}", "Count the letters of {w}",
)  # fmt: skip
LAST_PHRASINGS = (
    "What is the last letter of {w}?", "Last letter of {w}?", "Which letter is last in {w}?", "What is the last letter in {w}?",
    "Last letter of the word {w}", "Which letter does {w} end with?", "What letter does {w} end with?", 'What is the last letter of "{w}"?',
    "Tell me the last letter of {w}", "The last letter of {w}?",
)  # fmt: skip
FIRST_PHRASINGS = (
    "What is the first letter of {w}?", "First letter of {w}?", "Which letter is first in {w}?", "What is the first letter in {w}?",
    "First letter of the word {w}", "Which letter does {w} start with?", "What letter does {w} start with?",
    'What is the first letter of "{w}"?', "Tell me the first letter of {w}", "The first letter of {w}?",
)  # fmt: skip
REVERSE_PHRASINGS = (
    "Reverse {w}", "Reverse the letters {w}", "What is {w} backwards?", "Say {w} backwards", "Turn {w} around", "{w} backwards",
    "Reverse the letters of {w}", "Write {w} backwards", "Spell {w} backwards", 'Reverse "{w}"',
)  # fmt: skip
UPPER_PHRASINGS = (
    "Write {w} in capitals", "{w} in capital letters", "{w} in upper case", "Upper case {w}", "Write {w} in capital letters",
    "Make {w} upper case", "Write {w} in upper case", 'Write "{w}" in capitals',
)  # fmt: skip
SPELL_PHRASINGS = (
    "Spell {w}", "How do you spell {w}?", "Spell the word {w}", "Can you spell {w}?", 'Spell "{w}"', "Spell out {w}", "Please spell {w}",
    "How is {w} spelled?",
)  # fmt: skip


def _word(rng: random.Random, max_letters: int = 8) -> str:
    """A real word two times in three, else a made-up one, so that letters are read and not memorised."""
    if rng.random() < 0.67:
        return rng.choice([word for word in words.WORDS if len(word) <= max_letters])
    return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(2, min(7, max_letters))))


def _spelled(word: str) -> str:
    return "-".join(word)


def _letters(
    name: str, phrasings: Sequence[str], answer: Callable[[str], str], max_letters: int = 8
) -> Callable[[random.Random, bool], Question]:
    """A skill over words; the split is on the word alone and the same for all such skills."""

    def make(rng: random.Random) -> tuple[tuple[object, ...], Question]:
        word = _word(rng, max_letters)
        return ("word", word), Question(name, rng.choice(phrasings).format(w=word), answer(word))

    return lambda rng, held_out: _until(rng, make, held_out)


def _reverse(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    three = [word for word in words.WORDS if len(word) == 3]
    word = rng.choice(three) if rng.random() < 0.4 else "".join(rng.choice(string.ascii_lowercase) for _ in range(3))
    return ("word", word), Question("reverse", rng.choice(REVERSE_PHRASINGS).format(w=word), word[::-1])


# ---------------------------------------------------------------- calendar and small facts


def _after(names: Sequence[str], step: int) -> list[tuple[str, str]]:
    return [(name, names[(i + step) % len(names)] + ".") for i, name in enumerate(names)]


_AFTER = ("What {k} comes after {x}?", "Which {k} is after {x}?", "What comes after {x}?", "The {k} after {x}?", "What {k} follows {x}?",
          "Which {k} comes after {x}?", "What is after {x}?", "What is the {k} after {x}?", "Which {k} follows {x}?", "Next {k} after {x}?")  # fmt: skip
_BEFORE = ("What {k} comes before {x}?", "Which {k} is before {x}?", "What comes before {x}?", "The {k} before {x}?",
           "Which {k} comes before {x}?", "What is before {x}?", "What is the {k} before {x}?", "What {k} is before {x}?")  # fmt: skip


def _phrase(kind: str, phrasings: Sequence[str]) -> tuple[str, ...]:
    return tuple(phrasing.replace("{k}", kind) for phrasing in phrasings)


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth")

CAPITAL_PHRASINGS = (
    "What is the capital of {x}?", "Capital of {x}?", "What's the capital of {x}?", "Which city is the capital of {x}?",
    "Tell me the capital of {x}", "The capital of {x}?", "Do you know the capital of {x}?", "What is {x}'s capital?", "Name the capital of {x}",
    "And the capital of {x}?", "What city is the capital of {x}?",
)  # fmt: skip
OPPOSITE_PHRASINGS = (
    "What is the opposite of {x}?", "Opposite of {x}?", "The opposite of {x}?", "What's the opposite of {x}?", "Tell me the opposite of {x}",
    "Give me the opposite of {x}", "What is the contrary of {x}?",
)  # fmt: skip
SOUND_PHRASINGS = (
    "What does a {x} say?", "What sound does a {x} make?", "Which sound does a {x} make?", "What noise does a {x} make?", "How does a {x} go?",
    "What does the {x} say?", "What sound does the {x} make?", "The sound of a {x}?",
)  # fmt: skip
COLOUR_PHRASINGS = (
    "What colour is {x}?", "What color is {x}?", "Which colour is {x}?", "What is the colour of {x}?", "What is the color of {x}?",
    "The colour of {x}?", "Tell me the colour of {x}", "Which color has {x}?",
)  # fmt: skip

# ---------------------------------------------------------------- what it does not know

PRIVATE_SHAPES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "thing": (
        (
            "Where do we keep the {x}?", "Where is the {x}?", "Where are the {x}?", "Where did we put the {x}?", "Where can I find the {x}?",
            "Do you know where the {x} is?", "In which drawer is the {x}?", "Where does the {x} belong?", "Where is our {x}?",
            "Where did I leave the {x}?", "Who has the {x}?", "Where do you keep the {x}?", "Where should I put the {x}?",
            "Which cupboard has the {x}?", "Where are our {x}?", "Is the {x} in the cellar?", "Who borrowed the {x}?", "Where is my {x}?",
        ),
        words.THINGS,
    ),
    "secret": (
        (
            "What is the {x}?", "What is our {x}?", "Tell me the {x}", "Do you know the {x}?", "What's the {x}?", "Give me the {x}",
            "What is my {x}?", "What was the {x} again?", "I forgot the {x}", "What is the {x} of the house?", "Can you tell me our {x}?",
            "I need the {x}", "What is the new {x}?",
        ),
        words.SECRETS,
    ),
    "person": (
        (
            "When is {x}'s birthday?", "Where does {x} live?", "How old is {x}?", "What is {x}'s phone number?", "What does {x} like to eat?",
            "What is {x}'s favourite colour?", "Where does {x} work?", "When does {x} come home?", "Who is {x}?", "What is {x} allergic to?",
            "What does {x} want for Christmas?", "What time does {x} get up?", "Which school does {x} go to?", "What size are {x}'s shoes?",
            "What is {x}'s favourite food?", "When was {x} born?", "What did {x} say?", "Is {x} coming tonight?", "Where is {x}?",
            "What is {x}'s email?", "Who is {x} married to?", "What instrument does {x} play?", "What is {x}'s favourite book?",
        ),
        words.PEOPLE,
    ),
    "event": (
        (
            "When is the {x}?", "What day is the {x}?", "When do we have the {x}?", "What time is the {x}?", "When does the {x} come?",
            "Who pays for the {x}?", "On which day is the {x}?", "When is the next {x}?", "Who takes care of the {x}?", "How much is the {x}?",
            "When is my {x}?", "Where is the {x} this week?", "Is the {x} today?",
        ),
        words.EVENTS,
    ),
    "pet": (
        (
            "What is our {x}'s name?", "What is the name of our {x}?", "How old is our {x}?", "What does our {x} eat?", "What is my {x} called?",
            "When do we feed the {x}?", "Who feeds the {x}?", "What is the {x}'s name?", "Where does our {x} sleep?", "Who walks the {x}?",
            "What colour is our {x}?", "Who is the vet of our {x}?",
        ),
        words.PETS,
    ),
    "household": (
        (
            "What is for dinner?", "What are we eating tonight?", "Which bin goes out today?", "What is on the shopping list?",
            "Who cooks tonight?", "How do I turn on the heating?", "How does the washing machine work?", "When did we move in?",
            "What is my name?", "Where do I live?", "How old am I?", "What did I do yesterday?", "What is my favourite colour?",
            "What is my favourite song?", "Who is my best friend?", "When do I have to get up?", "What should I wear today?",
            "When is our anniversary?", "Which tea do I like?", "What car do we have?", "Who won our last game?", "What is our family motto?",
            "What do I have to do today?", "What is my job?", "Where did we go last summer?", "What is the name of our street?",
            "How warm should the living room be?", "When is my birthday?", "Which doctor do we go to?", "What is our secret recipe?",
            "How many people live here?", "Who is our neighbour?", "What is the house rule about shoes?", "Which plant needs water?",
            "What is my dentist called?", "When is the shop open?", "What did we decide about the garden?", "What is the plan for Sunday?",
        ),
        ("",),
    ),
}  # fmt: skip

GENERAL_SHAPES: tuple[Sequence[str], Sequence[str]] = (
    (
        "Explain {x}", "What is {x}?", "Tell me about {x}", "Write a poem about {x}", "How does {x} work?", "Why is {x} important?",
        "What do you think about {x}?", "Write an essay about {x}", "Who invented {x}?", "Give me a summary of {x}", "Can you explain {x}?",
        "What is the history of {x}?", "Write a story about {x}", "Do you know {x}?", "Is {x} good?", "What is the best book about {x}?",
        "Explain {x} to a child", "I have a question about {x}", "Tell me something about {x}", "Write code for {x}", "Translate {x} into German",
    ),
    words.TOPICS,
)  # fmt: skip

GENERAL_FIXED: Sequence[str] = (
    "What time is it?", "What is the date today?", "What day is today?", "Who won the cup in 1987?", "Who is the president?", "How tall is the Eiffel Tower?",
    "What is the meaning of life?", "Write a Python function", "How far is the moon?", "Who wrote Hamlet?", "Will it rain tomorrow?",
    "How is the weather?", "What is the news?", "Play some music", "Turn on the light", "Set a timer for ten minutes", "Order a pizza",
    "Who won the election in 2016?", "How many people live in China?", "What is the fastest car?", "How do I cook pasta?", "What is the speed of light?",
    "Translate hello into French", "Fix my code", "Sing a song", "What is love?", "Why is the sky blue?", "How do planes fly?", "Who is the king of Spain?",
    "When did the war end?", "Which film should I watch?", "What is the population of Berlin?", "How do I get rich?", "Is there life on Mars?",
    "Who won the world cup in 1998?", "What happened in 1789?", "How deep is the ocean?", "Recommend a book", "Draw a picture", "Write a letter to my boss",
    "Summarize this text", "What is the square root of two?", "Who was Napoleon?", "How old is the universe?", "What is the largest animal?",
    "Can you write an email?", "asdf", "blah blah", "???", "hmm", "What?", "Why?", "Really?", "test", "lorem ipsum", "foo bar", "ok", "I like pizza",
    "I am tired", "It is raining", "My name is Anna", "I went to the park today", "We have a new car", "I am hungry", "The cat is asleep",
)  # fmt: skip

UNKNOWN_COUNTRIES: Sequence[str] = (
    "Bhutan", "Nepal", "Laos", "Vietnam", "Thailand", "Iran", "Iraq", "Oman", "Yemen", "Ghana", "Mali", "Chad", "Niger", "Togo", "Benin",
    "Uganda", "Rwanda", "Zambia", "Angola", "Gabon", "Bolivia", "Ecuador", "Panama", "Guyana", "Haiti", "Jamaica", "Fiji", "Samoa", "Malta",
    "Cyprus", "Georgia", "Armenia", "Latvia", "Estonia", "Serbia", "Croatia", "Albania", "Libya", "Sudan", "Mongolia", "Malaysia", "Colombia",
    "Morocco", "Romania", "Bulgaria", "Atlantis", "Texas", "Bavaria", "Mars", "Narnia",
)  # fmt: skip


def _private(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    kind = rng.choice(("thing", "secret", "person", "event", "pet", "household"))
    shapes, things = PRIVATE_SHAPES[kind]
    shape, thing = rng.choice(shapes), rng.choice(things)
    question = Question("private", shape.format(x=thing), UNKNOWN)
    # Held out by the shape: its wording was never seen with any thing.
    return ("private", normalised(shape)), question


def _general(rng: random.Random) -> tuple[tuple[object, ...], Question]:
    pick = rng.random()
    if pick < 0.45:
        shapes, topics = GENERAL_SHAPES
        shape = rng.choice(shapes)
        return ("general", normalised(shape)), Question("general", shape.format(x=rng.choice(topics)), UNKNOWN)
    if pick < 0.75:
        text = rng.choice(GENERAL_FIXED)
        return ("general", normalised(text)), Question("general", text, UNKNOWN)
    country = rng.choice(UNKNOWN_COUNTRIES)
    return ("general", country), Question("general", rng.choice(CAPITAL_PHRASINGS).format(x=country), UNKNOWN)


def _splitting(
    make: Callable[[random.Random], tuple[tuple[object, ...], Question]],
) -> Callable[[random.Random, bool], Question]:
    return lambda rng, held_out: _until(rng, make, held_out)


def all_skills() -> tuple[Skill, ...]:
    """Every skill with its share of the training questions, in a fixed order."""
    days, months = words.DAYS, words.MONTHS
    opposites = [(a, b.capitalize() + ".") for pair in words.OPPOSITES for a, b in (pair, pair[::-1])]
    return (
        Skill("small_talk", 1.0, _fixed("small_talk", SMALL_TALK)),
        Skill("identity", 1.2, _fixed("identity", IDENTITY)),
        Skill("add", 2.0, _splitting(_add)),
        Skill("sub", 2.0, _splitting(_sub)),
        Skill("big_sum", 0.5, _splitting(_big_sum)),
        Skill("count_letters", 1.4, _letters("count_letters", COUNT_PHRASINGS, lambda w: f"{_spelled(w)}: {len(w)} letters.")),
        Skill("last_letter", 1.0, _letters("last_letter", LAST_PHRASINGS, lambda w: w[-1])),
        Skill("first_letter", 0.7, _letters("first_letter", FIRST_PHRASINGS, lambda w: w[0])),
        Skill("reverse", 1.4, _splitting(_reverse)),
        Skill("upper", 1.0, _letters("upper", UPPER_PHRASINGS, str.upper, 6)),
        Skill("spell", 0.8, _letters("spell", SPELL_PHRASINGS, _spelled)),
        Skill("day_after", 0.6, _closed("day_after", _after(days, 1), _phrase("day", _AFTER))),
        Skill("day_before", 0.6, _closed("day_before", _after(days, -1), _phrase("day", _BEFORE))),
        Skill("month_after", 0.6, _closed("month_after", _after(months, 1), _phrase("month", _AFTER))),
        Skill("month_before", 0.6, _closed("month_before", _after(months, -1), _phrase("month", _BEFORE))),
        Skill(
            "month_number",
            0.6,
            _closed(
                "month_number",
                [(_ORDINALS[i], month + ".") for i, month in enumerate(months)],
                ("What is the {x} month?", "Which month is the {x}?", "The {x} month?", "What is the {x} month of the year?",
                 "Which is the {x} month?", "Name the {x} month", "Tell me the {x} month", "Which month is {x}?"),
            ),
        ),
        Skill("capital", 1.4, _closed("capital", [(c, t + ".") for c, t in words.CAPITALS.items()], CAPITAL_PHRASINGS)),
        Skill("opposite", 0.8, _closed("opposite", opposites, OPPOSITE_PHRASINGS)),
        Skill("sound", 0.5, _closed("sound", [(a, s + "!") for a, s in words.SOUNDS.items()], SOUND_PHRASINGS)),
        Skill("colour", 0.5, _closed("colour", [(t, c + ".") for t, c in words.COLOURS.items()], COLOUR_PHRASINGS)),
        Skill("private", 2.0, _splitting(_private)),
        Skill("general", 1.2, _splitting(_general)),
    )
