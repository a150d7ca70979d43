"""What an answer of the exported model costs, beside scikit-learn's own pipeline on the same words, in the same run.

Run it with the Python of the model's environment: ``python benchmarks/classify.py WHEEL``. The pipeline is a
`TfidfVectorizer` of words and a `LinearSVC`, fitted on the wheel's golden texts: how good it is does not matter here.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

KNOWN = "buenas tardes el grifo de la cocina gotea sin parar desde ayer noche"
UNKNOWN = "vuenas trades el grfio de la cozina gottea sin praar dezde ayr nohce"
ROUNDS = 2000


def microseconds(call: Callable[[], object]) -> float:
    """The median time of a call."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e6


def imported(wheel: str, code: str) -> float:
    """Milliseconds that ``code`` takes in a fresh interpreter, without the interpreter's own start; median of nine."""
    program = f"import sys, time; sys.path.insert(0, {wheel!r}); t = time.perf_counter(); {code}"
    program += "; print(time.perf_counter() - t)"
    runs = [float(subprocess.check_output([sys.executable, "-I", "-c", program])) for _ in range(9)]
    return statistics.median(runs) * 1000


def main() -> None:
    """Print the figures."""
    wheel = str(Path(sys.argv[1]).resolve())
    sys.path.insert(0, wheel)
    from clasificador_modelo import _spelt, _word, classify, golden

    examples = [item for item in golden() if item.text]
    pipeline = make_pipeline(TfidfVectorizer(), LinearSVC())
    pipeline.fit([item.text for item in examples], [item.answer.tokens[0].token for item in examples])

    def fresh() -> None:
        _spelt.cache_clear()
        _word.cache_clear()
        classify(UNKNOWN)

    print(f"wheel                                {Path(wheel).stat().st_size / 1e6:8.2f} MB")
    print(f"import                               {imported(wheel, 'import clasificador_modelo'):8.1f} ms")
    code = "import clasificador_modelo as c; c.classify('grifo')"
    print(f"import and first answer              {imported(wheel, code):8.1f} ms")
    print(f"classify, 12 words                   {microseconds(lambda: classify(KNOWN)):8.1f} µs")
    print(f"classify, mistyped, nothing cached   {microseconds(fresh):8.1f} µs")
    print(f"scikit-learn's pipeline, 12 words    {microseconds(lambda: pipeline.predict([KNOWN])):8.1f} µs")


if __name__ == "__main__":
    main()
