"""What tables and pages must know of methods without loading one: what they do is in operators.methods."""

from typing import Final, Literal

#: the information bottleneck, fitted to each sample
IBA: Final = "iba"
#: what a map must beat to say anything
CONTROLS: Final = ("random", "random_smooth", "edges", "centre", "face")
#: what a method's own maps are judged as, beside what they are: its mean map over the other videos, and blurs
Variant = Literal["mean_map", "blur8", "blur16"]
MEAN_MAP: Final = "mean_map"
#: below so many samples the noise of a bottleneck depends on which they were
FEW_SAMPLES: Final = 1000
#: where a file of statistics says what they are of, as JSON
STATISTICS_KEY: Final = "viba.statistics"
