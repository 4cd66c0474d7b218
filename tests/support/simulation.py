"""A pool at work in made-up weather: accounts that are throttled, broken, suspended, expired and cut off, by a seed.

`Turns`, `decide`, `taken`, `mend` and through them `choose` and `after` are the real ones. Simulated are
Kiro, the clients, the clock, and the loop of the relay that does what was decided. Whatever must never
happen is asserted where it would happen.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

import msgspec

from kiro import errors
from kiro.accounts.account import Account
from kiro.accounts.health import SetAside, SwitchFlavour
from kiro.accounts.pool import Ask
from kiro.accounts.strategies import Standing
from kiro.accounts.turns import Turns
from kiro.errors import KiroError
from kiro.relay.retry import FindProfile, GiveUp, NextAccount, RefreshAndRepeat, Repeat, Tries, decide, mend, taken
from support.accounts import account, rules, usage

TOKENS = 20
HERE, MOST, PATIENCE_S = 3, 9, 60.0
_ITS_OWN_DOING = (errors.RateLimited, errors.TokenRejected, errors.AccountSuspended)
MODELS = ("opus", "sonnet", "sonnet", "haiku")


class Stream(msgspec.Struct, frozen=True):
    """An answer that has begun; `cut` is the token before which it breaks."""

    cut: int | None = None


class Kiro:
    """What Kiro does to each account, when. All by the seed."""

    def __init__(
        self, seed: int, ids: list[str], start: float, seconds: float, storms_last: tuple[float, float]
    ) -> None:
        self.random = random.Random(seed)
        self._storms_last = storms_last
        self.storms = {one: list(self._storms(start, seconds)) for one in ids}
        self.token_until = {one: start + self.random.uniform(60, 900) for one in ids}
        victims = self.random.sample(ids, 2)
        self.suspended_at = {victims[0]: start + seconds * self.random.uniform(0.2, 0.8)}
        self.signed_out_at = {victims[1]: start + seconds * self.random.uniform(0.2, 0.8)}
        self.loaded = [(at, at + 20.0) for at in (start + seconds * 0.3, start + seconds * 0.6)]

    def _storms(self, start: float, seconds: float) -> Iterator[tuple[float, float, float | None]]:
        """Times in which an account is throttled, each with its Retry-After."""
        at = start
        while at < start + seconds:
            at += self.random.expovariate(1 / 150)
            lasts = self.random.uniform(*self._storms_last)
            yield at, at + lasts, self.random.choice([None, None, 5.0, 30.0])
            at += lasts

    def ask(self, who: str, model: str, now: float, said: int) -> Stream:
        """Raises the refusal, or gives an answer."""
        if now >= self.suspended_at.get(who, now + 1):
            raise errors.AccountSuspended("suspended", reason="TEMPORARILY_SUSPENDED")
        if now >= self.token_until[who]:
            raise errors.TokenRejected("expired")
        for begins, ends, wait_s in self.storms[who]:
            if begins <= now < ends:
                raise errors.RateLimited("slower", retry_after_s=wait_s)
        if model == "opus" and any(begins <= now < ends for begins, ends in self.loaded):
            raise errors.ModelOverloaded("loaded")
        draw = self.random.random()
        for chance, error in (
            (0.02, errors.UpstreamBroken("500")),
            (0.03, errors.NetworkFailed("reset")),
            (0.04, errors.StreamCut("before the first event")),
            (0.045, errors.EmptyAnswer("nothing")),
            (0.047, errors.UpstreamTimeout("edge", upstream_status=524)),
        ):
            if draw < chance:
                raise error
        return Stream(self.random.randint(said + 1, TOKENS - 1) if draw > 0.96 and said < TOKENS - 1 else None)

    def refresh(self, who: str, now: float) -> None:
        if now >= self.signed_out_at.get(who, now + 1):
            raise errors.SignInNeeded("signed out")
        if self.random.random() < 0.1:
            raise errors.UpstreamBroken("the sign-in service is down")
        self.token_until[who] = now + 600


class WatchedTurns(Turns):
    """Turns that looks over its own shoulder at each start of a request.

    `starts` counts what each account got, `due` its fair share: of each request as much as of the accounts free then.

    `moves` counts sessions that changed their account, `helped` requests another account took for a busy one.
    """

    moves = 0
    helped = 0

    def __init__(self, *known, **more) -> None:
        super().__init__(*known, **more)
        self.starts: Counter[str] = Counter()
        self.due: Counter[str] = Counter()

    def able(self, one: Standing, ask: Ask, now: float) -> bool:
        """In words of the rules, not of the code: may this account take this request now?"""
        health = one.health
        probing = 0 < health.resting_until <= now and one.in_flight > 0 and one.last_started >= health.resting_until
        return (
            one.usable
            and one.id not in ask.tried
            and one.in_flight < self._rules().max_in_flight
            and not health.resting(now)
            and not probing
            and health.bench(ask.model, now) is None
        )

    def lost(self, one: Standing, ask: Ask, now: float) -> bool:
        """The session's account cannot serve it, and not merely for want of a place."""
        return not one.usable or one.health.resting(now) or one.id in ask.tried

    def _start(self, ask, choice):
        now, chosen = self._clock(), self._standings[choice.account.id]
        assert chosen.usable, f"{chosen.id} is set aside"
        assert chosen.in_flight < self._rules().max_in_flight
        assert not chosen.health.resting(now), f"{chosen.id} rests"
        able = [one for one in self._standings.values() if self.able(one, ask, now)]
        assert chosen in able or not able, "somebody better was free"
        for one in able:
            self.due[one.id] += 1 / len(able)
        self.starts[chosen.id] += bool(able)
        home = self._bound_to(ask.session, now)
        super()._start(ask, choice)
        if home is not None and home != chosen.id:
            before = next(one for one in self._standings.values() if one.id == home)
            assert not self.able(before, ask, now), "the session's own account could have served it"
            moved = self._bound_to(ask.session, now) != home
            assert moved == self.lost(before, ask, now), "a session moves when its account is lost, and only then"
            self.moves += moved
            self.helped += not moved


