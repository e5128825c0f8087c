# The daemon and its pages. Built from the repository's root.
FROM node:20-slim AS front-end
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY setup/build_frontend.mjs setup/
RUN node setup/build_frontend.mjs

FROM python:3.11-slim
WORKDIR /callfloor
COPY constraints.txt ./
RUN pip install --no-cache-dir --require-hashes -r constraints.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . \
    && find web/locales -name '*.po' -exec sh -c 'pybabel compile -i "$1" -o "${1%.po}.mo"' - {} \;
COPY --from=front-end /build/web/static/vendor web/static/vendor
CMD ["callfloor", "serve"]
