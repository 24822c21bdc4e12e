# The service's image. Nothing is downloaded but Debian packages and the wheels that requirements/*.lock name by hash.
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements/build.lock requirements/runtime.lock ./
RUN python3 -m venv /build/tools \
    && /build/tools/bin/pip install --no-cache-dir --require-hashes --requirement build.lock \
    && python3 -m venv /opt/driftmeter \
    && /opt/driftmeter/bin/pip install --no-cache-dir --require-hashes --requirement runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
RUN /build/tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/driftmeter/bin/pip install --no-cache-dir --no-deps --no-index wheels/*.whl

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 driftmeter \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/driftmeter --shell /usr/sbin/nologin driftmeter \
    && install --directory --owner=10001 --group=10001 /var/cache/driftmeter /var/lib/driftmeter /var/lib/driftmeter/data
COPY --from=build /opt/driftmeter /opt/driftmeter
# malloc keeps what it once took instead of returning large blocks to the system between two requests: receiving and
# decoding cost half. The service does this for itself too; here it holds from the first byte on.
ENV PATH=/opt/driftmeter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DRIFTMETER_CACHE_DIR=/var/cache/driftmeter \
    MALLOC_TRIM_THRESHOLD_=1073741824 \
    MALLOC_MMAP_THRESHOLD_=1073741824
USER 10001:10001
# Compiles now what would be compiled at the first start, so that a read-only container starts in seconds.
RUN ["python", "-m", "driftmeter", "warm-up"]
EXPOSE 4317 4318 9464
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=3 CMD ["python", "-I", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/readyz', timeout=3)"]
ENTRYPOINT ["driftmeter"]
CMD ["serve", "--config", "/etc/driftmeter/driftmeter.yaml"]
