"""evenbench's reports: recorded results in, a table for the terminal or a self-contained HTML page
out.

Nothing here measures, and nothing here imports a runtime: a report is made wherever the result
files are. `table` shows a run in the terminal, `site` writes the page.
"""
