"""The web page: server-rendered, no off-host request."""
