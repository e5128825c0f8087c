"""Installing, upgrading, going back. Plain Python: it runs on the machine's own interpreter, before there is a
virtual environment, and asks the installed releases (``bin/callfloor``) for whatever needs the program itself.
"""
