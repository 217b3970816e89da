"""The configuration: each way it can be wrong, what goes before what, and that no secret is printed.

`FIX_GOLDEN=1 pytest tests/test_config.py` (or `make samples`) rewrites docs/configuration.md.
"""

from __future__ import annotations

import base64
import os
import pickle
import re
import tomllib
from pathlib import Path

import pytest

from notegap import cli
from notegap.config import FILE, Config, KeyRing, effective, load, reference, schema, without_password
from notegap.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
SECRET = "Xolotl"
KEY = base64.b64encode(SECRET.encode().ljust(32, b".")).decode()


@pytest.fixture(autouse=True)
def _away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("NOTEGAP_")]:
        monkeypatch.delenv(name)


def wrong(**variables: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(environment=variables)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_nothing_given() -> None:
    loaded = load(environment={"HOME": "/"})
    assert loaded.config == Config()
    assert loaded.origins == {}
    assert (loaded.config.store, loaded.config.local_only) == ("counts", True)


def test_a_process_can_be_handed_it() -> None:
    config = load(environment={"NOTEGAP_DATABASE_KEYS": f"k:{KEY}", "NOTEGAP_SERVER_PROXIES": "::1"}).config
    assert pickle.loads(pickle.dumps(config)) == config


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().store = "full"
    with pytest.raises(ValueError, match="frozen"):
        Config().server.port = 1


def test_a_variable_goes_before_the_file_and_an_option_before_both(tmp_path: Path) -> None:
    Path(FILE).write_text('store = "reports"\n[server]\nport = 1\nhost = "127.0.0.2"\nnames = ["a"]\n')
    loaded = load(environment={"NOTEGAP_SERVER_PORT": "2", "NOTEGAP_SERVER_HOST": "::1"}, options={"server.port": 3})
    server = loaded.config.server
    assert (loaded.config.store, server.names, server.host, server.port) == ("reports", ("a",), "::1", 3)
    assert loaded.origins == {
        "store": "notegap.toml:1",
        "server.port": "--port",
        "server.host": "NOTEGAP_SERVER_HOST",
        "server.names": "notegap.toml:5",
    }


def test_the_file_that_is_named_is_the_one_that_is_read(tmp_path: Path) -> None:
    Path(FILE).write_text('store = "reports"')
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 7")
    for loaded in (load(other, environment={}), load(environment={"NOTEGAP_CONFIG": str(other)})):
        assert (loaded.config.store, loaded.config.server.port) == ("counts", 7)
    with pytest.raises(UsageError, match=r"nowhere\.toml: there is no such file"):
        load(environment={"NOTEGAP_CONFIG": "nowhere.toml"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stor = 1", "notegap.toml:1: unknown key 'stor', did you mean 'store'?"),
        ("\n[servr]\nport = 1", "notegap.toml:2: unknown key 'servr', did you mean 'server'?"),
        ("[server]\n\nprot = 1", "notegap.toml:3: unknown key 'server.prot', did you mean 'server.port'?"),
        ("server.prot = 1", "notegap.toml:1: unknown key 'server.prot', did you mean 'server.port'?"),
        ("\nserver = {prot = 1}", "notegap.toml:2: unknown key 'server.prot', did you mean 'server.port'?"),
        ("server = 1", "notegap.toml:1: 'server' is a table, write [server] and its keys below"),
        ('store = "repotrs"', "notegap.toml:1: 'store' is none of counts, reports, full, did you mean 'reports'?"),
        (
            "[server]\nport = 70000",
            "notegap.toml:2: 'server.port' is wrong: input should be less than or equal to 65535",
        ),
        (
            '[server]\nproxies = ["inside"]',
            "notegap.toml:2: 'server.proxies' is wrong: write addresses or networks, such as 10.0.0.5 or 10.0.0.0/24",
        ),
        ("[server]\nnames = [1]", "notegap.toml:2: 'server.names' is wrong: input should be a valid string"),
        ("[server\n", "notegap.toml:1: this is not TOML"),
        (
            f'[database]\nkeys = "k:{KEY}"',
            "notegap.toml:2: 'database.keys' is a secret: set NOTEGAP_DATABASE_KEYS, or name a file with "
            "'database.keys_file'",
        ),
        (
            f'[database]\nurl = "postgresql://me:{SECRET}@host/db"',
            "notegap.toml:2: 'database.url' is a secret: set NOTEGAP_DATABASE_URL, or name a file with "
            "'database.url_file'",
        ),
        (
            'store = "full"',
            "notegap.toml:1: 'store' is 'full', which is only kept encrypted: set NOTEGAP_DATABASE_KEYS or "
            "'database.keys_file'",
        ),
        (
            '[server]\ntls_key = "k.pem"',
            "notegap.toml:2: 'server.tls_certificate' and 'server.tls_key' go together",
        ),
        (
            "[limits]\nrate = true",
            "notegap.toml:2: 'limits.rate' is wrong: it is true, and nothing to be switched on or off",
        ),
        (
            "[server]\nport = false",
            "notegap.toml:2: 'server.port' is wrong: it is false, and nothing to be switched on or off",
        ),
        ("[limits]\nrate = inf", "notegap.toml:2: 'limits.rate' is wrong: input should be a finite number"),
        *(
            (
                f'[database]\nurl = "{url}"',
                "notegap.toml:2: 'database.url' is no URL of a database that is known; write sqlite:///PATH or "
                "postgresql://USER@HOST/NAME",
            )
            for url in ("mysql://me@host/db", "n.sqlite3")
        ),
        ('[oidc]\nissuer = "x"', "notegap.toml:2: 'oidc.issuer' needs 'oidc.audience' and 'oidc.jwks'"),
        (
            '[oidc]\njwks = "http://issuer.example/keys"',
            "notegap.toml:2: the keys of tokens are only fetched over https",
        ),
    ],
)
def test_a_file_that_is_wrong(text: str, said: str) -> None:
    Path(FILE).write_text(text)
    assert wrong() == said


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("NOTEGAP_STOR", "full", "NOTEGAP_STOR: unknown variable, did you mean 'NOTEGAP_STORE'?"),
        (
            "NOTEGAP_DATABASE_KEY",
            SECRET,
            "NOTEGAP_DATABASE_KEY: unknown variable, did you mean 'NOTEGAP_DATABASE_KEYS'?",
        ),
        (
            "NOTEGAP_ACCESS_AUTHENTICATION",
            "yes",
            "NOTEGAP_ACCESS_AUTHENTICATION: 'access.authentication' is none of none, required",
        ),
        (
            "NOTEGAP_DATABASE_KEYS_FILE",
            "nowhere",
            "NOTEGAP_DATABASE_KEYS_FILE: the file that 'database.keys_file' names cannot be read",
        ),
    ],
)
def test_a_variable_that_is_wrong(variable: str, value: str, said: str) -> None:
    assert wrong(**{variable: value}) == said


