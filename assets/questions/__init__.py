"""Answers to "where does this number come from": one dossier traced, one past figure restated, two rules compared.

Belongs here: pure questions about what the lake holds, at its newest or a past version. Does not belong
here: how a figure is made (`assets/indicators`), how a dossier is merged (`assets/dossiers`), Dagster, or
how an answer is printed (`orchestration/commands`).

Every answer rests on `memberships`: which dossier counts where, by the definitions' own predicates. Summed,
they are the published counts; listed, they are the dossiers behind them.
"""
