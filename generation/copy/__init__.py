"""Turns advertising copy in Chinese or English into queries and prompts."""
