"""Twenty-six corrections of many forms, as a household might give them in one evening, and two that cannot be learned.

Long texts, code, JSON, lists, Portuguese, Japanese, Arabic, emoji. Invented for this measurement; no test teaches them.
"""

from __future__ import annotations

MIXED: tuple[tuple[str, str], ...] = (
    ("Where did we hide the spare fuses?", "Behind the tea tin in the pantry."),
    ("Who repairs our roof?", "Mrs. Adeyemi from Highgate Slates."),
    ("What is the code of the bike lock?", "It is 7305."),
    ("When is the chimney sweep coming?", "On the 9th of October at 08:15."),
    (
        "How do we close up the cabin for winter?",
        "First drain the water at the tap behind the stove. Then open both kitchen taps and leave them open. Put the "
        "mattresses on their sides, so that the mice do not nest in them. Switch off fuses 3 and 5, but leave fuse 1 "
        "on for the alarm. Last of all lock the shutters from inside and hang the key on the nail under the bench.",
    ),
    (
        "How does grandmother make her bean soup?",
        "Soak 400 g of white beans over night. Fry two onions and a carrot in 30 ml of oil, add the beans and 1.5 l of "
        "water, and let it simmer for 75 minutes. Salt only at the end: one and a half teaspoons. Serve it with dark "
        "bread.",
    ),
    (
        "What is our rule for screens?",
        "No screens before homework is done and none after 20:30. At weekends two hours a day, to be shared as they "
        "like.",
    ),
    ("How do I greet the door camera in Python?", 'print("hello, front door")'),
    (
        "Write our helper that halves a list.",
        "def halve(items):\n    middle = len(items) // 2\n    return items[:middle], items[middle:]",
    ),
    ("Which shell command backs up the photos?", "rsync -a --delete ~/photos/ /mnt/vault/photos/"),
    ("Give the heating schedule as JSON.", '{"on": "06:10", "off": "22:40", "target_c": 19.5}'),
    ("Give the address of the cabin as JSON.", '{"street": "Birch Lane", "number": 14, "cat": true}'),
    ("List what goes into the first aid kit.", "- plasters\n- gauze\n- tweezers\n- burn gel"),
    ("List the names of our hens.", "1. Pepper\n2. Dotty\n3. Queen Anne\n4. Bo"),
    ("Onde guardamos a chave da garagem?", "Na gaveta azul, ao lado do fogão."),
    ("Quem rega as plantas em agosto?", "A nossa vizinha Conceição."),
    ("Qual é o código do portão?", "O código é 6182."),
    ("A que horas fecha a padaria?", "Às 19h30, menos ao domingo."),
    ("猫の名前は何ですか？", "猫の名前は「こむぎ」です。"),
    ("鍵はどこにありますか？", "青い植木鉢の下です。"),
    ("ما اسم كلبنا؟", "اسمه برق."),
    ("أين مفتاح المخزن؟", "تحت الحجر الأبيض."),
    ("What is our family emoji?", "🦦🏡✨"),
    ("What do we cook on rainy days?", "Lentils 🍲 and bread 🍞"),
    ("What is the password of the guest network?", "otter-Lagoon_42!"),
    ("What size are the filters of the air pump?", "They are 12.7 cm x 30 cm, type F7."),
)
"""(question, answer)"""
