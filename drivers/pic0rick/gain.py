"""The amplifier's gain and the converter code that sets it: nominal, the project has not measured it."""

from __future__ import annotations

# AD8331: 7.5 dB at 0 V and 55.5 dB at 1 V of control; 2 mV a code with the converter's internal reference. Whether the
# board divides that voltage is not known.
LEAST_DB, MOST_DB = 7.5, 55.5
CODES = 500
DB_PER_CODE = (MOST_DB - LEAST_DB) / CODES


def gain_code(gain_db: float) -> int:
    """The code whose nominal gain is nearest; codes above the control range are not used."""
    return min(max(round((gain_db - LEAST_DB) / DB_PER_CODE), 0), CODES)
