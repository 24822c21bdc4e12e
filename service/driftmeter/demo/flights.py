"""The flights data and the model that the demo watches: will this flight arrive 15 or more minutes late?"""

import datetime as dt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

DATA = Path(__file__).parent / "flights.parquet"
MODEL, VERSION = "flight-delay", "1"
CATEGORIES = ("carrier", "origin")
NUMBERS = (
    "distance", "hour", "weekday", "temp", "humid", "wind_speed", "precip", "pressure", "visib", "plane_age", "seats",
)  # fmt: skip
FEATURES = (*CATEGORIES, *NUMBERS)
LATE_MINUTES = 15
SERVED_FROM = dt.datetime(2013, 3, 1, tzinfo=dt.UTC)
"""Flights before are trained on; the others are served."""


def read_flights() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Flights to train on (January and February) and to serve, each in the order of scheduled departure (UTC)."""
    flights = pl.read_parquet(DATA).sort("scheduled", maintain_order=True)
    before = pl.col("scheduled") < SERVED_FROM
    return flights.filter(before), flights.filter(~before)


def train(flights: pl.DataFrame) -> tuple[Pipeline, pl.DataFrame]:
    """A small gradient-boosted model, and the training rows with the model's own answers for unseen rows.

    The answers are out-of-fold: predictions on rows a model was trained on are surer of themselves than those it will
    make in production, and would make a baseline that drifts from the first day.
    """
    known = flights.filter(pl.col("arr_delay").is_not_null())
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((encode, list(range(len(CATEGORIES)))), remainder="passthrough")
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=60, learning_rate=0.1, random_state=0))
    late = (known["arr_delay"] >= LATE_MINUTES).to_numpy()
    inputs = as_inputs(known)
    unseen = cross_val_predict(model, inputs, late, cv=4, method="predict_proba")[:, 1]
    model.fit(inputs, late)
    training = known.select("scheduled", *FEATURES, pl.Series("late", answer(unseen)), pl.Series("p_late", unseen))
    return model, training


def as_inputs(flights: pl.DataFrame) -> npt.NDArray[np.object_]:
    """The model's inputs (rows, features)."""
    return flights.select(FEATURES).to_numpy().astype(object)


def answer(probability: npt.NDArray[np.float64]) -> list[str]:
    """What the model says of each flight."""
    return ["late" if p >= THRESHOLD else "on time" for p in probability.tolist()]


THRESHOLD = 0.3
"""Probability from which a flight is called late: with 0.5 hardly any would be."""
