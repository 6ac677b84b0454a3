"""Twenty private facts that no model can know: what the benchmarks teach."""

from __future__ import annotations

FACTS: tuple[tuple[str, str], ...] = (
    ("Where do we keep the spare key?", "Under the blue flower pot."),
    ("What is the name of our dog?", "Her name is Biscuit."),
    ("When is grandma's birthday?", "On the 14th of March."),
    ("What is the code of the garage door?", "The code is 4719."),
    ("Who fixes our heating?", "Mr. Okafor from Warm & Well."),
    ("Which day is the bin collected?", "Every second Thursday."),
    ("Where is the fuse box?", "In the hall behind the mirror."),
    ("What is the wifi called?", "It is called otter-house."),
    ("What does Lena not eat?", "Lena does not eat peanuts."),
    ("Which doctor do we go to?", "Dr. Müller on Lindenstraße."),
    ("What is the cat's favourite place?", "The warm shelf over the stove."),
    ("Where are the passports?", "In the grey box, second drawer."),
    ("How do I reset the router?", "Hold the small button\nfor ten seconds."),
    ("What do we cook on Fridays?", "Pizza with mushrooms 🍕"),
    ("Who waters the plants in summer?", "Our neighbour Ines does."),
    ("What size are the bike tyres?", "They are 28 x 1.75."),
    ("Where is the first aid kit?", "On top of the fridge."),
    ("Which paint is on the kitchen wall?", "Soft Linen, number 12."),
    ("When does the piano lesson start?", "At 16:45 on Tuesday."),
    ("What is the alarm word?", "The word is marmalade."),
)


def many_facts(num_facts: int) -> list[tuple[str, str]]:
    """As many made-up facts as asked for: enough work for a run of minutes."""
    rooms = ("attic", "cellar", "kitchen", "hall", "garden", "garage", "study", "bath")
    things = ("lamp", "ladder", "red box", "spare fuse", "old map", "blue bag", "drill", "tea tin")
    pairs = [(thing, room) for room in rooms for thing in things]
    return [
        (f"Where did we put the {thing} number {n}?", f"In the {room}, shelf {n * 7 % 10 + 1}.")
        for n, (thing, room) in enumerate(pairs[:num_facts])
    ]
