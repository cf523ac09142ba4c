"""Contact sheets: hits as a page or as one image."""
