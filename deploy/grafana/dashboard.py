"""The Grafana dashboard: what an on-call person looks at, written to dashboard.json."""

from pathlib import Path
from string import ascii_uppercase
from typing import cast

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shown
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import Dataquery, PromQueryFormat

from deploy.grafana.panels import (
    BAD_IF_ANY,
    GOOD_IF_ANY,
    Panel,
    as_table,
    curves,
    now,
    number,
    query,
    rows,
    states,
    steps,
)

FILE = Path(__file__).with_name("dashboard.json")

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

# The fleet is every pod of the namespaces; a pod's own panels show one.
FLEET = 'namespace=~"$namespace"'
POD = 'namespace=~"$namespace", pod="$pod"'
MODEL = 'model=~"$model"'
# Pods of two namespaces may have one name.
WHO = "{{namespace}}/{{pod}}"


def fleet() -> list[Panel]:
    """All replicas of the chosen namespaces."""
    sidecars = f'up{{job=~"(.+/)?inference-health", {FLEET}}}'
    # A lost sidecar has no series but `up`, and is no ready replica.
    ready = (
        f'(inference_health_passing{{probe="readyz", {FLEET}}} or ignoring (probe) {sidecars} * 0)'
    )
    failures = f"namespace:inference_poll_failures:rate5m{{{FLEET}}}"
    share = number(
        "Share ready, worst workload",
        f"min(avg by (namespace, workload) ({ready}))",
        steps((None, "red"), (0.5, "orange"), (1, "green")),
    )
    hidden = {"instance": True, "endpoint": True, "probe": True, "Value": True}
    unready = rows("Replicas that are not ready", hidden)
    alerts = rows("Alerts", {**hidden, "job": True})
    return [
        number("Replicas", f"count({sidecars})"),
        number("Ready", f"sum({ready})", GOOD_IF_ANY),
        share.unit("percentunit"),
        number("Live servers", f"sum(inference_server_live{{{FLEET}}})", GOOD_IF_ANY),
        number("Sidecars without answer", f"sum(1 - {sidecars})", BAD_IF_ANY),
        number(
            "Refused reloads",
            f"sum(1 - inference_sidecar_config_last_reload_successful{{{FLEET}}})",
            BAD_IF_ANY,
        ),
        curves("Ready replicas by workload").with_target(
            query(f"sum by (namespace, workload) ({ready})", "{{namespace}} {{workload}}")
        ),
        curves("Ready replicas by model").with_target(
            query(
                f"sum by (model, version) (inference_model_ready{{{FLEET}, {MODEL}}})",
                "{{model}} {{version}}",
            )
        ),
        unready.with_target(as_table(f"{ready} == 0")),
        alerts.with_target(
            as_table(f'ALERTS{{alertname=~"InferenceHealth.+", {FLEET}}}')
        ).description(
            "Pending and firing, by deploy/prometheus/rules.yaml. See deploy/runbook.md."
        ),
        curves("Failed questions by reason", "reqps")
        .with_target(query(f"sum by (reason) ({failures})", "{{reason}}"))
        .description("By deploy/prometheus/rules.yaml.")
        .stacking(common.StackingConfig().mode(shown.StackingMode.NORMAL))
        .span(24),
    ]


def one_pod() -> list[Panel]:
    """The endpoints, the server and the sidecar of the chosen pod."""
    success = f'inference_last_success_timestamp_seconds{{rpc="ServerLive", {POD}}}'
    expiry = f"inference_tls_certificate_expiry_timestamp_seconds{{{POD}}}"
    loaded = f"inference_sidecar_config_last_reload_success_timestamp_seconds{{{POD}}}"
    versions = f"inference_sidecar_build_info{{{POD}}}"
    events = f"inference_kubernetes_events_total{{{POD}}}"
    return [
        states("Endpoints", "passes", "fails")
        .with_target(query(f"inference_health_passing{{{POD}}}", f"{WHO} {{{{probe}}}}"))
        .height(8)
        .span(12),
        states("Server", "yes", "no")
        .with_target(query(f"inference_server_live{{{POD}}}", f"{WHO} live"))
        .with_target(query(f"inference_server_ready{{{POD}}}", f"{WHO} ready"))
        .height(8)
        .span(12),
        number("Last proof of life", f"time() - {success}", legend=WHO).unit("s").span(6),
        number("Certificates expire in", f"{expiry} - time()", legend=f"{WHO} {{{{file}}}}")
        .unit("s")
        .no_value("no TLS")
        .span(6),
        number("Settings loaded", f"time() - {loaded}", legend=WHO).unit("s").span(6),
        number("Sidecar's version", versions, legend=f"{WHO} {{{{version}}}}")
        .text_mode(shown.BigValueTextMode.NAME)
        .span(6),
        curves("Kubernetes Events by result within half an hour").with_target(
            query(f"increase({events}[30m])", f"{WHO} {{{{result}}}}")
        ),
        curves("Models in the repository by state").with_target(
            query(f"inference_repository_models{{{POD}}}", f"{WHO} {{{{state}}}}")
        ),
    ]


