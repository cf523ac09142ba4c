"""The HTTP service over galleries: JSON for programs, clip-retrieval's routes, and a page for people."""
