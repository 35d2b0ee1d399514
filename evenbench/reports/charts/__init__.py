"""Plotly figures as plain JSON without colours; the page adds the colours of its theme.

Figures are plain dicts, not `plotly.graph_objects`: plotly would check every value, and a page of
10,000 cells would take minutes. A test checks the figures with plotly instead.
"""
