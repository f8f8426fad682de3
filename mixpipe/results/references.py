"""What the methods rest on, with what a bibliography needs.

`python -m mixpipe.results.references docs/references.bib` writes all of it for the manual.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mixpipe.base.latex import latex_text


@dataclass(frozen=True)
class Reference:
    """A publication, or a program.

    Parameters
    ----------
    short : str
        Authors, as a text cites them.
    year : int
    kind : str
        Type of its entry in BibTeX.
    authors : tuple of str
        ``Surname, Initials``; a name in braces stays as it is.
    title : str
    place : str
        Journal, volume and pages, for a list of references.
    fields : tuple of (str, str)
        The rest of its entry in BibTeX.
    """

    short: str
    year: int
    kind: str
    authors: tuple[str, ...]
    title: str
    place: str
    fields: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The reference as a line of a list.

        >>> print(REFERENCES["schwarz1978"].text)
        Schwarz, G. 1978, Estimating the dimension of a model, Annals of Statistics, 6, 461, doi:10.1214/aos/1176344136
        """
        names = "; ".join(name.strip("{}") for name in self.authors).replace("; others", " et al.")
        doi = dict(self.fields).get("doi")
        return f"{names} {self.year}, {self.title}, {self.place}" + (f", doi:{doi}" if doi else "")

    def bibtex(self, key: str) -> str:
        """The entry in BibTeX.

        >>> print(REFERENCES["schwarz1978"].bibtex("schwarz1978"))
        @article{schwarz1978,
          author = {Schwarz, G.},
          title = {{Estimating the dimension of a model}},
          year = {1978},
          journal = {Annals of Statistics},
          volume = {6},
          pages = {461--464},
          doi = {10.1214/aos/1176344136},
        }
        """
        entries = {
            "author": " and ".join(self.authors),
            "title": f"{{{latex_text(self.title)}}}",
            "year": str(self.year),
            **dict(self.fields),
        }
        lines = (f"  {name} = {{{value}}},\n" for name, value in entries.items())
        return f"@{self.kind}{{{key},\n{''.join(lines)}}}"


def _article(
    short: str, year: int, authors: str, title: str, journal: str, volume: str, pages: str, doi: str
) -> Reference:
    """An article, with its authors separated by semicolons."""
    place = f"{journal}, {volume}, {pages.partition('-')[0]}"
    fields = (("journal", journal), ("volume", volume), ("pages", pages), ("doi", doi))
    return Reference(short, year, "article", tuple(authors.split("; ")), title, place, fields)


