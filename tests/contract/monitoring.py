"""Checks deploy/monitoring against docs/metrics.md: every query of the alert rules and of the dashboard names metrics and
labels that exist, and every runbook is a heading. Where promtool is installed, it checks the rules and runs their tests.

Exit status: 0 if everything holds, 1 with one line for each offence.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
PREFIX = "order_router_"
# What Prometheus adds to each series.
SCRAPED_LABELS = {"job", "instance"}
SCRAPED_METRICS = {"up": ("gauge", SCRAPED_LABELS)}
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
# Functions of a counter's growth. The names of counters appear nowhere else.
GROWTH = {"rate", "increase", "irate"}
FUNCTIONS = GROWTH | {
    "sum", "min", "max", "count", "absent", "deriv", "histogram_quantile", "by", "on", "or", "and", "unless",
}
TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<range>\[(?:\d+[smhd]|\$__rate_interval)\])|(?P<number>\d+(?:\.\d+)?)"""
    r"""|(?P<name>[A-Za-z_:][\w:]*)|(?P<operator>=~|!~|!=|==|>=|<=|[-+*/<>=(){},]))"""
)
LABEL_VALUES = {"severity": {"page", "ticket"}}

offences: list[str] = []


def expect(holds: object, offence: str) -> None:
    if not holds:
        offences.append(offence)


def documented_metrics() -> dict[str, tuple[str, set[str]]]:
    """Returns the kind and the labels of every metric in docs/metrics.md, whose table is generated from the code."""
    table = (ROOT / "docs/metrics.md").read_text().split("<!-- metrics -->")[1].split("<!-- /metrics -->")[0]
    metrics = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith(f"`{PREFIX}"):
            metrics[cells[0].strip("`")] = (cells[1], set(re.findall(r"`(\w+)`", cells[2])))
    expect(len(metrics) > 30, "the table of docs/metrics.md was not read")
    return metrics


def tokens(query: str) -> list[tuple[str, str]]:
    found, at = [], 0
    query = query.strip()
    while at < len(query):
        match = TOKEN.match(query, at)
        if match is None:
            raise ValueError(f"{query[at:at + 20]!r} is not understood")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    return found


def check_query(query: str, metrics: dict[str, tuple[str, set[str]]]) -> set[str]:
    """Checks one query and returns the labels of its metrics.

    Raises ValueError with what is wrong.
    """
    words = tokens(query)
    if [word for _, word in words].count("(") != [word for _, word in words].count(")"):
        raise ValueError("its parentheses do not match")
    labels, named, used = set(SCRAPED_LABELS), 0, set()
    enclosing: list[str] = []  # the function of each open parenthesis
    braces = grouping = 0
    for place, (kind, word) in enumerate(words):
        before = words[place - 1][1] if place else ""
        if word == "(":
            enclosing.append(before)
            grouping += before in ("by", "on")
        elif word == ")":
            if not enclosing:
                raise ValueError("its parentheses do not match")
            grouping -= enclosing.pop() in ("by", "on")
        elif word in "{}":
            braces += 1 if word == "{" else -1
        elif kind == "name" and (braces or grouping):
            used.add(word)
        elif kind == "name" and word not in FUNCTIONS:
            base = next((word[: -len(part)] for part in HISTOGRAM_PARTS if word.endswith(part)), word)
            base = base if metrics.get(base, ("",))[0] == "histogram" else word
            if base not in metrics:
                raise ValueError(f"there is no metric {word}")
            metric_kind, metric_labels = metrics[base]
            if metric_kind == "histogram" and base == word:
                raise ValueError(f"{word} is a histogram: use {word}_bucket, _sum or _count")
            is_growth = bool(GROWTH & set(enclosing))
            if (metric_kind in ("counter", "histogram")) != is_growth:
                raise ValueError(f"{word} is a {metric_kind}, and {'is' if is_growth else 'is not'} inside rate() or increase()")
            labels |= metric_labels | ({"le"} if word.endswith("_bucket") else set())
            named += 1
    if not named:
        raise ValueError("it names no metric")
    if used - labels:
        raise ValueError(f"its metrics have no label {sorted(used - labels)}")
    return labels


