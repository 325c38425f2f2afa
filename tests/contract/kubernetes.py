"""Checks deploy/kubernetes without a cluster: renders each overlay, validates every object against the schemas of
Kubernetes, and compares names, ports, labels, settings and secrets with each other and with the rest of the repository.
Where kubectl is installed, it renders the overlays, too, and both have to agree.

Exit status: 0 if everything holds, 1 with one line for each offence.
"""

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ["development", "production"]
# Objects of these versions of Kubernetes are checked.
VERSIONS = ["1.29", "1.37"]
KUSTOMIZATION_KEYS = {
    "apiVersion", "kind", "namespace", "resources", "patchesStrategicMerge", "configMapGenerator", "secretGenerator", "images",
}
CLUSTER_SCOPED = {"Namespace"}
# Lists whose entries are merged by a key (the schemas' x-kubernetes-patch-merge-key).
MERGE_KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath", "ports": "containerPort"}
# Secrets that an operator makes before the overlay "production" is applied, with their keys.
OPERATORS_SECRETS = {
    "order-router-nats": None,  # the variables of nats.conf
    "order-router-redis": {"url"},
    "order-router-keys": {"keys.toml"},
    "nats-tls": {"tls.crt", "tls.key", "ca.crt"},
    "order-router-ca": {"ca.crt"},
}

Object = dict[str, Any]
offences: list[str] = []


def expect(holds: object, offence: str) -> None:
    if not holds:
        offences.append(offence)


def documents(path: Path) -> list[Object]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def merge(target: Any, patch: Any, key: str = "") -> Any:
    """Applies a strategic merge patch: mappings merge, null removes, lists of MERGE_KEYS merge by their key."""
    if isinstance(target, dict) and isinstance(patch, dict):
        merged = dict(target)
        for name, value in patch.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = merge(merged.get(name), value, name)
        return merged
    if isinstance(target, list) and isinstance(patch, list) and key in MERGE_KEYS:
        name = MERGE_KEYS[key]
        merged = list(target)
        for entry in patch:
            found = [place for place, old in enumerate(merged) if old.get(name) == entry[name]]
            if found:
                merged[found[0]] = merge(merged[found[0]], entry)
            else:
                merged.insert(0, entry)
        return merged
    return patch


def identity(document: Object) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def generated(directory: Path, kind: str, entry: Object) -> Object:
    unknown = set(entry) - {"name", "behavior", "files", "literals"}
    expect(not unknown, f"{directory}: unknown keys {sorted(unknown)} of a generator")
    data = {Path(file).name: (directory / file).read_text() for file in entry.get("files", [])}
    data |= dict(literal.split("=", 1) for literal in entry.get("literals", []))
    field = "data" if kind == "ConfigMap" else "stringData"
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": entry["name"]}, field: data}


