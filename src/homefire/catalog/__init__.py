"""The catalog: what a request can name, and how its weights become servable."""
