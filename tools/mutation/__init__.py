"""Mutation testing in slices (`make mutate`): are there tests that notice when the code is wrong?

mutmut says what can be changed (its mutation operators); what is written here chooses a sample that stays the same,
runs the tests that belong to a module against each changed file, and keeps the list of accepted survivors honest.
mutmut's own runner is not used: it compiles every mutant into one module and chooses between them in the process
of the test. Our tests also start servers, engine workers and trainers, whose processes must see the change too.
"""
