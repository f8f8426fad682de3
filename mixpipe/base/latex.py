"""Numbers and text as LaTeX: escaped, and with the digits that their uncertainties allow."""

from __future__ import annotations

import math
import re

from mixpipe.base.presentation import decimal_places, rounded, second_digit

# Characters with a meaning of their own in LaTeX.
_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''",
}  # fmt: skip
# Symbols that fonts of LaTeX have in formulas only, or under another name.
_SYMBOLS = {
    "☉": r"\odot", "⊙": r"\odot", "⊕": r"\oplus", "±": r"\pm", "×": r"\times", "·": r"\cdot", "−": "-", "≤": r"\le",
    "≥": r"\ge", "≈": r"\approx", "∞": r"\infty", "√": r"\surd", "′": "'", "″": "''", "°": r"^\circ",
    "²": "^2", "³": "^3", "¹": "^1", "⁻": "^-",
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\epsilon", "ζ": r"\zeta", "η": r"\eta",
    "θ": r"\theta", "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "µ": r"\mu", "ν": r"\nu", "ξ": r"\xi", "π": r"\pi",
    "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "φ": r"\phi", "χ": r"\chi", "ψ": r"\psi", "ω": r"\omega",
    "Γ": r"\Gamma", "Δ": r"\Delta", "Λ": r"\Lambda", "Σ": r"\Sigma", "Φ": r"\Phi", "Ω": r"\Omega",
}  # fmt: skip
_LETTERS = {"Å": r"\AA{}", "–": "--", "—": "---", "’": "'", "‘": "`", "“": "``", "”": "''", "\u00a0": "~"}
# A number with an exponent, as Python writes it.
_EXPONENT = re.compile(r"(\d)e([+-]?)0*(\d+)")


def latex_text(text: str) -> str:
    r"""Text for LaTeX, with everything escaped that has a meaning there.

    >>> print(latex_text("[Fe/H] of 95 % in M_☉ & µas"))
    [Fe/H] of 95 \% in M\_$\odot$ \& $\mu$as
    """
    return "".join(
        _ESCAPED.get(letter) or _LETTERS.get(letter) or (f"${_SYMBOLS[letter]}$" if letter in _SYMBOLS else letter)
        for letter in text
    )


def latex_math(text: str) -> str:
    r"""A short formula as LaTeX: words are upright, single letters are variables, and exponents are powers of ten.

    >>> print(latex_math("ΔBIC = -12,345.6"), latex_math("ln L = 1"), latex_math("σ = 2.5e-07"), latex_math("95 %"))
    $\Delta\mathrm{BIC} = -12{,}345.6$ $\ln L = 1$ $\sigma = 2.5 \times 10^{-7}$ $95\,\%$
    """
    powers = _EXPONENT.sub(lambda found: rf"{found[1]} × 10^{{{found[2].strip('+')}{found[3]}}}", text)
    escaped = powers.replace(",", "{,}").replace(" %", r"\,\%")
    return f"${_with_symbols(re.sub('[A-Za-z]{2,}', _upright, escaped))}$"


def _upright(word: re.Match[str]) -> str:
    return rf"\{word[0]}" if word[0] in ("ln", "log") else rf"\mathrm{{{word[0]}}}"


def _with_symbols(formula: str) -> str:
    """A formula with the commands of its symbols, which end before a letter by a space."""

    def command(found: re.Match[str]) -> str:
        name, after = _SYMBOLS[found[1]], found[2]
        return f"{name} {after}" if name[-1].isalpha() and after.isalpha() else f"{name}{after}"

    return re.sub(f"([{''.join(_SYMBOLS)}])(.?)", command, formula)


def latex_measured(value: float, lower: float = math.nan, upper: float | None = None) -> str:
    r"""Format a value with its uncertainty, or with those below and above it, to two digits of the smaller one.

    Both sides are one if they are equal in these digits. A value without an uncertainty has those of `rounded`.

    >>> print(latex_measured(1.345678, 0.0206), latex_measured(1.345678, 0.0196, 0.0224), latex_measured(0.3))
    $1.346 \pm 0.021$ $1.346^{+0.022}_{-0.020}$ $0.3$
    >>> print(latex_measured(8.27e8, 8.6e7), latex_measured(-5652.3, 2090.1), latex_measured(0.144, 0.0361, 0.107))
    $(8.27 \pm 0.86) \times 10^{8}$ $-5700 \pm 2100$ $0.144^{+0.107}_{-0.036}$
    """
    sides = (lower, lower if upper is None else upper)
    known = [side for side in sides if math.isfinite(side) and side > 0.0]
    if not known or not all(math.isfinite(side) and side >= 0.0 for side in sides):
        return latex_math(rounded(value, math.nan))
    exponent = 0
    places = decimal_places(min(known))
    if places is None:
        exponent = math.floor(math.log10(max(abs(value), *sides)))
        places = second_digit(min(known)) + exponent
    middle, below, above = (_fixed(number / 10.0**exponent, places) for number in (value, *sides))
    if below == above:
        text = rf"{middle} \pm {above}"
        text = text if not exponent else f"({text})"
    else:
        text = f"{middle}^{{+{above}}}_{{-{below}}}"
    return f"${text}$" if not exponent else rf"${text} \times 10^{{{exponent}}}$"


def _fixed(value: float, places: int) -> str:
    text = f"{round(value, places):.{max(places, 0)}f}"
    return text if float(text) else text.lstrip("-")
