"""The model for MLServer."""

from clasificador_modelo import classify
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Modelo(MLModel):
    """Answers the trades as strings."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The trades of the first text."""
        (text,) = StringCodec.decode_input(payload.inputs[0])
        tokens = [f"{token.token} {token.score}" for token in classify(text).tokens]
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("tokens", tokens)])
