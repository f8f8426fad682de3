"""Nothing that stands in a catalog or a configuration runs, and nothing is written outside of the folder of results."""

import ast
import html
import os
import pickle
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.table import Table
from click.testing import CliRunner

from mixpipe import cli
from mixpipe.base.errors import ConfigError, MixpipeError
from mixpipe.catalog.expressions import Expression
from mixpipe.config.settings import load_config, parse_config
from mixpipe.pipeline.plan.run import Run
from tests.campaign import campaign

# What leaves a file behind wherever a shell, Python or a template takes it for its own.
HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "a; touch pwned",
    "a\ntouch pwned",
    "a' | touch pwned #",
    'a" && touch pwned "',
    "__import__('os').system('touch pwned')",
    "{{ ''.__class__.__mro__ }}",
    "{config}",
    "{wildcards.catalog}",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "%s%n",
    "@os.system",
    "\x1b[31mred",
]


FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load",
    "yaml.unsafe_load", "yaml.full_load", "marshal.loads", "joblib.load", "pd.eval", "pd.read_pickle",
}  # fmt: skip


class TestSources:
    """What could run code from data is not there."""

    def test_no_call_that_runs_text(self, root):
        sources = [*(root / "mixpipe").rglob("*.py"), *(root / "workflow").rglob("*.py")]
        assert len(sources) > 100
        # The kernels for several columns write out their own code, from numbers of columns alone.
        written_out = root / "mixpipe/model/kernels/joint.py"
        for source in sources:
            for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    allowed = {"exec", "compile"} if source == written_out else set()
                    assert name not in FORBIDDEN - allowed, source
                    assert name.rpartition(".")[2] not in ("query", "eval", "to_pickle", "from_string"), source
                    assert not {word.arg for word in node.keywords} & {"shell", "allow_pickle"}, source
                    if name.startswith("subprocess."):
                        assert isinstance(node.args[0], ast.List | ast.Name), source
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                assert not {"pickle", "marshal", "shelve"} & set(names), source

    def test_what_goes_to_a_shell_is_quoted(self, root):
        rules = [*(root / "workflow").rglob("*.smk"), root / "workflow/Snakefile"]
        text = "\n".join(rule.read_text(encoding="utf-8") for rule in rules)
        assert not re.search(r"^\s*(run|notebook|wrapper):", text, re.MULTILINE)
        commands = re.findall(r"^\s*shell:\s*((?:\s*\"[^\n]*\"\n)+)", text, re.MULTILINE)
        assert len(commands) == len(re.findall(r"^\s*shell:", text, re.MULTILINE))
        for command in commands:
            assert all(place.endswith(":q") for place in re.findall(r"\{([^{}]*)\}", command)), command

    def test_requirements_are_pinned_and_hashed(self, root):
        files = sorted((root / "requirements").glob("*.txt"))
        assert [file.stem for file in files] == ["benchmark", "build", "dev", "oldest", "run", "slurm"]
        for file in files:
            entries = file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
            for entry in entries:
                assert re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; [^;]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", entry), entry
            # Of two versions for two kinds of machine each has its own line.
            assert len(entries) == len(set(entries)) > 0
        recipe = (root / "Makefile").read_text(encoding="utf-8")
        installs = [line for line in recipe.splitlines() if re.search(r"(\$\(PIP\)|pip .*) install", line)]
        assert len(installs) == 7
        assert all("--require-hashes -r" in line or "--no-deps --no-build-isolation -e ." in line for line in installs)