def models() -> list[Panel]:
    """The models of the chosen pod."""
    transitions = f"inference_status_transitions_total{{{POD}}}"
    named = f"{WHO} {{{{model}}}} {{{{version}}}}"
    to_ready = bargauge.Panel().title("Time to the first readiness").unit("s").min(0)
    return [
        states("Models", "ready", "not ready")
        .with_target(query(f"inference_model_ready{{{POD}, {MODEL}}}", named))
        .height(10)
        .span(24),
        to_ready.with_target(now(f"inference_model_time_to_ready_seconds{{{POD}, {MODEL}}}", named))
        .orientation(shown.VizOrientation.HORIZONTAL)
        .thresholds(steps((None, "blue")))
        .height(8)
        .span(12),
        states("Canaries", "passes", "fails")
        .with_target(query(f"inference_canary_passing{{{POD}, {MODEL}}}", named))
        .height(8)
        .span(12),
        curves("Duration of canaries", "s").with_target(
            query(f"inference_canary_last_duration_seconds{{{POD}, {MODEL}}}", named)
        ),
        states("Ready, and its canary fails", "no", "yes")
        .with_target(
            query(
                f"1 - (inference_canary_configured{{{POD}, {MODEL}}} == bool 1)"
                f" * (inference_canary_passing{{{POD}, {MODEL}}} == bool 0)"
                f" * (inference_model_ready{{{POD}, {MODEL}}} == bool 1)",
                named,
            )
        )
        .height(8)
        .span(12),
        curves("Changes of status within half an hour").with_target(
            query(
                f"increase({transitions}[30m])", f"{WHO} {{{{rpc}}}} {{{{model}}}} {{{{version}}}}"
            )
        ),
    ]


def questions() -> list[Panel]:
    """What the chosen pod's server was asked, how long it took and how it ended."""
    buckets = f"inference_poll_duration_seconds_bucket{{{POD}}}"
    failures = f"inference_poll_failures_total{{{POD}}}"
    by_rpc = f"sum by (le, namespace, pod, rpc) (rate({buckets}[$__rate_interval]))"
    latency = curves("How long a question takes: median and 99 of 100", "s")
    for quantile, name in ((0.5, "median"), (0.99, "99 %")):
        latency.with_target(
            query(f"histogram_quantile({quantile}, {by_rpc})", f"{WHO} {{{{rpc}}}} {name}")
        )
    spread = query(f"sum by (le) (increase({buckets}[$__rate_interval]))", "{{le}}")
    return [
        heatmap.Panel()
        .title("How long questions take")
        .with_target(spread.format(PromQueryFormat.HEATMAP))
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .height(8)
        .span(12),
        latency,
        curves("Questions", "reqps").with_target(
            query(
                "sum by (namespace, pod, rpc)"
                f" (rate(inference_polls_total{{{POD}}}[$__rate_interval]))",
                f"{WHO} {{{{rpc}}}}",
            )
        ),
        curves("Failed questions by call and reason", "reqps").with_target(
            query(
                f"sum by (namespace, pod, rpc, reason) (rate({failures}[$__rate_interval]))",
                f"{WHO} {{{{rpc}}}} {{{{reason}}}}",
            )
        ),
    ]


def choice(name: str, metric: str, *, many: bool) -> build.QueryVariable:
    """A variable whose values are those of a label, looked up when the time range changes."""
    asked = build.QueryVariable(name).label(name.capitalize()).datasource(SOURCE)
    asked.query({"query": f"label_values({metric}, {name})", "refId": name})
    asked.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    asked.sort(model.VariableSort.ALPHABETICAL_ASC)
    if many:
        everything = model.VariableOption(selected=True, text="All", value="$__all")
        asked.multi(True).include_all(True).all_value(".*").current(everything)
    return asked


def dashboard() -> model.Dashboard:
    """The whole of it."""
    source = build.DatasourceVariable("datasource").label("Data source").type("prometheus")
    whole = (
        build.Dashboard("Inference health")
        .uid("inference-health")
        .description(
            "Inference servers and their models, as the Inference Health Sidecars see them."
        )
        .tags(["inference", "kubernetes"])
        .readonly()
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(source)
        .with_variable(choice("namespace", "inference_health_passing", many=True))
        .with_variable(choice("pod", f"inference_health_passing{{{FLEET}}}", many=False))
        .with_variable(choice("model", f"inference_model_ready{{{FLEET}}}", many=True))
    )
    titled = {
        "Fleet": fleet(),
        "Pod $pod": one_pod(),
        "Models in $pod": models(),
        "Questions of $pod": questions(),
    }
    for title, panels in titled.items():
        whole.with_row(build.Row(title))
        for panel in panels:
            whole.with_panel(panel.datasource(SOURCE))
    return numbered(whole.build())


def numbered(whole: model.Dashboard) -> model.Dashboard:
    """Panels and rows get numbers, the queries of a panel letters, in their order."""
    for number_of, panel in enumerate(whole.panels or [], 1):
        panel.id_val = number_of
        if isinstance(panel, model.Panel):
            for letter, target in zip(ascii_uppercase, panel.targets or [], strict=False):
                cast("Dataquery", target).ref_id = letter
    return whole


def text() -> str:
    """What stands in the file."""
    return JSONEncoder(indent=2, sort_keys=True).encode(dashboard()) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
