"""Numbers for programs that ask the server: what a key has used, how an account stands."""

import asyncio
import time
from typing import Any

from kiro.accounts.pool import Reach
from kiro.accounts.showing import shown
from kiro.runtime import Runtime
from kiro.storage.client_keys import ClientKey


async def stats(runtime: Runtime, client: ClientKey | None) -> dict[str, Any]:
    """Totals of the key's own requests."""
    key_id = client.id if client is not None else None
    await runtime.log.flush()
    row = await asyncio.to_thread(
        runtime.home.database.row,
        "SELECT count(*) AS requests, coalesce(sum(outcome = 'done'), 0) AS answered,"
        " coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(output_tokens), 0) AS output_tokens,"
        " coalesce(sum(credits), 0) AS credits FROM requests WHERE client_key IS ?",
        (key_id,),
    )
    totals = dict(row) if row is not None else {}
    now = {"in_flight": runtime.turns.in_flight, "waiting": runtime.turns.waiting}
    return {"uptime_s": round(time.time() - runtime.started_at), **now, **totals}


async def usage_limits(runtime: Runtime, reach: Reach) -> dict[str, Any]:
    """Credits of one account, or of the one whose turn it is; of one that rests, too: they may say why."""
    account = runtime.turns.look_anyway(reach.ask())
    limits = await runtime.questions.usage(account.id)
    how = shown(account, runtime.turns.health(account.id), now=time.time())
    return {
        "account": account.name,
        "state": how.state,
        "reason": how.reason,
        "until": how.until,
        "plan": limits.plan,
        "used": limits.used,
        "limit": limits.limit,
        "remaining": limits.remaining,
        "resets_at": limits.resets_at,
        "asked_at": runtime.questions.usage_asked_at(account.id),
        "overage": {
            "enabled": limits.overage_enabled,
            "used": limits.overage_used,
            "cap": limits.overage_cap,
            "budget": runtime.turns.budget(account.id),
        },
    }
