"""Properties that hold for any data: hypothesis looks for the data where they do not."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mixpipe
from tests import reference as ref

# A component that has lost all its weight makes the standard errors overflow: test_uncertainty has that case.

few = settings(max_examples=25, derandomize=True, deadline=None)


@st.composite
def catalogs(draw):
    """Values in one to three clumps with errors over two decades; ties and repeated rows included."""
    n = draw(st.integers(3, 40))
    centres = draw(st.lists(st.integers(-20, 20), min_size=1, max_size=3))
    offsets = draw(st.lists(st.floats(-2.0, 2.0), min_size=n, max_size=n))
    x = np.array([centres[i % len(centres)] + offset for i, offset in enumerate(offsets)])
    err = np.array(draw(st.lists(st.floats(0.05, 5.0), min_size=n, max_size=n)))
    return x, err


@few
@given(catalogs(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(catalog, random):
    x, err = catalog
    order = list(range(x.size))
    random.shuffle(order)
    one, other = mixpipe.fit_mixture(x, err, 2), mixpipe.fit_mixture(x[order], err[order], 2)
    # Both are within 1e-9 nats of a maximum; round-off may decide between starts of equal height only.
    assert abs(one.loglik - other.loglik) < 1e-5


@few
@given(catalogs(), st.sampled_from([-1.0, 1e-6, 0.3, 7.0, 1e5]), st.sampled_from([0.0, -3.0, 1000.0]))
def test_loglik_moves_with_the_unit(catalog, scale, shift):
    """But for the floor, which knows decimal places."""
    x, err = catalog
    shift *= abs(scale)
    one = mixpipe.fit_mixture(x, err, 2, sigma_floor=0.0)
    other = mixpipe.fit_mixture(scale * x + shift, abs(scale) * err, 2, sigma_floor=0.0)
    assert abs(other.loglik + x.size * np.log(abs(scale)) - one.loglik) < 1e-5


@few
@example((np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.125, 1.0])))
@given(catalogs())
def test_loglik_never_falls_as_components_are_added(catalog):
    fits = mixpipe.choose_n_components(*catalog, max_components=4).fits
    assert np.all(np.diff([fit.loglik for fit in fits]) >= 0.0)


@few
@given(catalogs())
def test_a_fit_converges_to_its_own_fixed_point_inside_the_data(catalog):
    x, err = catalog
    fit = mixpipe.fit_mixture(x, err, 2)
    mixture = fit.mixture
    assert fit.converged
    assert np.all((mixture.means >= x.min() - 1e-6) & (mixture.means <= x.max() + 1e-6))
    resp = ref.responsibilities(
        x.tolist(), err.tolist(), mixture.weights.tolist(), mixture.means.tolist(), mixture.sigmas.tolist()
    )
    # The score of ln w has a scatter of sqrt(N w); 1e-9 nats leave 4.5e-5 of it, and flat directions a little more.
    assert np.all(np.abs(np.sum(resp, axis=0) - x.size * mixture.weights) < 1e-3 * np.sqrt(x.size))


def score(x, err, fit):
    """The log-likelihood, less what components on a row or two owe."""
    m = fit.mixture
    return fit.loglik - ref.occam(x.tolist(), err.tolist(), m.weights.tolist(), m.means.tolist(), m.sigmas.tolist())


# Starts from the grid end on two rows here; the regular maximum is a narrow component inside a wide one.
NESTED_X = [0.0] * 5 + [1.75, 0.5, 0.0, -0.75, -0.25, *[0.0] * 5, 2.0, 1.25, -1.5, -0.5, *[0.0] * 5, 1.0, 0.0, -1.0]
NESTED_X += [0.0, 0.0, 1.0, 0.0, 0.25, 0.875, 0.0, 0.0, 1.75, 0.5, -1.75, 0.0, 0.0]
NESTED_ERR = [1.0, 1.0, 2.0, 2.0, 0.5, 1.5, 0.625, 2.0, 2.0, 1.0, 1.0, 2.0, 1.0, 2.0, 2.0, 3.0, 3.0, 1.0, 1.0, 1.0]
NESTED_ERR += [2.0] * 4 + [3.0, 2.0, 0.625, 2.0, 2.0, 2.0, 0.5, 1.0, 0.25, *[1.0] * 4, 0.25, 2.0, 2.0]


@few
@example((np.array(NESTED_X), np.array(NESTED_ERR)), 2)
@example((np.array([*NESTED_X[:5], 0.0, *NESTED_X[5:7], *NESTED_X[8:]]), np.array(NESTED_ERR)), 2)
@given(catalogs(), st.integers(2, 5))
def test_repeating_all_rows_changes_the_loglik_only(catalog, times):
    """And how many rows a component rests on: of the maxima that are regular already without, none is lost."""
    x, err = catalog
    x_many, err_many = np.tile(x, times), np.tile(err, times)
    one = mixpipe.fit_mixture(x, err, 2, sigma_floor=0.0)
    many = mixpipe.fit_mixture(x_many, err_many, 2, sigma_floor=0.0)
    slack = 1e-5 * times
    assert score(x_many, err_many, many) >= times * score(x, err, one) - slack
    if np.all(many.effective_rows > 3.0 * times):
        assert abs(many.loglik - times * one.loglik) < slack


@few
@given(catalogs())
def test_responsibilities_and_posteriors_are_between_their_bounds(catalog):
    x, err = catalog
    mixture = mixpipe.fit_mixture(x, err, 2).mixture
    resp = mixture.responsibilities(x, err)
    assert np.all(np.abs(resp.sum(axis=1) - 1.0) < 1e-12)
    mean, unc = mixture.posterior(x, err)
    low, high = np.minimum(x, mixture.means.min()), np.maximum(x, mixture.means.max())
    assert np.all((mean >= low - 1e-9) & (mean <= high + 1e-9))
    # Between the components and within each: never more than their distance and the error together.
    assert np.all(unc <= np.hypot(err, (high - low)) + 1e-9)