REFERENCES = {
    "akaike1974": _article(
        "Akaike", 1974, "Akaike, H.", "A new look at the statistical model identification",
        "IEEE Transactions on Automatic Control", "19", "716--723", "10.1109/TAC.1974.1100705",
    ),
    "ashman1994": _article(
        "Ashman, Bird & Zepf", 1994, "Ashman, K. M.; Bird, C. M.; Zepf, S. E.",
        "Detecting bimodality in astronomical datasets", "The Astronomical Journal", "108", "2348--2361",
        "10.1086/117248",
    ),
    "astropy2022": _article(
        "Astropy Collaboration", 2022, "{Astropy Collaboration}",
        "The Astropy Project: sustaining and growing a community-oriented open-source project and the latest major "
        "release (v5.0) of the core package",
        "The Astrophysical Journal", "935", "167", "10.3847/1538-4357/ac7c74",
    ),
    "benjamini1995": _article(
        "Benjamini & Hochberg", 1995, "Benjamini, Y.; Hochberg, Y.",
        "Controlling the false discovery rate: a practical and powerful approach to multiple testing",
        "Journal of the Royal Statistical Society B", "57", "289--300", "10.1111/j.2517-6161.1995.tb02031.x",
    ),
    "biernacki2000": _article(
        "Biernacki, Celeux & Govaert", 2000, "Biernacki, C.; Celeux, G.; Govaert, G.",
        "Assessing a mixture model for clustering with the integrated completed likelihood",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence", "22", "719--725", "10.1109/34.865189",
    ),
    "bovy2011": _article(
        "Bovy, Hogg & Roweis", 2011, "Bovy, J.; Hogg, D. W.; Roweis, S. T.",
        "Extreme deconvolution: inferring complete distribution functions from noisy, heterogeneous and incomplete "
        "observations",
        "Annals of Applied Statistics", "5", "1657--1677", "10.1214/10-AOAS439",
    ),
    "durbin1973": _article(
        "Durbin", 1973, "Durbin, J.",
        "Weak convergence of the sample distribution function when parameters are estimated",
        "Annals of Statistics", "1", "279--290", "10.1214/aos/1176342365",
    ),
    "efron1979": _article(
        "Efron", 1979, "Efron, B.", "Bootstrap methods: another look at the jackknife",
        "Annals of Statistics", "7", "1--26", "10.1214/aos/1176344552",
    ),
    "efron1981": _article(
        "Efron", 1981, "Efron, B.", "Nonparametric standard errors and confidence intervals",
        "Canadian Journal of Statistics", "9", "139--158", "10.2307/3314608",
    ),
    "fraley2007": _article(
        "Fraley & Raftery", 2007, "Fraley, C.; Raftery, A. E.",
        "Bayesian regularization for normal mixture estimation and model-based clustering",
        "Journal of Classification", "24", "155--181", "10.1007/s00357-007-0004-5",
    ),
    "freedman1981": _article(
        "Freedman & Diaconis", 1981, "Freedman, D.; Diaconis, P.", "On the histogram as a density estimator: L2 theory",
        "Zeitschrift für Wahrscheinlichkeitstheorie und verwandte Gebiete", "57", "453--476", "10.1007/BF01025868",
    ),
    "golub1973": _article(
        "Golub & Pereyra", 1973, "Golub, G. H.; Pereyra, V.",
        "The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate",
        "SIAM Journal on Numerical Analysis", "10", "413--432", "10.1137/0710036",
    ),
    "harris2020": _article(
        "Harris et al.", 2020, "Harris, C. R.; Millman, K. J.; van der Walt, S. J.; others",
        "Array programming with NumPy", "Nature", "585", "357--362", "10.1038/s41586-020-2649-2",
    ),
    "hartigan1985": _article(
        "Hartigan & Hartigan", 1985, "Hartigan, J. A.; Hartigan, P. M.", "The dip test of unimodality",
        "Annals of Statistics", "13", "70--84", "10.1214/aos/1176346577",
    ),
    "heitjan1991": _article(
        "Heitjan & Rubin", 1991, "Heitjan, D. F.; Rubin, D. B.", "Ignorability and coarse data",
        "Annals of Statistics", "19", "2244--2253", "10.1214/aos/1176348396",
    ),
    "hogg2010": _article(
        "Hogg, Myers & Bovy", 2010, "Hogg, D. W.; Myers, A. D.; Bovy, J.", "Inferring the eccentricity distribution",
        "The Astrophysical Journal", "725", "2166--2175", "10.1088/0004-637X/725/2/2166",
    ),
    "huber1967": Reference(
        "Huber", 1967, "inproceedings", ("Huber, P. J.",),
        "The behavior of maximum likelihood estimates under nonstandard conditions",
        "Proceedings of the Fifth Berkeley Symposium on Mathematical Statistics and Probability, 1, 221",
        (
            ("booktitle", "Proceedings of the Fifth Berkeley Symposium on Mathematical Statistics and Probability"),
            ("volume", "1"), ("pages", "221--233"), ("publisher", "University of California Press"),
        ),
    ),
    "kass1995": _article(
        "Kass & Raftery", 1995, "Kass, R. E.; Raftery, A. E.", "Bayes factors",
        "Journal of the American Statistical Association", "90", "773--795", "10.1080/01621459.1995.10476572",
    ),
    "kish1965": Reference(
        "Kish", 1965, "book", ("Kish, L.",), "Survey sampling", "New York: Wiley",
        (("publisher", "Wiley"), ("address", "New York")),
    ),
    "lam2015": Reference(
        "Lam, Pitrou & Seibert", 2015, "inproceedings", ("Lam, S. K.", "Pitrou, A.", "Seibert, S."),
        "Numba: a LLVM-based Python JIT compiler",
        "Proceedings of the Second Workshop on the LLVM Compiler Infrastructure in HPC, 1",
        (
            ("booktitle", "Proceedings of the Second Workshop on the LLVM Compiler Infrastructure in HPC"),
            ("pages", "1--6"), ("doi", "10.1145/2833157.2833162"),
        ),
    ),
    "lindsay1983": _article(
        "Lindsay", 1983, "Lindsay, B. G.", "The geometry of mixture likelihoods: a general theory",
        "Annals of Statistics", "11", "86--94", "10.1214/aos/1176346059",
    ),
    "mclachlan1987": _article(
        "McLachlan", 1987, "McLachlan, G. J.",
        "On bootstrapping the likelihood ratio test statistic for the number of components in a normal mixture",
        "Applied Statistics", "36", "318--324", "10.2307/2347790",
    ),
    "pearson1894": _article(
        "Pearson", 1894, "Pearson, K.", "Contributions to the mathematical theory of evolution",
        "Philosophical Transactions of the Royal Society of London A", "185", "71--110", "10.1098/rsta.1894.0003",
    ),
    "rao1948": _article(
        "Rao", 1948, "Rao, C. R.",
        "Large sample tests of statistical hypotheses concerning several parameters with applications to problems of "
        "estimation",
        "Mathematical Proceedings of the Cambridge Philosophical Society", "44", "50--57", "10.1017/S0305004100023987",
    ),
    "schwarz1978": _article(
        "Schwarz", 1978, "Schwarz, G.", "Estimating the dimension of a model",
        "Annals of Statistics", "6", "461--464", "10.1214/aos/1176344136",
    ),
    "self1987": _article(
        "Self & Liang", 1987, "Self, S. G.; Liang, K.-Y.",
        "Asymptotic properties of maximum likelihood estimators and likelihood ratio tests under nonstandard "
        "conditions",
        "Journal of the American Statistical Association", "82", "605--610", "10.1080/01621459.1987.10478472",
    ),
    "virtanen2020": _article(
        "Virtanen et al.", 2020, "Virtanen, P.; Gommers, R.; Oliphant, T. E.; others",
        "SciPy 1.0: fundamental algorithms for scientific computing in Python",
        "Nature Methods", "17", "261--272", "10.1038/s41592-019-0686-2",
    ),
    "wang2007": _article(
        "Wang", 2007, "Wang, Y.",
        "On fast computation of the non-parametric maximum likelihood estimate of a mixing distribution",
        "Journal of the Royal Statistical Society B", "69", "185--198", "10.1111/j.1467-9868.2007.00583.x",
    ),
    "wu2020": _article(
        "Wu & Yang", 2020, "Wu, Y.; Yang, P.", "Optimal estimation of Gaussian mixtures via denoised method of moments",
        "Annals of Statistics", "48", "1981--2007", "10.1214/19-AOS1873",
    ),
}  # fmt: skip


def bibliography(keys: Iterable[str]) -> str:
    """The entries of some references in BibTeX, in the order of their keys."""
    return "".join(f"{REFERENCES[key].bibtex(key)}\n\n" for key in sorted(set(keys))).rstrip("\n") + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(bibliography(REFERENCES), encoding="utf-8")
