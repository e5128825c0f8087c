"""Large data sets for the measurements, built once into ``bench/data/`` (``make bench-data``)."""

from __future__ import annotations

from bench import pop

if __name__ == "__main__":
    raise SystemExit(pop.main(["data"]))
