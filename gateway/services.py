"""Everything a request needs, built once by :mod:`gateway.app` and never changed."""

from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from backends.transport import Transport
from gateway.admission import Admission
from gateway.background import Background
from gateway.cache import CacheStore
from gateway.clock import Clock, RequestIds
from gateway.identity import Identity
from gateway.kept import KeptResponses
from gateway.ledger import Journal
from gateway.quotes import Signals
from gateway.reservations import Settler
from gateway.routing import RoutingTable
from gateway.sealing import Sealer
from gateway.settings import Settings
from gateway.telemetry.metrics import Metrics
from policies.classify import Classifier


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running gateway."""

    settings: Settings
    clock: Clock
    ids: RequestIds
    identity: Identity
    classifier: Classifier
    routing: RoutingTable
    admission: Admission
    settler: Settler
    cache: CacheStore
    sealer: Sealer
    kept: KeptResponses
    journal: Journal
    transport: Transport
    signals: Signals
    background: Background
    metrics: Metrics
    log: FilteringBoundLogger
