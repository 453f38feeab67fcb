"""Kept answers: the key, the seal, the bound of the store."""

from dataclasses import dataclass

from backends.wire.prompt import Asked, Prompt, WireFormat
from gateway.cache import CacheEntry, MemoryStore, cache_key, open_entry, seal_entry
from gateway.sealing import Sealer
from policies.facts import Decision

ENTRY = CacheEntry("t", "m", "text/event-stream", (b"data: 1\n\n", b"data: [DONE]\n\n"), ("seed",))
DECISION = Decision("balanced@1", frozenset({"code"}), frozenset(), (), ())


@dataclass
class Changed:
    """One thing that must change the key."""

    raw: bytes = b"{}"
    format: WireFormat = "openai-chat"
    asked: Asked = Asked()
    decision: Decision = DECISION
    data_class: str = "internal"
    organisation: str = "a"


def key_of(change: Changed, master: bytes = b"k") -> bytes:
    """The cache key of a variation."""
    prompt = Prompt(change.format, change.raw, "m", (), asked=change.asked)
    return cache_key(
        Sealer(master), change.organisation, prompt, change.decision, change.data_class
    )


def test_key_binds_everything_that_could_change_the_answer() -> None:
    """Body, format, address, policy version, labels, class, organisation and master key each give another key."""
    other_policy = Decision("balanced@2", frozenset({"code"}), frozenset(), (), ())
    other_labels = Decision("balanced@1", frozenset(), frozenset(), (), ())
    keys = {
        key_of(Changed()),
        key_of(Changed(raw=b"{ }")),
        key_of(Changed(format="gemini")),
        key_of(Changed(asked=Asked(model="other"))),
        key_of(Changed(asked=Asked(is_stream=True))),
        key_of(Changed(decision=other_policy)),
        key_of(Changed(decision=other_labels)),
        key_of(Changed(data_class="public")),
        key_of(Changed(organisation="b")),
        key_of(Changed(), master=b"other"),
    }
    assert len(keys) == 10
    assert key_of(Changed()) == key_of(Changed())


def test_entry_opens_only_for_its_tenant_and_key() -> None:
    """A sealed entry under another organisation or key, or a bit changed, is a miss."""
    sealer = Sealer(b"k")
    sealed = seal_entry(sealer, "a", b"key", ENTRY)
    assert open_entry(sealer, "a", b"key", sealed) == ENTRY
    assert open_entry(sealer, "b", b"key", sealed) is None
    assert open_entry(sealer, "a", b"other", sealed) is None
    assert open_entry(sealer, "a", b"key", sealed[:-1] + bytes([sealed[-1] ^ 1])) is None
    assert open_entry(sealer, "a", b"key", b"") is None
    assert b"data: 1" not in sealed


async def test_store_is_bounded_and_forgets_by_age() -> None:
    """The least recently used entry goes first; an old one is not given."""
    store = MemoryStore(10)
    await store.store(b"a", b"12345", 60, now=0.0)
    await store.store(b"b", b"12345", 60, now=0.0)
    assert store.find(b"a", 1.0) == b"12345"
    await store.store(b"c", b"12345", 60, now=1.0)
    assert store.find(b"b", 1.0) is None
    assert store.find(b"a", 1.0) == b"12345"
    assert store.find(b"a", 60.0) is None
    await store.store(b"big", b"x" * 11, 60, now=1.0)
    assert store.find(b"big", 1.0) is None
