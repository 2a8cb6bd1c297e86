"""A pharmacy to develop and test against: a real HTTP server that knows of the service only the pharmacy protocol."""
