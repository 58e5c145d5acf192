"""From a raw frame to products: plans, which settings + probe + sequence + grid compile into, and what they make.

`plan` chooses by data kind and runs; `channel`, `lines`, `motion` and `image` are the four ways in; `grid` decides
where beamformed points and pixels lie.
"""
