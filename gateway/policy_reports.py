"""What commands and the API say alike, for programs: of a check, and of a replay."""

from backends.catalogue import Catalogue
from gateway.proving import Proving
from gateway.targets import count_targets
from policies.check import Report
from policies.replay import Change, Replay, share_interval

INTERVAL = "95 %, normal approximation on the paired differences of requests that had a target then and would have one now"
RECORDED = "what was decided then"
SAMPLE = "a uniform sample, by a hash of their ids"


def check_to_json(report: Report, proving: Proving, catalogue: Catalogue) -> dict[str, object]:
    """What a check found and what is proved, and the targets that it was held against."""
    is_ok = report.is_ok and proving.certificate.is_proof
    targets = {"targets": count_targets(catalogue)}
    return report.to_json() | proving.to_json() | {"ok": is_ok} | targets


def replay_to_json(replay: Replay, total: int, against: str) -> dict[str, object]:
    """A replay for programs; money in nano-dollars."""
    report: dict[str, object] = {
        "policy": replay.policy.label,
        "against": against,
        "requests": total,
        "looked_at": replay.seen,
        "decided": replay.decided,
        "other_catalogue": replay.other_catalogue,
        "undecidable": dict(replay.undecidable.most_common()),
    }
    report |= {name: count for name, _words, count in counts_of(replay)}
    if replay.seen < total:
        report["sample"] = SAMPLE
        report["share_intervals"] = {
            name: share_interval(count, replay.decided) for name, _words, count in counts_of(replay)
        }
    return report | {
        "moves": [
            {"from": before, "to": after, "requests": count}
            for (before, after), count in replay.moves.most_common()
        ],
        "interval": INTERVAL,
        "expected_cost_nanousd": _change(replay.cost),
        "expected_ttft_seconds": _change(replay.latency),
        "quality": _change(replay.quality),
        "privacy": {
            "to_external": replay.outward,
            "to_self_hosted": replay.homeward,
            "by": [
                {"direction": direction, kind: name, "requests": count}
                for (direction, kind, name), count in sorted(replay.crossings.items())
            ],
        },
        "examples": [
            {name: getattr(one, name) for name in one.__struct_fields__}
            for one in replay.examples()
        ],
    }


def counts_of(replay: Replay) -> list[tuple[str, str, int]]:
    """How many requests changed in what way: its name for programs, and in words."""
    return [
        ("moved", "moved", replay.moved),
        ("newly_refused", "newly refused", replay.newly_refused),
        ("newly_allowed", "newly allowed", replay.newly_allowed),
    ]


def _change(change: Change) -> dict[str, object]:
    """``total`` and ``mean`` are now minus then, each plus or minus its margin."""
    margin = change.margin
    return {
        "requests": change.asked,
        "known": change.known,
        "mean": change.mean if change.known else None,
        "mean_margin": margin,
        "total": change.total if change.known else None,
        "total_margin": None if margin is None else margin * change.known,
    }
