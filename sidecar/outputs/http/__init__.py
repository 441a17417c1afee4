"""HTTP: the endpoints, the port, the JSON document and the page."""
