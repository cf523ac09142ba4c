"""Strategies that run a diffusers model."""
