"""The compiled core: numbers in, numbers out. It knows no probe, no socket and no file.

Each operator is planned once and run per frame. `reference` holds the same operators in plain NumPy float64.
"""
