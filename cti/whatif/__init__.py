"""What if: a described centre, or a recorded day with changes, run through the live deciding core in seconds.

``described`` (a file) and ``recorded`` (the journal, with ``change``) each make a ``scenario``; ``run`` plays it, once
per seed; ``books`` counts what happened, in a simulated day and in a recorded one alike; ``figures``, ``printed`` and
``chart`` show it.
"""