@pytest.mark.parametrize("value", [SECRET, f"k:{SECRET}", f"k:{KEY[:-8]}", f"{SECRET} k:{KEY}", f"k:{KEY},k:{KEY}", ""])
def test_a_key_that_is_none_is_not_told(value: str) -> None:
    said = wrong(NOTEGAP_DATABASE_KEYS=value)
    assert said.startswith("NOTEGAP_DATABASE_KEYS: 'database.keys' is wrong: ")
    assert SECRET not in said
    assert KEY[:8] not in said


def test_secrets_come_from_a_variable_or_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"new:{KEY}\n")
    by_file = load(environment={"NOTEGAP_DATABASE_KEYS_FILE": str(secret)})
    assert by_file.config.database.keys.current == ("new", base64.b64decode(KEY))
    assert load(environment={"NOTEGAP_DATABASE_KEYS": f"new:{KEY}"}).config.database.keys.get("new") is not None
    both = wrong(NOTEGAP_AUDIT_KEYS=f"a:{KEY}", NOTEGAP_AUDIT_KEYS_FILE=str(secret))
    assert both == (
        "NOTEGAP_AUDIT_KEYS_FILE: 'audit.keys_file' is set beside 'audit.keys' (NOTEGAP_AUDIT_KEYS); keep one"
    )


def test_tokens_are_those_of_servers_that_are_configured() -> None:
    servers = {"NOTEGAP_DOCUMENTS_SERVERS": "https://a.example/r4,https://b.example"}
    given = load(
        environment={**servers, "NOTEGAP_DOCUMENTS_TOKENS": "https://a.example/r4 x.y-z==, https://b.example q"}
    )
    assert given.config.documents.tokens.by_server == (("https://a.example/r4", "x.y-z=="), ("https://b.example", "q"))
    for value, said in (
        (f"https://a.example/r4/ {SECRET}", "has a token for a server that is not in 'documents.servers'"),
        (SECRET, "is wrong: write each as the server's address and its token, with a space between"),
        (f"https://b.example {SECRET} {SECRET}", "is wrong: write each as the server's address and its token, with a "),
        (f"https://b.example {SECRET},https://b.example {SECRET}", "is wrong: a server has two tokens"),
    ):
        told = wrong(NOTEGAP_DOCUMENTS_TOKENS=value, **servers)
        assert told.startswith(f"NOTEGAP_DOCUMENTS_TOKENS: 'documents.tokens' {said}")
        assert SECRET not in told