class TestConfiguration:
    @pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!python/object:x"])
    def test_yaml_makes_no_objects(self, tag, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("mine.yaml").write_text(f"catalogs: {tag} ['touch pwned']\n")
        with pytest.raises(ConfigError, match="could not determine a constructor"):
            load_config("mine.yaml")
        assert not Path("pwned").exists()

    @pytest.mark.parametrize("command", [["check"], ["run", "--config"]])
    def test_a_template_that_snakemake_would_run_is_refused_before(self, command, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        definitions = "__definitions__:\n  - import os\n  - os.system('touch pwned')\n"
        Path("mine.yaml").write_text(f"__use_yte__: true\n{definitions}catalogs: {{}}\n")
        result = CliRunner().invoke(cli.main, [*command, "mine.yaml"], prog_name="mixpipe")
        assert result.exit_code == 2
        assert "unknown key '__use_yte__', in mine.yaml line 1" in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]

    def test_make_run_refuses_it_before_too(self, root):
        """Snakemake is started by `mixpipe run`, and by nothing else."""
        command = ["make", "--dry-run", "--always-make", "run", "CONFIG=mine.yaml"]
        done = subprocess.run(command, cwd=root, text=True, capture_output=True, check=True)
        assert 'mixpipe run --config "mine.yaml"' in done.stdout
        assert "snakemake " not in done.stdout

    def test_plain_snakemake_says_that_it_has_run(self, tmp_path, root):
        """It runs the template before it reads the Snakefile, and hands on what is left without the key."""
        template = "__use_yte__: true\n__definitions__:\n  - import os\n"
        catalogs = "catalogs:\n  a:\n    releases: {a: t.csv}\n    columns: {x: {}}\n"
        (tmp_path / "mine.yaml").write_text(template + catalogs)
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "workflow/Snakefile"), "--dry-run"]
        command += ["--configfile", "mine.yaml"]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 2
        said = "mixpipe: error: key '__use_yte__' has let Python run that stands in the file, in mine.yaml line 1, "
        assert said in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("name", ["..", "../a", "/etc", "a/b", "a\\b", ".", ".a", "~", "$HOME", "a\n", *HOSTILE])
    def test_names_of_folders_stay_in_the_results(self, name):
        good = {"releases": {"a": "t.csv"}, "columns": {"x": {}}}
        for bad in (
            {name: good},
            {"stars": {**good, "releases": {name: "t.csv"}}},
            {"stars": {**good, "columns": {name: {}}}},
        ):
            with pytest.raises(ConfigError, match="cannot be the name of a folder"):
                parse_config({"catalogs": bad})

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_settings_are_text(self, text, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("t.csv").write_text("x\n1\n2\n")
        column = {"value": text, "error": text, "weight": text, "unit": text, "limit_flag": text}
        catalog = {"releases": {"a": text}, "columns": {"x": column}, "key": text, "path": text, "missing": [text]}
        Path("mine.yaml").write_text(yaml.safe_dump({"results": "out", "catalogs": {"c": catalog}}))
        result = CliRunner().invoke(cli.main, ["check", "mine.yaml"], prog_name="mixpipe")
        assert result.exit_code == 2
        assert isinstance(result.exception, SystemExit)
        assert "\x1b" not in result.stderr
        assert {path.name for path in tmp_path.iterdir()} <= {"t.csv", "mine.yaml", "out"}

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_options_are_text(self, text, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("t.csv").write_text("x\n1\n2\n")
        for option in ("--value", "--error", "--where", "--unit", "--weight", "--hdu", "--truncated", "--families"):
            given = ["--value", "x", option, text] if option != "--value" else [option, text]
            result = CliRunner().invoke(cli.main, ["fit", "t.csv", *given], prog_name="mixpipe")
            assert result.exit_code == 2, option
            assert isinstance(result.exception, SystemExit)
        assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


class TestCuts:
    @pytest.mark.parametrize(
        "text",
        [
            "__import__('os').system('touch pwned')",
            "().__class__.__bases__[0].__subclasses__()",
            "(lambda: 1)() == 1",
            "[y for y in (1, 2)] == 1",
            "x.__class__ == 1",
            "open('/etc/passwd') == 1",
            "f'{x}' == '1'",
            "(y := 3) > x",
            "x if x else x",
            "x[0] > 1",
            "@x > 1",
            "x; y",
            "`x`.a > 1",
            "exp(x, y) > 1",
            "print(x) == 1",
            "x > 1 #",
            *HOSTILE,
        ],
    )
    def test_python_is_not_the_language(self, text):
        with pytest.raises(MixpipeError):
            Expression.parse(text).evaluate(Table({"x": [1.0]}))

    def test_no_number_takes_forever(self):
        """In Python the first has a billion digits, and texts grow by multiplication."""
        table = Table({"x": [1.0], "t": ["a"]})
        assert Expression.parse("9**9**9**9 > x").evaluate(table).tolist() == [True]
        with pytest.raises(ConfigError):
            Expression.parse("'a' * 999999999 == t").evaluate(table)

    def test_backquotes_name_columns_only(self):
        table = Table({"a'; drop": [1.0, 2.0], "__class__": [1.0, 1.0]})
        assert Expression.parse("`a'; drop` > 1").evaluate(table).tolist() == [False, True]
        assert Expression.parse("__class__ == 1").evaluate(table).tolist() == [True, True]


class TestCatalogs:
    def test_a_pickle_is_no_table(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

        class Hostile:
            def __reduce__(self):
                return (os.system, ("touch pwned",))

        for name in ("t.csv", "t.pkl", "t.npy", "t.h5"):
            Path(name).write_bytes(pickle.dumps(Hostile()))
            result = CliRunner().invoke(cli.main, ["fit", name, "--value", "x"], prog_name="mixpipe")
            assert result.exit_code == 2
        assert not Path("pwned").exists()

    def test_ecsv_makes_no_objects(self, tmp_path, monkeypatch):
        """ECSV has YAML in its header."""
        monkeypatch.chdir(tmp_path)
        header = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: x, datatype: float64}\n"
        Path("t.ecsv").write_text(f"{header}# meta: !!python/object/apply:os.system ['touch pwned']\nx\n1\n")
        result = CliRunner().invoke(cli.main, ["fit", "t.ecsv", "--value", "x"], prog_name="mixpipe")
        assert result.exit_code == 2
        assert not Path("pwned").exists()

    def test_names_in_messages_do_not_steer_the_terminal(self, tmp_path):
        (tmp_path / "t.csv").write_text("\x1b[2J\x1b]0;title\x07,y\n1,2\n")
        result = CliRunner().invoke(cli.main, ["fit", str(tmp_path / "t.csv"), "--value", "x"], prog_name="mixpipe")
        assert result.exit_code == 2
        assert "\x1b" not in result.stderr
        assert "\\x1b[2J" in result.stderr


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


NAME = "<script>alert('x')</script>"


@campaign
def test_a_column_called_script_from_the_catalog_to_the_page(tmp_path, root):
    """Also as the unit, the key and in the cut, with a file whose name is a command."""
    rng = np.random.default_rng(1)
    rows = [f"star {i},{value!r},0.15,1" for i, value in enumerate(rng.normal(5, 1, 30).tolist())]
    file = "it's $(touch pwned) & [b];.csv"
    (tmp_path / file).write_text("\n".join([f'<i>,"{NAME}",e,ok', *rows, ""]))
    column = {"value": NAME, "error": "e", "max_components": 1, "estimators": ["em"]}
    catalog = {"releases": {"a": file}, "key": "<i>", "where": f"`{NAME}` > 0 and ok == 1", "columns": {"x": column}}
    config = {"catalogs": {"stars": catalog}, "settings": {"quality_draws": 0}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "workflow/Snakefile")]
    command += ["--configfile", "mine.yaml", "--cores", "2"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "results/report.html").read_text(encoding="utf-8")
    assert NAME not in page
    assert (
        html.escape(NAME) in page
        or html.escape(NAME, quote=False) in page
        or html.escape(NAME).replace("&#x27;", "&#39;") in page
    )
    parser = _Scripts()
    parser.feed(page)
    assert not any(name.startswith("on") for tag, attributes in parser.tags for name in attributes)
    assert not any(tag in ("iframe", "object", "embed", "base") for tag, _ in parser.tags)
    sources = [value for _, attributes in parser.tags for name, value in attributes.items() if name == "src"]
    assert all(value.startswith("data:") for value in sources if value)
    assert {path.name for path in tmp_path.iterdir()} == {file, "mine.yaml", "results", ".snakemake"}


def test_results_of_a_run_are_below_its_folder():
    catalog = {"releases": {"a": "t.csv"}, "columns": {"x": {}}}
    run = Run(parse_config({"results": "out", "catalogs": {"stars": catalog}}))
    assert run.releases() == [("stars", "a")]
    assert (run.config.results / "stars" / "a" / "x").resolve().is_relative_to(Path("out").resolve())
