"""`sonod get`, `describe`, `set`, `preset`, `save` and `load`: the settings of a running daemon."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sonod.client.control import Control
from sonod.client.errors import RequestRefused
from sonod.client.replies import AppliedSettings, KnobDescription
from sonod.daemon.cli.connection import ControlOption, JsonOption, KeysOption, connect_alive
from sonod.daemon.cli.failure import USAGE, Failure
from sonod.daemon.cli.output import put, put_json, put_table, shown
from sonod.daemon.cli.values import Typed, parse_changes
from sonod.daemon.config import suggestion
from sonod.daemon.environment import Environment
from sonod.daemon.settings_file import LONGEST_FILE_BYTES

LeaseOption = Annotated[
    str | None, typer.Option("--lease", metavar="TOKEN", help="Token of the lease you hold, else that in SONOD_LEASE.")
]


def get(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="One setting; without it, all of them.")] = None,
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one setting, or all with their ranges."""
    with connect_alive(endpoint, keys) as control:
        current = control.get(None if key is None else [key])
        if as_json:
            put_json({"revision": current.revision, "settings": dict(current.settings)})
        elif key is not None:
            put(shown(current.settings[key]))
        else:
            knobs = control.describe().knobs
            put(f"revision {current.revision}")
            put_table(
                ("setting", "value", "unit", "range", "what it does"),
                [
                    (name, shown(value), knobs[name].unit, _range(knobs[name]), knobs[name].description)
                    for name, value in current.settings.items()
                ],
            )


def describe(endpoint: ControlOption = None, keys: KeysOption = None) -> None:
    """Print what the daemon says of itself, as JSON: knobs with range, step, default and holder, rules, addresses."""
    with connect_alive(endpoint, keys) as control:
        reply = control.request("describe").values
    put_json({name: value for name, value in reply.items() if name not in ("id", "ok")})


def set_values(
    pairs: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="For example depth_m=0.04 gain_db=3.")],
    expect: Annotated[
        int | None, typer.Option("--expect", metavar="REVISION", help="Only if the settings are at this revision.")
    ] = None,
    lease: LeaseOption = None,
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change settings, all or none. Curves are comma lists: tgc_db=0,2,4,6,8,10,12,14."""
    changes = parse_changes(pairs)
    with connect_alive(endpoint, keys) as control:
        _check_names(control, changes)
        _put_applied(control.set(changes, expected_revision=expect, lease=lease_of(lease)), as_json)


def preset(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Without it, the presets are listed.")] = None,
    lease: LeaseOption = None,
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change to a named set of settings."""
    with connect_alive(endpoint, keys) as control:
        if name is not None:
            _put_applied(control.preset(name, lease=lease_of(lease)), as_json)
            return
        presets = control.describe().presets
    if as_json:
        put_json(
            [
                {
                    "name": known.name,
                    "description": known.description,
                    "probes": known.probes,
                    "fits": not known.misfit,
                    "misfit": known.misfit,
                    "settings": dict(known.settings),
                }
                for known in presets
            ]
        )
    else:
        put_table(
            ("preset", "probes", "fits", "what it is for"),
            [
                (known.name, ", ".join(known.probes) or "any", "no" if known.misfit else "yes", known.description)
                for known in presets
            ],
        )


def save(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, or - for standard output.")],
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    endpoint: ControlOption = None,
    keys: KeysOption = None,
) -> None:
    """Save all settings; the file can be loaded, used as a preset, or be the configuration of `sonod run`."""
    with connect_alive(endpoint, keys) as control:
        text = control.save()
    if str(file) == "-":
        sys.stdout.write(text)
        return
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise Failure(USAGE, f"{file}: exists already; choose another name, or --force") from None
    except OSError as error:
        raise Failure(USAGE, f"{file}: cannot be written ({error.strerror})") from error
    put(f"saved in {file}")


def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A saved file, or - for standard input.")],
    lease: LeaseOption = None,
    endpoint: ControlOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change to saved settings, all or none."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise Failure(USAGE, f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise Failure(USAGE, f"{file}: not TOML: not UTF-8 at byte {error.start}") from error
    if len(text) > LONGEST_FILE_BYTES:
        raise Failure(USAGE, f"{file}: must be at most {LONGEST_FILE_BYTES} bytes; got {len(text)}")
    with connect_alive(endpoint, keys) as control:
        try:
            applied = control.load(text, lease=lease_of(lease))
        except RequestRefused as error:
            # The daemon has seen a text; which file it is from is ours to say.
            if error.code in ("invalid", "refused"):
                problems = error.problems or (str(error),)
                raise Failure(USAGE, *(f"{file}: {line.removeprefix('file: ')}" for line in problems)) from error
            raise
    _put_applied(applied, as_json)


def lease_of(given: str | None) -> str | None:
    """The token that was given, else that of the environment."""
    return given or Environment.read().lease


def _check_names(control: Control, changes: dict[str, Typed]) -> None:
    """Failure with the nearest names; without a probe the daemon itself says what is wrong."""
    try:
        knobs = control.describe().knobs
    except RequestRefused:
        return
    unknown = [name for name in changes if knobs and name not in knobs]
    if unknown:
        raise Failure(USAGE, *(f"{name}: no such setting{suggestion(name, knobs)}" for name in unknown))


def _put_applied(applied: AppliedSettings, as_json: bool) -> None:
    if as_json:
        put_json(
            {
                "revision": applied.revision,
                "first_frame": applied.first_frame,
                "applied": dict(applied.applied),
                "pending": applied.pending,
            }
        )
        return
    values = " ".join(f"{name}={shown(value)}" for name, value in applied.applied.items())
    frame = "no frame yet" if applied.first_frame is None else f"from frame {applied.first_frame} on"
    if applied.pending:
        frame = "when the device comes back"
    put(f"revision {applied.revision}, {frame}: {values}")


def _range(knob: KnobDescription) -> str:
    if knob.choices:
        return ", ".join(knob.choices)
    if knob.minimum is None or knob.maximum is None:
        return ""
    return f"{knob.minimum:g}..{knob.maximum:g}"
