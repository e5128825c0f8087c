"""``callfloor doctor``: looks at everything an installation stands on and says in plain words what to change.

It changes nothing, dials nobody, and says so where it can't see.
"""
