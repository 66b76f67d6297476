"""Numbers and findings in words."""

from model.analysis import Gain

__all__ = ["MINUS", "PERCENT", "amount", "change", "difference", "percent", "plural", "signed", "span"]

MINUS, DASH, SPACE = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NO-BREAK SPACE}"
PERCENT = SPACE + "%"


def percent(share: float) -> str:
    """A share as a whole percentage, with a decimal below 10."""
    digits = 1 if abs(share) < 0.1 else 0
    return f"{share:.{digits}%}".replace("%", PERCENT)


def signed(value: float, digits: int = 4) -> str:
    """With its sign, a real minus."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def amount(value: float) -> str:
    """A quantity to three significant digits, thousands separated."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def difference(gain: Gain) -> str:
    """A difference and its interval."""
    return signed(gain.mean) + ("" if gain.margin is None else f"{SPACE}±{SPACE}{gain.margin:.4f}")


def change(gain: Gain) -> str:
    """A difference, its interval, and whether it may be chance."""
    clear = gain.margin is None or abs(gain.mean) > gain.margin
    return difference(gain) + ("" if clear else ", which may be chance")


def plural(n: int, one: str, many: str) -> str:
    """1 user, 2 users."""
    return f"{n:,} {one if n == 1 else many}"


def span(low: float, high: float) -> str:
    """A range of counts."""
    first, last = amount(round(low)), amount(round(high))
    return first if first == last else f"{first}{DASH}{last}"
