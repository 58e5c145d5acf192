"""A simulated probe that delivers channel RF.

`driver` is the probe; `scan` turns settings into transmissions, `wave` says when they arrive where, `phantom` and
`needle` are what the probe looks at, `render` makes the echoes with `sonod.cext.simulate`.
"""
