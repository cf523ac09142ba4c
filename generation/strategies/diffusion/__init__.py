"""Strategies that run a pipeline of diffusers."""
