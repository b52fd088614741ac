"""Charts over the page's tables: what each draws, and the one sentence that it shows."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import vl_convert

from pipelines.league import is_control, sites

Row = dict[str, Any]
Spec = dict[str, Any]

#: of which the page's style says what they are, in light, in dark and in print (Okabe and Ito's eight)
_COLOURS: Final = [f"var(--c{number})" for number in range(1, 9)]
_INK, _QUIET, _LINE = "var(--ink)", "var(--quiet)", "var(--line)"
_TEXT: Final = {"labelColor": _INK, "titleColor": _INK, "labelFontSize": 12, "titleFontSize": 12, "labelLimit": 260}
_CONFIG: Final = {
    "background": "transparent",
    "padding": {"left": 5, "right": 30, "top": 5, "bottom": 5},
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": _TEXT | {"gridColor": _LINE, "domainColor": _QUIET, "tickColor": _QUIET, "titleFontWeight": "normal"},
    "legend": _TEXT
    | {"orient": "bottom", "titleFontWeight": "normal", "columns": 2, "columnPadding": 40, "symbolLimit": 40},
    "title": {"color": _INK, "fontSize": 13, "anchor": "start"},
    "header": _TEXT | {"labelFontWeight": "bold", "labelAnchor": "start"},
    "range": {"category": _COLOURS},
    "rule": {"color": _QUIET},
    "point": {"filled": True, "size": 70},
    "line": {"strokeWidth": 2},
}
_WIDTH: Final = 420
#: what is smaller is no pixel of any chart's scale
_DRAWN: Final = 1e-6
#: a line that is told in words: a reader of the screen passes over it
_CHANCE: Final = {"type": "rule", "strokeDash": [4, 3], "aria": False}
_OVER_PERSONS: Final = "mean over persons, 95 % interval"


@dataclass(frozen=True)
class Chart:
    """`draw` gives the Vega-Lite of a table's rows, of charts that stand side by side where there is room; `says` the
    sentence under them."""

    draw: Callable[[list[Row]], list[Spec]]
    says: Callable[[list[Row]], str]


def svg(spec: Spec, name: str) -> str:
    """A chart as SVG for a page, its ids its own, which begin with `name`; figures have the digits a reader hears."""
    values = [{key: _short(value) for key, value in row.items()} for row in spec["data"]["values"]]
    told = spec | {"data": {"values": values}, "config": _CONFIG}
    drawn = vl_convert.vegalite_to_svg(told, vl_version="6.4", show_warnings=False)
    drawn = re.sub(r'\bid="([\w-]+)"', rf'id="{name}-\1"', drawn)
    drawn = re.sub(r"url\(#([\w-]+)\)", rf"url(#{name}-\1)", drawn)
    return re.sub(r'^<svg[^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" preserveAspectRatio="xMinYMin">', drawn)


def _short(value: Any) -> Any:
    """A figure of four digits, or none where it is too small to be drawn."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    return float(f"{value:.4g}") if abs(value) >= _DRAWN else 0.0


def width(drawn: str) -> float:
    """Pixels that a chart of `svg` is wide."""
    found = re.match(r'<svg viewBox="[\d.-]+ [\d.-]+ ([\d.]+)', drawn)
    return float(found[1]) if found else _WIDTH


def _chart(rows: list[Row], layers: list[Spec], height: int | None = 200, **scales: str) -> list[Spec]:
    inner: Spec = {"layer": layers, "width": _WIDTH} | ({} if height is None else {"height": height})
    facet = _x("model", None, "nominal", header={"labelOrient": "top", "labelAngle": 0})
    spec: Spec = {"data": {"values": rows}, "facet": {"row": facet}, "spec": inner}
    return [spec | ({"resolve": {"scale": scales}} if scales else {})]


def _x(field: str, title: str | None, type_: str = "quantitative", **more: Any) -> Spec:
    return {"field": field, "type": type_, "title": title} | more


def _from_0(**more: Any) -> Spec:
    return {"domain": [0, 1]} | more


#: column of the league -> its title and what chance scores
_LEAGUE_METRICS: Final = {"srg": ("SRG (chance 0)", 0), "auroc": ("AUROC on truth (chance .5)", 0.5)}


