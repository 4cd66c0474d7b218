"""The small questions: models, usage limits, profiles, and Kiro's own web search. Pure: who asks and what, in; JSON out."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from kiro.emulator.accounts import Person
from kiro.emulator.refusal import Refusal, deny, refuse

_MONTH_S: Final = 30 * 86400
_INSTANCE: Final = "arn:aws:sso:::instance/ssoins-0000000000000000"


def list_models(person: Person, asked: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    """ListAvailableModels, with paging by `maxResults` and `nextToken`."""
    if not asked.get("origin"):
        return refuse("origin is missing")
    try:
        start, size = int(asked.get("nextToken") or 0), int(asked.get("maxResults") or len(person.models))
    except ValueError:
        return refuse("maxResults or nextToken is no number")
    listed = [model.listing() for model in person.models]
    document: dict[str, Any] = {"models": listed[start : start + size], "defaultModel": listed[0]}
    if start + size < len(listed):
        document["nextToken"] = str(start + size)
    return document


def usage_limits(person: Person, now: float) -> dict[str, Any]:
    """GetUsageLimits. Credits are reset at the next full 30 days since 1970."""
    reset = float((now // _MONTH_S + 1) * _MONTH_S)
    overage = max(0.0, person.used - person.limit) if person.overage else 0.0
    used = person.used - overage
    credit = {
        "resourceType": "CREDIT",
        "displayName": "Credit",
        "displayNamePlural": "Credits",
        "unit": "INVOCATIONS",
        "currency": "USD",
        "currentUsage": int(used),
        "currentUsageWithPrecision": round(used, 4),
        "usageLimit": int(person.limit),
        "usageLimitWithPrecision": person.limit,
        "currentOverages": int(overage),
        "currentOveragesWithPrecision": round(overage, 4),
        "overageCap": 10000,
        "overageCapWithPrecision": 10000.0,
        "overageRate": 0.04,
        "overageCharges": round(overage * 0.04, 4),
        "nextDateReset": reset,
        "bonuses": [],
    }
    return {
        "nextDateReset": reset,
        "daysUntilReset": int((reset - now) // 86400),
        "limits": [],
        "usageBreakdownList": [credit],
        "subscriptionInfo": {
            "type": "Q_DEVELOPER_STANDALONE_PRO",
            "subscriptionTitle": "KIRO PRO",
            "upgradeCapability": "UPGRADE_CAPABLE",
            "overageCapability": "OVERAGE_CAPABLE",
            "subscriptionManagementTarget": "MANAGE",
        },
        "overageConfiguration": {"overageStatus": "ENABLED" if person.overage else "DISABLED"},
        "userInfo": {"userId": f"d-0000000000.{person.name}", "email": person.email},
    }


def list_profiles(person: Person | None, token_type: str | None) -> dict[str, Any] | Refusal:
    """ListAvailableProfiles: empty for a bad token, for social, and without the header an external one needs."""
    if person is None or person.kind == "social":
        return {"profiles": []}
    if person.kind == "builder_id":
        return deny("AWS Builder ID is not supported for this operation.")
    if person.kind == "api_key":
        return deny("User is not authorized to make this call.")
    if person.kind == "external_idp" and (token_type or "").upper() != "EXTERNAL_IDP":
        return {"profiles": []}
    identity = {"ssoIdentityDetails": {"instanceArn": _INSTANCE, "oidcClientId": "emulator", "ssoRegion": "us-east-1"}}
    arns = () if person.without_profile else (person.profile_arn, *person.more_profiles)
    common = {"status": "ACTIVE", "profileType": "KIRO", "identityDetails": identity}
    names = [f"{person.name} profile" + (f" {number}" if number > 1 else "") for number in range(1, len(arns) + 1)]
    return {"profiles": [{"arn": arn, "profileName": name} | common for arn, name in zip(arns, names, strict=True)]}


def call_tool_server(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """One JSON-RPC message to `/mcp`; `None` when it is a notification and gets no answer."""
    call_id, method = asked.get("id"), asked.get("method")
    if asked.get("jsonrpc") != "2.0" or not isinstance(method, str):
        return _rpc(call_id, error=(-32600, "Invalid Request"))
    match method:
        case "initialize":
            server = {"name": "kiro-emulator", "version": "1"}
            return _rpc(call_id, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": server})
        case "notifications/initialized":
            return None
        case "ping":
            return _rpc(call_id, {})
        case "tools/list":
            schema = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
            tool = {"name": "web_search", "description": "Searches the web.", "inputSchema": schema}
            return _rpc(call_id, {"tools": [tool]})
        case "tools/call":
            return _search(call_id, asked.get("params"))
        case _:
            return _rpc(call_id, error=(-32601, "Method not found"))


def _search(call_id: Any, params: Any) -> dict[str, Any]:
    if not isinstance(params, dict) or params.get("name") != "web_search":
        return _rpc(call_id, error=(-32602, "Unknown tool"))
    arguments = params.get("arguments")
    query = arguments.get("query") if isinstance(arguments, dict) else None
    if not isinstance(query, str) or not query.strip():
        return _rpc(call_id, {"isError": True, "content": [{"type": "text", "text": "query is required"}]})
    results = [_hit(query, number) for number in range(1, 4)]
    found = {"results": results, "totalResults": len(results), "query": query, "error": None}
    text = json.dumps(found, ensure_ascii=False)
    return _rpc(call_id, {"isError": False, "content": [{"type": "text", "text": text}]})


def _hit(query: str, number: int) -> dict[str, Any]:
    """Always the same hit for the same query; the last one has no date."""
    slug = hashlib.sha256(query.encode()).hexdigest()[:8]
    domain = ("example.com", "example.org", "example.net")[number - 1]
    hit: dict[str, Any] = {
        "title": f"{query} result {number}",
        "url": f"https://{domain}/{slug}/{number}",
        "snippet": f"Emulated snippet {number} about {query}.",
        "id": f"r{number}",
        "domain": domain,
        "maxVerbatimWordLimit": 30,
        "publicDomain": False,
    }
    if number < 3:
        hit["publishedDate"] = 1_763_500_000_000 + number * 86_400_000
    return hit


def _rpc(call_id: Any, result: Any = None, error: tuple[int, str] | None = None) -> dict[str, Any]:
    if error is not None:
        return {"jsonrpc": "2.0", "id": call_id, "error": {"code": error[0], "message": error[1]}}
    return {"jsonrpc": "2.0", "id": call_id, "result": result}
