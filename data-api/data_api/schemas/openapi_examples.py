"""One example of each request and response body, for the OpenAPI document. A test validates them by their schemas."""

from __future__ import annotations

JsonObject = dict[str, object]

ANN, BEA = "0199a9f0-11f2-7c03-8a51-0242ac120002", "0199a9f0-5d20-7f55-b0c2-0242ac120002"
PREDICTION, FEEDBACK = "0199aa2f-9c11-7b40-8f6e-0242ac120002", "0199aa30-1e8d-7d02-a7c9-0242ac120002"
KEY = "0199aa10-4f3a-7e21-9d10-0242ac120002"
PASSWORD = "correct horse battery staple"  # noqa: S105
MORNING, NOON, NEXT_YEAR = "2026-11-21T08:15:00+00:00", "2026-11-21T12:00:00+00:00", "2027-11-21T00:00:00+00:00"

USER = {
    "id": ANN,
    "email": "ann@example.org",
    "name": "Ann",
    "role": "trainer",
    "disabled": False,
    "created_at": MORNING,
}
PAIR: JsonObject = {
    "access_token": "eyJhbGciOiJFZERTQSIs…",
    "token_type": "bearer",
    "expires_in": 900,
    "refresh_token": "vr_5f0c…",
}
API_KEY: JsonObject = {
    "id": KEY,
    "user_id": ANN,
    "name": "laptop",
    "scopes": ["feedback", "predict"],
    "created_at": MORNING,
    "expires_at": NEXT_YEAR,
    "revoked_at": None,
    "last_used_at": NOON,
}
INVITATION: JsonObject = {
    "id": "0199aa05-0b7e-7a10-b6f2-0242ac120002",
    "email": "bea@example.org",
    "role": "user",
    "invited_by": ANN,
    "created_at": MORNING,
    "expires_at": "2026-11-24T08:15:00+00:00",
    "accepted_at": None,
    "revoked_at": None,
    "user_id": None,
}
JWKS: JsonObject = {
    "keys": [
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
        | {"kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "alg": "EdDSA", "use": "sig"}
    ]
}
STORED_PREDICTION: JsonObject = {
    "id": PREDICTION,
    "created_at": NOON,
    "task": "tweets",
    "version": 3,
    "row": {"text": "late again, thanks"},
    "row_schema": 1,
    "answer": {
        "label": "positive",
        "score": 0.62,
        "probabilities": {"negative": 0.3, "neutral": 0.08, "positive": 0.62},
    },
    "user_id": ANN,
    "role": "champion",
    "rollout": None,
    "request_id": "checkout-4711",
    "queue_ms": 0.4,
    "compute_ms": 2.5,
    "run_id": "6f1d0c4e5b7a4a0e9d3c2b1a0f9e8d7c",
}
GIVEN_FEEDBACK: JsonObject = {
    "id": FEEDBACK,
    "created_at": NOON,
    "prediction_id": PREDICTION,
    "task": "tweets",
    "label": "negative",
    "value": None,
    "comment": "irony",
    "user_id": BEA,
    "status": "accepted",
    "reason": None,
}
STORED_PROMOTION: JsonObject = {
    "id": "0199aa28-77d0-7c34-9e4b-0242ac120002",
    "created_at": MORNING,
    "task": "tweets",
    "version": 3,
    "previous": 2,
    "action": "promote",
    "reason": "Promoted: better on the fixed rows, worse on none.",
    "metrics": {"macro_recall": 0.745},
    "actor": ANN,
    "run_id": "6f1d0c4e5b7a4a0e9d3c2b1a0f9e8d7c",
}
DAYS: JsonObject = {"predictions_days": 90, "examples_days": None}
STORED_RETENTION: JsonObject = {**DAYS, "task": "tweets", "changed_at": MORNING}
MEASURE = {
    "rows": 200,
    "accuracy": 0.81,
    "low": 0.75,
    "high": 0.858,
    "mean_error": None,
    "mean_absolute_error": None,
    "root_mean_squared_error": None,
    "reason": None,
}
NO_MEASURE = dict.fromkeys(MEASURE, None) | {"rows": 0}
BOTH_MEASURES = {"all": MEASURE, "random": NO_MEASURE}
BINS = {"bins": [{"low": 0.6, "high": 0.7, "mean_score": 0.65, "measure": MEASURE}], "error": 0.16}

EXAMPLES: dict[str, JsonObject] = {
    "Acceptance": {"password": PASSWORD, "name": "Bea"},
    "Accuracy": {
        "task": "tweets",
        "after": MORNING,
        "before": NOON,
        "overall": BOTH_MEASURES,
        "versions": [{"version": 3, "run_id": STORED_PREDICTION["run_id"], **BOTH_MEASURES}],
        "days": [{"day": "2026-11-21", **BOTH_MEASURES}],
        "classes": [{"label": "negative", "recall": BOTH_MEASURES, "precision": BOTH_MEASURES}],
        "confusion": [{"truth": "negative", "label": "positive", "all": 12, "random": 0.06}],
        "calibration": {"all": BINS, "random": {"bins": [], "error": None}},
    },
    "AuditOut": {
        "id": "0199aa33-2b6f-7e70-8d15-0242ac120002",
        "created_at": NOON,
        "actor_kind": "user",
        "actor_id": ANN,
        "action": "change",
        "entity": "users",
        "entity_id": BEA,
        "fields": ["role"],
        "request_id": "9d2f7c1e",
        "before": {"role": "user"},
        "after": {"role": "trainer"},
    },
    "ErasureOut": {
        "id": "0199aa31-7e4c-7d11-9c43-0242ac120002",
        "user_id": BEA,
        "requested_at": NOON,
        "requested_by": BEA,
        "status": "awaiting",
        "erased_at": NOON,
        "finished_at": None,
        "removed": {"data-api": {"predictions": 120, "feedback": 4, "examples": 4, "account": 1}},
        "awaited": ["ai-api"],
    },
    "ErasureIn": {"password": "correct horse battery staple"},
    "FeedbackIn": {
        "id": FEEDBACK,
        "prediction_id": PREDICTION,
        "label": "negative",
        "comment": "irony",
        "user_id": BEA,
    },
    "FeedbackOut": GIVEN_FEEDBACK,
    "Health": {"status": "ready"},
    "InvitationIn": {"email": "bea@example.org", "role": "user"},
    "InvitationOut": INVITATION,
    "Jwks": JWKS,
    "KeyIn": {"name": "laptop", "scopes": ["predict", "feedback"], "expires_at": NEXT_YEAR},
    "KeyOut": API_KEY,
    "KeyUses": {"uses": {KEY: NOON}},
    "NewInvitation": {**INVITATION, "link": "http://127.0.0.1:8001/invitations/vi_5f0c…"},
    "NewKey": {**API_KEY, "last_used_at": None, "key": "vk_5f0c…"},
    "OwnChange": {
        "name": "Ann",
        "current_password": PASSWORD,
        "password": "another horse battery",
    },
    "PartIn": {"replica": "5f0c7a", "removed": {"outbox": 2, "dead_letters": 0, "pictures": 1}},
    "PredictionIn": {
        **{
            name: STORED_PREDICTION[name]
            for name in ("id", "task", "version", "row", "row_schema", "answer", "user_id", "role")
        },
        "request_id": "checkout-4711",
        "timing": {"queue_ms": 0.4, "compute_ms": 2.5},
        "run_id": STORED_PREDICTION["run_id"],
    },
    "PredictionOut": STORED_PREDICTION,
    "PredictionWithFeedback": {**STORED_PREDICTION, "feedback": [GIVEN_FEEDBACK], "promotion": STORED_PROMOTION},
    "PromotionIn": {name: value for name, value in STORED_PROMOTION.items() if name != "created_at"},
    "PromotionOut": STORED_PROMOTION,
    "Refresh": {"refresh_token": "vr_5f0c…"},
    "Results": {"results": [{"status": "stored", "reason": None}]},
    "RetentionIn": DAYS,
    "RetentionList": {"items": [STORED_RETENTION]},
    "RetentionOut": STORED_RETENTION,
    "SignIn": {"grant_type": "password", "username": "ann@example.org", "password": PASSWORD},
    "Snapshot": {
        "generated_at": NOON,
        "keys": [
            {
                "hash": "5f0c…",
                "key_id": KEY,
                "user_id": ANN,
                "role": "trainer",
                "scopes": ["predict"],
                "expires_at": None,
            }
        ],
        "disabled_users": [BEA],
        "tokens_valid_after": {ANN: 1795252500.25},
        "jwks": JWKS,
        "erasures": [],
        "kept_days": {"products": 455},
    },
    "ToLabelList": {
        "items": [
            {
                **STORED_PREDICTION,
                "reason": "margin",
                "assigned_until": NOON,
                "margin": 0.4,
                "entropy": 0.88,
                "disagreement": None,
                "probability": None,
            }
        ]
    },
    "TokenPair": PAIR,
    "UserChange": {"role": "trainer"},
    "UserIn": {
        "email": "ann@example.org",
        "name": "Ann",
        "password": PASSWORD,
        "role": "trainer",
    },
    "UserOut": USER,
    "Welcome": {"email": "bea@example.org", "role": "user", "expires_at": "2026-11-24T08:15:00+00:00"},
}
