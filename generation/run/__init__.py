"""A run: plan, make pictures in batches, keep a journal, write pages. It resumes."""
