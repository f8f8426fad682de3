"""Row cuts and configurations under atheris, which looks for input that reaches new code.

pip install atheris
python tests/fuzz/cuts.py -atheris_runs=100000
"""

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["mixpipe", "yaml"]):
    import numpy as np
    from astropy.table import Table

    from mixpipe.base.errors import MixpipeError
    from mixpipe.catalog.expressions import Expression
    from mixpipe.config.settings import parse_config

TABLE = Table({"x": [1.0, np.nan, -3.0], "n": [1, 2, 3], "name": ["a", "", "c"]})


def try_input(content: bytes) -> None:
    """One cut, on its own and as a setting."""
    provider = atheris.FuzzedDataProvider(content)
    text = provider.ConsumeUnicodeNoSurrogates(200)
    with contextlib.suppress(MixpipeError):
        Expression.parse(text).evaluate(TABLE)
    catalog = {"releases": {text[:10]: text}, "columns": {text[:5]: {"value": text}}, "where": text}
    with contextlib.suppress(MixpipeError):
        parse_config({"catalogs": {"stars": catalog}, "results": text})


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_input)
    atheris.Fuzz()
