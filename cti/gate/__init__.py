"""The gate: the one HTTPS port of a site, a process of its own that outlives the daemon (``callfloor gate``)."""
