"""What a run found, in lines that rules write from its tables: plain ones, each of which can be checked by hand."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pipelines.league import has_control, is_control, not_beaten
from schemas.methods import FEW_SAMPLES

#: as many lines as a person reads
MOST: Final = 8
#: the share of empty maps from which the maps say more by being empty than by what they show
_MANY_EMPTY: Final = 0.5
#: an advantage over chance that a reader of two decimals would see
_LEAST: Final = 0.005
#: how often chance alone may bring what is called better than chance
_ALPHA: Final = 0.05
#: as many differences, or methods with what is wrong with them, as one line names
_SHOWN: Final = 4
#: kinds, the worst first, and what they are called
WORDS: Final = {"bad": "Bad", "warning": "Careful", "good": "Good", "note": "Note"}
ORDER: Final = tuple(WORDS)

Row = dict[str, Any]
Tables = dict[str, list[Row]]


@dataclass(frozen=True)
class Finding:
    """One line: how bad it is, what it says, and the section that shows it."""

    kind: str
    text: str
    section: str


def findings(tables: Tables) -> list[Finding]:
    """At most eight lines from the rows of a run's tables by name, of the first of `RULES`, the worst first."""
    found = [finding for rule in RULES if (finding := rule(tables)) is not None]
    return sorted(found[:MOST], key=lambda finding: ORDER.index(finding.kind))


def detectors(tables: Tables) -> Finding | None:
    """A detector is better than chance where the interval of its AUC lies above .5."""
    rows = [row for row in tables["detectors"] if row["auc"] is not None]
    if not rows:
        return None
    said = []
    for row in rows:
        ok = row["auc_low"] > 0.5
        of = f"{row['n_real']} genuine and {row['n_fake']} forged videos"
        said.append(
            f"{row['model']} {'has' if ok else 'does no better than chance:'} AUC {_interval(row, 'auc')} on {of}"
        )
    bad = any(row["auc_low"] <= 0.5 for row in rows)
    return Finding("bad" if bad else "good", "; ".join(said) + ".", "detector")


def below_controls(tables: Tables) -> Finding | None:
    """Methods whose advantage over the centre or their own mean map is not above 0 with its interval."""
    tried = [row for row in tables["league"] if not is_control(row["method"])]
    lost = [row for row in tried if row["loses_to"]]
    if not lost:
        return None
    if len(lost) > _SHOWN:
        more = f"{len(lost)} of {len(tried)} are not shown to be better than a control in SRG or AUROC"
        return Finding("bad", f"{more} (loses_to says which): {_by_place(lost)}.", "league")
    said = "; ".join(f"{_name(row)} {row['loses_to']}" for row in lost)
    return Finding("bad", f"Not shown to be better than a control: {said}.", "league")


def insane(tables: Tables) -> Finding | None:
    """Methods that fail the sanity gate; controls, which know nothing of the model, are there to fail it."""
    tried = [row for row in tables["gate"] if not is_control(row["method"])]
    failed = [row for row in tried if row["sanity"].startswith("fails")]
    if not failed:
        return None
    if len(failed) > _SHOWN:
        text = f"{len(failed)} of {len(tried)} fail a sanity test (the table says which): {_by_place(failed)}."
        return Finding("bad", text, "sanity")
    return Finding("bad", "; ".join(f"{_name(row)} {row['sanity']}" for row in failed) + ".", "sanity")


def best_by_removal(tables: Tables) -> Finding | None:
    """Per model the method with the most SRG of those that beat their controls in it, if its interval lies visibly
    above 0, which a random order scores."""
    return _best(tables, "srg", 0.0, "What it calls relevant is relevant to the detector", "SRG")


def best_on_truth(tables: Tables) -> Finding | None:
    """Per model the method with the highest AUROC on the true mask of those that beat their controls in it, if its
    interval lies visibly above .5."""
    return _best(tables, "auroc", 0.5, "Best at finding the forged region", "AUROC on the true mask")


def empty_maps(tables: Tables) -> Finding | None:
    """How many maps of each method are empty, and how many could not be made; of controls, which ask no detector,
    emptiness says nothing."""
    n_maps, n_empty = Counter[str](), Counter[str]()
    for row in tables["explained"]:
        if not is_control(row["method"]):
            n_maps[row["method"]] += row["n_maps"]
            n_empty[row["method"]] += row["n_empty"]
    if not n_maps.total():
        return None
    of = [
        f"{n_empty[each]:,} of {n:,} of {each} ({n_empty[each] / n:.0%})" for each, n in n_maps.items() if n_empty[each]
    ]
    said = f"Empty maps, where nothing was needed for the class: {', '.join(of) or f'none of {n_maps.total():,}'}"
    n_failed = sum(row["n_failed"] for row in tables["explained"])
    if n_failed:
        said += f"; {n_failed:,} could not be made"
    many = any(n_empty[each] > _MANY_EMPTY * n for each, n in n_maps.items())
    return Finding("warning" if many or n_failed else "note", f"{said}.", "run")


def few_samples(tables: Tables) -> Finding | None:
    """Layers whose noise was estimated from fewer samples than make it steady."""
    few = [row for row in tables["statistics"] if row["n"] < FEW_SAMPLES]
    if not few:
        return None
    said = ", ".join(f"{row['model']} {row['layer']} from {row['n']:,}" for row in few)
    hint = "so the bits depend on which they were; estimate takes them from more videos"
    return Finding("warning", f"Statistics of few samples (below {FEW_SAMPLES:,}): {said}, {hint}.", "method")


