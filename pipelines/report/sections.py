"""The page's sections: which tables they show, what chance scores in them, and how to make those that are missing."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Ask:
    """One table: queries/FOLDER/NAME.sql, what chance scores in it, and whether it is folded away at first.

    `title`, `grain` and `columns` are those of a table that no query makes alone.
    """

    folder: str
    name: str
    chance: str
    folded: bool = False
    title: str = ""
    grain: str = ""
    columns: str = ""


@dataclass(frozen=True)
class Missing:
    """What is said where the table `name` has no row, and the arguments of the command that makes it; LAKE and
    RUN in them stand for the page's."""

    name: str
    text: str
    command: str = ""


@dataclass(frozen=True)
class Section:
    """A section: what it asks, in words, its tables, and what is said where one of them has no row."""

    id: str
    title: str
    lead: str
    asks: tuple[Ask, ...]
    missing: tuple[Missing, ...] = ()


_JUDGE: Final = "judge --lake LAKE --run RUN"
_NONE: Final = "no chance: these are counts"

RUN: Final = Section(
    "run",
    "What was run",
    "",
    (
        Ask("summary", "explained", "no chance: a map is empty where nothing was needed for the class", folded=True),
        Ask("tables", "emptiness", "p_noise: what noise alone is judged", folded=True),
        Ask("summary", "layers", "no chance: own_pearson is what the reference reaches", folded=True),
        Ask("summary", "seconds", _NONE, folded=True),
    ),
    (Missing("explained", "No map was made.", "explain VIDEOS --lake LAKE"),),
)
TESTED: Final = (
    Section(
        "league",
        "League of methods",
        "What the maps of every method are worth, beside controls that know nothing of the detector.",
        (
            Ask("tables", "league", "srg, adv_gain, road and sensitivity_n 0; auroc .5; the rows centre and +mean_map"),
            Ask(
                *("", "league_pairs", "difference 0, wins .5", True),
                title="Differences to IBA on the same persons, p by sign flips, Holm over the table",
                grain="one row per (model, layer, metric, method)",
                columns="difference: the method less iba, mean over persons, in the unit of the metric; "
                "difference_low, difference_high: its 95 % interval by bootstrap over persons. effect: that mean over "
                "the standard deviation of the persons' differences, NULL where all are the same. wins: share of the "
                "persons with more than by iba, ties count half. p: two-sided; p_holm: over all rows. n_persons: "
                "those with both.",
            ),
            Ask(
                *("", "league_ranks", "first and last: one over the number of methods", True),
                title="How often a method has which rank when persons are drawn anew",
                grain="one row per (model, layer, metric, method)",
                columns="ranks: share of the draws in which the method has rank 1, 2 and so on; mean_rank: its mean "
                "over them, 1 is best; first, last: shares of the draws. n_persons: those of whom every method has a "
                "value.",
            ),
            Ask(
                *("", "league_agreement", "kendall_w: one over the number of metrics", True),
                title="Kendall's W: whether the metrics rank the methods alike",
                grain="one row per (model, layer)",
                columns="kendall_w: 1 where all metrics rank the methods alike, 0 where not at all. p: how often ranks "
                "drawn by chance agree as much. metrics: those compared; n_methods: those that all of them know.",
            ),
        ),
        (Missing("league", "This run was not judged.", _JUDGE),),
    ),
    Section(
        "detector",
        "Detector",
        "Whether the detectors can be trusted at all, without looking at a map.",
        (
            Ask("report", "detectors", "auc .5"),
            Ask("tables", "table2", "accuracy: the share of the more frequent class"),
            Ask(
                *("", "reliability", "calibrated equal to the share of forged videos, whatever the probability", True),
                title="Reliability: what share of the videos is forged where the detector says p",
                grain="one row per (model, video): a point of the CORP curve, with a band of 95 % over persons",
                columns="probability: of fake, mean over the video's frames. calibrated: the share of forged videos "
                "among those judged so, by isotonic regression; low, high: its band by bootstrap over persons, NULL "
                "for a single one.",
            ),
            Ask(
                *("", "calibration", "discrimination 0", True),
                title="Calibration: how far the probabilities of fake can be trusted, by video",
                grain="one row per model",
                columns="brier: mean squared distance of the probability from 0 of a genuine and 1 of a forged video; "
                "it is miscalibration, which calibrating would take away, less discrimination, what the detector "
                "tells apart, plus uncertainty, that of the labels alone. ece: expected calibration error in 15 bins, "
                "a fraction; ece_low, ece_high: its 95 % interval over persons. n_videos, n_persons: with a label.",
            ),
            Ask("report", "thresholds", "recall equal to false_alarms"),
            Ask("report", "scores", "both labels spread alike"),
            Ask("tables", "table1", _NONE, folded=True),
            Ask("tables", "duplicates", "no chance: unrelated videos are hardly ever in it", folded=True),
        ),
        (
            Missing(
                "detectors",
                "No video labelled real or fake was shown to a detector of fakes: a manifest labels videos, or a "
                "folder of that name above them.",
                "explain MANIFEST --lake LAKE",
            ),
        ),
    ),
    Section(
        "steadiness",
        "Steadiness",
        "Whether the maps of one video stay where they are from keyframe to keyframe.",
        (
            Ask("tables", "table3_thresholds", "iou_adjusted 0; iou depends on the area of the masks"),
            Ask("tables", "table3", "iou_adjusted 0; iou depends on the area of the masks"),
        ),
        (Missing("table3", "No video has a map to measure.", "explain VIDEOS --lake LAKE"),),
    ),
    Section(
        "regions",
        "Where it looks",
        "Which parts of a face hold the heat, and whether people name the same ones.",
        (
            Ask("report", "regions", "area: the region's share of the picture"),
            Ask("tables", "figure2", "chance: people * map"),
            Ask("tables", "table4", "chance: people's answers permuted over the videos"),
            Ask("tables", "agreement", "alpha 0"),
        ),
        (
            Missing("regions", "No map was compared with the regions of a face.", _JUDGE),
            Missing(
                "table4",
                "No person was asked where forged videos with such a map look manipulated.",
                "annotate export --lake LAKE --out pages/",
            ),
        ),
    ),
    Section(
        "truth",
        "Truth",
        "How much of the heat lies where the frame was forged, where that is known.",
        (
            Ask(
                *("tables", "localisation"),
                "chance: the region's share of the picture, for heat_inside, rra and ehr; auroc .5; *_adjusted 0",
            ),
        ),
        (
            Missing(
                "localisation",
                "No video of the split test has a known forged region; those that forge makes have one, and a manifest "
                "to explain.",
                "forge GENUINE --out forged/",
            ),
        ),
    ),
    Section(
        "faithfulness",
        "Faithfulness curves",
        "Whether the detector loses its class when what a map calls relevant is removed.",
        (Ask("report", "curves", "morf equal to lerf"),),
        (Missing("curves", "No cell was removed: this run was not judged.", _JUDGE),),
    ),
    Section(
        "concepts",
        "Concepts",
        "Which things, still or moving, a class rests on at each layer.",
        (Ask("report", "tcav", "chance: random clips that are taken for a concept"),),
        (
            Missing(
                "tcav",
                "No model of clips was asked about a concept.",
                "tcav VIDEOS --concepts DIR --model NAME --class CLASS --lake LAKE",
            ),
        ),
    ),
    Section(
        "sanity",
        "Sanity",
        "Whether a map changes when what the detector has learned is taken away.",
        (
            Ask("league", "gate", "no chance: a gate"),
            Ask("report", "sanity", "similarity 0: a map that has nothing to do with the one before"),
        ),
        (Missing("sanity", "No weights were permuted: this run was not judged.", _JUDGE),),
    ),
)
FAILURES: Final = Section(
    "failures",
    "Failures",
    "Files that were not explained, by their code.",
    (Ask("summary", "errors", _NONE), Ask("report", "failed", _NONE, folded=True)),
    (Missing("failed", "Every file was read and explained."),),
)
