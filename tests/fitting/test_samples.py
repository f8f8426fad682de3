"""Rows whose measurements are samples of posteriors, against the definition of their likelihood."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from click.testing import CliRunner
from scipy.special import logsumexp
from scipy.stats import norm

import mixpipe
from mixpipe import cli
from mixpipe.assess.assessment import assess_fit
from mixpipe.assess.effort import Effort
from mixpipe.base.errors import ConfigError
from mixpipe.config.settings import parse_config
from mixpipe.model.cells import Cells
from mixpipe.model.mixture import Mixture
from mixpipe.model.noise import samples_noise
from tests.campaign import campaign, study

pytestmark = pytest.mark.filterwarnings("error")


def catalog(n=100, seed=0, n_samples=200):
    """Values with Gaussian errors of two populations, and samples of their posteriors for a constant prior."""
    rng = np.random.default_rng(seed)
    old = rng.random(n) < 0.3
    err = rng.lognormal(-1.0, 0.4, n)
    x = np.where(old, rng.normal(0.0, 1.0, n), rng.normal(4.0, 0.7, n)) + err * rng.normal(size=n)
    # Quantiles rather than draws, so that no scatter is added.
    quantiles = norm.ppf((np.arange(n_samples) + 0.5) / n_samples)
    return x, err, x[:, None] + err[:, None] * rng.permuted(np.tile(quantiles, (n, 1)), axis=1)


def test_the_likelihood_is_the_mean_over_the_samples_divided_by_the_prior():
    _, _, samples = catalog(20, n_samples=2000)
    prior = np.exp(-0.1 * samples)
    mixture = Mixture([0.4, 0.6], [0.0, 4.0], [1.0, 0.7])
    logs = mixture.logpdf(samples) - np.log(prior)
    # The noise has the weights 1 / prior, normalised for each row.
    expected = logsumexp(logs, axis=1) - logsumexp(-np.log(prior), axis=1)
    cells = Cells.from_samples(samples, prior)
    np.testing.assert_allclose(mixture.logpdf(cells.x, cells.noise), expected, atol=2e-3)


def test_groups_keep_mean_and_variance():
    _, _, samples = catalog(30)
    weights = 1.0 + 0.5 * np.sin(samples)
    x, noise = samples_noise(samples, 1.0 / weights)
    share = weights / weights.sum(axis=1, keepdims=True)
    mean = np.sum(share * samples, axis=1)
    np.testing.assert_allclose(x, mean, rtol=1e-12)
    np.testing.assert_allclose(noise.typical**2, np.sum(share * (samples - mean[:, None]) ** 2, axis=1), rtol=1e-10)
    assert np.exp(noise.log_shares).sum(axis=1) == pytest.approx(1.0)


def test_fits_are_those_of_the_values_with_errors():
    x, err, samples = catalog()
    found = mixpipe.fit_mixture(Cells.from_samples(samples), n_components=2)
    plain = mixpipe.fit_mixture(x, err, 2)
    for part in ("weights", "means", "sigmas"):
        unc = getattr(plain.uncertainties, part)
        assert np.all(np.abs(getattr(found.mixture, part) - getattr(plain.mixture, part)) < 0.15 * unc)
        assert getattr(found.uncertainties, part) == pytest.approx(unc, rel=0.05)
    assert found.converged


def test_an_interim_prior_is_taken_out():
    x, err, _ = catalog()
    # Posteriors under a normal prior of width 1.5 around 0 are pulled towards 0.
    variance = 1.0 / (1.0 / err**2 + 1.0 / 1.5**2)
    quantiles = norm.ppf((np.arange(1000) + 0.5) / 1000)
    samples = (variance * x / err**2)[:, None] + np.sqrt(variance)[:, None] * quantiles
    pulled = mixpipe.fit_mixture(Cells.from_samples(samples), n_components=2)
    found = mixpipe.fit_mixture(Cells.from_samples(samples, norm.pdf(samples, 0.0, 1.5)), n_components=2)
    plain = mixpipe.fit_mixture(x, err, 2)
    assert abs(pulled.mixture.means[1] - plain.mixture.means[1]) > 2.0 * plain.uncertainties.means[1]
    assert np.all(np.abs(found.mixture.means - plain.mixture.means) < 0.4 * plain.uncertainties.means)


@campaign
def test_members_and_what_cannot_be_said():
    x, err, samples = catalog()
    cells = Cells.from_samples(samples)
    fit = mixpipe.fit_mixture(cells, n_components=2, fixed={"means": [0.0]})
    assert 0.0 in fit.mixture.means
    ours, plain = fit.mixture.posterior(cells.x, cells.noise), fit.mixture.posterior(x, err)
    np.testing.assert_allclose(ours[0], plain[0], atol=0.05)
    found = assess_fit(cells, fit, Effort(quality_draws=99, likelihood_ratio=19))
    assert math.isnan(found.quality.ks) and found.quality.verdict == "untested"
    assert any("catalogs cannot be simulated" in text for text in found.fit.warnings)


@pytest.mark.parametrize(
    ("samples", "prior", "message"),
    [
        ([1.0, 2.0], None, "expected \\(n_rows, n_samples\\)"),
        ([[1.0, 2.0, 3.0, 4.0]], None, "1 rows have fewer than 5 samples"),
        ([[1.0, 2.0, 3.0, 4.0, np.nan]], None, "1 rows have fewer than 5 samples"),
        ([[1.0, 2.0, 3.0, 4.0, 5.0]], [[1.0, 1.0, 0.0, 1.0, 1.0]], "prior has 1 rows that are not positive"),
    ],
)
def test_mistakes_are_named(samples, prior, message):
    with pytest.raises(ValueError, match=message):
        Cells.from_samples(samples, prior)


@campaign
def test_files_of_samples(tmp_path, monkeypatch):
    """Arrays of one length in FITS, and lists of different lengths in Parquet."""
    monkeypatch.chdir(tmp_path)
    _, _, samples = catalog(40)
    Table({"z": samples, "p": np.ones_like(samples)}).write("a.fits")
    lists = [row[: 100 + k] for k, row in enumerate(samples)]
    pq.write_table(pa.table({"z": pa.array([*lists, [1.0]], pa.list_(pa.float64()))}), "b.parquet")
    for file, words in (("a.fits", "40 used"), ("b.parquet", "41 rows read, 40 used, dropped: 1 missing value")):
        done = CliRunner().invoke(
            cli.main, ["fit", file, "--value", "z", "--kind", "samples", "--n-components", "1", "--out", f"o_{file}"]
        )
        assert done.exit_code == 0, done.output
        assert words in done.output and "goodness of fit: untested" in done.output


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "samples", "error": "e"}, "key 'error' with kind samples"),
        ({"kind": "samples", "truncated": [0, 1]}, "key 'truncated' with kind samples"),
        ({"sample_prior": "p"}, "sample_prior without samples"),
    ],
)
def test_mistakes_in_the_configuration(keys, message):
    with pytest.raises(ConfigError, match=message):
        parse_config({"catalogs": {"s": {"releases": {"a": "none.fits"}, "columns": {"z": keys}}}})


@study
def test_the_truth_is_recovered_with_its_uncertainty():
    truth = np.array([0.3, 0.7, 0.0, 4.0, 1.0, 0.7])
    n, scores = 60, []
    for seed in range(n):
        rng = np.random.default_rng(1000 + seed)
        x, err, samples = catalog(200, seed, 100)
        # Draws that scatter, as those of a sampler do.
        samples = x[:, None] + err[:, None] * rng.standard_normal(samples.shape)
        fit = mixpipe.fit_mixture(Cells.from_samples(samples), n_components=2, n_threads=1)
        found, unc = (
            np.concatenate([part.weights, part.means, part.sigmas]) for part in (fit.mixture, fit.uncertainties)
        )
        scores.append((found - truth) / unc)
    scores = np.array(scores)
    assert np.all(np.abs(scores.mean(axis=0)) < 4.0 / math.sqrt(n) + 0.1)
    assert np.all(np.abs(np.mean(np.abs(scores) < 1.0, axis=0) - 0.683) < 4.0 * math.sqrt(0.683 * 0.317 / n))
