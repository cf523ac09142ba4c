"""The `overlay` strategy: copy set on a picture where it can be read."""
