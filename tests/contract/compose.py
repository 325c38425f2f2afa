"""Checks docker-compose.yml without an engine: its structure, and what deploy/ and docs/ promise about it.

Exit status: 0 if everything holds, 1 with one line for each offence.
"""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOP_LEVEL = {"name", "services", "volumes"}
SERVICE_KEYS = {
    "build", "image", "command", "environment", "volumes", "ports", "healthcheck", "restart", "depends_on", "deploy",
    "logging", "read_only", "tmpfs", "security_opt", "stop_grace_period", "network_mode",
}
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries", "start_period", "disable"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
RESTARTS = {"no", "always", "on-failure", "unless-stopped"}
VARIABLE = re.compile(r"(?<!\$)\$\{?([A-Z_]+)")

offences: list[str] = []


def expect(holds: object, offence: str) -> None:
    if not holds:
        offences.append(offence)


def texts(value: object) -> list[str]:
    """Returns every text in a value of YAML."""
    if isinstance(value, dict):
        return [text for item in value.items() for part in item for text in texts(part)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [str(value)]


def check_service(name: str, service: dict, document: dict) -> None:
    def must(holds: object, offence: str) -> None:
        expect(holds, f"services.{name}: {offence}")

    unknown = set(service) - SERVICE_KEYS
    must(not unknown, f"unknown keys {sorted(unknown)}")
    must(isinstance(service.get("image"), str), "no image")
    image = service.get("image", "")
    is_pinned = re.search(r"(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$", image)
    must(is_pinned or "build" in service, f"the image {image} is neither built nor pinned")
    if "build" in service:
        dockerfile = Path(service["build"]["context"]) / service["build"]["dockerfile"]
        must((ROOT / dockerfile).is_file(), f"{dockerfile} does not exist")
    must(isinstance(service.get("command"), list), "the command is not a list")
    # Everyone on the machine can read the command lines of its processes.
    for text in texts(service.get("command", [])) + texts(service.get("healthcheck", {})):
        secrets = [variable for variable in VARIABLE.findall(text) if "PASSWORD" in variable]
        must(not secrets, f"{secrets} on a command line")
    options = service.get("logging", {}).get("options", {})
    must(options.get("max-size") and options.get("max-file"), "the log is not rotated")
    must(all(isinstance(option, str) for option in options.values()), "options of the log must be quoted")
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    must({"cpus", "memory", "pids"} <= set(limits), "no limits of processors, memory and processes")
    must(service.get("read_only") is True, "the root is writable")
    must("no-new-privileges:true" in service.get("security_opt", []), "privileges can grow")
    must(service.get("restart") in RESTARTS, f"restart is {service.get('restart')!r}")
    healthcheck = service.get("healthcheck", {})
    must(set(healthcheck) <= HEALTHCHECK_KEYS, f"unknown keys in healthcheck: {sorted(healthcheck)}")
    for other, dependency in service.get("depends_on", {}).items():
        must(other in document["services"], f"depends on {other}, which does not exist")
        must(dependency.get("condition") in CONDITIONS, f"depends on {other} under {dependency}")
        needs_end = dependency.get("condition") == "service_completed_successfully"
        restart = document["services"].get(other, {}).get("restart")
        must(needs_end == (restart == "no"), f"waits for {other}, which restarts {restart!r}")
    for volume in service.get("volumes", []):
        source, target = volume.split(":")[:2]
        must(target.startswith("/"), f"the volume {volume} has no absolute target")
        if source.startswith("."):
            must((ROOT / source).exists() and volume.endswith(":ro"), f"{volume} is missing or writable")
        else:
            must(source in document.get("volumes", {}), f"the volume {source} is not declared")
    for port in service.get("ports", []):
        must(str(port).startswith("127.0.0.1:"), f"the port {port} is open to other machines")


def check_variables(document: dict) -> None:
    settings = set(re.findall(r"`(ORDER_ROUTER_\w+)`", (ROOT / "docs/settings.md").read_text()))
    interpolated = {variable for text in texts(document) for variable in VARIABLE.findall(text)}
    for variable in interpolated:
        # The prefix ORDER_ROUTER_ belongs to the settings: another variable would disturb commands in the same shell.
        expect(variable.startswith("DEPLOY_"), f"{variable} is interpolated: use the prefix DEPLOY_")
    for name, service in document["services"].items():
        for variable in service.get("environment", {}):
            is_setting = variable in settings or not variable.startswith("ORDER_ROUTER_")
            expect(is_setting, f"services.{name}: {variable} names no setting")
    nats_conf = (ROOT / "deploy/nats.conf").read_text()
    used = set(re.findall(r"password: \$(\w+)", nats_conf))
    given = set(document["services"]["nats"]["environment"])
    expect(used == given, f"deploy/nats.conf uses {sorted(used ^ given)}, which differ from the variables of nats")
    users = set(re.findall(r"user: (\w+)", nats_conf))
    for name, service in document["services"].items():
        user = service.get("environment", {}).get("ORDER_ROUTER_NATS_USER")
        expect(user is None or user in users, f"services.{name}: deploy/nats.conf has no user {user}")


def main() -> int:
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    unknown = {key for key in document if key not in TOP_LEVEL and not key.startswith("x-")}
    expect(not unknown, f"unknown keys at the top: {sorted(unknown)}")
    expect({"nats", "redis", "topology", "worker", "sidecar"} == set(document["services"]), "other services than documented")
    for name, service in document["services"].items():
        check_service(name, service, document)
    check_variables(document)
    for offence in offences:
        print(f"docker-compose.yml: {offence}")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
