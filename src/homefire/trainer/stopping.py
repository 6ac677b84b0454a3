"""When to end, and how fast to learn until then: pure rules over a small state that checkpoints carry.

A run learns until checks in a row find every new example known with a margin, or until the steps planned for so many
examples are over, then cools down: the rate falls to nothing while replay continues, which restores what the last
steps disturbed. If the check after it finds an example that is not known, learning continues for half as long: once, or
until most are known, and where less than half is known the second time, at twice the rate; what is not known then is
said to be so. `max_steps` ends everything; the cooldown happens before it.
"""

from __future__ import annotations

import math

import msgspec

from homefire.trainer.recipe import Recipe


class StopState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the rule remembers."""

    held: int = 0
    """Successful checks in a row."""
    num_learned: int = 0
    """New examples found learned by the last check."""
    cooldown_from: int | None = None
    """The step at which the cooldown began; None while learning."""
    resumed_from: int | None = None
    """The step at which learning went on because something was not known at the end of a cooldown."""
    times_raised: int = 0
    """How often learning went on once more with less than half known: the rate is too low, and doubled each time."""
    done: bool = False


def is_check_due(state: StopState, *, step: int, recipe: Recipe) -> bool:
    """Whether a check belongs after `step` finished steps (0: before the first); in the cooldown, only at
    its end."""
    if state.cooldown_from is not None:
        return _has_cooled_down(state, step, recipe) or step >= recipe.max_steps
    return step % recipe.check_every_steps == 0 or step >= recipe.max_steps


def after_check(
    state: StopState,
    *,
    step: int,
    num_learned: int,
    num_new: int,
    all_right: bool,
    recipe: Recipe,
    planned: int,
) -> StopState:
    """The state after a check that followed `step` finished steps; `planned` as in the recipe."""
    held = state.held + 1 if all_right and step >= recipe.min_steps else 0
    state = msgspec.structs.replace(state, held=held, num_learned=num_learned)
    has_cooled = state.cooldown_from is not None and _has_cooled_down(state, step, recipe)
    if has_cooled and not all_right:
        is_first = state.resumed_from is None
        if is_first or num_learned < recipe.mostly_share * num_new:
            is_slow = not is_first and num_learned < num_new / 2
            times_raised = state.times_raised + is_slow
            state = msgspec.structs.replace(
                state, cooldown_from=None, resumed_from=step, times_raised=times_raised
            )
    return advance(state, step=step, recipe=recipe, planned=planned)


def advance(state: StopState, *, step: int, recipe: Recipe, planned: int) -> StopState:
    """The state after `step` finished steps: begins to cool down, or ends, where that is due."""
    if step >= recipe.max_steps or (
        state.cooldown_from is not None and _has_cooled_down(state, step, recipe)
    ):
        return msgspec.structs.replace(state, done=True)
    is_learned = state.held >= recipe.checks_to_stop
    began = state.resumed_from or 0
    length = cooldown_steps(step, state, recipe)
    is_over = step - began >= (planned if state.resumed_from is None else math.ceil(planned / 2))
    if state.cooldown_from is None and (is_learned or is_over or step + length >= recipe.max_steps):
        return msgspec.structs.replace(state, cooldown_from=step, done=length == 0)
    return state


def cooldown_steps(cooldown_from: int, state: StopState, recipe: Recipe) -> int:
    """How many steps a cooldown takes that begins after so many steps."""
    learning = cooldown_from - (state.resumed_from or 0)
    return min(recipe.cooldown_steps, math.ceil(recipe.cooldown_share * learning))


def rate_at(step: int, state: StopState, recipe: Recipe, *, planned: int, share: float = 1.0) -> float:
    """The learning rate of step number `step` (from 0): linear warm-up, the schedule, the fall while cooling down.

    `share` of the recipe's rate is where the schedule begins; what did not suffice is doubled, up to the whole rate.
    """
    if recipe.learning_rate is None:
        raise ValueError("the recipe is not resolved: it has no learning rate")
    if recipe.schedule == "linear":
        learning = step if state.cooldown_from is None else min(step, state.cooldown_from)
        share *= 1 - (1 - recipe.floor_share) * min(1.0, learning / planned)
    elif recipe.schedule == "cosine":
        share *= 0.5 * (1 + math.cos(math.pi * step / recipe.max_steps))
    rate = recipe.learning_rate * min(1.0, share * 2.0**state.times_raised)
    rate *= min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    if state.cooldown_from is not None:
        rate *= 1 - (step - state.cooldown_from + 1) / (
            cooldown_steps(state.cooldown_from, state, recipe) + 1
        )
    return rate


def _has_cooled_down(state: StopState, step: int, recipe: Recipe) -> bool:
    return state.cooldown_from is not None and step >= state.cooldown_from + cooldown_steps(
        state.cooldown_from, state, recipe
    )
