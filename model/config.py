"""Settings of the model: small, frozen, validated; each field says what it changes."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "UNIFORM",
    "AttentionConfig",
    "DenoiserConfig",
    "DiffusionConfig",
    "EncoderConfig",
    "Frozen",
    "HalfLife",
    "HistoryConfig",
    "ModelConfig",
    "NoiseConfig",
    "SpaceName",
]


class Frozen(BaseModel):
    """Base of all settings: immutable, unknown fields refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


UNIFORM: Literal["uniform"] = "uniform"
SpaceName = Literal["hyperbolic", "euclidean"]
HalfLife = Annotated[float, Field(gt=0)] | Literal["uniform"]


class EncoderConfig(Frozen):
    """Stage 1: the hyperbolic graph encoder."""

    dim: Annotated[int, Field(ge=2, le=1024)] = Field(64, description="dimension d of the hyperbolic space")
    layers: Annotated[int, Field(ge=1, le=8)] = Field(3, description="graph propagation layers L")
    parametrisation: Literal["manifold", "tangent"] = Field(
        "manifold",
        description="manifold: Lorentz points under Riemannian Adam; tangent: tangent vectors at the origin",
    )
    init_std: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="spread of the initial embeddings")
    space: SpaceName = Field(
        "hyperbolic",
        description="what distances are measured in; euclidean is there to see what the curvature is worth",
    )
    max_radius: Annotated[float, Field(gt=0, le=5)] = Field(
        4.0, description="radii are softly capped here; float32 ranking is reliable up to about 5"
    )


class HistoryConfig(Frozen):
    """How a user's interactions become the vectors that condition the diffusion."""

    half_lives: tuple[HalfLife, ...] = Field(
        (0.5, 1.5, 4.0, 10.0, 25.0, 80.0, 300.0, UNIFORM),
        min_length=1,
        max_length=8,
        description="half-lives, in items, of the recency weights, or uniform for equal weights; one history vector "
        "for each. Data without an order has a uniform one alone",
    )
    max_length: Annotated[int, Field(ge=1)] = Field(1000, description="newest interactions taken into account")


class AttentionConfig(Frozen):
    """What comes next by the newest items."""

    length: Annotated[int, Field(ge=0, le=1000)] = Field(
        50, description="newest interactions it looks at; 0 leaves it out, as does data without an order"
    )
    heads: Annotated[int, Field(ge=1, le=16)] = Field(2, description="weightings of them, each asked for on its own")
    hidden: Annotated[int, Field(ge=1, le=8192)] = Field(256, description="width of the layer after them")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="dropout of its vectors in training")


class NoiseConfig(Frozen):
    """The forward process."""

    kind: Literal["directional", "isotropic", "none"] = Field(
        "directional",
        description="directional: training-set statistics and the signs of the process's anchor; isotropic: the same "
        "power in every direction; none: the signal fades and nothing takes its place",
    )
    radial: bool = Field(True, description="clamp the radius of noised points to the encoder's max_radius")
    angular: bool = Field(True, description="keep the noise on the anchor's side of the origin")
    timesteps: Annotated[int, Field(ge=1, le=1000)] = Field(50, description="length T of the forward process")
    alpha_bar_first: Annotated[float, Field(gt=0, lt=1)] = Field(0.99, description="signal kept at t = 1")
    alpha_bar_last: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="signal kept at t = T")

    @model_validator(mode="after")
    def _noise_grows(self) -> Self:
        if self.alpha_bar_first <= self.alpha_bar_last:
            raise ValueError(
                f"alpha_bar_first ({self.alpha_bar_first:g}) must be greater than alpha_bar_last "
                f"({self.alpha_bar_last:g})"
            )
        return self


class DenoiserConfig(Frozen):
    """The reverse network."""

    hidden: Annotated[int, Field(ge=8, le=8192)] = Field(1024, description="width of the hidden layers")
    depth: Annotated[int, Field(ge=1, le=8)] = Field(2, description="hidden layers")
    time_dim: Annotated[int, Field(ge=4, le=512)] = Field(32, description="size of the time embedding")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.3, description="dropout between hidden layers")


class DiffusionConfig(Frozen):
    """Which vectors are diffused and what becomes of the result."""

    networks: Literal["item", "both"] = Field(
        "item",
        description="item: one network turns the history into the vector of the next items; both: as published, one "
        "for the ideal item given the user and one for the user given the items",
    )
    gate: Annotated[float, Field(ge=0, le=1)] | Literal["learned"] = Field(
        "learned",
        description="share of the denoised vector in the user's, the rest is the base estimate's (0.05 is published)",
    )
    base: Literal["learned", "fixed"] = Field(
        "learned",
        description="whether stage 3 learns how the base estimate is made of the history's vectors, and its length",
    )


class ModelConfig(Frozen):
    """Everything that fixes the model's function, apart from its weights."""

    encoder: EncoderConfig = EncoderConfig()
    history: HistoryConfig = HistoryConfig()
    attention: AttentionConfig = AttentionConfig()
    noise: NoiseConfig = NoiseConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    steps: Annotated[int, Field(ge=0, le=1000)] = Field(
        3, description="reverse steps at inference unless the caller says otherwise; 0 skips the diffusion"
    )

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if self.steps > self.noise.timesteps:
            raise ValueError(f"steps ({self.steps}) must be at most noise.timesteps ({self.noise.timesteps})")
        return self

    @property
    def vectors(self) -> int:
        """Number h of history vectors: the means and, last, what the attention makes of the newest items."""
        return len(self.history.half_lives) + (self.attention.length > 0)
