"""The other addresses of the dialects: lists, descriptions, probes."""

from __future__ import annotations

from tests.api.corpus.cases import ANSWER as ANSWER
from tests.api.corpus.cases import Case

VERSION = {"anthropic-version": "2023-06-01"}
ANTHROPIC = "/v1/models?"
PAGES = ("", "limit=1", "limit=1000", "limit=2&after_id=ember", "before_id=default", "after_id=default")
WRONG_PAGES = (
    ("limit", "limit=0"),
    ("limit", "limit=1001"),
    ("limit", "limit=many"),
    ("after_id", "after_id=nope"),
    ("before_id", "before_id=nope"),
)
CASES = [
    *(
        Case(f"{method} {path}", path, method=method, answer=None)
        for path in ("/v1/models", "/v1/models/live", "/api/tags", "/api/ps", "/api/version", "/")
        for method in ("GET", "HEAD")
    ),
    *(Case(f"page {page}", ANTHROPIC + page, headers=VERSION, method="GET", answer=None) for page in PAGES),
    *(
        Case(f"no page {page}", ANTHROPIC + page, None, blamed, 400, VERSION, "GET")
        for blamed, page in WRONG_PAGES
    ),
    Case("no pages in OpenAI's list", "/v1/models?limit=5", None, "limit", 400, method="GET"),
    Case("an unknown model", "/v1/models/nope", status=404, method="GET", answer=None),
    Case("show", "/api/show", {"model": "ember"}, answer=None),
    Case("show, older", "/api/show", {"name": "ember:latest", "verbose": None}, answer=None),
    Case(
        "show, empty fields",
        "/api/show",
        {"model": "ember", "system": "", "template": None, "options": {}},
        answer=None,
    ),
    Case("show nothing", "/api/show", {}, "model", 400),
    Case("show otherwise", "/api/show", {"model": "ember", "system": "x"}, "system", 400),
]
