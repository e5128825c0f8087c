"""Measurements; each prints and writes JSON to ``bench/results/``."""
