"""The sections of the report page, as ready strings for the templates."""