def _league(rows: list[Row]) -> list[Spec]:
    shown = [
        {"place": " ".join(filter(None, (model, layer))), "method": row["method"]}
        | {"kind": "control" if is_control(row["method"]) else "method", "metric": title, "chance": chance}
        | {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
        for model, layer in sites((row["model"], row["layer"]) for row in rows)
        for row in rows
        if row["model"] == model and row["layer"] in (layer, "")
        for name, (title, chance) in _LEAGUE_METRICS.items()
        if row[name] is not None
    ]
    # best on top: the table has controls, which have no layer, before all others
    places = list(dict.fromkeys(row["place"] for row in shown))
    shown.sort(key=lambda row: (places.index(row["place"]), -row["value"]))
    y = _x("method", None, "nominal", sort=None, axis=_room(shown))
    colour = _x("kind", None, "nominal", scale={"domain": ["method", "control"], "range": [_COLOURS[0], _QUIET]})
    layers: list[Spec] = [
        {"mark": _CHANCE, "encoding": {"x": _x("chance", _OVER_PERSONS)}},
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {"y": y, "x": _x("low", _OVER_PERSONS), "x2": {"field": "high"}, "color": colour},
        },
        {
            "mark": "point",
            "encoding": {
                "y": y,
                "x": _x("value", _OVER_PERSONS, axis={"format": ".2~g", "labelOverlap": True}),
                "color": colour,
                "shape": colour | {"scale": {"domain": ["method", "control"]}},
            },
        },
    ]
    return _by_metric(shown, {"layer": layers, "width": 250})


def _room(rows: list[Row]) -> Spec:
    """An axis that has room for the names of methods: Vega reckons with a narrower font than a page may have."""
    return {"minExtent": 10 + 9 * max((len(row["method"]) for row in rows), default=0)}


def _by_metric(rows: list[Row], inner: Spec) -> list[Spec]:
    """A chart for each metric, in it a panel for each place, its name above it."""
    header = {"labelOrient": "top", "labelAngle": 0, "labelAnchor": "start"}
    facet = {"row": _x("place", None, "nominal", sort=None, header=header)}
    spec = {"facet": facet, "spec": inner, "resolve": {"scale": {"x": "independent", "y": "independent"}}}
    titles = [title for title, _ in _LEAGUE_METRICS.values() if any(row["metric"] == title for row in rows)]
    return [
        spec | {"title": title, "data": {"values": [row for row in rows if row["metric"] == title]}} for title in titles
    ]


def _of_layer(row: Row) -> str:
    return " ".join(filter(None, (row["method"], row["layer"])))


def _lines(rows: list[Row]) -> list[Row]:
    """The rows with `map`, what a line of a model's chart is called: the method, and the layer where there are more."""
    layers = {(row["model"], row["method"], row["layer"]) for row in rows}
    one = len({each[:2] for each in layers}) == len(layers)
    return [row | {"map": row["method"] if one else _of_layer(row)} for row in rows]


def _league_says(rows: list[Row]) -> str:
    tried = [row for row in rows if row["srg"] is not None and not is_control(row["method"])]
    if not tried:
        return "No method was judged by removal; controls and variants are grey."
    best = max(tried, key=lambda row: row["srg"])
    beside = [
        row
        for row in rows
        if row["srg"] is not None and is_control(row["method"]) and row["model"] == best["model"]
        if row["layer"] in (best["layer"], "")
    ]
    control = max(beside, key=lambda row: row["srg"], default=None)
    than = "" if control is None else f", of the controls beside it {control['method']}, {control['srg']:.2f}"
    said = f"Of the methods {best['model']} {_of_layer(best)} has the highest SRG, {best['srg']:.2f}{than}"
    return f"{said}; controls and variants are grey."


#: a share of which nothing is seen
_SEEN: Final = 0.005


