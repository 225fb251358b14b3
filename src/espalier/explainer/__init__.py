"""Maps of what a model looked at, and how far each map can be trusted; over any network and any task.

Only `layers`, `gradcam`, `rollout` and `features` need torch: a bundle is explained without it.
"""
