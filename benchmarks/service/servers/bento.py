"""The model for BentoML."""

import bentoml
from clasificador_modelo import classify


@bentoml.service(workers=1)
class Modelo:
    """Answers the trades."""

    @bentoml.api(route="/modelo")
    def modelo(self, texto: str) -> dict[str, object]:
        """The trades of the text."""
        return {"tokens": [{"token": token.token, "score": token.score} for token in classify(texto).tokens]}
