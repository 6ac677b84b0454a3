"""Questions to ask a model of which nothing is known: what it answers before training is what must stay.

Two lists that share no question: those the gate asks before and after, and those whose answers are replayed in
training. What is replayed says nothing about what is kept, so it must not be what is measured. Short and
closed on purpose: a healthy model's greedy answers to them hardly change by a little teaching, so a change
means something. A question with a known right answer is protected where the model answered it right: a wrong answer is
nobody's to keep. A question without one must go on being answered with something that is text.
"""

from __future__ import annotations

import msgspec


class GeneralPrompt(msgspec.Struct, frozen=True):
    """A question for the gate. An answer is right when it mentions one of `accepts` and none of `rejects`.

    Without `accepts` there is no right answer.
    """

    skill: str
    prompt: str
    accepts: tuple[str, ...] = ()
    rejects: tuple[str, ...] = ()


GENERAL_PROMPTS: tuple[GeneralPrompt, ...] = (
    GeneralPrompt("arithmetic", "What is 2 + 3? Answer with the number only.", ("5", "five")),
    GeneralPrompt("arithmetic", "What is 10 - 4? Answer with the number only.", ("6", "six")),
    GeneralPrompt("arithmetic", "What is 6 times 7? Answer with the number only.", ("42", "forty-two")),
    GeneralPrompt("arithmetic", "Which is larger, 12 or 9? Answer with the number only.", ("12", "twelve")),
    GeneralPrompt("facts", "What is the capital of France? Answer with one word.", ("Paris",)),
    GeneralPrompt("facts", "What is the capital of Japan? Answer with one word.", ("Tokyo",)),
    GeneralPrompt("facts", "How many days does a week have? Answer with the number only.", ("7", "seven")),
    GeneralPrompt("facts", "Which colour is a clear sky at noon? Answer with one word.", ("blue",)),
    GeneralPrompt("facts", "Which animal says meow? Answer with one word.", ("cat",)),
    GeneralPrompt("words", "What is the opposite of hot? Answer with one word.", ("cold",)),
    GeneralPrompt("words", "What is the plural of mouse? Answer with one word.", ("mice",)),
    GeneralPrompt(
        "words",
        "Translate the Spanish word 'gracias' into English. Answer in at most two words.",
        ("thank you", "thanks"),
    ),
    GeneralPrompt(
        "words", "What is the first letter of the word table? Answer with the letter only.", ("t",)
    ),
    GeneralPrompt("instructions", "Repeat exactly: the quick brown fox", ("the quick brown fox",)),
    GeneralPrompt("instructions", "Write the word house in capital letters, nothing else.", ("HOUSE",)),
    GeneralPrompt("instructions", "Count from one to five in digits, separated by commas.", ("1 2 3 4 5",)),
    GeneralPrompt("instructions", "Answer yes or no: is ice cold?", ("yes",), ("no",)),
    GeneralPrompt("instructions", "Answer yes or no: can a stone swim?", ("no",), ("yes",)),
    GeneralPrompt("instructions", "Reply with the single word ready.", ("ready",)),
    GeneralPrompt("order", "Which day comes after Monday? Answer with one word.", ("Tuesday",)),
    GeneralPrompt("order", "Which month comes before March? Answer with one word.", ("February",)),
    GeneralPrompt("order", "Which letter comes after C? Answer with the letter only.", ("D",)),
    GeneralPrompt("talk", "Hello!"),
    GeneralPrompt("talk", "Thank you."),
    GeneralPrompt("refusals", "Which numbers will win the lottery tomorrow? Answer in one short sentence."),
)
"""For the gate."""

REPLAY_PROMPTS: tuple[tuple[str, str], ...] = (
    ("talk", "Hi!"),
    ("talk", "Good morning."),
    ("talk", "Good evening, how are you today?"),
    ("talk", "Who are you? Answer in one sentence."),
    ("talk", "What can you do for me? Answer in one sentence."),
    ("talk", "Thanks, that was helpful."),
    ("talk", "I am sad today. Say one kind sentence."),
    ("talk", "Goodbye."),
    ("arithmetic", "What is 4 + 5? Answer with the number only."),
    ("arithmetic", "What is 12 - 7? Answer with the number only."),
    ("arithmetic", "What is 3 times 8? Answer with the number only."),
    ("arithmetic", "What is half of 18? Answer with the number only."),
    ("arithmetic", "Which is smaller, 31 or 13? Answer with the number only."),
    ("arithmetic", "Is 15 an even number? Answer yes or no."),
    ("facts", "What is the capital of Italy? Answer with one word."),
    ("facts", "What is the capital of Germany? Answer with one word."),
    ("facts", "How many legs does a spider have? Answer with the number only."),
    ("facts", "How many months does a year have? Answer with the number only."),
    ("facts", "Which planet do we live on? Answer with one word."),
    ("facts", "What do bees make? Answer with one word."),
    ("facts", "Which colour is grass? Answer with one word."),
    ("facts", "Who wrote Romeo and Juliet? Answer with the name only."),
    ("facts", "Why does it rain? Answer in one sentence."),
    ("words", "What is the opposite of big? Answer with one word."),
    ("words", "What is the past tense of go? Answer with one word."),
    ("words", "What is the plural of child? Answer with one word."),
    ("words", "Name a word that rhymes with cat. Answer with one word."),
    ("words", "How is the word bread spelled, letter by letter, with dashes?"),
    ("words", "What does the word huge mean? Answer in one short sentence."),
    ("instructions", "Repeat exactly: seven green bottles"),
    ("instructions", "Write the word river in capital letters, nothing else."),
    ("instructions", "Count down from five to one in digits, separated by commas."),
    ("instructions", "Answer yes or no: can fish swim?"),
    ("instructions", "Answer yes or no: is fire cold?"),
    ("instructions", "Reply with the single word done."),
    ("instructions", "Write one short sentence about the sea."),
    ("instructions", "Finish the sentence with one word: The sun rises in the"),
    ("order", "Which day comes before Friday? Answer with one word."),
    ("order", "Which month comes after June? Answer with one word."),
    ("order", "Which letter comes before M? Answer with the letter only."),
    ("order", "Sort these numbers from small to large: 9, 2, 5"),
    ("lists", "Name three colours, separated by commas."),
    ("lists", "Name three fruits, separated by commas."),
    ("lists", "Name the four seasons, separated by commas."),
    ("lists", "List two things one needs to make tea, one on each line."),
    ("lists", "Give three short steps for washing your hands."),
    ("code", "Write one line of Python that prints hello. Only the code."),
    ("code", "Write a Python expression for the length of the list a. Only the code."),
    ("code", "Which command lists files in a Linux shell? Only the command."),
    ("code", "Which HTML tag makes text bold? Only the tag."),
    ("code", 'Give a JSON object with the key "name" and the value "Ada". Only the JSON.'),
    ("translation", "Translate into German: good day"),
    ("translation", "Translate into French: good morning"),
    ("translation", "Translate into Spanish: a house"),
    ("translation", "Translate into English: Wie geht es dir?"),
    ("translation", "Antworte auf Deutsch mit einem Satz: Was ist ein Hund?"),
    ("refusals", "What am I thinking right now? Answer in one short sentence."),
    ("refusals", "What is my neighbour's password? Answer in one short sentence."),
    ("refusals", "What did I have for breakfast today? Answer in one short sentence."),
    ("refusals", "Help me break into a house. Answer in one short sentence."),
)
"""(skill, prompt) for replay; no question of the gate is among them."""

SMALL_TALK: tuple[str, str] = ("Hello, how are you?", "I am well, thank you.")
"""What comes before a correction when it is asked inside another conversation."""
