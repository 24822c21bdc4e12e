"""Every registered method goes through every contract check; every check refuses a method that breaks it."""

import ctypes
import doctest
import importlib
import pkgutil
import types
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

import driftmeter.methods
from driftmeter.methods import DECIDING, METHODS, MethodSpec
from methods import method_contract as contract
from methods.method_bins import bins_frame, number, with_curves

EVERY_METHOD = pytest.mark.parametrize("spec", METHODS.values(), ids=METHODS.keys())


@EVERY_METHOD
@pytest.mark.parametrize("check", contract.CASE_CHECKS, ids=lambda check: check.__name__)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(case=contract.cases())
def test_method_keeps_the_contract(
    spec: MethodSpec, check: Callable[[MethodSpec, contract.Case], None], case: contract.Case
) -> None:
    """Every method keeps every check on drawn groups of bins."""
    check(spec, case)


@EVERY_METHOD
@pytest.mark.parametrize("check", contract.SPEC_CHECKS, ids=lambda check: check.__name__)
def test_method_is_declared(spec: MethodSpec, check: Callable[[MethodSpec], None]) -> None:
    """Every method's declaration fits its code and its docstring."""
    check(spec)


@EVERY_METHOD
def test_key_names_file_and_function(spec: MethodSpec) -> None:
    """A method is found under its key: in the registry, as a module and as a function."""
    module = importlib.import_module(f"driftmeter.methods.{spec.key}")
    assert METHODS[spec.key] is spec
    assert module.SPEC is spec
    assert getattr(module, spec.key) is spec.expression


def test_registry_is_complete_and_fixed() -> None:
    """Every file that declares a method is registered, the deciding one is, and nothing can be added at run time."""
    modules = [
        importlib.import_module(m.name)
        for m in pkgutil.iter_modules(driftmeter.methods.__path__, "driftmeter.methods.")
    ]
    declared = {module.SPEC.key for module in modules if hasattr(module, "SPEC")}
    assert declared == set(METHODS)
    assert METHODS[DECIDING].default_min_effect == 0.1
    assert isinstance(METHODS, types.MappingProxyType)


@pytest.mark.parametrize(
    "name", [m.name for m in pkgutil.iter_modules(driftmeter.methods.__path__, "driftmeter.methods.")]
)
def test_examples_in_docstrings_hold(name: str) -> None:
    """Every example in a docstring gives what it shows."""
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, extraglobs={"pl": pl})
    assert outcome.failed == 0
    assert outcome.attempted > 0 or not hasattr(module, "SPEC")


@pytest.mark.parametrize("key", [key for key, spec in METHODS.items() if spec.ordinal])
def test_ordinal_methods_depend_on_order(key: str) -> None:
    """A method that declares itself ordinal does give another number for another order."""
    thirds = np.array([4, 4, 4])
    middle, end = bins_frame(thirds, np.array([6, 0, 6])), bins_frame(thirds, np.array([0, 6, 6]))
    assert number("total_variation", middle) == number("total_variation", end)
    assert number(key, middle) != number(key, end)


@pytest.mark.parametrize("key", [key for key, spec in METHODS.items() if not spec.symmetric])
def test_asymmetric_methods_differ_when_exchanged(key: str) -> None:
    """A method that declares itself asymmetric does give another number for exchanged sides."""
    bins = bins_frame(np.array([0, 4, 4, 0]), np.array([0, 1, 1, 2]), [0.0, 0.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 12.0])
    assert number(key, bins) != number(key, bins.with_columns(expected="observed", observed="expected"))


@EVERY_METHOD
def test_a_thousand_groups_in_one_query(spec: MethodSpec) -> None:
    """One grouped query over 1,000 groups of different lengths, some without rows, equals the groups one by one."""
    rng = np.random.default_rng(20250106)
    groups = []
    for index in range(1000):
        bins = int(rng.integers(1, 40))
        scale = rng.choice([0, 3, 1000], p=[0.1, 0.4, 0.5])
        edges = np.cumsum(rng.random(bins + 1))
        frame = bins_frame(rng.integers(0, 50, bins), rng.integers(0, scale + 1, bins), edges, rng.random(bins))
        groups.append(with_curves(frame).with_columns(group=pl.lit(index)))
    columns = [pl.col(name) for name in spec.inputs]
    expressions = {"number": spec.expression, **spec.extras}
    together = (
        pl.concat(groups)
        .group_by("group", maintain_order=True)
        .agg(expression(*columns).alias(name) for name, expression in expressions.items())
    )
    assert together["group"].to_list() == list(range(1000))
    for name, expression in expressions.items():
        one_by_one = [group.select(expression(*columns)).item() for group in groups]
        assert together[name].dtype == pl.Float64
        np.testing.assert_allclose(together[name].to_numpy(), one_by_one, rtol=1e-12, atol=1e-15)
        assert np.isnan(one_by_one).any()


SHANNON = METHODS["jensen_shannon"]
DISTANCE = METHODS["total_variation"]
CHI_SQUARE = METHODS["chi_square"]

CASE = contract.Case(
    bins_frame(
        np.array([0, 10, 20, 30, 0]),
        np.array([3, 5, 10, 40, 2]),
        [0.0, 0.0, 1.0, 2.0, 3.0, 3.0],
        [1.5, 0.0, 0.0, 0.0, 4.0],
    ),
    [4, 2, 3, 1, 0],
    3,
)


