"""Every request and read has a function; their options, addresses and answers are those of Matricule."""

import re
import typing
from inspect import get_annotations, signature

import pytest
from pydantic import BaseModel

from workers.api import schemas
from workers.api.operations import OPERATIONS
from workers.api.routes.selections import Selection
from workers.portal_client import Portal, results
from workers.portal_client.addresses import ADDRESSES, path_of
from workers.portal_client.options import PersonFields, ProgressFields, SelectionOptions, UploadOptions
from workers.requests.base import Request
from workers.requests.enrollment import PersonToEnroll, ProgressEvent
from workers.requests.imports import ImportRoster
from workers.requests.registry import KINDS

ASKED = {kind: request for kind, request in KINDS.items() if not request.internal and request is not ImportRoster}


def options_of(name: str) -> tuple[set[str], set[str]]:
    """Returns the fields that a function asks for, and its options."""
    given = signature(getattr(Portal, name)).parameters
    needed = {one for one in given if one not in ("self", "key", "more")}
    [unpacked] = typing.get_args(typing.get_type_hints(getattr(Portal, name))["more"])
    return needed, set(typing.get_type_hints(unpacked))


@pytest.mark.parametrize("kind", sorted(ASKED))
def test_every_kind_has_a_function_with_all_its_fields(kind: str) -> None:
    fields = ASKED[kind].model_fields
    needed, options = options_of(kind)
    assert needed == {name for name, field in fields.items() if field.is_required()}
    assert needed | options == set(fields)


def test_a_file_is_uploaded_with_the_options_of_its_import() -> None:
    own = set(ImportRoster.model_fields) - {"contract", "file", "file_name"}
    assert set(typing.get_type_hints(UploadOptions)) == own | {"filename"}


def test_a_selection_has_the_options_of_its_body() -> None:
    asked = {"action", "enrollment_ids"}
    assert set(typing.get_type_hints(SelectionOptions)) | asked == set(Selection.model_fields)


@pytest.mark.parametrize(("given", "model"), [(PersonFields, PersonToEnroll), (ProgressFields, ProgressEvent)])
def test_people_and_events_have_the_fields_of_their_classes(given: type, model: type[BaseModel]) -> None:
    assert set(get_annotations(given)) == set(model.model_fields)
    assert given.__required_keys__ == {name for name, field in model.model_fields.items() if field.is_required()}  # type: ignore[attr-defined]


def test_every_request_has_the_address_that_the_api_answers() -> None:
    found: dict[type[Request], set[tuple[str, str]]] = {}
    for operation in OPERATIONS:
        body = operation.body
        if body is not None and body.request is not None and "" not in body.given.values():
            places = {parameter: f"{{{field}}}" for field, parameter in body.given.items()}
            path = re.sub(r"\{(\w+)\}", lambda one, places=places: places[one[1]], operation.path)  # type: ignore[misc]
            found.setdefault(body.request, set()).add((operation.method, path))
    for request, address in ADDRESSES.items():
        assert tuple(address) in found[request], request.kind
    assert set(ADDRESSES) == set(ASKED.values())


SHAPES = (
    "AccountEnrollment",
    "AccountEnrollments",
    "Contract",
    "JobPerson",
    "JudgedSelection",
    "KeepingPerson",
    "Mail",
    "Participant",
    "ParticipantOfContract",
    "ParticipantProgress",
    "Permissions",
    "SelectedParticipants",
    "RosterRow",
    "RosterUndo",
    "ReplayedWebhooks",
    "SignInAnswer",
    "ToldWebhook",
    "WebhookEndpoint",
    "WebhookTries",
    "WebhookTry",
)
NAMES = {"ParticipantOfContract": "Participant", "SignInAnswer": "SignIn", "WebhookEndpoint": "Endpoint"}


@pytest.mark.parametrize("name", SHAPES)
def test_answers_have_the_fields_that_the_api_describes(name: str) -> None:
    described: type[BaseModel] = getattr(schemas, name)
    typed: type[BaseModel] = getattr(results, NAMES.get(name, name))
    optional = {"contract", "company"} if name == "Participant" else set()
    assert set(typed.model_fields) - optional == set(described.model_fields) - optional


def test_a_job_has_the_fields_that_the_api_describes() -> None:
    assert set(schemas.Job.model_fields) <= set(results.Job.model_fields)
    assert set(schemas.JobResult.model_fields) <= set(results.JobResult.model_fields)


def test_a_reference_stays_one_segment_of_its_address() -> None:
    for reference in ("..", ".", "a/b", "a?b", "a#b", "é %2F", "a.b"):
        path = path_of("/contracts/{contract}/x", contract=reference)
        assert re.fullmatch(r"/contracts/[A-Za-z0-9%._~-]+/x", path)
        assert "/../" not in path
        assert "/./" not in path


def test_answers_of_a_newer_release_are_read() -> None:
    told = (
        '{"id": "0198f0c2-7d40-7b02-8c1d-5a2f9e0c4b77", "kind": "new", "state": "resting", "finished": false, "x": 1}'
    )
    job = results.Job.model_validate_json(told)
    assert (job.state, job.x) == ("resting", 1)  # type: ignore[attr-defined]
