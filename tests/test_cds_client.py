"""CDS Hooks as a client that is not ours calls it, over a socket: HealthChain's sandbox, which reads the answer with
its own models. It cannot be installed beside what we lock, so `.ci/run` gives it an environment of its own.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from test_rest import command

PYTHON = os.environ.get("NOTEGAP_TEST_CDS_CLIENT", "")
"""The Python that has HealthChain."""

TEXT = "Assessment: chronic ligamentous laxity of the lumbar spine (M24.28). MRI shows no fracture."

pytestmark = pytest.mark.skipif(not PYTHON, reason="NOTEGAP_TEST_CDS_CLIENT names no Python with HealthChain")


def called(prefetch: dict[str, Any], folder: Path) -> tuple[dict[str, Any], str]:
    """What the client read, and what it logged."""
    path = folder / "prefetch.json"
    path.write_text(json.dumps(prefetch))
    script = str(Path(__file__).with_name("cds_client.py"))
    with command() as (address, _):
        asked = [PYTHON, script, address, str(path)]
        made = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120)
    read: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    return read, made.stdout + made.stderr


def test_it_gets_its_cards(tmp_path: Path) -> None:
    document = {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "date": "2026-02-01T10:00:00Z",
        "content": [
            {"attachment": {"contentType": "text/plain", "data": base64.b64encode(TEXT.encode()).decode()}},
        ],
    }
    notes = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": document}]}
    encounter = {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"}}
    conditions = {"resourceType": "Bundle", "type": "searchset", "total": 0}
    read, _ = called({"notes": notes, "conditions": conditions, "encounter": encounter}, tmp_path)
    assert read["services"] == [
        "notegap-document-sign",
        "notegap-problem-list",
        "notegap-order-sign",
        "notegap-encounter-discharge",
    ]
    assert read["cards"]
    assert all(card["summary"].startswith("M24.28") and len(card["summary"]) < 140 for card in read["cards"])
    assert any("ligament" in (card["detail"] or "") for card in read["cards"])


def test_it_is_told_that_the_prefetch_lacks_the_notes(tmp_path: Path) -> None:
    read, logged = called({"encounter": {"resourceType": "Encounter", "id": "e", "status": "finished"}}, tmp_path)
    assert (read["answered"], read["cards"]) == (False, [])
    assert "412" in logged