def leakage(tables: Tables) -> Finding | None:
    """Videos of different splits that look alike."""
    rows = tables.get("duplicates")
    if not rows:
        return None
    splits = sorted({f"{row['split']} and {row['other_split']}" for row in rows})
    said = f"{len(rows):,} pairs of videos of different splits ({', '.join(splits)}) look alike"
    return Finding("bad", f"{said}: what was trained on one knows the other, and figures are flattered.", "detector")


def failures(tables: Tables) -> Finding | None:
    """Videos that were not explained."""
    counts = {row["status"]: row["n_videos"] for row in tables["status"]}
    failed, faceless = counts.get("error", 0), counts.get("no_face", 0)
    if not failed and not faceless:
        return None
    said = f"{failed:,} of {sum(counts.values()):,} videos failed and {faceless:,} show no face"
    return Finding("warning" if failed else "note", f"{said}.", "failures")


def people(tables: Tables) -> Finding | None:
    """Whether people agree with each other, and whether the maps name their regions more often than chance."""
    agreed = [row for row in tables["agreement"] if row["who"] == "people" and row["item"] == "answer"]
    compared = [row for row in tables["table4"] if row["measure"] == "f1"]
    said, bad = [], False
    for row in agreed:
        if row["alpha"] is not None and row["low"] is not None:
            bad = bad or row["low"] <= 0
            more = "no more than by chance" if row["low"] <= 0 else "more than by chance"
            said.append(
                f"people agree with each other {more} (alpha {row['alpha']:.2f} [{row['low']:.2f}, {row['high']:.2f}])"
            )
    by_chance = [row for row in compared if row["p"] > _ALPHA]
    if by_chance:
        bad = True
        names = ", ".join(f"{_name(row)} (F1 {row['value']:.2f}, chance {row['chance']:.2f})" for row in by_chance)
        said.append(f"no more agreement with people than by chance: {names}")
    elif compared:
        best = max(compared, key=lambda row: row["value"])
        said.append(f"{_name(best)} agrees best with people: F1 {best['value']:.2f}, chance {best['chance']:.2f}")
    if not said:
        return None
    text = "; ".join(said)
    return Finding("warning" if bad else "good", f"{text[0].upper()}{text[1:]}.", "regions")


def against(tables: Tables) -> Finding | None:
    """In what the run differs from another one on the videos that both have."""
    if "against" not in tables:
        return None
    rows = tables["against"]
    sure = [row for row in rows if row["p_holm"] is not None and row["p_holm"] <= _ALPHA and row["metric"] != "seconds"]
    if not rows:
        return Finding("note", "The two runs have nothing in common that could be compared.", "against")
    if not sure:
        return Finding("note", f"None of {len(rows)} figures differs from the other run's beyond chance.", "against")
    said = [f"{_name(row)} {row['metric']} {row['difference']:+.2g}" for row in sure[:_SHOWN]]
    more = f" and {len(sure) - _SHOWN} more" if len(sure) > _SHOWN else ""
    return Finding("note", f"Differs from the other run: {', '.join(said)}{more} (of {len(rows)} figures).", "against")


#: what has most to be known first: where all have something to say, the last ones are left to their sections
RULES: Final[tuple[Callable[[Tables], Finding | None], ...]] = (
    leakage,
    detectors,
    below_controls,
    insane,
    best_by_removal,
    best_on_truth,
    few_samples,
    empty_maps,
    people,
    failures,
    against,
)


def _best(tables: Tables, metric: str, chance: float, praise: str, named: str) -> Finding | None:
    rows = [row for row in tables["league"] if row[metric] is not None and not is_control(row["method"])]
    if not rows:
        return None
    praised, controlled, unclear = [], [], []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = sorted((row for row in rows if row["model"] == model), key=lambda row: -row[metric])
        above = [row for row in own if (low := row[f"{metric}_low"]) is not None and low - chance >= _LEAST]
        why = [_unpraised(row, tables["league"], metric) for row in above]
        best = next((row for row, but in zip(above, why, strict=True) if not but), (above or own)[0])
        said = f"{_name(best)}, {named} {_interval(best, metric)}"
        if not above:
            unclear.append(said)
        elif all(why):
            controlled.append(f"{said} ({why[0]})")
        else:
            higher = f" (higher, but {why[0]}: {_name(above[0])} {above[0][metric]:.2f})" if why[0] else ""
            praised.append(said + higher)
    rest = [f"no method is told from chance ({chance:g}), the highest is {'; '.join(unclear)}"] if unclear else []
    if controlled:
        rest.insert(0, f"no method is shown to be better than its controls, the highest is {'; '.join(controlled)}")
    if not praised:
        return Finding("warning", f"By {named} {'; '.join(rest)}.", "league")
    return Finding("good", f"{praise}: {'; '.join([*praised, *(f'otherwise {each}' for each in rest)])}.", "league")


def _unpraised(row: Row, league: list[Row], metric: str) -> str:
    """Why a method is not to be praised for a figure that lies above chance; empty where it beats its controls."""
    if lost := not_beaten(row, metric):
        return f"does not beat {', '.join(lost)}"
    return "" if has_control(row, league, metric) else "no control was judged beside it"


def _interval(row: Row, metric: str) -> str:
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    if low is None:
        return f"{row[metric]:z.2f} (no interval of one person)"
    return f"{row[metric]:z.2f} [{low:z.2f}, {high:z.2f}]"


def _by_place(rows: list[Row]) -> str:
    """The methods of each model and layer."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(" ".join(filter(None, (row["model"], row["layer"]))), []).append(row["method"])
    return "; ".join(f"{place} {', '.join(methods)}" for place, methods in found.items())


def _name(row: Row) -> str:
    return " ".join(filter(None, (row["model"], row["layer"], row["method"])))
