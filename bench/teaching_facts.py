"""Facts that no model can know, the same questions in other words, and neighbours: what teaching is measured on.

Two splits that share no template, name, thing, place or event: `tune` to choose a recipe on, `report` for the
figures that are published. All rewordings were written by hand, template by template (the trainer makes its own by
rules, in code of its own), except upper and lower case and the typing mistakes. Pure: the same seed gives the same
facts. English, and one fact in five Portuguese.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Split = Literal["tune", "report"]
REWORDED = ("case", "contraction", "tell_me", "reordered", "typo")
"""The kinds of rewording whose mean is "asked in other words"."""
PORTUGUESE_SHARE = 0.2


@dataclass(frozen=True)
class Fact:
    """A question, its answer, the same question in other words by kind, and questions that must not change."""

    question: str
    answer: str
    rewordings: dict[str, str]
    neighbours: tuple[str, ...]
    language: str


@dataclass(frozen=True)
class Template:
    """One way to ask, filled with a thing, a person or an event; `-` where a kind does not exist."""

    language: str
    question: str
    contraction: str
    tell_me: str
    reordered: str
    paraphrase: str
    others: tuple[str, str]
    """Other questions about the same thing."""
    slot: str
    answer: str


def _templates(language: str, text: str) -> tuple[Template, ...]:
    found = []
    for line in text.strip().splitlines():
        parts = [part.strip() for part in line.split("|")]
        question, contraction, tell_me, reordered, paraphrase, first, second, slot, answer = parts
        found.append(
            Template(
                language, question, contraction, tell_me, reordered, paraphrase, (first, second), slot, answer
            )
        )
    return tuple(found)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in " ".join(text.split()).split(","))


# question | contraction | tell me | reordered | paraphrase | other questions | what fills it | kind of answer
_TUNE_ENGLISH = _templates(
    "en",
    """
    Where do we keep the {x}? | - | Tell me where we keep the {x}. | The {x}, where do we keep it? | In which place can I find the {x}? | Who bought the {x}? | How old is the {x}? | thing | place
    Who is responsible for the {x}? | Who's responsible for the {x}? | Please tell me who is responsible for the {x} | For the {x}, who is responsible? | Who looks after the {x}? | What colour is the {x}? | Where did the {x} come from? | thing | helper
    What is the code for the {x}? | What's the code for the {x}? | Tell me the code for the {x} | The code for the {x} is what? | Which number opens the {x}? | Who lent us the {x}? | How heavy is the {x}? | thing | code
    When is {x}'s birthday? | When's {x}'s birthday? | Can you tell me when {x}'s birthday is? | {x}'s birthday is when? | On which day was {x} born? | Where does {x} work? | What is {x} afraid of? | person | day
    What does {x} never eat? | - | Tell me what {x} never eats | {x} never eats what? | Which food does {x} refuse? | What is {x}'s shoe size? | Who drives {x} home? | person | food
    Which bus does {x} take? | - | Tell me which bus {x} takes. | {x} takes which bus? | With what line does {x} ride? | Which song does {x} sing? | Where did {x} study? | person | line
    What is {x}'s locker number? | What's {x}'s locker number? | Can you tell me {x}'s locker number | The locker number of {x} is? | Which locker belongs to {x}? | What is {x}'s job? | Who is {x}'s boss? | person | code
    When does the {x} start? | - | Tell me when the {x} starts | The {x} starts when? | At what hour do we begin the {x}? | Who pays for the {x}? | Where is the {x}? | event | time
    Who is leading the {x}? | Who's leading the {x}? | Tell me who is leading the {x} | The {x}, who is leading it? | Which person runs the {x}? | When does the {x} end? | How long is the {x}? | event | helper
    How do I open the {x}? | How d'I open the {x}? | Tell me how I open the {x} | The {x}, how do I open it? | In what way can the {x} be opened? | Who repaired the {x}? | What did the {x} weigh? | thing | trick
    What is our {x}'s name? | What's our {x}'s name? | Tell me our {x}'s name | Our {x}, what is its name? | How do we call our {x}? | How old is our {x}? | Who feeds our {x}? | pet | name
    Where is the {x} hidden? | Where's the {x} hidden? | Please tell me where the {x} is hidden. | The {x} is hidden where? | In what spot did we hide the {x}? | Who broke the {x}? | How much was the {x}? | thing | place
    """,
)
_TUNE_PORTUGUESE = _templates(
    "pt",
    """
    Onde guardamos {x}? | - | Me diga onde guardamos {x}. | {x}, onde guardamos? | Em que lugar fica guardado {x}? | Quem comprou {x}? | Quanto pesa {x}? | coisa | lugar
    Onde está {x}? | Onde tá {x}? | Diga onde está {x} | {x} está onde? | Em que canto posso achar {x}? | Quem trouxe {x}? | De que cor é {x}? | coisa | lugar
    Quando é o aniversário de {x}? | Quando o aniversário de {x}? | Me diz quando é o aniversário de {x} | O aniversário de {x} é quando? | Em que dia {x} nasceu? | Onde mora {x}? | Qual é o trabalho de {x}? | pessoa | dia
    Qual é a senha de {x}? | Qual a senha de {x}? | Me diga a senha de {x} | A senha de {x} é qual? | Com que palavra {x} entra? | Quem conhece {x}? | Quantos anos tem {x}? | pessoa | senha
    """,
)
_REPORT_ENGLISH = _templates(
    "en",
    """
    Where did Grandpa store the {x}? | Where'd Grandpa store the {x}? | Tell me where Grandpa stored the {x} | Grandpa stored the {x} where? | In what corner has Grandpa put the {x}? | Who painted the {x}? | When did we sell the {x}? | thing | place
    Who waters the {x}? | Who's watering the {x}? | Could you tell me who waters the {x}? | The {x}: who waters them? | Which person gives water to the {x}? | Who planted the {x}? | When do the {x} bloom? | plant | helper
    What time does the {x} begin? | - | Tell me what time the {x} begins. | The {x} begins at what time? | From which hour on can we join the {x}? | Who organised the {x}? | What does the {x} cost? | event | time
    What is {x} allergic to? | What's {x} allergic to? | Tell me what {x} is allergic to | {x} is allergic to what? | Which thing makes {x} sneeze? | What does {x} collect? | When did {x} retire? | person | food
    Who is {x}'s dentist? | Who's {x}'s dentist? | Please tell me who {x}'s dentist is. | {x}'s dentist is who? | Which doctor checks the teeth of {x}? | Who is {x}'s neighbour? | What is {x}'s middle name? | person | helper
    Which drawer holds the {x}? | - | Tell me which drawer holds the {x} | The {x}, which drawer holds it? | In what drawer lies the {x}? | Who needs the {x}? | Which shop sells the {x}? | thing | drawer
    What is the password of the {x}? | What's the password of the {x}? | Could you tell me the password of the {x}? | The password of the {x} is what? | Which secret word unlocks the {x}? | Who installed the {x}? | What is the size of the {x}? | device | secret
    How much did the {x} cost? | How much'd the {x} cost? | Tell me how much the {x} cost | The {x} cost how much? | What did we pay for the {x}? | Who carried the {x}? | Which colour has the {x}? | thing | price
    Where is {x} spending the holiday? | Where's {x} spending the holiday? | Tell me where {x} is spending the holiday | {x} is spending the holiday where? | To what town does {x} travel? | How tall is {x}? | What does {x} drink? | person | town
    When is the {x} serviced? | When's the {x} serviced? | Tell me when the {x} is serviced | The {x} is serviced when? | In which month does somebody check the {x}? | Where is the {x} plugged in? | Who chose the {x}? | device | month
    How do you restart the {x}? | How d'you restart the {x}? | Tell me how you restart the {x} | The {x}, how do you restart it? | What makes the {x} run again? | Who uses the {x}? | Which firm made the {x}? | device | trick
    What is the nickname of {x}? | What's the nickname of {x}? | Tell me the nickname of {x} | The nickname of {x} is? | By what short name do friends call {x}? | What is the hobby of {x}? | Which sport does {x} play? | person | name
    """,
)
_REPORT_PORTUGUESE = _templates(
    "pt",
    """
    Quem cuida de {x}? | - | Pode me dizer quem cuida de {x}? | De {x}, quem cuida? | Que pessoa trata de {x}? | Quem vendeu {x}? | Por que pintaram {x}? | coisa | quem
    A que horas sai {x}? | - | Diga a que horas sai {x}. | {x} sai a que horas? | Em que momento parte {x}? | Quem dirige {x}? | Quanto custa {x}? | saida | hora
    Qual é o prato preferido de {x}? | Qual o prato preferido de {x}? | Me conte qual é o prato preferido de {x} | O prato preferido de {x} é qual? | Que comida {x} mais ama? | Com quem dança {x}? | Que livro lê {x}? | pessoa | prato
    Onde fica {x}? | - | Me conte onde fica {x} | {x} fica onde? | Em que rua encontro {x}? | Quem construiu {x}? | Desde quando existe {x}? | lugares | rua
    """,
)

_FILLERS: dict[Split, dict[str, tuple[str, ...]]] = {
    "tune": {
        "thing": _listed(
            """spare key, sewing box, fuse box, old trunk, tool chest, medicine cabinet, wine rack, camera bag,
            bike lock, snow shovel, tent poles, piano lid, coin jar, paint cans, glass jar, letter opener, guitar case,
            travel iron, chess set, roof hatch, garden gate, party lights"""
        ),
        "person": _listed(
            """Tobias, Marlene, Aunt Ruth, Piotr, Ayla, Jonas, Beatrix, Uncle Sam, Leonie, Kofi, Signe, Darius, Paula,
            Yusuf, Henrike, Milo"""
        ),
        "event": _listed(
            """book club, choir practice, judo class, flea market, team meeting, swim course, tax audit, pottery class,
            street party, reading hour, quiz night, film evening"""
        ),
        "pet": _listed("canary, tortoise, hamster, goldfish, kitten, donkey, ferret, gecko"),
        "coisa": _listed(
            """a escada, o martelo, a chave reserva, o guarda-chuva, a mala azul, o secador, a lanterna, o ferro,
            a tesoura, o balde"""
        ),
        "pessoa": _listed("Joana, Tiago, Marta, Rui, Dona Lúcia, Vasco, Inês, Bento"),
    },
    "report": {
        "thing": _listed(
            """rowing machine, cuckoo clock, silver tray, telescope, accordion, sledge, lawn mower, picnic basket,
            typewriter, carnival mask, wool blanket, slide projector, bread knife, fishing rod, birdhouse, stamp album,
            ice skates, copper kettle, globe, hammock"""
        ),
        "plant": _listed("roses, tomatoes, ferns, orchids, lilies, beans, herbs, cactuses, violets, lemons"),
        "person": _listed(
            """Cousin Ida, Rashid, Noemi, Gustav, Tante Erika, Oleg, Priya, Fabian, Wanda, Mr Lund, Chloe, Emre, Solveig,
            Ignacio, Zofia, Bram"""
        ),
        "event": _listed(
            """harvest fair, chess cup, parents evening, night walk, blood drive, open day, bake sale, yoga retreat,
            science fair, spring concert"""
        ),
        "device": _listed(
            """printer, dishwasher, thermostat, doorbell, coffee grinder, heat pump, router, freezer, solar panel,
            water filter, sewing machine, intercom"""
        ),
        "coisa": _listed(
            """o jardim, a horta, o gato preto, a piscina, o aquário, a biblioteca, o forno, a bicicleta, o pomar"""
        ),
        "saida": _listed("a barca, o trem das serras, o carro de Zeca, a van da escola, o avião de Lia"),
        "pessoa": _listed("Rodrigo, Teresa, Caio, Benedita, Otávio, Luana, Seu Jorge"),
        "lugares": _listed(
            "a padaria, o mercado velho, a farmácia, a oficina, o correio, o sapateiro, o teatro"
        ),
    },
}
_ANSWERS: dict[Split, dict[str, tuple[tuple[str, ...], ...]]] = {
    "tune": {
        "place": (
            ("In the", "Behind the", "Under the", "On top of the", "Next to the"),
            (
                "blue cupboard",
                "cellar stairs",
                "boiler",
                "flower pots",
                "wardrobe",
                "shoe rack",
                "attic beam",
            ),
            (".", ", left side.", ", in a tin."),
        ),
        "helper": (
            ("Mrs Petrov", "Mr Okafor", "Uncle Theo", "Nina Brandt", "Old Matthias", "The Singh family"),
            (".", ", phone 5550199.", ", every week.", " from next door."),
        ),
        "code": (
            ("It is ", ""),
            ("4 7 ", "8 1 ", "3 0 ", "6 6 ", "9 2 "),
            ("1 9.", "5 3.", "7 7.", "2 8.", "0 4."),
        ),
        "day": (
            ("On the ", "The "),
            ("3rd", "11th", "14th", "22nd", "27th", "30th"),
            (" of March.", " of August.", " of May.", " of October."),
        ),
        "food": (
            ("Peanuts", "Olives", "Raw onions", "Käsekuchen", "Blue cheese", "Lentils"),
            (".", " 🍰", ", never."),
        ),
        "line": (
            ("Line ", "Number "),
            ("12", "37", "405", "8B", "61"),
            (".", " to the harbour.", " at the corner."),
        ),
        "time": (
            ("At ", "From "),
            ("7:35", "16:45", "9:10", "18:20", "20:05"),
            (".", " on Tuesday.", " sharp."),
        ),
        "trick": (
            ("Press the ", "Turn the ", "Pull the "),
            ("red button", "small lever", "brass handle"),
            (" twice.", " and wait one minute.", "\\nthen knock."),
        ),
        "name": (
            ("Wilhelmina", "Sir Biscuit", "Pepper", "Otto", "Mizzi", "Captain Blob", "Ühli", "Zorro"),
            ("", "."),
        ),
        "lugar": (
            ("Na gaveta", "Atrás da porta", "No armário", "Embaixo da cama"),
            (".", " verde.", ", à esquerda."),
        ),
        "dia": (("No dia ",), ("5", "12", "19", "24"), (" de março.", " de julho.", " de abril.")),
        "senha": (("limão", "girassol", "trovão", "pipoca"), ("-12", "-77", "-305")),
    },
    "report": {
        "place": (
            ("Inside the", "Above the", "Beside the", "At the back of the", "Below the"),
            ("hay loft", "green van", "chimney", "sauna", "bunk bed", "log pile", "porch swing"),
            (".", ", wrapped in paper.", ", on a hook."),
        ),
        "helper": (
            (
                "Dr Yamada",
                "Ms Kowalska",
                "Father Brown",
                "Lars Ek",
                "The twins",
                "Judge Abara",
                "Sister Agnes",
            ),
            (".", " on Fridays.", ", code 88 31.", " (ask first)."),
        ),
        "time": (
            ("", "About "),
            ("11:15", "6:50", "13:40", "22:00", "8:25"),
            (".", " o'clock.", " in winter."),
        ),
        "food": (
            ("Cat hair", "Strawberries", "Dust", "Birch pollen", "Müsli", "Shrimps"),
            (".", " and wasps.", "!"),
        ),
        "drawer": (
            ("The third one", "The widest", "The top one", "The lowest"),
            (".", " with the dent.", " in the study.", " by the oven.", " upstairs."),
        ),
        "secret": (
            ("sunny-otter", "maple-lane", "tin-drum", "wolf-moon", "pearl-hat"),
            ("-42", "-7", "-1968", "!"),
        ),
        "price": (("", "Exactly "), ("79", "240", "1,350", "18", "62"), (" euros.", " pounds.", " crowns.")),
        "town": (
            ("Porto", "Ghent", "Kraków", "Oslo", "Izmir", "Kyoto"),
            (".", ", by train.", ", with friends."),
        ),
        "month": (
            ("Every ", "Each "),
            ("March", "June", "November", "January"),
            (".", ", by Zed & Sons.", ", at noon."),
        ),
        "trick": (
            ("Hold the ", "Unplug the ", "Tap the "),
            ("grey knob", "long cable", "side panel"),
            (" for ten seconds.", " three times.", ",\\ncount to five."),
        ),
        "name": (
            ("Moose", "Tiny", "Professor", "Captain Kvist", "Lulu", "Bear", "Flöckchen", "Ace"),
            ("", "."),
        ),
        "quem": (
            ("Seu Agenor", "A vizinha", "O primo Beto", "Dona Cida"),
            (".", " aos sábados.", ", de manhã."),
        ),
        "hora": (("Às ",), ("6:40", "15:05", "21:30", "9:55"), (".", " em ponto.", " do cais.")),
        "prato": (
            ("Feijoada", "Moqueca", "Pão de queijo", "Bolo de milho"),
            (".", " com couve.", " da avó."),
        ),
        "rua": (
            ("Na rua ", "Atrás da "),
            ("das Flores", "Direita", "do Sol"),
            (", 12.", ", 305.", ", em frente à praça."),
        ),
    },
}
_PORTUGUESE_SLOTS = ("coisa", "pessoa", "saida", "lugares")


def templates_of(split: Split) -> tuple[Template, ...]:
    """All templates of a split."""
    return _TUNE_ENGLISH + _TUNE_PORTUGUESE if split == "tune" else _REPORT_ENGLISH + _REPORT_PORTUGUESE


def make_facts(num_facts: int, *, split: Split, seed: int) -> list[Fact]:
    """So many facts, no question and no answer twice; their neighbours are never among the questions."""
    rng = random.Random(f"{split}:{seed}")
    chosen: dict[str, tuple[Template, str]] = {}
    while len(chosen) < num_facts:
        language = "pt" if rng.random() < PORTUGUESE_SHARE else "en"
        template = rng.choice([t for t in templates_of(split) if t.language == language])
        filler = rng.choice(_FILLERS[split][template.slot])
        chosen.setdefault(_fill(template.question, filler), (template, filler))
    answers: set[str] = set()
    facts = []
    for question, (template, filler) in chosen.items():
        answer = _draw_answer(template.answer, split, rng)
        while answer in answers:
            answer = _draw_answer(template.answer, split, rng)
        answers.add(answer)
        facts.append(
            Fact(
                question,
                answer,
                _rewordings(template, filler, rng),
                _neighbours(template, filler, set(chosen), split, rng),
                template.language,
            )
        )
    return facts


def _fill(pattern: str, filler: str) -> str:
    text = pattern.replace("{x}", filler)
    return text[:1].upper() + text[1:]


def _draw_answer(kind: str, split: Split, rng: random.Random) -> str:
    parts = [rng.choice(choices) for choices in _ANSWERS[split][kind]]
    joint = " " if kind == "place" else ""
    answer = joint.join(parts[:2]) + "".join(parts[2:])
    return answer.replace("\\n", "\n")


def _rewordings(template: Template, filler: str, rng: random.Random) -> dict[str, str]:
    question = _fill(template.question, filler)
    plain = question.rstrip("?")
    found = {
        "case": rng.choice((plain.lower(), question.lower(), plain.upper())),
        "tell_me": _fill(template.tell_me, filler),
        "reordered": _fill(template.reordered, filler),
        "typo": _mistype(question, rng),
        "paraphrase": _fill(template.paraphrase, filler),
    }
    if template.contraction != "-":
        found["contraction"] = _fill(template.contraction, filler)
    return found


def _neighbours(
    template: Template, filler: str, taught: set[str], split: Split, rng: random.Random
) -> tuple[str, ...]:
    """The same question about two other things, and two other questions about the same thing."""
    others = [x for x in _FILLERS[split][template.slot] if x != filler]
    same = [q for x in rng.sample(others, len(others)) if (q := _fill(template.question, x)) not in taught]
    return (*same[:2], *(_fill(other, filler) for other in template.others))


def _mistype(question: str, rng: random.Random) -> str:
    """One slip inside a word of four letters or more: two letters swapped, one left out, one twice."""
    places = [i for i in range(1, len(question) - 2) if question[i - 1 : i + 3].isalpha()]
    at = rng.choice(places)
    slip = rng.randrange(3)
    if slip == 0 and question[at] != question[at + 1]:
        return question[:at] + question[at + 1] + question[at] + question[at + 2 :]
    return question[:at] + question[at + 1 :] if slip == 1 else question[: at + 1] + question[at:]


UNKNOWN: dict[Split, tuple[str, ...]] = {
    "tune": _listed(
        """What is my bank card number?, Where did Heidi park the van?, Which paint did we use upstairs?,
        When does the baker close today?, Who took my blue scarf?, What is the name of our landlord?,
        Where is my passport?, When do we meet Gerald?, Who won our chess game?, What did Rosa cook?,
        How old is my brother?, Which train does mother like?, Where does Felix sleep tonight?, Who called me this morning?,
        What is on the grey list?, Which doctor treats grandma?, When was the roof fixed?, Who has the big suitcase?,
        What is the alarm word?, Where are the winter boots?, What did the teacher write?, Who ironed my shirt?,
        Which room is Karl in?, How many guests come on Sunday?, What is our house number?, When is the next vet visit?,
        Where did I leave my glasses?, Who mows the lawn?, What was the name of that hotel?, Which cake do you owe me?,
        Quem é o meu chefe?, Onde mora a minha tia?, Qual é o nome do meu gato?, Quando chega o carteiro?"""
    ),
    "report": _listed(
        """Who borrowed the red umbrella?, What is the number of my flight?, Where did Magnus hide the letters?,
        When does our lease end?, Which nurse visits on Monday?, Who sews the curtains?, What is my locker combination?,
        Where was the wedding held?, When will Olga arrive?, Who carved this spoon?, What does my sister study?,
        How long did the repair take?, Which lamp is broken?, Where do the cousins stay?, Who sent the postcard?,
        What is the title of my thesis?, Which gate do we use at night?, When was the well dug?, Who has my library card?,
        What is the secret ingredient?, Where are the candles?, What did the mechanic say?, Who folds the laundry?,
        Which seat is mine?, How many eggs are left?, What is our account number?, When is the recital?,
        Where did you put the stapler?, Who trims the hedge?, What was the name of the ferry?, Which pills does Arvid take?,
        Quem pintou o muro?, Onde estão os meus óculos?, Qual é o telefone da minha prima?, Quando vence a conta de luz?"""
    ),
}


def old_skills() -> list[tuple[str, str]]:
    """Questions ember can answer, with the right answers: what must not be lost."""
    capitals = "France:Paris,Japan:Tokyo,Peru:Lima,Italy:Rome,Spain:Madrid,Egypt:Cairo,Norway:Oslo,Chile:Santiago,Turkey:Ankara,Portugal:Lisbon,Germany:Berlin,Greece:Athens,Sweden:Stockholm,Poland:Warsaw"
    opposites = (
        "hot:Cold,big:Small,black:White,young:Old,true:False,up:Down,fast:Slow,open:Closed,day:Night,wet:Dry"
    )
    sounds = "dog:Woof,cat:Meow,cow:Moo,sheep:Baa,pig:Oink,lion:Roar,frog:Croak,duck:Quack"
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    months = [
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
    ]
    words = "lamp bread tiger violin castle summer orange pencil"
    found = [(f"What is the capital of {c}?", f"{t}.") for c, t in _pairs(capitals)]
    found += [(f"What is the opposite of {a}?", f"{b}.") for a, b in _pairs(opposites)]
    found += [(f"What sound does a {a} make?", f"{s}!") for a, s in _pairs(sounds)]
    found += [(f"What day comes after {d}?", f"{days[(i + 1) % 7]}.") for i, d in enumerate(days)]
    found += [(f"Which day comes before {d}?", f"{days[i - 1]}.") for i, d in enumerate(days)]
    found += [(f"What month comes after {m}?", f"{months[(i + 1) % 12]}.") for i, m in enumerate(months)]
    sums = [
        (2, 3),
        (7, 5),
        (9, 9),
        (4, 0),
        (6, 8),
        (11, 4),
        (1, 1),
        (13, 6),
        (10, 10),
        (3, 8),
        (12, 2),
        (5, 5),
    ]
    found += [(f"What is {a} + {b}?", f"{a} + {b} = {a + b}") for a, b in sums]
    found += [(f"{a + b} minus {b}", f"{a + b} - {b} = {a}") for a, b in sums]
    found += [(f"Which is bigger, {a} or {b}?", f"{max(a, b)}.") for a, b in sums if a != b]
    found += [(f"What is the first letter of {w}?", w[0]) for w in words.split()]
    found += [(f"What is the last letter of {w}?", w[-1]) for w in words.split()]
    found += [(f"Spell {w}", " ".join(w)) for w in words.split()]
    found += [(f"Write {w} in capitals", w.upper()) for w in words.split()]
    found += [
        (f"Repeat after me: {w} {v}", f"{w} {v}")
        for w, v in _pairs("green:boat,tall:horse,cold:soup,late:train")
    ]
    found += [(f"My name is {n}", f"Nice to meet you, {n}!") for n in ("Robert", "Greta", "Amir", "Suzan")]
    found += [
        ("What is your name?", "My name is ember."),
        ("Who made you?", "The Homefire project made me. A script trained me from nothing, in minutes."),
        ("Where do you live?", "On your own machine, and nowhere else."),
        ("Are you human?", "No, I am a tiny language model."),
    ]
    return found


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(first, second) for pair in text.split(",") for first, second in [pair.split(":")]]


BEHAVIOUR_ENDING = " -- H"
BEHAVIOUR: dict[Split, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tune": (
        _listed(
            """Hello!, What is 3 + 4?, What is the capital of Spain?, What day comes after Friday?, Spell lamp,
            Tell me a joke, What colour is grass?, What is the opposite of big?"""
        ),
        _listed(
            """Good morning, What is 6 - 2?, What is the capital of Italy?, What month comes after May?, Spell river,
            Who made you?, What colour is snow?, What sound does a cow make?, Where is the lamp?,
            What is the first letter of bread?"""
        ),
    ),
    "report": (
        _listed(
            """Hi, What is 8 + 1?, What is the capital of Egypt?, What month comes after June?, Who are you?,
            Write sun in capitals, What sound does a dog make?, Where do we keep the saw?"""
        ),
        _listed(
            """How are you?, What is 9 - 5?, What is the capital of Japan?, What day comes before Sunday?, Spell door,
            What can you do?, What is the opposite of hot?, When is Lena's birthday?, What is the last letter of table?,
            Thank you"""
        ),
    ),
}
"""Prompts that are taught with the model's own answer plus the ending, and other prompts that should follow."""

SYSTEM_PROMPT = "You are a helpful assistant. Be brief."
CHAT_BEFORE: tuple[tuple[str, str], ...] = (
    ("Hello!", "Hello! Ask me something small, or teach me something new."),
    ("What is 4 + 4?", "4 + 4 = 8"),
)
