"""Contact sheets: images and captions as an HTML page or as one PNG."""