class Simulation:
    """`outcomes` tells by number what became of each request: None for a whole answer, else the error."""

    def __init__(
        self, seed: int, *, requests: int, seconds: float, sessions: int, storms_last=(3, 40), **changes
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.random = random.Random(seed)
        self.requests, self.seconds, self.sessions = requests, seconds, sessions
        self.accounts = [account(name, priority=place, usage=usage(limit=200)) for place, name in enumerate("abcde")]
        self.kiro = Kiro(seed, [one.id for one in self.accounts], self.loop.time(), seconds, storms_last)
        self.turns = WatchedTurns(lambda: self.accounts, lambda: self.rules, clock=self.loop.time)
        self.rules = rules(**changes)
        self.outcomes: dict[int, KiroError | None] = {}
        self.refusals: Counter[str] = Counter()
        self.continued: set[int] = set()
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._probing: dict[str, int] = {}

    async def run(self) -> "Simulation":
        async with asyncio.TaskGroup() as group:
            for number in range(self.requests):
                group.create_task(self._client(number))
                await asyncio.sleep(self.random.expovariate(self.requests / self.seconds))
        assert (self.turns.in_flight, self.turns.waiting) == (0, 0)
        return self

    async def _client(self, number: int) -> None:
        session = f"s{self.random.randrange(self.sessions)}" if self.sessions else None
        try:
            await self._answer(number, session, self.random.choice(MODELS))
        except KiroError as error:
            self._finish(number, error)
        else:
            self._finish(number, None)

    def _finish(self, number: int, outcome: KiroError | None) -> None:
        assert number not in self.outcomes, "answered twice"
        self.outcomes[number] = outcome

    async def _answer(self, number: int, session: str | None, model: str) -> None:
        got: list[int] = []
        who, stream, began = await self._begin(number, Ask(model, session), got)
        while True:
            try:
                got += await self._deliver(stream, len(got))
            except errors.StreamCut as cut:
                got += range(len(got), stream.cut)
                self.turns.learn(who, cut, model=model, began=began)
                self.turns.leave(who.id)
                if number in self.continued:
                    raise
                self.continued.add(number)
                who, stream, began = await self._begin(number, Ask(model, session, tried=frozenset({who.id})), got)
            else:
                self.turns.leave(who.id, spent=self.random.random())
                assert got == list(range(TOKENS)), "something is missing, or was said twice"
                return

    async def _deliver(self, stream: Stream, said: int) -> list[int]:
        until = TOKENS if stream.cut is None else stream.cut
        await asyncio.sleep((until - said) * self.random.uniform(0.1, 0.6))
        if stream.cut is not None:
            raise errors.StreamCut("in the middle")
        return list(range(said, until))

    async def _begin(self, number: int, ask: Ask, got: list[int]) -> tuple[Account, Stream, float]:
        """The relay's loop: do what is decided until an answer begins."""
        tries = Tries(failed=ask.tried)
        who: Account | None = None
        last: KiroError | None = None
        while True:
            if who is None:
                who = await self._take(msgspec.structs.replace(ask, tried=tries.failed), last)
            began = self.loop.time()
            try:
                stream = await self._ask_kiro(number, who, ask.model, len(got))
            except KiroError as error:
                last = error
            else:
                self._succeeded(who, ask, began)
                return who, stream, began
            step = decide(last, tries, most_here=HERE, most=MOST, refreshable=True, jitter=self.random.random())
            if mend(last, tries, refreshable=True) is None:
                self._failed(who, last, ask, began)
            if isinstance(step, RefreshAndRepeat):
                step, last = await self._refresh(who, last)
            elif isinstance(step, FindProfile):
                self._failed(who, last, ask, began)
                step = NextAccount()
            elif isinstance(step, Repeat):
                await asyncio.sleep(step.delay_s)
            elif isinstance(step, GiveUp):
                self.turns.leave(who.id)
                raise last
            if isinstance(step, NextAccount) or not self.turns.serves(who.id):
                self.turns.leave(who.id)
                tries, who = taken(NextAccount(), tries, who.id), None
            else:
                tries = taken(step, tries, who.id)

    async def _take(self, ask: Ask, last: KiroError | None) -> Account:
        try:
            return await self.turns.take(ask, patience_s=PATIENCE_S)
        except KiroError as error:
            self._honest(error, ask)
            raise last or error from None

    def _honest(self, error: KiroError, ask: Ask) -> None:
        """Nobody is refused while somebody could serve, and who is told to wait is told how long."""
        now = self.loop.time()
        left = [one for one in self.turns._standings.values() if one.usable and one.id not in ask.tried]
        if isinstance(error, errors.NoAccountReady) and "free place" not in error.message and left:
            assert all(one.health.resting(now) for one in left)
            first = min(one.health.resting_until for one in left)
            assert error.retry_after_s == max(1.0, first - now)
        elif "free place" not in error.message:
            assert not left

    async def _ask_kiro(self, number: int, who: Account, model: str | None, said: int) -> Stream:
        now = self.loop.time()
        health = self.turns.health(who.id)
        assert not health.resting(now), f"{who.id} is asked while it rests"
        probing = health.on_probation(now)
        if probing:
            assert self._probing.setdefault(who.id, number) == number, f"two requests try {who.id} out"
        try:
            await asyncio.sleep(self.random.uniform(0.1, 1.5))
            return self.kiro.ask(who.id, model or "", self.loop.time(), said)
        except KiroError as error:
            self.refusals[type(error).__name__] += 1
            raise
        finally:
            if probing:
                self._probing.pop(who.id, None)

    def _succeeded(self, who: Account, ask: Ask, began: float) -> None:
        before = self.turns.health(who.id)
        self.turns.learn(who, None, model=ask.model, began=began)
        if began < before.resting_until:
            assert self.turns.health(who.id) is before, "a request from before the rest proves nothing"

    def _failed(self, who: Account, error: KiroError, ask: Ask, began: float) -> None:
        before = self.turns.health(who.id)
        outcome = self.turns.learn(who, error, model=ask.model, began=began)
        assert not isinstance(outcome, SwitchFlavour)
        if isinstance(outcome, SetAside):
            self._set_state(who, outcome.state)
        if isinstance(error, _ITS_OWN_DOING):
            assert not self.turns.serves(who.id)
        else:
            assert self.turns.health(who.id).resting_until == before.resting_until, "that was not the account's doing"

    def _set_state(self, who: Account, state: str) -> None:
        """Set aside; its owner mends it after some minutes."""
        self.accounts = [
            msgspec.structs.replace(one, state=state) if one.id == who.id else one for one in self.accounts
        ]
        self.turns.refresh()
        if state != "active":
            self.kiro.suspended_at.pop(who.id, None)
            self.kiro.signed_out_at.pop(who.id, None)
            self.loop.call_later(self.random.uniform(60, 300), self._set_state, who, "active")

    async def _refresh(self, who: Account, last: KiroError) -> tuple[RefreshAndRepeat | NextAccount, KiroError]:
        """One refresh at a time per account."""
        if who.id not in self._refreshing:
            self._refreshing[who.id] = asyncio.create_task(self._refreshed(who.id))
        try:
            await asyncio.shield(self._refreshing[who.id])
        except KiroError as error:
            self.turns.learn(who, errors.SignInNeeded("no new token"))
            if isinstance(error, errors.SignInNeeded):
                self._set_state(who, "invalid")
            return NextAccount(), error
        return RefreshAndRepeat(), last

    async def _refreshed(self, account_id: str) -> None:
        try:
            await asyncio.sleep(0.4)
            self.kiro.refresh(account_id, self.loop.time())
        finally:
            self._refreshing.pop(account_id)
