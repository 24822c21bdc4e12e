"""Options that several commands have, and what they say alike."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console

Timestamp = Annotated[
    str | None,
    typer.Option(help="Column with the time of each prediction. Times without a zone are read as UTC.", metavar="C"),
]
Prediction = Annotated[
    list[str] | None,
    typer.Option(help="Column with what the model answered; COLUMN=NAME when spans call it NAME. Repeatable.",
                 metavar="C"),
]  # fmt: skip
Probability = Annotated[
    list[str] | None,
    typer.Option(help="Column with the probability of a class; COLUMN=CLASS names the class. Repeatable.",
                 metavar="C"),
]  # fmt: skip
Label = Annotated[list[str] | None, typer.Option(help="Column with the truth: not a feature. Repeatable.", metavar="C")]
Ignore = Annotated[list[str] | None, typer.Option(help="Column to leave out. Repeatable.", metavar="C")]
Text = Annotated[
    list[str] | None,
    typer.Option(help="Column of texts rather than categories: compared by length, words and unknown words. "
                 "Repeatable; wildcards are allowed.", metavar="C"),
]  # fmt: skip
Embedding = Annotated[
    list[str] | None,
    typer.Option(help="Column of embeddings, lists of numbers of one length: compared by where they lie as seen from "
                 "the reference's. Repeatable; wildcards are allowed.", metavar="C"),
]  # fmt: skip
Model = Annotated[str | None, typer.Option(help="The model's name, as in the spans' ml.model.name.")]
Version = Annotated[
    str | None, typer.Option(help="Its version, as in ml.model.version. Left out: any version without its own.")
]


def print_skipped(console: Console, skipped: Mapping[str, str]) -> None:
    """Say which columns were left out, and why."""
    for column, reason in skipped.items():
        console.print(f"left out: {column}: {reason}", style="yellow", markup=False, highlight=False)
