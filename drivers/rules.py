"""What settings must agree on with each other, beside each knob's own range."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonod.drivers.settings import Settings

# For values that arrive with a rounding error of their decimal form.
SLACK = 1 + 1e-9


@dataclass(frozen=True)
class Rule:
    """A rule that holds for probes which have all of `knobs`; `check(settings, changed)` gives one line when settings
    break it, `changed` being the knobs that somebody named.

    A rule of `intent` is about what somebody asks for; a complete state that was in force before need not obey it.
    """

    knobs: tuple[str, ...]
    text: str
    check: Callable[[Settings, Collection[str]], str | None]
    intent: bool = False


def _focus_in_picture(settings: Settings, changed: Collection[str]) -> str | None:
    """A focus deeper than the picture is physics, so less depth may be asked for under a focus that stays; to ask for
    such a focus is a slip of the hand."""
    if "focus_depth_m" not in changed or settings.focus_depth_m <= settings.depth_m * SLACK:
        return None
    return f"focus_depth_m: must be at most depth_m, {settings.depth_m:g} m; got {settings.focus_depth_m:g}"


def _time_for_sound(settings: Settings, changed: Collection[str]) -> str | None:
    """Sound must have come back from the deepest row before the next transmission."""
    one_s = 2 * settings.depth_m / settings.sound_speed_m_s
    all_s = settings.angle_count * one_s
    if all_s * settings.frame_rate_hz <= SLACK:
        return None
    name = next((name for name in ("frame_rate_hz", "angle_count", "depth_m") if name in changed), "frame_rate_hz")
    most = {
        "frame_rate_hz": f"{1 / all_s:.4g} Hz",
        "angle_count": f"{int(SLACK / (one_s * settings.frame_rate_hz))}",
        "depth_m": f"{settings.sound_speed_m_s / (2 * settings.angle_count * settings.frame_rate_hz):.4g} m",
    }[name]
    return (
        f"{name}: must be at most {most}, because {settings.angle_count} transmissions to {settings.depth_m:g} m and "
        f"back take sound {all_s * 1e3:.3g} ms, {settings.frame_rate_hz:g} times a second; got {settings.value(name)}"
    )


RULES = (
    Rule(
        ("focus_depth_m", "depth_m"),
        "A focus that is asked for lies within the depth",
        _focus_in_picture,
        intent=True,
    ),
    Rule(
        ("frame_rate_hz", "angle_count", "depth_m", "sound_speed_m_s"),
        "The transmissions of an image, each as long as sound needs to the depth and back, fit into its period",
        _time_for_sound,
    ),
)


def rules_for(knobs: Collection[str]) -> tuple[Rule, ...]:
    """The rules for a probe with these knobs."""
    return tuple(rule for rule in RULES if set(rule.knobs) <= set(knobs))


def broken_rules(
    settings: Settings, changed: Collection[str], knobs: Collection[str], *, whole: bool = False
) -> list[str]:
    """One line for each rule that the settings break; only rules about a knob that was `changed` are looked at.

    `whole`: the settings are a complete state, such as one that was saved.
    """
    lines = (
        rule.check(settings, changed)
        for rule in rules_for(knobs)
        if not set(rule.knobs).isdisjoint(changed) and not (whole and rule.intent)
    )
    return [line for line in lines if line is not None]
