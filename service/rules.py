"""Words for the values that a field of a request allows, from its JSON schema."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

__all__ = ["allowed_values", "entry_rule", "rules_of"]


def rules_of(requests: Sequence[type[BaseModel]]) -> dict[str, dict[str, Any]]:
    """The schemas of all fields of these requests and of what they hold; one name means the same in all of them."""
    rules: dict[str, dict[str, Any]] = {}
    for request in requests:
        schema = request.model_json_schema()
        for part in (schema, *schema.get("$defs", {}).values()):
            rules |= part.get("properties", {})
    return rules


def entry_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """The schema of a list's entries; of what is no list, its own."""
    kinds: list[dict[str, Any]] = rule.get("anyOf", [rule])
    return next((kind["items"] for kind in kinds if "items" in kind), rule)


def allowed_values(rule: dict[str, Any]) -> str | None:
    """Words for what a schema allows; None for an object, whose fields have rules of their own."""
    if "anyOf" in rule:
        kinds = [words for kind in rule["anyOf"] if (words := allowed_values(kind)) is not None]
        return " or ".join(dict.fromkeys(kinds)) or None
    if "enum" in rule:
        return ", ".join(map(str, rule["enum"]))
    match rule:
        case {"type": "integer", "minimum": least, "maximum": most}:
            return f"whole numbers, {least} to {most}"
        case {"type": "number", "exclusiveMinimum": least, "maximum": most}:
            return f"numbers above {least:g}, up to {most:g}"
        case {"type": "number", "exclusiveMinimum": least, "exclusiveMaximum": most}:
            return f"numbers between {least:g} and {most:g}"
        case {"type": "number", "minimum": least, "maximum": most}:
            return f"numbers, {least:g} to {most:g}"
        case {"type": "number"}:
            return "seconds since 1970"
        case {"type": "string", "format": "date-time"}:
            return "a time such as 2026-01-31T18:00:00Z"
        case {"type": "string", "minLength": least, "maxLength": most}:
            return f"text of {least} to {most} characters"
        case {"type": "array", "items": entries, "maxItems": most}:
            of = allowed_values(entries) if "additionalProperties" not in entries else "objects"
            return f"lists of {rule.get('minItems', 0)} to {most}" + (f": {of}" if of else " objects")
        case {"type": "boolean"}:
            return "true, false"
        case _:
            return None