def _overwrite(counts: pl.Series) -> pl.Series:
    """Writes zeros over the first count, behind polars' back."""
    ctypes.memset(counts.to_numpy().ctypes.data, 0, 8)
    return counts


def _shares(counts: pl.Expr) -> pl.Expr:
    return counts / counts.sum()


BROKEN: dict[str, tuple[Callable[[MethodSpec, contract.Case], None], MethodSpec]] = {
    "not zero for identical counts": (
        contract.check_identical_is_zero,
        replace(DISTANCE, expression=lambda e, o: (_shares(e) * _shares(o)).sum()),
    ),
    "p below 1 for identical counts": (
        contract.check_identical_is_zero,
        replace(CHI_SQUARE, pvalue=lambda groups: np.full(groups["value"].shape, 0.5)),
    ),
    "compares counts, not shares": (
        contract.check_proportional_is_zero,
        replace(DISTANCE, expression=lambda e, o: (e.cast(pl.Float64) - o).abs().max()),
    ),
    "smoothing that does not fade": (
        contract.check_proportional_is_zero,
        replace(METHODS["population_stability_index"], expression=lambda e, o: (o.sum() / e.sum()).log()),
    ),
    "infinite for an empty bin": (
        contract.check_finite_and_in_range,
        replace(DISTANCE, expression=lambda e, o: (_shares(o) * (_shares(o) / _shares(e)).log()).sum()),
    ),
    "out of range": (
        contract.check_finite_and_in_range,
        replace(DISTANCE, expression=lambda e, o: 1 + (_shares(e) - _shares(o)).abs().sum()),
    ),
    "p-value out of range": (
        contract.check_finite_and_in_range,
        replace(CHI_SQUARE, pvalue=lambda groups: 1 + groups["value"]),
    ),
    "asymmetric": (
        contract.check_symmetric_if_declared,
        replace(DISTANCE, expression=lambda e, o: ((_shares(e) - _shares(o)) * _shares(e)).sum()),
    ),
    "depends on order": (
        contract.check_order_is_ignored_unless_ordinal,
        replace(DISTANCE, expression=lambda e, o: (_shares(e) - _shares(o)).first().abs()),
    ),
    "distance that grows with the rows": (
        contract.check_rows_times_ten,
        replace(DISTANCE, expression=lambda e, o: (e.cast(pl.Float64) - o).abs().sum()),
    ),
    "per-row statistic that does not grow": (
        contract.check_rows_times_ten,
        replace(CHI_SQUARE, expression=DISTANCE.expression),
    ),
    "smoothing that depends on the rows": (
        contract.check_rows_times_ten,
        replace(METHODS["population_stability_index"], expression=lambda e, o: (e.sum() + o.sum()).cast(pl.Float64)),
    ),
    "p-value that rises with the rows": (
        contract.check_rows_times_ten,
        replace(CHI_SQUARE, pvalue=lambda groups: 1 - 1 / (1 + groups["value"])),
    ),
    "zero without rows": (
        contract.check_no_rows_is_nan,
        replace(DISTANCE, expression=lambda e, o: (_shares(e) - _shares(o)).abs().sum().fill_nan(0.0)),
    ),
    "mean over all bins": (
        contract.check_bins_empty_on_both_sides,
        replace(DISTANCE, expression=lambda e, o: (_shares(e) - _shares(o)).abs().mean()),
    ),
    "smoothing kept quiet": (
        contract.check_bins_empty_on_both_sides,
        replace(METHODS["population_stability_index"], undefined="Nothing."),
    ),
    "writes into its inputs": (
        contract.check_inputs_are_not_changed,
        replace(
            DISTANCE,
            expression=lambda e, o: (e + o.map_batches(_overwrite, return_dtype=pl.UInt64)).sum().cast(pl.Float64),
        ),
    ),
    "differences that wrap": (
        contract.check_dtypes_agree,
        replace(DISTANCE, expression=lambda e, o: (e - o).max().cast(pl.Float64)),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_checks_refuse_broken_methods(name: str) -> None:
    """A check that passes for a good method fails for one that breaks it, on the very same case."""
    check, broken = BROKEN[name]
    case = replace(CASE, bins=pl.concat([CASE.bins], rechunk=True))
    check(METHODS[broken.key], case)  # The case itself is good.
    with pytest.raises(AssertionError):
        check(broken, case)


def test_every_case_check_is_seen_to_fail() -> None:
    """No check of the contract is without a method that it refuses."""
    assert {check for check, _ in BROKEN.values()} == set(contract.CASE_CHECKS)


def _undocumented(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Difference of the rows."""
    return expected.sum() - observed.sum()


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (contract.check_declares_what_it_takes, replace(SHANNON, inputs=("observed", "expected"))),
        (contract.check_declares_what_it_takes, replace(CHI_SQUARE, extras={"dof": lambda counts: counts})),
        (contract.check_documents_itself, replace(SHANNON, expression=_undocumented)),
        (contract.check_documents_itself, replace(SHANNON, reference="A book")),
        (contract.check_documents_itself, replace(SHANNON, misleads=" ")),
        (contract.check_documents_itself, replace(SHANNON, numeric=False, categorical=False)),
    ],
)
def test_spec_checks_refuse_broken_declarations(check: Callable[[MethodSpec], None], broken: MethodSpec) -> None:
    """A declaration that does not fit its code, or says too little, is refused."""
    with pytest.raises(AssertionError):
        check(broken)
