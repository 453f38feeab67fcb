"""What must hold of every service, whoever rendered the project: found faults in words, none if all is well."""

import re
from collections.abc import Callable, Iterator

from tests.compose.rendering import Tree, mapping, names, sequence

Rule = Callable[[str, Tree], Iterator[str]]

ROOT_ALLOWED = {"sglang": "the official image is made for root and writes beside its code"}
JOBS = {"migrate": "runs once and ends"}
PUBLISHED = {"gateway": 8080}
INSIDE_ONLY = {"postgres", "redis", "migrate", "simulator"}
"""Services that must reach nobody outside and that nobody outside may reach."""
SECRETS = {
    "postgres": {"postgres_password"},
    "redis": {"redis_conf", "redis_password"},
    "migrate": {"database_url", "master_key", "admin_token"},
    "gateway": {
        "database_url", "redis_url", "master_key", "admin_token", "openai_api_key",
        "anthropic_api_key", "gemini_api_key", "sglang_api_key",
    },
    "simulator": set[str](),
    "sglang": {"hf_token"},
}  # fmt: skip
"""What each may read, and no more."""
WAITS = {
    ("gateway", "migrate"): "service_completed_successfully",
    ("gateway", "redis"): "service_healthy",
    ("migrate", "postgres"): "service_healthy",
}
SECRET_NAME = re.compile(r"(KEY|TOKEN|PASSWORD|SECRET|DATABASE_URL|REDIS_URL)$")


def find_faults(project: Tree) -> list[str]:
    """Every rule that a rendered project breaks, as ``service: what is wrong``."""
    services = mapping(project["services"])
    found: list[str] = []
    for name, service in services.items():
        for rule in RULES:
            found += [f"{name}: {fault}" for fault in rule(name, mapping(service))]
    for (waiting, awaited), condition in WAITS.items():
        waits = mapping(mapping(services[waiting]).get("depends_on"))
        if mapping(waits.get(awaited)).get("condition") != condition:
            found.append(f"{waiting}: does not wait for {awaited} ({condition})")
    networks = mapping(project["networks"])
    if mapping(networks["inside"]).get("internal") is not True:
        found.append("inside: has a way out")
    files = mapping(project["secrets"])
    found += [f"{name}: comes from no file" for name in files if "file" not in mapping(files[name])]
    return found


def _user(name: str, service: Tree) -> Iterator[str]:
    user = str(service.get("user", ""))
    if name not in ROOT_ALLOWED and not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user):
        yield f"runs as `{user or 'whoever the image says'}`"


def _privileges(name: str, service: Tree) -> Iterator[str]:
    del name
    if "no-new-privileges:true" not in names(service.get("security_opt")):
        yield "may gain privileges"
    if names(service.get("cap_drop")) != ["ALL"]:
        yield "keeps capabilities"
    for option in ("privileged", "cap_add", "pid", "ipc", "network_mode", "devices", "userns_mode"):
        if service.get(option):
            yield f"sets `{option}`"
    if any("docker.sock" in str(volume) for volume in sequence(service.get("volumes"))):
        yield "holds the engine's socket"


def _file_system(name: str, service: Tree) -> Iterator[str]:
    if name not in ROOT_ALLOWED and service.get("read_only") is not True:
        yield "may write to its root file system"


def _health(name: str, service: Tree) -> Iterator[str]:
    check = mapping(service.get("healthcheck"))
    if name in JOBS:
        if service.get("restart") != "no":
            yield "is a job that is started again"
    elif not sequence(check.get("test")) or not check.get("interval") or not check.get("timeout"):
        yield "has no health check"
    elif service.get("restart") != "unless-stopped":
        yield "does not come back"


def _ports(name: str, service: Tree) -> Iterator[str]:
    ports = [mapping(port) for port in sequence(service.get("ports"))]
    wanted = [PUBLISHED[name]] if name in PUBLISHED else []
    if [port.get("target") for port in ports] != wanted:
        yield f"publishes {len(ports)} ports"
    for port in ports:
        if port.get("host_ip") != "127.0.0.1":
            yield f"is published on `{port.get('host_ip', 'every address')}`"


def _networks(name: str, service: Tree) -> Iterator[str]:
    joined = set(names(service.get("networks")))
    if name in INSIDE_ONLY and joined != {"inside"}:
        yield f"joins {sorted(joined)}"


def _secrets(name: str, service: Tree) -> Iterator[str]:
    granted = set(names(service.get("secrets")))
    if granted != SECRETS[name]:
        yield f"is given {sorted(granted ^ SECRETS[name])} too much or too little"
    for variable, value in mapping(service.get("environment")).items():
        if SECRET_NAME.search(variable):
            yield f"has `{variable}` in its environment"
        if variable.endswith("_FILE") and str(value).rpartition("/")[2] not in granted:
            yield f"looks for `{value}`, which it is not given"


def _gpu(name: str, service: Tree) -> Iterator[str]:
    resources = mapping(
        mapping(mapping(service.get("deploy")).get("resources")).get("reservations")
    )
    devices = [mapping(device) for device in sequence(resources.get("devices"))]
    has_gpu = any("gpu" in names(device.get("capabilities")) for device in devices)
    if has_gpu != (name == "sglang"):
        yield "reserves a GPU" if has_gpu else "reserves no GPU"
    if any(device.get("driver") != "nvidia" or not device.get("count") for device in devices):
        yield "does not say which or how many GPUs"


def _logs(name: str, service: Tree) -> Iterator[str]:
    del name
    if "max-size" not in mapping(mapping(service.get("logging")).get("options")):
        yield "logs without end"


RULES: tuple[Rule, ...] = (
    _user, _privileges, _file_system, _health, _ports, _networks, _secrets, _gpu, _logs,
)  # fmt: skip
