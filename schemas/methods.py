"""What tables and pages must know of methods without loading one: what they do is in operators.methods."""

from typing import Final

#: the information bottleneck, fitted to each sample
IBA: Final = "iba"
#: what a map must beat to say anything
CONTROLS: Final = ("random", "random_smooth", "edges", "centre", "face")
#: below so many samples the noise of a bottleneck depends on which they were
FEW_SAMPLES: Final = 1000
#: where a file of statistics says what they are of, as JSON
STATISTICS_KEY: Final = "viba.statistics"
