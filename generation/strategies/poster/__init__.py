"""The `overlay` strategy: draws copy on an image where it can be read."""