def _ranks(rows: list[Row]) -> list[Spec]:
    shown = [
        {"place": " ".join(filter(None, (row["model"], row["layer"]))), "method": row["method"], "rank": number}
        | {"metric": _LEAGUE_METRICS[row["metric"]][0], "share": share, "mean": row["mean_rank"]}
        for row in rows
        if row["metric"] in _LEAGUE_METRICS
        for number, share in enumerate(row["ranks"], 1)
        if share >= _SEEN
    ]
    encoding = {
        "x": _x("rank", "rank; darker: more often", "ordinal", axis={"labelAngle": 0}),
        "y": _x("method", None, "nominal", sort={"field": "mean", "op": "min"}, axis=_room(shown)),
        "opacity": _x("share", "share", scale={"domain": [0, 1], "range": [0.08, 1]}, legend=None),
    }
    mark = {"type": "rect", "color": _COLOURS[0]}
    return _by_metric(shown, {"mark": mark, "encoding": encoding, "width": 250})


def _ranks_says(rows: list[Row]) -> str:
    said = []
    for model, layer in dict.fromkeys((row["model"], row["layer"]) for row in rows if row["metric"] == "srg"):
        own = [row for row in rows if (row["model"], row["layer"], row["metric"]) == (model, layer, "srg")]
        first = max(own, key=lambda row: row["first"])
        said.append(f"{model} {first['method']} is first by SRG in {first['first']:.0%} of the draws")
    return f"{'; '.join(said)}." if said else "No method was judged by removal."


def _scores(rows: list[Row]) -> list[Spec]:
    shown = [row | {"end": row["bin"] + 0.1} for row in rows]
    encoding = {
        "x": _x("bin", "score (mean probability of fake)", scale=_from_0(), bin="binned"),
        "x2": {"field": "end"},
        "y": _x("n_videos", "videos", stack=None),
        "color": _x("label", "label", "nominal"),
    }
    return _chart(shown, [{"mark": {"type": "bar", "opacity": 0.6}, "encoding": encoding}], 120)


def _scores_says(rows: list[Row]) -> str:
    n = sum(row["n_videos"] for row in rows)
    wrong = sum(row["n_videos"] for row in rows if (row["label"] == "fake") != (row["bin"] >= 0.5))
    return f"{wrong:,} of {n:,} scores lie on the wrong side of .5."


def _thresholds(rows: list[Row]) -> list[Spec]:
    shown = [
        {"model": row["model"], "threshold": row["threshold"], "share": row[name], "of": of}
        for row in rows
        for name, of in (("recall", "forged (recall)"), ("false_alarms", "genuine (false alarms)"))
    ]
    encoding = {
        "x": _x("threshold", "threshold", scale=_from_0()),
        "y": _x("share", "share above it", scale=_from_0()),
        "color": _x("of", "videos", "nominal"),
        "strokeDash": _x("of", "videos", "nominal"),
    }
    return _chart(shown, [{"mark": "line", "encoding": encoding}], 140)


def _thresholds_says(rows: list[Row]) -> str:
    said = []
    for model in dict.fromkeys(row["model"] for row in rows):
        best = max((row for row in rows if row["model"] == model), key=lambda row: row["recall"] - row["false_alarms"])
        said.append(
            f"{model} is best at {best['threshold']:g}, where it finds {best['recall']:.0%} of the forged videos and "
            f"calls {best['false_alarms']:.0%} of the genuine ones forged"
        )
    return "; ".join(said) + " (chosen on these videos, so flattering)."


def _reliability(rows: list[Row]) -> list[Spec]:
    scale = _from_0()
    x = _x("probability", "probability of fake", scale=scale)
    ends = {"x": {"datum": 0}, "y": {"datum": 0}, "x2": {"datum": 1}, "y2": {"datum": 1}}
    band = {"x": x, "y": _x("low", "share of forged videos", scale=scale), "y2": {"field": "high"}}
    curve = {"x": x, "y": _x("calibrated", "share of forged videos", scale=scale)}
    layers: list[Spec] = [
        {"mark": _CHANCE, "encoding": ends},
        {"mark": {"type": "area", "opacity": 0.2, "color": _COLOURS[0]}, "encoding": band},
        {"mark": {"type": "line", "point": {"color": _COLOURS[0]}, "color": _COLOURS[0]}, "encoding": curve},
    ]
    return _chart(rows, layers)


def _reliability_says(rows: list[Row]) -> str:
    said = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [abs(row["probability"] - row["calibrated"]) for row in rows if row["model"] == model]
        said.append(f"{model} {sum(own) / len(own):.2f}")
    return f"Mean distance from the diagonal, on which a calibrated detector lies: {', '.join(said)}."


