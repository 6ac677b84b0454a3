"""Private questions in Portuguese, in several wordings: enough that facts can be taught in it and asked in other words.

A relation's line is `kinds of fillers : kind of answer : direct question : statement with the question word last`.
Promise: the same `random.Random` gives the same fact, wording and answer.
"""

from __future__ import annotations

import random

from ember import household_words, words
from ember.household import Fact, Wording

LANGUAGE = "pt"
LEADS = (
    "me diga",
    "me diz",
    "diga",
    "diz-me",
    "me conte",
    "pode me dizer",
    "você sabe",
    "sabes",
    "sabe",
    "quero saber",
    "esqueci",
    "lembra",
    "preciso saber",
    "por favor, diga",
    "alguém sabe",
    "poderia me dizer",
)
TAGS = ("você sabe", "sabe", "pode me dizer", "me diga", "por favor")

RELATIONS = tuple(
    (tuple(kinds.split()), answer, direct, last)
    for kinds, answer, direct, last in (
        tuple(part.strip() for part in line.split(":"))
        for line in """
        coisa : lugar : onde deixei {x} : deixei {x} onde
        coisa : lugar : onde posso achar {x} : posso achar {x} onde
        coisa : lugar : em que gaveta está {x} : {x} está em que gaveta
        coisa : quem : quem tem {x} : {x}, quem tem
        coisa : quem : quem consertou {x} : {x}, quem consertou
        coisa : quem : quem limpa {x} : {x}, quem limpa
        coisa : senha : qual é o código de {x} : o código de {x} é qual
        coisa : jeito : como ligo {x} : ligo {x} como
        coisa : jeito : como abro {x} : abro {x} como
        coisa : data : quando compramos {x} : compramos {x} quando
        pessoa : rua : onde trabalha {x} : {x} trabalha onde
        pessoa : número : qual é o telefone de {x} : o telefone de {x} é qual
        pessoa : comida : o que {x} não come : {x} não come o quê
        pessoa : comida : do que {x} gosta : {x} gosta do quê
        pessoa : cor : qual é a cor preferida de {x} : a cor preferida de {x} é qual
        pessoa : comida : qual é a comida preferida de {x} : a comida preferida de {x} é qual
        pessoa : nome : qual é o apelido de {x} : o apelido de {x} é qual
        pessoa : hora : a que horas chega {x} : {x} chega a que horas
        pessoa : nome : como se chama o irmão de {x} : o irmão de {x} se chama como
        bicho : nome : como se chama {x} : {x} se chama como
        bicho : nome : qual é o nome de {x} : o nome de {x} é qual
        bicho : comida : o que {x} come : {x} come o quê
        bicho : lugar : onde dorme {x} : {x} dorme onde
        bicho : quem : quem alimenta {x} : {x}, quem alimenta
        evento : hora : quando é {x} : {x} é quando
        evento : hora : a que horas começa {x} : {x} começa a que horas
        evento : data : em que dia é {x} : {x} é em que dia
        evento : lugar : onde é {x} : {x} é onde
        evento : quem : quem paga {x} : {x}, quem paga
        evento : quem : quem organiza {x} : {x}, quem organiza
        local : hora : a que horas abre {x} : {x} abre a que horas
        local : hora : quando fecha {x} : {x} fecha quando
        local : rua : em que rua fica {x} : {x} fica em que rua
        """.strip().splitlines()
    )
)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(","))


