"""The stages of a turn, made of the settings."""

from __future__ import annotations

from dataclasses import dataclass

from crocbot import log
from crocbot.access import AccessPolicy, DenialLog
from crocbot.agents import Agent, ThinkingTags, Timeouts
from crocbot.botapi import Client, OptionalCalls
from crocbot.chat_moves import ChatMoves
from crocbot.classic_forms import ClassicForms
from crocbot.commands import Commands, GatewayControl
from crocbot.edits import Edits
from crocbot.events import EventListener
from crocbot.fetch import Fetcher
from crocbot.inbox import KeptReplies
from crocbot.limits import Limits
from crocbot.model import BotIdentity
from crocbot.pairing import Pairings
from crocbot.reply import ChatOrder, Delivery, Drafts, LiveDelivery, RichDelivery
from crocbot.sessions import Sessions
from crocbot.settings import Settings
from crocbot.spending import Spending
from crocbot.store import Store
from crocbot.transcription import Transcriber
from crocbot.turn import (
    Accounts,
    Admission,
    AgentStep,
    EnclosureReaders,
    Fallback,
    FileLoader,
    TurnStages,
)

# In answers a shorter secret is not replaced: it may be an ordinary word.
MIN_REDACTED_CHARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBuilder:
    """What the stages of a turn are made of, besides the running gateway."""

    settings: Settings
    identity: BotIdentity
    store: Store
    limits: Limits
    client: Client
    optional: OptionalCalls
    order: ChatOrder
    sessions: Sessions
    moves: ChatMoves
    policy: AccessPolicy
    agent: Agent
    files: FileLoader
    fallback: Fallback | None
    events: EventListener

    def build(self, gateway: GatewayControl) -> TurnStages:
        """Return the stages of all turns of a gateway."""
        settings, limits = self.settings, self.limits
        kept = KeptReplies(self.store)
        delivery = Delivery(
            client=self.client, events=self.events, keeper=kept, order=self.order
        )
        drafts = Drafts(calls=self.optional, delivery=delivery)
        rich = RichDelivery(
            enabled=settings.rich,
            calls=self.optional,
            forms=ClassicForms(self.store),
            events=self.events,
        )
        redactor = log.Redactor(settings.secrets, min_chars=MIN_REDACTED_CHARS)
        accounts = self._build_accounts(limits)
        admission = None
        if settings.limits:
            admission = Admission(limits=limits, events=self.events)
        return TurnStages(
            bot=self.identity,
            admission=admission,
            policy=self.policy,
            pairings=Pairings(self.store),
            denials=DenialLog(),
            commands=Commands(
                gateway=gateway,
                sessions=self.sessions,
                events=self.events,
                spending=None if accounts is None else accounts.spending,
            ),
            moves=self.moves,
            agent_step=AgentStep(
                agent=self.agent,
                timeouts=Timeouts(
                    first_byte=settings.agent_first_byte_seconds,
                    total=settings.agent_total_seconds,
                ),
                sessions=self.sessions,
                files=self.files,
                live=LiveDelivery(delivery=delivery, drafts=drafts, rich=rich),
                events=self.events,
                redactor=redactor,
                thinking=None if settings.keep_thinking else ThinkingTags(),
                enclosures=EnclosureReaders(
                    keeper=kept,
                    fetcher=Fetcher(sorted(settings.fetch_hosts)),
                    events=self.events,
                    redactor=redactor,
                    max_bytes=settings.files_max_bytes,
                ),
                fallback=self.fallback,
                accounts=accounts,
            ),
            delivery=delivery,
            rich=rich,
            edits=Edits(self.store, self.events, mode=settings.edits),
            events=self.events,
        )

    def _build_accounts(self, limits: Limits) -> Accounts | None:
        """Return what counts tokens and costs; None if there can be neither."""
        settings = self.settings
        agents = {settings.agent, settings.fallback_agent or settings.agent}
        if agents == {"echo"} and not settings.limits and settings.prices is None:
            return None
        accounts = Accounts(
            limits=limits,
            spending=Spending(self.store, settings.prices is not None),
            models=settings.priced_models,
            events=self.events,
        )
        accounts.start()
        return accounts


def build_fallback(
    agent: Agent, settings: Settings, files: FileLoader, events: EventListener
) -> Fallback:
    """Return what asks a second agent when the first one fails."""
    return Fallback(
        agent=agent,
        files=files,
        events=events,
        thinking=None if settings.keep_thinking else ThinkingTags(),
    )


def build_file_loader(
    settings: Settings,
    client: Client,
    transcriber: Transcriber | None,
    events: EventListener,
) -> FileLoader:
    """Return what loads the files of messages, one for all turns."""
    return FileLoader(
        client=client,
        events=events,
        max_bytes=settings.media_max_bytes,
        transcriber=transcriber,
        redactor=log.Redactor(settings.secrets, min_chars=MIN_REDACTED_CHARS),
    )


def access_policy(settings: Settings, moves: ChatMoves) -> AccessPolicy:
    """Return the access rules, which follow moves of groups."""
    return AccessPolicy(
        listed=settings.allow_from,
        everyone=settings.access == "open",
        pairing=settings.access == "pairing",
        groups=moves.groups,
        operators=settings.operators,
    )
