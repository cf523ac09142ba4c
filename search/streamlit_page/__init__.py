"""A small page over one gallery, for one person on one machine: `diantu page`, with Streamlit (extra `page`)."""