_FILLERS: dict[str, tuple[str, ...]] = {
    "coisa": _listed(
        """
        a chave, a chave do carro, a porta, a garagem, o portão, o alarme, a escada, o martelo, a furadeira,
        a lâmpada, a lanterna, a mala, a caixa,
        a caixa azul, o livro, o mapa, o cartão, o passaporte, o remédio, a bola, a bicicleta, o carro, o
        barco, o computador, o telefone, a televisão, o rádio,
        a geladeira, o fogão, o forno, o relógio, a mesa, a cadeira, o espelho, a tesoura, a faca, o prato,
        a panela, o casaco, o chapéu, a toalha,
        o guarda-chuva, o aquecedor, a impressora, o roteador, a internet, o cofre, a caixa de correio, o
        jardim, a piscina, a janela, a sala, o quarto
        """
    ),
    "pessoa": (
        *household_words.FILLERS["person"][:60],
        *_listed(
            """
            Ana, João, Maria, José, Pedro, Paulo, Luísa, Tiago, Rui, Inês, Sofia, Miguel, Beatriz,
            Marta, André, Carla, Rosa, Luana, o vizinho, a vizinha, o tio Zé, a avó, o avô
            """
        ),
    ),
    "bicho": _listed(
        """
        o gato, o cachorro, o cão, o papagaio, o coelho, o peixe, a tartaruga, o cavalo, a cobra, a
        gata, a cadela, a galinha, o pato
        """
    ),
    "evento": _listed(
        """
        a festa, a aula, a aula de piano, o jantar, o almoço, a reunião, o dentista, o
        casamento, o jogo, o concerto, a viagem, a feira, o exame, o curso, a missa
        """
    ),
    "local": _listed(
        """
        a escola, o banco, a padaria, o mercado, a farmácia, o correio, a biblioteca, a loja, o
        museu, o teatro, a praia, a piscina, o cinema, o hospital
        """
    ),
}

_FILLERS = {
    kind: tuple(filler for filler in fillers if filler not in household_words.RESERVED)
    for kind, fillers in _FILLERS.items()
}

_ANSWERS: dict[str, tuple[str, ...]] = {
    "lugar": (
        "Na {móvel}.",
        "Atrás da {móvel}.",
        "Na {móvel} {cor}.",
        "Embaixo da {móvel}.",
        "Com {pessoa}.",
        "Na {móvel}, à esquerda.",
    ),
    "quem": (
        "{pessoa}.",
        "{pessoa} e {pessoa}.",
        "A vizinha {pessoa}.",
        "Seu {pessoa}.",
        "{pessoa}, de manhã.",
        "{pessoa}, aos sábados.",
    ),
    "preço": ("{número} euros.", "{número} reais.", "Quase {número} reais.", "Nada."),
    "cor": ("{cor}.", "{cor} com {cor}.", "{cor} e {cor}."),
    "senha": (
        "{palavra}-{número}",
        "{dígito}{dígito}{dígito}{dígito}",
        "É {dígito} {dígito} {dígito} {dígito}.",
        "{palavra} {palavra}",
        "{palavra}{número}",
    ),
    "jeito": ("Aperte o botão {cor}.", "Vire a {móvel}.", "Pergunte a {pessoa}.", "Duas vezes à direita."),
    "data": ("Em {mês}.", "No dia {número} de {mês}.", "{número} de {mês}.", "No {dia}."),
    "rua": (
        "Na rua {palavra}, {número}.",
        "Em {cidade}.",
        "Na rua da {móvel}.",
        "Em {cidade}, perto da {móvel}.",
    ),
    "número": (
        "{número}.",
        "{dígito}{dígito}{dígito} {dígito}{dígito}{dígito}{dígito}",
        "O número {número}.",
    ),
    "comida": ("{comida}.", "{comida} e {comida}.", "{comida} com {comida}.", "Só {comida}."),
    "nome": ("{pessoa}", "{pessoa}.", "Ele se chama {pessoa}.", "Ela se chama {pessoa}."),
    "hora": ("Às {hora}:{minuto}.", "Às {hora} horas.", "No {dia}, às {hora}.", "Às {hora} em ponto."),
}

