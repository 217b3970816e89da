"""What deploy/ holds: it runs without root on a read-only file system, and its configuration is one that starts."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from notegap import cli
from notegap.config import load
from notegap.errors import UsageError
from notegap.service.backend import check_exposure

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
KEYS = f"k1:{base64.b64encode(b'3' * 32).decode()}\n"


def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return made


def config_of(text: str, folder: Path) -> Path:
    """A configuration whose secrets are files in `folder`."""
    (folder / "database_url").write_text("postgresql://notegap:p@database/notegap\n")
    for name in ("database_keys", "audit_keys"):
        (folder / name).write_text(KEYS)
    path = folder / "notegap.toml"
    path.write_text(re.sub(r'"/run/(?:secrets|credentials/notegap\.service)/', f'"{folder}/', text))
    return path


def test_the_image_runs_without_root_and_starts_a_command_that_there_is() -> None:
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    final = image.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert int(user[0]) > 0
    (entry,) = re.findall(r"^ENTRYPOINT \[(.*)\]$", final, re.MULTILINE)
    (arguments,) = re.findall(r"^CMD \[(.*)\]$", final, re.MULTILINE)
    command = re.findall(r'"([^"]+)"', f"{entry} {arguments}")
    assert command == ["notegap", "serve", "--no-browser"]
    serve = cli.commands.commands["serve"]
    assert "--no-browser" in {option for each in serve.params for option in each.secondary_opts}
    for folder in re.findall(r"^COPY ([\w./ ]+?) \S+$", image.partition("\nFROM ")[0] + image, re.MULTILINE):
        for each in folder.split():
            assert (ROOT / each).exists()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "**"


def test_the_services_have_no_more_rights_than_they_need() -> None:
    services = compose()["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
    ours = services["notegap"]
    assert ours["read_only"] is True
    assert ours["user"] == "10001:10001"
    assert "ports" not in ours
    assert compose()["networks"]["back"]["internal"] is True
    assert list(services["database"]["networks"]) == ["back"]


def test_the_configuration_of_compose_starts(tmp_path: Path) -> None:
    path = config_of((DEPLOY / "notegap.toml").read_text(encoding="utf-8"), tmp_path)
    config = load(path, environment={"NOTEGAP_SERVER_NAMES": "notegap.example"}).config
    check_exposure(config)
    proxy = compose()["services"]["proxy"]["networks"]["front"]["ipv4_address"]
    assert [str(each) for each in config.server.proxies] == [f"{proxy}/32"]
    assert f":{config.server.port}" in (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    # Every secret is one that the services are given, under the name that is read.
    named = set(re.findall(r"/run/secrets/(\w+)", (DEPLOY / "notegap.toml").read_text(encoding="utf-8")))
    assert named == set(compose()["services"]["notegap"]["secrets"])
    assert named | {"database_password"} == set(compose()["secrets"])


def test_mllp_is_off_unless_its_file_is_added_and_then_asks_who_may_connect(tmp_path: Path) -> None:
    path = config_of((DEPLOY / "notegap.toml").read_text(encoding="utf-8"), tmp_path)
    assert load(path, environment={"NOTEGAP_SERVER_NAMES": "notegap.example"}).config.mllp.port is None
    added = yaml.safe_load((DEPLOY / "compose.mllp.yaml").read_text(encoding="utf-8"))
    assert list(added) == ["services"]
    assert list(added["services"]) == ["notegap"]
    ours = added["services"]["notegap"]
    assert set(ours) == {"environment", "ports"}
    # Compose refuses to start while one of these is not given.
    given = {name: value for name, value in ours["environment"].items() if value.startswith("${")}
    assert all(value.startswith(f"${{{name}:?") for name, value in given.items())
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"^export (.*)$", text, re.MULTILINE)
    shown = dict(each.split("=") for each in told.split())
    assert set(given) == set(shown) - {"NOTEGAP_NAME"}
    variables = {"NOTEGAP_SERVER_NAMES": shown.pop("NOTEGAP_NAME"), **ours["environment"], **shown}
    config = load(path, environment=variables).config
    check_exposure(config)
    assert ours["ports"] == [f"{config.mllp.port}:{config.mllp.port}"]
    assert [str(each) for each in config.mllp.peers] == ["10.20.0.7/32", "10.20.1.0/28"]
    with pytest.raises(UsageError, match=r"those who may connect \(mllp\.peers\)"):
        check_exposure(load(path, environment=variables | {"NOTEGAP_MLLP_PEERS": ""}).config)


def test_the_configuration_of_the_unit_starts(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert tomllib.loads(toml)
    check_exposure(load(config_of(toml, tmp_path), environment={}).config)
    unit = (DEPLOY / "notegap.service").read_text(encoding="utf-8")
    given = set(re.findall(r"^LoadCredential=(\w+):", unit, re.MULTILINE))
    assert given == set(re.findall(r"/run/credentials/notegap\.service/(\w+)", toml))
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    asked = [each for each in start.split()[2:] if each.startswith("--")]
    known = {option for each in cli.commands.commands["serve"].params for option in (*each.opts, *each.secondary_opts)}
    assert isinstance(cli.commands.commands["serve"], click.Command)
    assert set(asked) <= known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "notegap.service"
    text = (DEPLOY / "notegap.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/notegap/bin/notegap", "/bin/true"))
    asked = ["systemd-analyze", "verify", "--man=no", str(unit)]
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if "notegap.service" in line] == []
