"""One file for each revision: `NNNN_what_changed.py`, revisions in growing order."""
