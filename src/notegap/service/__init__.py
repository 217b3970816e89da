"""notegap over HTTP: the page a scribe keeps open. Needs the extra `notegap[serve]`."""
