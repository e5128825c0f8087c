# Asterisk with this repository's dialplans. Built from the repository's root.
FROM debian:sid-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
       asterisk asterisk-core-sounds-en-gsm asterisk-moh-opsound-gsm espeak-ng python3 python3-jinja2 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /callfloor
COPY cti/__init__.py cti/ids.py cti/
COPY cti/asterisk/__init__.py cti/asterisk/fallback_queues.py cti/asterisk/local_pbx.py cti/asterisk/prompts.py \
     cti/asterisk/
COPY config/asterisk config/asterisk
COPY dialplans dialplans
COPY docker/start_asterisk.py docker/
CMD ["python3", "docker/start_asterisk.py"]
