"""What is left out or put back, one thing at a time, to see what each is worth."""

from dataclasses import dataclass

__all__ = ["ABLATIONS", "ISOTROPIC", "NO_DENOISER", "NO_NOISE", "NO_STEPS", "Ablation"]

ENCODER = ("search: encoder", "encoder")
MORE_HALF_LIVES = "history.half_lives=[0.5, 1.5, 4.0, 10.0, 25.0, 80.0, 300.0, 'uniform']"
ATTENTION = (*ENCODER, "search: attention", "attention")


@dataclass(frozen=True)
class Ablation:
    """A change of the default model.

    Attributes:
        name: what is different.
        changes: settings.
        steps: reverse steps when it is asked, None as set.
        against: another ablation that it is compared with as well, from which it differs in one thing.
        shuffled: whether each user gets the denoised vector of another.
        shared: stages whose result is the default's own, since the change does not concern them.
        needs_order: whether it is no change where histories are in no order.
        every_seed: whether it is trained with every seed, not the first alone.
    """

    name: str
    changes: tuple[str, ...] = ()
    steps: int | None = None
    against: str | None = None
    shuffled: bool = False
    shared: tuple[str, ...] = ()
    needs_order: bool = False
    every_seed: bool = False

    @property
    def trained(self) -> bool:
        """Whether anything is learned anew."""
        return bool(self.changes)


def _noise(name: str, *changes: str, against: str | None = None, every_seed: bool = False) -> Ablation:
    # how long to train is the default's as well, so that nothing but the change differs
    shared = (*ATTENTION, "search: diffusion")
    return Ablation(name, changes, against=against, shared=shared, every_seed=every_seed)


NO_STEPS = "the same model asked without its denoiser (0 steps)"
NO_NOISE = "no noise in training"
NO_DENOISER = "trained without a denoiser"
ISOTROPIC = "isotropic noise"

ABLATIONS = (
    Ablation(NO_STEPS, steps=0),
    Ablation("one step", steps=1),
    Ablation("denoised vectors shuffled across users", shuffled=True),
    _noise(NO_NOISE, "noise.kind=none", every_seed=True),
    _noise(ISOTROPIC, "noise.kind=isotropic"),
    _noise("no radial restriction", "noise.radial=false"),
    # directional noise is on the anchor's side by its signs, with the restriction or without
    _noise(
        "isotropic noise without angular restriction",
        "noise.kind=isotropic",
        "noise.angular=false",
        against=ISOTROPIC,
    ),
    Ablation(NO_DENOISER, ("diffusion.gate=0.0", "steps=0"), shared=ATTENTION, every_seed=True),
    Ablation("noised truth instead of estimate", ("diffusion_fit.noised=truth",), shared=ATTENTION),
    Ablation("gate fixed at 0.05", ("diffusion.gate=0.05",), shared=ATTENTION),
    Ablation("items not learned on in stage 3", ("diffusion_fit.items_learning_rate=0.0",), shared=ATTENTION),
    Ablation("hinge in stage 3", ("diffusion_fit.loss=hinge", "diffusion_fit.negatives=50"), shared=ATTENTION),
    Ablation("one next item in stage 3", ("diffusion_fit.horizon=1",), shared=ATTENTION),
    Ablation("two networks, for item and user", ("diffusion.networks=both",), shared=ATTENTION),
    Ablation("base estimate not learned", ("diffusion.base=fixed",), shared=ATTENTION),
    Ablation("hinge in stage 1", ("encoder_fit.loss=hinge", "encoder_fit.negatives=50")),
    Ablation("points on the manifold", ("encoder.parametrisation=manifold", "encoder_fit.learning_rate=0.03")),
    Ablation("whole histories in the graph", ("encoder_fit.piece_length='whole'",), needs_order=True),
    Ablation("no attention", ("attention.length=0",), shared=ENCODER, needs_order=True, every_seed=True),
    Ablation(
        "attention trained twice as long",
        ("attention_fit.budget.least_epochs=12", "attention_fit.budget.updates=600"),
        shared=ENCODER,
        needs_order=True,
    ),
    Ablation(
        "no means of the history but the plain one",
        ("history.half_lives=['uniform']",),
        shared=ATTENTION,
        needs_order=True,
    ),
    Ablation(
        "network of two layers of 1,024",
        ("denoiser.hidden=1024", "denoiser.depth=2"),
        shared=ATTENTION,
        needs_order=True,
    ),
    Ablation("twice as many half-lives", (MORE_HALF_LIVES,), shared=ATTENTION, needs_order=True),
    Ablation("Euclidean space", ("encoder.space=euclidean",)),
    Ablation("order ignored, with the settings for that", ("order=ignored",), needs_order=True),
)
