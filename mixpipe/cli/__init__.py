"""The console script `mixpipe`. Only click is imported here: `mixpipe --help` must not wait for anything else."""

from __future__ import annotations

import atexit
import gc
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click
from click.shell_completion import CompletionItem

import mixpipe
import mixpipe.base.blas  # before NumPy
from mixpipe.base.caches import find_home
from mixpipe.base.errors import MixpipeError
from mixpipe.base.frames import call_in_one_piece
from mixpipe.base.interrupts import received, told, watch_interrupts
from mixpipe.catalog.source import FORMATS
from mixpipe.cli.complaints import complain

# Imports leave some hundred thousand objects that stay: with Python's own 700 the garbage collector would look at them
# all again and again, for a tenth of the time of a fit.
_COLLECTED_AFTER = 50_000
# Of the shells: the process was ended by Ctrl-C.
_INTERRUPTED = 130


class _Program(click.Group):
    """Says what the user can mend in one line, and exits with status 2."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        extra["standalone_mode"] = False
        gc.set_threshold(_COLLECTED_AFTER)
        find_home()
        # Nor at the end.
        atexit.register(gc.freeze)
        with watch_interrupts():
            status = call_in_one_piece(lambda: self._run(*args, **extra))
        sys.exit(status)

    def _run(self, *args: Any, **extra: Any) -> int:
        try:
            status: int = super().main(*args, **extra)
        except MixpipeError as error:
            complain(error)
            status = 2
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            status = error.exit_code
        except click.UsageError as error:
            complain(_mendable(error))
            status = 2
        except click.Abort:
            status = _INTERRUPTED
        return status

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Ctrl-C ends it in one line, whatever became of the exception on its way."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            # A job may have been ended by a Ctrl-C that this process has not seen.
            if not (received() or told() or isinstance(error, KeyboardInterrupt)):
                raise
            kept = "; what is done is kept, and the same command goes on from there"
            if not told():
                click.echo(f"mixpipe: interrupted{kept if ctx.invoked_subcommand == 'run' else ''}", err=True)
            raise click.Abort from None


def _mendable(error: click.UsageError) -> MixpipeError:
    what = (error.message or error.format_message()).rstrip(".")
    near = getattr(error, "possibilities", None)
    command = f"{error.ctx.command_path} --help" if error.ctx else "--help"
    expected = " or ".join(sorted(near)) if near else f"what '{command}' lists"
    return MixpipeError(what[:1].lower() + what[1:], "on the command line", expected)


class _Number(click.ParamType):
    """A number where the text is one; other text is left for the check against the schema."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if re.fullmatch(r"[+-]?[0-9]+", value):
            return int(value)
        return float(value) if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value) else value


