"""What the service is measured against: the same model and Flask, and nothing else."""

from clasificador_modelo import classify
from flask import Flask, request

app = Flask(__name__)


@app.post("/api/v2/modelo")
def modelo() -> dict[str, object]:
    """The trades of the text in the body."""
    tokens = classify(request.get_data(as_text=True)).tokens
    return {"tokens": [{"token": token.token, "score": token.score} for token in tokens]}
