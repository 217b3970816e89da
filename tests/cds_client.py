"""Run by the Python that has HealthChain: calls a service with its sandbox client and prints what that client read.

python cds_client.py ADDRESS PREFETCH.json
"""

from __future__ import annotations

import json
import sys
import urllib.request
from importlib import import_module

sandbox = import_module("healthchain.sandbox")
requests = import_module("healthchain.models.requests.cdsrequest")
responses = import_module("healthchain.models.responses.cdsresponse")
discovery = import_module("healthchain.models.responses.cdsdiscovery")

address, prefetch = sys.argv[1:]
client = sandbox.SandboxClient(url=f"{address}cds-services/notegap-encounter-discharge", workflow="encounter-discharge")
client.load_from_path(prefetch)
# Version 0.16 loses of a context what its base class does not have, such as the encounter, which has to be there.
made = requests.CDSRequest.model_dump
requests.CDSRequest.model_dump = lambda self, **options: made(self, serialize_as_any=True, **options)
(answer,) = client.send_requests()
with urllib.request.urlopen(f"{address}cds-services", timeout=30) as said:
    listed = discovery.CDSServiceInformation.model_validate_json(said.read())
# Its links have to have a field that the specification has not (it says `autolaunchable`, and that it is optional).
responses.Link.model_fields["autoLaunchable"].default = None
for model in (responses.Link, responses.Card, responses.CDSResponse):
    model.model_rebuild(force=True)
# The client itself falls back on what it got when its models do not fit: they have to.
cards = responses.CDSResponse(**answer).cards if answer else []
print(
    json.dumps(
        {
            "answered": bool(answer),
            "services": [service.id for service in listed.services],
            "cards": [{"summary": card.summary, "detail": card.detail} for card in cards],
        }
    )
)