def _steadiness(rows: list[Row]) -> list[Spec]:
    shown = [
        row | {"map": f"{_of_layer(row)}, {row['target']}", "value": row[name], "figure": title}
        for row in rows
        for name, title in (("iou", "IoU"), ("iou_adjusted", "IoU over chance"))
        if row[name] is not None
    ]
    encoding = {
        "x": _x("threshold", "threshold of the mask, of the map's maximum", scale=_from_0()),
        "y": _x("value", "mean over labels", aggregate="mean"),
        "strokeDash": _x("figure", "figure", "nominal"),
    }
    return _chart(shown, _lines_of(encoding, _told_apart(shown, "method, layer and class")))


def _steadiness_says(rows: list[Row]) -> str:
    own = [row for row in rows if row["threshold"] == 0.5 and row["iou"] is not None]
    if not own:
        return "No video has two maps with a highlighted cell."
    raw = sum(row["iou"] for row in own) / len(own)
    adjusted = sum(row["iou_adjusted"] or 0.0 for row in own) / len(own)
    return f"At .5 the mean IoU of consecutive masks is {raw:.2f}, over chance {adjusted:.2f} (0: as if by chance)."


#: what follows the first eight of what has a colour has the same colours in another shape
_SHAPES: Final = ("circle", "square", "triangle-up", "diamond", "cross")


