"""What Streamlit is started with: it runs a file, again for each interaction, and a file knows no relative imports."""

import sys
from importlib import import_module

import_module("diantu.search.streamlit_page.page").show(*sys.argv[1:])
