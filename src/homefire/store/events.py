"""The vocabulary of the append-only log: everything that ever happens to a home is one of these.

A table is a fold over these events (`projections.py`) and can be rebuilt from them. A field may be added
with a default; none is ever renamed or removed, and no event is ever edited.
"""

from __future__ import annotations

from homefire.store.noun import Noun
from homefire.store.nouns import (
    aliases,
    conversations,
    datasets,
    erasures,
    examples,
    feedback,
    keys,
    losses,
    models,
    runs,
    versions,
)

Event = (
    keys.KeyCreated
    | keys.KeyRevoked
    | models.ModelRegistered
    | models.ModelRemoved
    | aliases.AliasMoved
    | conversations.TurnAsked
    | conversations.TurnEnded
    | feedback.FeedbackGiven
    | examples.ExampleCreated
    | examples.CorrectionWithdrawn
    | datasets.DatasetCreated
    | runs.RunQueued
    | runs.RunMoved
    | versions.VersionPublished
    | versions.VersionRemoved
    | versions.GateJudged
    | erasures.BodiesErased
    | losses.EventsLost
)

NOUNS: tuple[Noun, ...] = (
    keys.NOUN,
    models.NOUN,
    aliases.NOUN,
    conversations.NOUN,
    feedback.NOUN,
    examples.NOUN,
    datasets.NOUN,
    runs.NOUN,
    versions.NOUN,
    erasures.NOUN,
    losses.NOUN,
)
"""Every noun, in the order in which their tables are made and compared."""
