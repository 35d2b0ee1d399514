"""Reports from recorded results: tables for the terminal, and self-contained HTML pages.

Nothing here measures or imports a runtime, so a report is made anywhere the result files are.
`pages` write HTML, `terminal` prints tables.
"""
