"""Advertising copy to queries and prompts, in Chinese and English."""