def _told_apart(rows: list[Row], title: str) -> Spec:
    """Colour and shape of what `rows` call `map`: no two are drawn alike, up to forty."""
    names = sorted({row["map"] for row in rows})
    colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(names))]
    shapes = [_SHAPES[number // len(_COLOURS) % len(_SHAPES)] for number in range(len(names))]
    of = {"color": colours, "shape": shapes}
    return {
        channel: _x("map", title, "nominal", scale={"domain": names, "range": values}) for channel, values in of.items()
    }


def _lines_of(encoding: Spec, told: Spec, points: bool = False) -> list[Spec]:
    """Lines, and on them `points`, or where colours alone do not tell them apart, for shapes do."""
    line: Spec = {"mark": "line", "encoding": encoding | {"color": told["color"]}}
    if not points and len(told["shape"]["scale"]["domain"]) <= len(_COLOURS):
        return [line]
    own = {"detail" if channel == "strokeDash" else channel: field for channel, field in encoding.items()}
    return [line, {"mark": {"type": "point", "size": 40}, "encoding": own | told}]


def _regions(rows: list[Row]) -> list[Spec]:
    shown = [row | {"map": f"{_of_layer(row)}, {row['target']}"} for row in rows]
    y = _x("region", None, "nominal")
    tick = {"type": "tick", "color": _INK, "thickness": 2, "size": 18}
    encoding = {"y": y, "x": _x("heat", "share of the heat")} | _told_apart(shown, "method, layer and class")
    layers: list[Spec] = [
        {"mark": tick, "encoding": {"y": y, "x": _x("area", "share of the heat", aggregate="mean")}},
        {"mark": {"type": "point", "opacity": 0.8}, "encoding": encoding},
    ]
    return _chart(shown, layers)


def _regions_says(rows: list[Row]) -> str:
    most = max(rows, key=lambda row: row["heat"] - row["area"])
    return (
        f"The most over its area (the tick, what uniform heat scores) lies in {most['region']}: {most['heat']:.2f} "
        f"of the heat of {most['model']} {_of_layer(most)} on {most['area']:.2f} of the picture."
    )


def _figure2(rows: list[Row]) -> list[Spec]:
    shown = [
        {
            "model": f"{row['model']} {_of_layer(row)}, {row['target']}",
            "region": row["region"],
            "share": row[name],
            "of": of,
        }
        for row in rows
        for name, of in (("people", "people"), ("map", "map"), ("match", "both"), ("chance", "both, by chance"))
    ]
    of = _x("of", "named by", "nominal")
    encoding = {
        "y": _x("region", None, "nominal"),
        "x": _x("share", "share of the videos", scale=_from_0()),
        "color": of,
        "shape": of,
    }
    return _chart(shown, [{"mark": "point", "encoding": encoding}], None)


def _figure2_says(rows: list[Row]) -> str:
    over = [row for row in rows if row["p"] is not None and row["p"] <= 0.05]
    return (
        f"In {len(over)} of {len(rows)} rows people and map name a region together more often than by chance (p ≤ .05)."
    )


def _localisation(rows: list[Row]) -> list[Spec]:
    said = {True: "right", False: "wrong", None: "unknown"}
    shown = [
        row | {"map": f"{_of_layer(row)}, {row['target']}", "model is": said[row["rightly"]]}
        for row in rows
        if row["auroc"] is not None
    ]
    layers: list[Spec] = [
        {"mark": _CHANCE, "encoding": {"x": {"datum": 0.5}}},
        {
            "mark": "point",
            "encoding": {
                "y": _x("map", None, "nominal"),
                "x": _x("auroc", "AUROC on the true mask, chance .5", scale=_from_0()),
                "color": _x("model is", "the model is", "nominal"),
                "shape": _x("model is", "the model is", "nominal"),
            },
        },
    ]
    return _chart(shown, layers, None, y="independent")


def _localisation_says(rows: list[Row]) -> str:
    own = [row for row in rows if row["auroc"] is not None]
    above = sum(row["auroc"] > 0.5 for row in own)
    return (
        f"{above} of {len(own)} rows lie above chance: a forged pixel is hotter than another one more often than not."
    )


_REMOVED: Final = {"morf": "most relevant", "lerf": "least relevant"}


def _curves(rows: list[Row]) -> list[Spec]:
    shown = [row | {"first": _REMOVED[row["removal"]]} for row in _lines(rows) if row["fill"] == rows[0]["fill"]]
    encoding = {
        "x": _x("removed", "share of the cells removed", scale=_from_0()),
        "y": _x("probability", "probability of the class", scale=_from_0()),
        "strokeDash": _x("first", "removed first", "nominal"),
    }
    return _chart(shown, _lines_of(encoding, _told_apart(shown, "method")))


def _curves_says(rows: list[Row]) -> str:
    own = [row for row in rows if row["fill"] == rows[0]["fill"]]
    gaps = {}
    for row in own:
        key = (row["model"], _of_layer(row))
        sign = 1 if row["removal"] == "lerf" else -1
        gaps[key] = gaps.get(key, 0.0) + sign * row["probability"]
    n = len({row["removed"] for row in own})
    (model, name), gap = max(gaps.items(), key=lambda item: item[1])
    return f"Filled by {rows[0]['fill']}, the curves of {model} {name} lie furthest apart: {gap / n:.2f} on average."


def _sanity(rows: list[Row]) -> list[Spec]:
    shown = [row for row in _lines(rows) if row["test"] == "weights" and row["similarity"] is not None]
    encoding = {
        "x": _x("depth", "share of the layers with permuted weights", scale=_from_0()),
        "y": _x("similarity", "|Spearman| with the map itself", scale=_from_0()),
    }
    rule = {"mark": _CHANCE, "encoding": {"y": {"datum": 0.5}}}
    return _chart(shown, [rule, *_lines_of(encoding, _told_apart(shown, "method"), points=True)])


def _sanity_says(rows: list[Row]) -> str:
    last = [row for row in rows if row["test"] == "weights" and row["depth"] == 1 and row["similarity"] is not None]
    above = sum(row["similarity"] > 0.5 for row in last)
    return (
        f"With all weights permuted {above} of {len(last)} methods still draw more than half the same map (above .5)."
    )


def _tcav(rows: list[Row]) -> list[Spec]:
    shown = [
        row | {"of": f"{row['model']}, {row['class']}: {_thing(row)}", "kind": _kind(row)}
        for row in rows
        if row["value"] is not None
    ]
    layers = [layer for _, layer in sorted({(row["layer_number"], row["layer"]) for row in rows})]
    x = _x("layer", None, "nominal", sort=layers, scale={"domain": layers}, axis={"labelAngle": 0})
    kind = _x("kind", None, "nominal", scale={"domain": list(_KINDS)})
    x_of_kind = {"field": "kind", "scale": {"domain": list(_KINDS)}}
    title = "mean and 95 % of the random sets"
    band = {"type": "bar", "color": _QUIET, "opacity": 0.2, "aria": False}
    point = {"type": "point", "size": 50}
    encoding = {"x": x, "xOffset": x_of_kind, "color": kind}
    marks: list[Spec] = [
        {
            "mark": band,
            "encoding": {
                "x": x,
                "y": _x("chance_low", title, aggregate="min"),
                "y2": {"field": "chance_high", "aggregate": "max"},
            },
        },
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": encoding | {"y": _x("value_low", title), "y2": {"field": "value_high"}},
        },
        {"mark": point, "encoding": encoding | {"y": _x("value", title), "shape": kind}},
    ]
    facet = {"row": _x("of", None, "nominal"), "column": _x("statistic", None, "nominal", sort=["share", "magnitude"])}
    spec = {"data": {"values": shown}, "facet": facet, "spec": {"layer": marks, "width": 260, "height": 150}}
    return [spec | {"resolve": {"scale": {"y": "independent"}}}]


#: what a vector points to, and away from
_KINDS: Final = ("static", "dynamic", "dynamic over static")


def _thing(row: Row) -> str:
    return row["concept"].rpartition(" ")[0]


def _kind(row: Row) -> str:
    kind = row["concept"].rpartition(" ")[2]
    return f"{kind} over {row['against'].rpartition(' ')[2]}" if row["against"] else kind


def _tcav_says(rows: list[Row]) -> str:
    over = [row for row in rows if row["against"] and row["statistic"] == "share" and row["value"] is not None]
    if not over:
        return "No layer tells a moving concept from the still one; grey: random sets that are taken for a concept."
    most = max(over, key=lambda row: row["value"])
    sure = sum(row["p_adjusted"] is not None and row["p_adjusted"] <= 0.05 for row in over)
    where = f"{most['model']}, {most['class']}: {_thing(most)}"
    return (
        f"{where} counts more moving than still for {most['value']:.0%} of the clips at {most['layer']}, the most; "
        f"{sure} of {len(over)} such shares are none of random sets (grey)."
    )


def _against(rows: list[Row]) -> list[Spec]:
    shown = [
        {"of": " ".join(filter(None, (row["model"], _of_layer(row)))), "metric": row["metric"]}
        | {"value": row["difference"], "low": row["difference_low"], "high": row["difference_high"]}
        for row in rows
    ]
    title = "here less there, 95 % interval"
    y = _x("of", None, "nominal", sort=None)
    ends = {"y": y, "x": _x("low", title), "x2": {"field": "high"}}
    layers: list[Spec] = [
        {"mark": _CHANCE, "encoding": {"x": {"datum": 0}}},
        {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": ends},
        {"mark": "point", "encoding": {"y": y, "x": _x("value", title, axis={"format": ".2~g", "labelOverlap": True})}},
    ]
    facet = _x("metric", None, "nominal", sort=None)
    spec = {"data": {"values": shown}, "facet": facet, "columns": 2, "spec": {"layer": layers, "width": 220}}
    return [spec | {"resolve": {"scale": {"x": "independent", "y": "independent"}}}]


def _against_says(rows: list[Row]) -> str:
    known = [row for row in rows if row["difference_low"] is not None]
    sure = sum(not row["difference_low"] <= 0 <= row["difference_high"] for row in known)
    return f"The interval of {sure} of {len(rows)} differences leaves out 0 (the line); each figure has its own scale."


#: by the name of the table that is drawn
CHARTS: Final = {
    "against": Chart(_against, _against_says),
    "league": Chart(_league, _league_says),
    "league_ranks": Chart(_ranks, _ranks_says),
    "scores": Chart(_scores, _scores_says),
    "thresholds": Chart(_thresholds, _thresholds_says),
    "reliability": Chart(_reliability, _reliability_says),
    "table3_thresholds": Chart(_steadiness, _steadiness_says),
    "regions": Chart(_regions, _regions_says),
    "figure2": Chart(_figure2, _figure2_says),
    "localisation": Chart(_localisation, _localisation_says),
    "curves": Chart(_curves, _curves_says),
    "tcav": Chart(_tcav, _tcav_says),
    "sanity": Chart(_sanity, _sanity_says),
}
