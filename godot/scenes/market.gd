## The feed that all scenes share.
extends KrakpotFeed
