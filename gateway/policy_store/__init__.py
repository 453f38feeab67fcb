"""Policies in SQL: immutable versions, their activations, and what each process runs."""

from gateway.policy_store.activation import Activation, Standing, in_force, say_versions, scheduled
from gateway.policy_store.apply import (
    Applied,
    Certify,
    Change,
    Proved,
    Stale,
    Unfit,
    Unproved,
    activate_version,
    apply_policy,
)
from gateway.policy_store.labels import find_labelled
from gateway.policy_store.load import find_standing, load_levels
from gateway.policy_store.processes import Process, list_processes, report_process
from gateway.policy_store.proofs import find_proofs, read_proofs, write_proofs
from gateway.policy_store.scopes import parse_scope
from gateway.policy_store.status import PolicyStatus, find_status
from gateway.policy_store.versions import (
    StoredPolicy,
    find_active,
    find_version,
    latest_activation,
    list_activations,
    list_history,
)

__all__ = [
    "Activation",
    "Applied",
    "Certify",
    "Change",
    "PolicyStatus",
    "Process",
    "Proved",
    "Stale",
    "Standing",
    "StoredPolicy",
    "Unfit",
    "Unproved",
    "activate_version",
    "apply_policy",
    "find_active",
    "find_labelled",
    "find_proofs",
    "find_standing",
    "find_status",
    "find_version",
    "in_force",
    "latest_activation",
    "list_activations",
    "list_history",
    "list_processes",
    "load_levels",
    "parse_scope",
    "read_proofs",
    "report_process",
    "say_versions",
    "scheduled",
    "write_proofs",
]