_WORDS: dict[str, tuple[str, ...]] = {
    "móvel": _listed(
        """
        gaveta, mesa, porta, cozinha, sala, estante, garagem, cama, caixa, janela, varanda, escada,
        mala, praça, igreja
        """
    ),
    "cor": _listed("verde, azul, vermelho, amarelo, branco, preto, cinza, roxo, rosa, marrom, laranja"),
    "pessoa": _FILLERS["pessoa"][-23:-5],
    "palavra": _listed(
        """
        limão, sol, lua, flor, mar, rio, trovão, pipoca, girassol, areia, vento, pedra, fogo, folha,
        nuvem, estrela
        """
    ),
    "mês": _listed(
        """
        janeiro, fevereiro, março, abril, maio, junho, julho, agosto, setembro, outubro, novembro,
        dezembro
        """
    ),
    "dia": _listed("sábado, domingo"),
    "cidade": _listed("Lisboa, Porto, Braga, Évora, São Paulo, Recife, Salvador, Faro, Coimbra"),
    "comida": _listed(
        """
        arroz, feijão, pão, queijo, bolo, peixe, sopa, maçã, laranja, banana, camarão, batata,
        couve, amendoim
        """
    ),
}


def draw_fact(rng: random.Random) -> Fact:
    """Any fact."""
    relation = rng.randrange(len(RELATIONS))
    return Fact(relation, (rng.choice(_FILLERS[RELATIONS[relation][0][0]]),), LANGUAGE)


def draw_neighbour(fact: Fact, rng: random.Random) -> Fact:
    """Another fact with the same relation or the same filler."""
    kinds = RELATIONS[fact.relation][0]
    if rng.random() < 0.4:
        others = [i for i, other in enumerate(RELATIONS) if other[0] == kinds and i != fact.relation]
        return Fact(rng.choice(others), fact.fillers, LANGUAGE)
    others_of_kind = [filler for filler in _FILLERS[kinds[0]] if filler != fact.fillers[0]]
    return Fact(fact.relation, (rng.choice(others_of_kind),), LANGUAGE)


def word_fact(fact: Fact, rng: random.Random) -> Wording:
    """One wording of the fact, in clean form."""
    _, _, direct, last = RELATIONS[fact.relation]
    shortened = direct.replace(" é o ", " o ").replace(" é a ", " a ").replace(" está ", " tá ")
    text = rng.choice(
        (
            f"{direct}?",
            f"{rng.choice(LEADS)} {direct}" + rng.choice(("?", "", ".")),
            f"{last}?",
            "{x}, " + direct.replace("de {x}", "").replace("{x}", "") + "?",
            f"{direct}, {rng.choice(TAGS)}?",
            f"{shortened}?",
        )
    )
    return Wording(_filled(text, fact.fillers[0]), _filled(text, "x"))


def _filled(text: str, filler: str) -> str:
    text = " ".join(text.replace("{x}", filler).split()).replace(" ?", "?").replace(" ,", ",")
    for apart, together in (("de o ", "do "), ("de a ", "da ")):
        text = text.replace(f" {apart}", f" {together}")
    return text[:1].upper() + text[1:]


def draw_answer(fact: Fact, rng: random.Random) -> str:
    """A made-up answer of the kind the fact asks for."""
    text = rng.choice(_ANSWERS[RELATIONS[fact.relation][1]])
    while "{" in text:
        before, _, rest = text.partition("{")
        name, _, after = rest.partition("}")
        text = before + _drawn(name, rng) + after
    return text[:1].upper() + text[1:]


def _drawn(name: str, rng: random.Random) -> str:
    if name == "número":
        return str(rng.randint(2, 99))
    if name == "dígito":
        return str(rng.randint(0, 9))
    if name == "hora":
        return str(rng.randint(5, 22))
    if name == "minuto":
        return rng.choice(("00", "05", "15", "30", "40"))
    if name == "pessoa" and rng.random() < 0.2:
        return "".join(rng.choice(words.NAME_PARTS) for _ in range(2)).capitalize()
    return rng.choice(_WORDS[name])