def test_a_variable_goes_before_the_secret_that_the_file_points_to(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"file:{KEY}\n")
    Path(FILE).write_text('[database]\nkeys_file = "/run/credentials/notegap.service/database_keys"\n')
    by_variable = load(environment={"NOTEGAP_DATABASE_KEYS": f"variable:{KEY}"})
    assert by_variable.config.database.keys.current[0] == "variable"
    assert by_variable.origins["database.keys"] == "NOTEGAP_DATABASE_KEYS"
    pointed = load(environment={"NOTEGAP_DATABASE_KEYS_FILE": str(secret)})
    assert pointed.config.database.keys.current[0] == "file"


def test_nothing_secret_is_printed() -> None:
    variables = {
        "NOTEGAP_DOCUMENTS_SERVERS": "https://a.example",
        "NOTEGAP_DOCUMENTS_TOKENS": f"https://a.example {SECRET}",
        "NOTEGAP_DATABASE_KEYS": f"k:{KEY}",
        "NOTEGAP_AUDIT_KEYS": f"k:{KEY}",
        "NOTEGAP_DATABASE_URL": f"postgresql://me:{SECRET}@host/db?sslmode=require&password={SECRET}",
    }
    loaded = load(environment=variables)
    shown = effective(loaded)
    assert "# keys is set, not shown  # NOTEGAP_DATABASE_KEYS\n" in shown
    assert "# tokens is set, not shown  # NOTEGAP_DOCUMENTS_TOKENS\n" in shown
    assert 'url = "postgresql://me@host/db?sslmode=require"  # NOTEGAP_DATABASE_URL\n' in shown
    for text in (
        shown,
        repr(loaded.config.documents),
        repr(loaded.config.database.keys),
        repr(KeyRing((("k", SECRET.encode()),))),
    ):
        assert SECRET not in text
        assert KEY not in text
    assert str(base64.b64decode(KEY)) not in repr(loaded)


def test_a_url_without_a_password_stays_as_it_is() -> None:
    for url in ("sqlite:///a b.db", "postgresql://me@host/db", "postgresql://me@/db?host=/run/pg"):
        assert without_password(url) == url


def test_the_command_prints_what_can_be_read_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path(FILE).write_text('store = "reports"\n[server]\nproxies = ["10.0.0.0/8", "::1"]\n[oidc]\nissuer = "é\\"\\\\"\n'
                          'audience = "a"\njwks = "keys.json"\n')  # fmt: skip
    monkeypatch.setenv("NOTEGAP_SERVER_PORT", "99")
    assert cli.main(["config"]) == 0
    shown = capsys.readouterr().out
    assert 'store = "reports"  # notegap.toml:1\n' in shown
    Path("again.toml").write_text(shown)
    again = load(Path("again.toml"), environment={}).config
    expected = load(environment={"NOTEGAP_SERVER_PORT": "99"}).config
    assert again.model_dump(exclude={"database"}) == expected.model_dump(exclude={"database"})
    assert again.database_url == expected.database_url
    for key in schema():
        assert re.search(rf"^(# )?{key.name} (=|is)", shown, re.MULTILINE), key.path


def test_a_wrong_configuration_is_told_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    Path(FILE).write_text("[server]\nprot = 1")
    assert cli.main(["serve", "--no-browser"]) == cli.BROKEN
    assert (
        capsys.readouterr().err == "notegap: notegap.toml:2: unknown key 'server.prot', did you mean 'server.port'?\n"
    )


def test_every_key_is_documented() -> None:
    written = ROOT / "docs" / "configuration.md"
    if os.environ.get("FIX_GOLDEN"):
        written.write_text(reference(), encoding="utf-8")
    assert written.read_text(encoding="utf-8") == reference()
    for key in schema():
        assert (key.field.description or "").endswith("."), key.path
        assert f"`{key.variable}`" in reference()


def test_no_two_keys_have_one_variable() -> None:
    variables = [key.variable for key in schema()]
    assert len(set(variables)) == len(variables)


def test_the_toml_of_the_readme_holds() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n# notegap\.toml\n((?:.*\n)*?)```", readme)
    assert len(blocks) == 1
    assert tomllib.loads(blocks[0])
    Path(FILE).write_text(blocks[0])
    assert load(environment={"NOTEGAP_DATABASE_KEYS": f"k:{KEY}"}).config.local_only is False