def headings(page: str) -> set[str]:
    text = (ROOT / page).read_text()
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def check_rules(metrics: dict[str, tuple[str, set[str]]]) -> None:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    expect(len(names) == len(set(names)), "an alert has its name twice")
    for rule in rules:
        where = f"alerts.yml: {rule['alert']}"
        expect(set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, f"{where}: unknown keys")
        expect(re.fullmatch(r"\d+[smh]", rule.get("for", "0s")), f"{where}: for is {rule.get('for')}")
        expect(rule["labels"].get("severity") in LABEL_VALUES["severity"], f"{where}: no severity")
        annotations = rule["annotations"]
        expect({"summary", "description", "runbook"} == set(annotations), f"{where}: {sorted(annotations)}")
        page, _, heading = annotations["runbook"].partition("#")
        expect((ROOT / page).is_file() and heading in headings(page), f"{where}: {annotations['runbook']} does not exist")
        try:
            labels = check_query(rule["expr"], metrics)
        except ValueError as error:
            offences.append(f"{where}: {error}")
            continue
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(annotations)))
        expect(shown <= labels, f"{where}: shows labels {sorted(shown - labels)} that its metrics lack")
        is_aggregated = re.match(r"(sum|min|max) (?:by \(([\w, ]*)\) )?\(", rule["expr"].replace("(", " (", 1))
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([\w, ]*)\)", rule["expr"])))) if is_aggregated else labels
        expect(shown <= kept, f"{where}: shows labels {sorted(shown - kept)} that its query drops")
    # docs/metrics.md lists conditions by hand: each of its metrics has a rule.
    section = (ROOT / "docs/metrics.md").read_text().split("## Alerts to set up")[1].split("\n## ")[0]
    queries = " ".join(rule["expr"] for rule in rules)
    for metric in set(re.findall(rf"{PREFIX}\w+", section)):
        expect(metric in queries, f"docs/metrics.md: no rule is about {metric}")


def check_dashboard(metrics: dict[str, tuple[str, set[str]]]) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    expect(len(ids) == len(set(ids)), "dashboard.json: a panel has its id twice")
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        where = f"dashboard.json: {panel['title']}"
        place = panel["gridPos"]
        expect(place["x"] >= 0 and place["x"] + place["w"] <= 24, f"{where}: is wider than the page")
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        expect(not cells & taken, f"{where}: lies over another panel")
        taken |= cells
        if panel["type"] == "row":
            continue
        expect(panel["description"], f"{where}: no description")
        targets = panel["targets"]
        expect(len({target["refId"] for target in targets}) == len(targets) > 0, f"{where}: refIds")
        for target in targets:
            source = re.fullmatch(r"\$\{(\w+)\}", target["datasource"]["uid"])
            expect(source and source[1] in variables, f"{where}: the data source is no variable")
            try:
                labels = check_query(target["expr"], metrics)
            except ValueError as error:
                offences.append(f"{where}: {error}: {target['expr']}")
                continue
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            expect(shown <= labels, f"{where}: its legend names {sorted(shown - labels)}")


def check_scrapes() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    jobs = {scrape["job_name"] for scrape in config["scrape_configs"]}
    rules = (MONITORING / "alerts.yml").read_text()
    for job in re.findall(r'job="([^"]+)"', rules):
        expect(job in jobs, f"alerts.yml: prometheus.yml has no job {job}")
    for file in config["rule_files"]:
        expect((MONITORING / file).is_file(), f"prometheus.yml: {file} does not exist")


def check_the_check(metrics: dict[str, tuple[str, set[str]]]) -> None:
    """What the check has to find, it finds."""
    for query in (
        "order_router_no_such_metric",
        "sum(order_router_open_orders",
        "rate(order_router_open_orders[5m])",
        "max(order_router_intents_total)",
        "rate(order_router_request_duration_seconds[5m])",
        'max(order_router_open_orders{account="a"})',
        "max by (venue) (order_router_open_orders)",
        "1 > 0",
        "max(order_router_open_orders) § 1",
    ):
        try:
            check_query(query, metrics)
        except ValueError:
            continue
        offences.append(f"monitoring.py: {query} is not refused")


def run_promtool() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        return
    for arguments in (["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        ran = subprocess.run([promtool, *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
        expect(ran.returncode == 0, f"promtool {' '.join(arguments)}: {ran.stdout}{ran.stderr}")


def main() -> int:
    metrics = documented_metrics() | SCRAPED_METRICS
    check_the_check(metrics)
    check_rules(metrics)
    check_dashboard(metrics)
    check_scrapes()
    run_promtool()
    for offence in offences:
        print(f"deploy/monitoring: {offence}")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
