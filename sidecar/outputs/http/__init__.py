"""HTTP: the endpoints, the server, the JSON document and the status page."""
