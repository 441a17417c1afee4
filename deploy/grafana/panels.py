"""The forms of the dashboard's panels: a number, curves, states over time, a table."""

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as shown
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel = (
    stat.Panel
    | timeseries.Panel
    | statetimeline.Panel
    | table.Panel
    | bargauge.Panel
    | heatmap.Panel
)


def query(expr: str, legend: str = "") -> prometheus.Dataquery:
    """A query over the dashboard's time range."""
    return prometheus.Dataquery().expr(expr).legend_format(legend or "__auto").range()


def now(expr: str, legend: str = "") -> prometheus.Dataquery:
    """A query for this moment."""
    return prometheus.Dataquery().expr(expr).legend_format(legend or "__auto").instant()


def steps(*colours: tuple[float | None, str]) -> build.ThresholdsConfig:
    """Colours, each from a value on."""
    return (
        build.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value, colour) for value, colour in colours])
    )


GOOD_IF_ANY = steps((None, "red"), (1, "green"))
BAD_IF_ANY = steps((None, "green"), (1, "red"))
PLAIN = steps((None, "text"))


def number(
    title: str, expr: str, colours: build.ThresholdsConfig = PLAIN, legend: str = ""
) -> stat.Panel:
    """One number, large; or one for each series."""
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    return (
        stat.Panel()
        .title(title)
        .with_target(now(expr, legend))
        .thresholds(colours)
        .reduce_options(last)
        .graph_mode(shown.BigValueGraphMode.NONE)
        .height(4)
        .span(4)
    )


def states(title: str, up: str, down: str) -> statetimeline.Panel:
    """What is 1 in green and what is 0 in red, each with its word."""
    results = {
        "1": model.ValueMappingResult(text=up, color="green", index=0),
        "0": model.ValueMappingResult(text=down, color="red", index=1),
    }
    return (
        statetimeline.Panel()
        .title(title)
        .mappings([model.ValueMap(results)])
        .merge_values(True)
        .show_value(shown.VisibilityMode.AUTO)
        .fill_opacity(80)
        .line_width(0)
    )


def curves(title: str, unit: str = "short") -> timeseries.Panel:
    """Lines over time."""
    return timeseries.Panel().title(title).unit(unit).min(0).fill_opacity(10).height(8).span(12)


def rows(title: str, hidden: dict[str, bool]) -> table.Panel:
    """One line a series of this moment, labels as columns."""
    options = {"excludeByName": {"Time": True, "__name__": True, **hidden}}
    return (
        table.Panel()
        .title(title)
        .with_transformation(model.DataTransformerConfig("organize", options=options))
        .height(8)
        .span(12)
    )


def as_table(expr: str) -> prometheus.Dataquery:
    """A query for this moment that gives a table."""
    return now(expr).format(PromQueryFormat.TABLE)