def render(directory: Path) -> list[Object]:
    """Returns the objects of a kustomization, as kustomize renders it, without the hashes in names."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    unknown = set(kustomization) - KUSTOMIZATION_KEYS
    expect(not unknown, f"{directory}: unknown keys {sorted(unknown)}")
    objects: list[Object] = []
    for resource in kustomization["resources"]:
        path = directory / resource
        objects += render(path) if path.is_dir() else documents(path)
    for kind, generator in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
        for entry in kustomization.get(generator, []):
            made = generated(directory, kind, entry)
            known = [one for one in objects if identity(one) == identity(made)]
            expect(bool(known) == (entry.get("behavior") == "merge"), f"{directory}: {entry['name']}: its behavior")
            if known:
                known[0]["data"] |= made["data"]
            else:
                objects.append(made)
    for file in kustomization.get("patchesStrategicMerge", []):
        for patch in documents(directory / file):
            places = [place for place, one in enumerate(objects) if identity(one) == identity(patch)]
            expect(len(places) == 1, f"{directory}/{file}: nothing is patched by {identity(patch)}")
            for place in places:
                objects[place] = merge(objects[place], patch)
    for image in kustomization.get("images", []):
        name = f"{image.get('newName', image['name'])}:{image['newTag']}"
        for container in (container for one in objects for container in containers(one)):
            if container["image"].split(":")[0] == image["name"]:
                container["image"] = name
    if namespace := kustomization.get("namespace"):
        for one in objects:
            if one["kind"] not in CLUSTER_SCOPED:
                one["metadata"]["namespace"] = namespace
    return copy.deepcopy(objects)


def pod_template(document: Object) -> Object | None:
    return document.get("spec", {}).get("template") if document["kind"] in ("Deployment", "StatefulSet", "Job") else None


def containers(document: Object) -> list[Object]:
    template = pod_template(document)
    return template["spec"]["containers"] if template else []


def matches(selector: Object, labels: dict[str, str]) -> bool:
    if any(labels.get(name) != value for name, value in selector.get("matchLabels", {}).items()):
        return False
    expressions = selector.get("matchExpressions", [])
    return all(labels.get(expression["key"]) in expression["values"] for expression in expressions)


class Overlay:
    """The objects of one overlay, and what they promise each other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.objects = render(KUBERNETES / "overlays" / name)
        self.workloads = [one for one in self.objects if pod_template(one)]

    def must(self, holds: object, document: Object, offence: str) -> None:
        expect(holds, f"{self.name}: {document['kind']} {document['metadata']['name']}: {offence}")

    def of_kind(self, kind: str) -> Iterator[Object]:
        return (one for one in self.objects if one["kind"] == kind)

    def named(self, kind: str, name: str) -> Object | None:
        return next((one for one in self.of_kind(kind) if one["metadata"]["name"] == name), None)

    def selected(self, selector: Object) -> list[Object]:
        return [one for one in self.workloads if matches(selector, pod_template(one)["metadata"]["labels"])]

    def port_names(self, documents: list[Object]) -> set[str]:
        return {port["name"] for one in documents for container in containers(one) for port in container.get("ports", [])}

    def check(self) -> None:
        identities = [identity(one) for one in self.objects]
        expect(len(identities) == len(set(identities)), f"{self.name}: an object is there twice")
        self.check_schemas()
        for workload in self.workloads:
            self.check_workload(workload)
        for service in self.of_kind("Service"):
            selected = self.selected({"matchLabels": service["spec"]["selector"]})
            self.must(len(selected) == 1, service, "selects no workload")
            for port in service["spec"]["ports"]:
                self.must(port["targetPort"] in self.port_names(selected), service, f"no port {port['targetPort']}")
        for budget in self.of_kind("PodDisruptionBudget"):
            self.must(len(self.selected(budget["spec"]["selector"])) == 1, budget, "selects no workload")
        covered = {id(one) for budget in self.of_kind("PodDisruptionBudget") for one in self.selected(budget["spec"]["selector"])}
        for workload in self.workloads:
            is_covered = id(workload) in covered or workload["metadata"]["name"] in ("redis", "order-router-topology")
            self.must(is_covered, workload, "has no PodDisruptionBudget")
        self.check_network()
        self.check_autoscaling()
        self.check_secrets()

    def check_schemas(self) -> None:
        for one in self.objects:
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(one, version, strict=True)
                except Exception as error:  # its classes differ by version
                    message = str(getattr(error, "message", error)).splitlines()[0]
                    self.must(False, one, f"Kubernetes {version}: {message}")

    def check_workload(self, workload: Object) -> None:
        def must(holds: object, offence: str) -> None:
            self.must(holds, workload, offence)

        spec, template = workload["spec"], pod_template(workload)
        pod = template["spec"]
        if workload["kind"] != "Job":
            must(matches(spec["selector"], template["metadata"]["labels"]), "its selector does not match its pods")
        if workload["kind"] == "StatefulSet":
            service = self.named("Service", spec["serviceName"])
            must(service, f"no Service {spec['serviceName']}")
        # A Service "order-router" would put ORDER_ROUTER_SERVICE_HOST into the environment, which looks like a setting.
        must(pod.get("enableServiceLinks") is False, "variables of Services reach the environment")
        must(pod.get("automountServiceAccountToken") is False, "a token of the cluster is mounted")
        must(pod["securityContext"].get("runAsNonRoot") is True, "runs as root")
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        for container in pod["containers"]:
            must(re.fullmatch(r"[\w./-]+:\d[\w.-]*", container["image"]), f"the image {container['image']} is not pinned")
            context = container["securityContext"]
            must(context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"], "privileges")
            must("memory" in container["resources"]["limits"], "no limit of memory")
            ports = {port["name"] for port in container.get("ports", [])}
            is_service = workload["kind"] != "Job"
            for probe in ("startupProbe", "livenessProbe", "readinessProbe") if is_service else ():
                must(probe in container, f"no {probe}")
                action = container.get(probe, {}).get("httpGet") or container.get(probe, {}).get("tcpSocket")
                must(action is None or action["port"] in ports, f"{probe}: no such port")
            for mount in container.get("volumeMounts", []):
                must(mount["name"] in volumes, f"no volume {mount['name']}")
            for variable in container.get("env", []):
                is_setting = variable["name"] in settings() or not variable["name"].startswith("ORDER_ROUTER_")
                must(is_setting, f"{variable['name']} names no setting")
            if container["name"] == "router":
                self.check_router(workload, container, pod)

    def check_router(self, workload: Object, container: Object, pod: Object) -> None:
        user = next(one["value"] for one in container["env"] if one["name"] == "ORDER_ROUTER_NATS_USER")
        self.must(user in nats_users(), workload, f"nats.conf has no user {user}")
        self.must(container["args"][0] == user, workload, "runs another command than its NATS user is for")
        if workload["kind"] != "Job":
            grace = pod["terminationGracePeriodSeconds"]
            self.must(grace >= 30, workload, f"{grace} s are too short for a drain")
            live, ready = (container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe"))
            self.must((live, ready) == ("/health/live", "/health"), workload, "its probes")

    def check_network(self) -> None:
        for policy in self.of_kind("NetworkPolicy"):
            selected = self.selected(policy["spec"]["podSelector"])
            self.must(selected, policy, "selects no pods")
            for rule in policy["spec"].get("ingress", []):
                for port in rule["ports"]:
                    self.must(port["port"] in self.port_names(selected), policy, f"no port {port['port']}")
            for rule in policy["spec"].get("egress", []):
                peers = [peer["podSelector"] for peer in rule.get("to", []) if "podSelector" in peer]
                for peer in peers:
                    targets = self.selected(peer)
                    self.must(targets, policy, f"no pods {peer}")
                    for port in rule["ports"]:
                        self.must(port["port"] in self.port_names(targets), policy, f"no port {port['port']} there")
                    # What may leave one pod may enter the other.
                    source = pod_template(selected[0])["metadata"]["labels"]
                    entries = [
                        (entry, sender)
                        for other in self.of_kind("NetworkPolicy")
                        if self.selected(other["spec"]["podSelector"]) == targets
                        for entry in other["spec"].get("ingress", [])
                        for sender in entry["from"]
                        if matches(sender.get("podSelector", {"matchLabels": {"-": "-"}}), source)
                    ]
                    ports = {port["port"] for entry, _ in entries for port in entry["ports"]}
                    for port in rule["ports"]:
                        self.must(port["port"] in ports, policy, f"{peer} does not let it in at {port['port']}")

    def check_autoscaling(self) -> None:
        for scaler in self.of_kind("HorizontalPodAutoscaler"):
            reference = scaler["spec"]["scaleTargetRef"]
            target = self.named(reference["kind"], reference["name"])
            self.must(target, scaler, f"no {reference}")
            self.must(target and "replicas" not in target["spec"], scaler, "its target sets replicas, which resets them")
            rules = documents(KUBERNETES / "prometheus-adapter-rules.yaml")[0]["rules"]["external"]
            for metric in (one["external"]["metric"]["name"] for one in scaler["spec"]["metrics"] if one["type"] == "External"):
                self.must(metric in {rule["name"]["as"] for rule in rules}, scaler, f"no rule serves {metric}")
                self.must(f"`{metric}`" in (ROOT / "docs/metrics.md").read_text(), scaler, f"no metric {metric}")

    def check_secrets(self) -> None:
        made = {secret["metadata"]["name"]: set(secret["stringData"]) for secret in self.of_kind("Secret")}
        maps = {one["metadata"]["name"]: one["data"] for one in self.of_kind("ConfigMap")}
        for workload in self.workloads:
            for text in re.findall(r'"(?:secretRef|secretKeyRef|secret|configMapRef|configMap)": \{[^}]*\}', json.dumps(workload)):
                kind, reference = text.split(": ", 1)
                entry = json.loads(reference)
                name, key = entry.get("name") or entry.get("secretName"), entry.get("key")
                if "configMap" in kind:
                    self.must(name in maps, workload, f"no ConfigMap {name}")
                    continue
                wanted = made if self.name == "development" else OPERATORS_SECRETS
                self.must(name in wanted, workload, f"no Secret {name}")
                keys = wanted.get(name)
                if name == "order-router-nats":
                    keys = nats_variables() if keys is None else keys
                self.must(key is None or key in (keys or ()), workload, f"the Secret {name} has no {key}")
        if "order-router-nats" in made:
            expect(made["order-router-nats"] == nats_variables(), f"{self.name}: the passwords are not those of nats.conf")
        for variable in maps["order-router-settings"]:
            expect(variable in settings(), f"{self.name}: {variable} names no setting")


def settings() -> set[str]:
    return set(re.findall(r"`(ORDER_ROUTER_\w+)`", (ROOT / "docs/settings.md").read_text())) | {"ORDER_ROUTER_CONFIG"}


def nats_users() -> set[str]:
    return set(re.findall(r"user: (\w+)", (ROOT / "deploy/nats.conf").read_text()))


def nats_variables() -> set[str]:
    return set(re.findall(r"password: \$(\w+)", (ROOT / "deploy/nats.conf").read_text()))


def compare_with_kubectl(overlay: Overlay) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        return
    ran = subprocess.run(
        [kubectl, "kustomize", str(KUBERNETES / "overlays" / overlay.name)], capture_output=True, text=True, check=False
    )
    expect(ran.returncode == 0, f"{overlay.name}: kubectl kustomize: {ran.stderr}")
    if ran.returncode != 0:
        return
    hashed = re.compile(r"-[a-z0-9]{10}$")

    def normal(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: normal(entry) for key, entry in value.items() if entry is not None}
        if isinstance(value, list):
            return sorted((normal(entry) for entry in value), key=lambda entry: json.dumps(entry, sort_keys=True))
        return hashed.sub("", value) if isinstance(value, str) else value

    def comparable(objects: list[Object]) -> dict[tuple[str, str], Object]:
        kept = (one for one in objects if one["kind"] != "Secret")
        return {identity(one): one for one in map(normal, kept)}

    theirs, ours = comparable(list(yaml.safe_load_all(ran.stdout))), comparable(overlay.objects)
    expect(set(theirs) == set(ours), f"{overlay.name}: kubectl renders {sorted(set(theirs) ^ set(ours))}, or not")
    for one in set(theirs) & set(ours):
        expect(theirs[one] == ours[one], f"{overlay.name}: kubectl renders {one} differently")


def check_the_check() -> None:
    """What the schemas have to refuse, they refuse."""
    wrong = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replica": 1}}
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(wrong, version, strict=True)
        except Exception:
            continue
        offences.append(f"kubernetes.py: the schemas of {version} refuse nothing")


def main() -> int:
    check_the_check()
    for name in OVERLAYS:
        overlay = Overlay(name)
        overlay.check()
        compare_with_kubectl(overlay)
    for offence in offences:
        print(f"deploy/kubernetes: {offence}")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
