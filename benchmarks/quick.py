"""Settings of a training that takes seconds: the model learns what is easy, and no more."""

__all__ = ["QUICK"]

QUICK = (
    "encoder_fit.learning_rate=0.05",
    "encoder.dim=8",
    "denoiser.hidden=32",
    "encoder_fit.budget.updates=24",
    "encoder_fit.budget.least_epochs=12",
    "attention_fit.kept=always",
    "attention_fit.budget.updates=3",
    "attention_fit.budget.least_epochs=3",
    "diffusion_fit.budget.updates=12",
    "diffusion_fit.budget.least_epochs=6",
)
