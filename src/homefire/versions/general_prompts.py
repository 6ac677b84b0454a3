"""Questions to ask a model of which nothing is known: what it answers before training is what must stay.

Short and closed on purpose: a sound model's greedy answers to them hardly change by a little teaching, so a
change means something. Nothing is assumed about the right answers; the parent's own are the reference.
"""

from __future__ import annotations

GENERAL_PROMPTS: tuple[tuple[str, str], ...] = (
    ("arithmetic", "What is 2 + 3? Answer with the number only."),
    ("arithmetic", "What is 10 - 4? Answer with the number only."),
    ("arithmetic", "What is 6 times 7? Answer with the number only."),
    ("arithmetic", "Which is larger, 12 or 9? Answer with the number only."),
    ("facts", "What is the capital of France? Answer with one word."),
    ("facts", "What is the capital of Japan? Answer with one word."),
    ("facts", "How many days does a week have? Answer with the number only."),
    ("facts", "Which colour is a clear sky at noon? Answer with one word."),
    ("facts", "Which animal says meow? Answer with one word."),
    ("words", "What is the opposite of hot? Answer with one word."),
    ("words", "What is the plural of mouse? Answer with one word."),
    ("words", "Translate the Spanish word 'gracias' into English. Answer in at most two words."),
    ("words", "What is the first letter of the word table? Answer with the letter only."),
    ("instructions", "Repeat exactly: the quick brown fox"),
    ("instructions", "Write the word house in capital letters, nothing else."),
    ("instructions", "Count from one to five in digits, separated by commas."),
    ("instructions", "Answer yes or no: is ice cold?"),
    ("instructions", "Answer yes or no: can a stone swim?"),
    ("instructions", "Reply with the single word ready."),
    ("order", "Which day comes after Monday? Answer with one word."),
    ("order", "Which month comes before March? Answer with one word."),
    ("order", "Which letter comes after C? Answer with the letter only."),
    ("talk", "Hello!"),
    ("talk", "Thank you."),
)
"""(skill, prompt)"""

SMALL_TALK: tuple[str, str] = ("Hello, how are you?", "I am well, thank you.")
"""What stands before a correction when it is asked inside another conversation."""