class _Error(_Number):
    """A number, a pair of columns with a comma between, or a column."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "," in value:
            return [name.strip() for name in value.split(",")]
        return super().convert(value, param, ctx)


class _Word(click.ParamType):
    """One of some words, which the shell completes; the check against the schema knows all that is allowed."""

    name = "word"

    def __init__(self, words: str) -> None:
        self.words = words.split("|")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


class _Column(click.ParamType):
    """A column of FILE, which the shell completes if FILE stands in front."""

    name = "column"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from mixpipe.catalog.reading import list_columns

        # Click stops where the option has no value yet, and leaves FILE among what it did not look at.
        file = next((text for text in ctx.args if not text.startswith("-")), None)
        try:
            names = list(list_columns(file)) if file else []
        except MixpipeError:
            names = []
        return [CompletionItem(name) for name in names if name.startswith(incomplete) and name.isprintable()]


# The shell completes names of files; whether they are there is found out when they are read.
_FILE = click.Path(readable=False)


_Command = TypeVar("_Command", bound=Callable[..., Any])


def _reading(command: _Command) -> _Command:
    """The options that say how files are read, for the commands that look into them."""
    for option in (
        click.option(
            "--missing",
            metavar="V",
            multiple=True,
            type=_Number(),
            help="A text or number that stands for a missing value. May be repeated.",
        ),
        click.option("--decimal", metavar="D", help="CSV: the decimal mark, such as a comma for 9,81."),
        click.option("--delimiter", metavar="D", help="CSV: the character between two fields."),
        click.option("--path", metavar="P", help="HDF5: path of the table inside the file."),
        click.option("--hdu", metavar="H", type=_Number(), help="FITS: number or EXTNAME of the table."),
        click.option(
            "--format",
            metavar="F",
            type=_Word("|".join(FORMATS)),
            help=f"File format: {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
        ),
        click.option("--where", metavar="EXPR", help="Rows to keep, such as \"kind == 'NS-WD' and mass > 1\"."),
    ):
        command = option(command)
    return command


@click.group(cls=_Program, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(mixpipe.__version__, prog_name="mixpipe", message="%(prog)s %(version)s")
def main() -> None:
    """Gaussian mixtures for catalog columns with per-row measurement errors."""


@main.command("fit")
@click.argument("file", type=_FILE)
@click.option("--value", metavar="COL", type=_Column(), help="Column with the values.")
@click.option(
    "--joint",
    metavar="A,B,...",
    help="Columns to fit jointly, in place of --value; --error has a column for each, and --unit and others may.",
)
@click.option(
    "--correlation",
    metavar="A,B,COL|COL|gaia",
    multiple=True,
    help="With --joint: column with the correlation of the errors of A and B. May be repeated.",
)
@click.option(
    "--structure",
    metavar="full|diagonal|spherical|equal",
    type=_Word("full|diagonal|spherical|equal"),
    help="With --joint: covariances of the components. Default: full.",
)
@click.option(
    "--bins",
    metavar="LOW,HIGH,COUNT",
    help="Columns of a histogram in place of --value: lower edge, upper edge and number of rows of each bin.",
)
@click.option(
    "--error",
    metavar="COL|UP,LO|NUMBER",
    type=_Error(),
    help="Measurement errors: a column, a pair of columns for upper and lower errors, or one number. Default: none.",
)
@click.option(
    "--error-kind",
    metavar="sigma|variance|ivar",
    type=_Word("sigma|variance|ivar"),
    help="Whether the errors are standard deviations, variances or inverse variances. Default: sigma.",
)
@click.option(
    "--error-model",
    metavar="two_sided|symmetric|student_t",
    type=_Word("two_sided|symmetric|student_t"),
    help="How errors are distributed. Default: two_sided for a pair, symmetric otherwise.",
)
@click.option("--error-dof", metavar="NU", type=_Number(), help="Degrees of freedom, for --error-model student_t.")
@click.option(
    "--error-scale",
    metavar="F|fit",
    type=_Number(),
    help="Factor that turns the errors into one-sigma errors; with fit, it is fitted, too.",
)
@click.option("--error-floor", metavar="F", type=_Number(), help="An error that is added to all errors in quadrature.")
@click.option(
    "--sigma-floor", metavar="S", type=_Number(), help="Lower bound on the sigmas. Default: what the values resolve."
)
@click.option(
    "--rounding",
    metavar="STEP|'N digits'|'N digits, step STEP'|none",
    type=_Number(),
    help="How values were rounded; the intervals are fitted. Default: found, and used where it matters.",
)
@click.option("--weight", metavar="COL", type=_Column(), help="Column of row weights.")
@click.option(
    "--weight-kind",
    metavar="auto|counts|importance",
    type=_Word("auto|counts|importance"),
    help="What the weights are: numbers of rows, or shares of the population. Default: auto.",
)
@click.option(
    "--transform",
    metavar="log10|ln",
    type=_Word("log10|ln"),
    help="Fit the logarithm of the values, with the errors propagated.",
)
@click.option("--unit", metavar="UNIT", help="Convert values and errors to this unit.")
@click.option("--file-unit", metavar="UNIT", help="Unit of values and errors in the file, whatever the file says.")
@click.option("--n-components", metavar="M", type=_Number(), help="Fit this number of components.")
@click.option("--max-components", metavar="K", type=_Number(), help="Try 1 to K components. Default: 10.")
@click.option(
    "--criterion",
    metavar="bic|aic|icl",
    type=_Word("bic|aic|icl"),
    help="Criterion by which the number of components is chosen. Default: bic.",
)
@click.option(
    "--estimator",
    metavar="em|moments|density",
    type=_Word("em|moments|density"),
    help="How the mixture is estimated. Default: em, maximum likelihood.",
)
@click.option(
    "--families", metavar="F", multiple=True, help="Family of the components. If it is repeated, BIC chooses."
)
@click.option(
    "--background",
    metavar="uniform|LO,HI",
    help="Add a uniform component, over the range of the values or from LO to HI.",
)
@click.option(
    "--mixed", metavar="F", multiple=True, help="Family that single components may have. Repeat it to mix families."
)
@click.option(
    "--fix",
    metavar="PART=V:J",
    multiple=True,
    help="Fix a weight, mean, sigma or shape of components: mean=0:2 for the mean of the second. May be repeated.",
)
@click.option(
    "--tie", metavar="PART=R:J", multiple=True, help="Keep weights, means or sigmas in the ratio of these numbers."
)
@click.option(
    "--known", metavar="mean=V,sigma=V,...", multiple=True, help="A component known from elsewhere. May be repeated."
)
@click.option("--equal-sigmas", is_flag=True, default=None, help="One width for all components.")
@click.option(
    "--kind",
    metavar="values|samples",
    type=_Word("values|samples"),
    help="What a row holds: a value, or samples of its posterior. Default: values.",
)
@click.option("--sample-prior", metavar="COL", type=_Column(), help="Column with the prior density of each sample.")
@click.option("--prior-rows", metavar="N", type=_Number(), help="A prior worth N rows for each component.")
@click.option("--start", metavar="MEAN,SIGMA;...", help="A mixture from which to climb in addition to the search.")
@click.option(
    "--membership",
    metavar="COL",
    multiple=True,
    help="Column with the labels of known members, or with prior probabilities. May be repeated.",
)
@click.option(
    "--limit-flag",
    metavar="COL",
    type=_Column(),
    help="Column that marks limits: < or 1 for upper, > or -1 for lower ones.",
)
@click.option(
    "--upper-limit", metavar="COL", type=_Column(), help="Column with upper limits, for rows without a value."
)
@click.option(
    "--lower-limit", metavar="COL", type=_Column(), help="Column with lower limits, for rows without a value."
)
@click.option(
    "--truncated",
    metavar="LO,HI[;LO,HI]",
    help="Bounds between which values had to lie: numbers or columns, one of them optional. Several pairs leave holes.",
)
@click.option(
    "--detection",
    metavar="FILE|V:P,V:P,...",
    help="Probabilities of detection P at values V, or a file with columns value and probability.",
)
@click.option("--bootstrap", metavar="B", type=_Number(), help="Compute uncertainties from B bootstrap draws.")
@click.option("--profile", is_flag=True, default=None, help="Compute profile-likelihood intervals, which --out writes.")
@click.option(
    "--likelihood-ratio", metavar="B", type=_Number(), help="Test for one more component by B simulated catalogs."
)
@click.option(
    "--bimodality",
    is_flag=True,
    default=None,
    help="Print the evidence for two populations: separation, likelihood ratio, dip and kurtosis.",
)
@click.option("--seed", metavar="S", type=_Number(), help="Seed of all random draws. Default: 1.")
@_reading
@click.option("--comment", metavar="C", help="CSV: skip lines that start with this.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("--figure", metavar="PATH", type=_FILE, help="Draw the data and the mixture: .png, .svg or .pdf.")
@click.option("--out", metavar="DIR", type=_FILE, help="Write all tables and figures of the fit into this folder.")
def _fit(**options: Any) -> None:
    """Fit a mixture to one column of FILE, or to several jointly, with the measurement errors removed."""
    if options["joint"] is not None:
        from mixpipe.cli.joint import fit_file_jointly

        fit_file_jointly(**options)
        return
    from mixpipe.cli.fitting import fit_file

    fit_file(**{name: value for name, value in options.items() if name != "joint"})


@main.command("init")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option("--out", metavar="PATH", type=_FILE, help="Write the configuration to this file instead of the terminal.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option(
    "--results", metavar="DIR", type=_FILE, default="results", help="Folder for the results. Default: results."
)
@click.option("--column", metavar="COL", type=_Column(), multiple=True, help="Fit this column only. May be repeated.")
@_reading
def _init(files: tuple[str, ...], **options: Any) -> None:
    """Print a configuration for FILEs, with the columns that are values and those that are their errors.

    Files whose names differ in a release (dr2, v1.1, 2024) are taken as releases of one catalog, and others with the
    same columns as parts of one release. Comments say why each column is fitted or left out.
    """
    from mixpipe.cli.init.starting import start_config

    text = start_config(files, **options)
    click.echo(text if text is not None else f"written: {options['out']}", nl=text is None)


@main.command("compare")
@click.argument("fit_old", type=_FILE)
@click.argument("fit_new", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--figure", metavar="PATH", type=_FILE, help="Draw both fits: .png, .svg or .pdf.")
@click.option(
    "--out", metavar="DIR", type=_FILE, help="Write components.csv, summary.csv and the figure into this folder."
)
def _compare(**options: Any) -> None:
    """Compare FIT_OLD with FIT_NEW: two releases, columns, cuts or estimators.

    Each is a fit.json or the folder that holds it, from a run or from `mixpipe fit --out`. The comparison says which
    populations appeared or vanished, which parameters differ and how significantly, and what became of the rows.
    """
    from mixpipe.cli.comparing import compare_files

    compare_files(**options)


def _places(command: Callable[..., None]) -> Callable[..., None]:
    """The options of all commands about a configuration that say where it is run."""
    directory = click.option(
        "--directory",
        metavar="DIR",
        type=_FILE,
        help="Folder from which relative paths start. Default: the current one.",
    )
    results = click.option(
        "--results", metavar="DIR", type=_FILE, help="Folder for the results, instead of the one in the configuration."
    )
    return directory(results(command))


@main.command("check")
@click.argument("config", type=_FILE)
@_places
def _check(config: str, **places: str | None) -> None:
    """Read CONFIG and its catalogs, and say what would be fitted.

    For each column, print its unit and its errors, how many rows would be used, and how many dropped and why.
    """
    from mixpipe.cli.checking import check_config

    problems = check_config(config, **places)
    for problem in problems:
        complain(problem)
    sys.exit(2 if problems else 0)


@main.command("verify")
@click.argument("results", type=_FILE)
@click.option(
    "--config", metavar="PATH", type=_FILE, help="The configuration. Default: the one that the run has recorded."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
def _verify(results: str, config: str | None, as_json: bool) -> None:
    """Compare the files in RESULTS, the folder of a run, with the hashes that the run recorded.

    Say which results and catalog files are missing, have changed or do not belong to this run, and which columns were
    fitted with settings other than those of the configuration. The exit status is 0 if everything is as recorded, and
    1 if not. Relative paths of catalog files start from the working directory, as in the run.
    """
    from mixpipe.cli.verifying import verify_folder

    sys.exit(0 if verify_folder(results, config=config, as_json=as_json) else 1)


@main.command("run", context_settings={"ignore_unknown_options": True})
@click.option(
    "--config",
    metavar="PATH",
    type=_FILE,
    default="config/config.yaml",
    help="The configuration. Default: config/config.yaml.",
)
@_places
@click.argument("arguments", metavar="[ARGUMENTS OF SNAKEMAKE]...", nargs=-1, type=click.UNPROCESSED)
def _run(config: str, arguments: tuple[str, ...], **places: str | None) -> None:
    """Run the workflow on a configuration, and write tables, figures and a report into its folder of results.

    What a change does not affect is not done again. All cores are used unless arguments such as --cores 4 say
    otherwise; --dry-run shows what would be done, and --verbose everything that Snakemake says.
    """
    from mixpipe.cli.running import run_workflow

    run_workflow(config, arguments, **places)


@main.command("status")
@click.argument("config", type=_FILE, default="config/config.yaml")
@_places
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def _status(config: str, as_json: bool, **places: str | None) -> None:
    """Say what a run of CONFIG would do, and why.

    The contents of files, the settings and the code are compared with those from which the results were made. Nothing
    is run. The default of CONFIG is config/config.yaml.
    """
    from mixpipe.cli.status import show_status

    problems = show_status(config, as_json=as_json, **places)
    for problem in problems:
        complain(problem)
    sys.exit(2 if problems else 0)


@main.command("reproduce")
@click.argument("fit", metavar="FIT", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def _reproduce(fit: str, as_json: bool) -> None:
    """Repeat the fit in FIT and say whether the numbers are the same.

    FIT is a fit.json or its folder, from a run or from `mixpipe fit --out`. The catalog files that it names are read,
    from the folder in which the run was started, if they have not changed. The exit status is 0 if all numbers are the
    same to the last bit, and 1 if not.
    """
    from mixpipe.cli.reproducing import reproduce

    sys.exit(0 if reproduce(fit, as_json=as_json) else 1)
