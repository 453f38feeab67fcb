# Two stages: wheels are put together in the first, the second holds nothing but Python and moegate.
# Base images come by argument, so that a site without a public registry can name its own.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# Extra arguments for the installer, such as `--find-links /wheels --no-index` for a site's own mirror.
ARG INSTALL_ARGS=""
WORKDIR /src
RUN python3 -m venv /opt/moegate && /opt/moegate/bin/python -m pip --version
COPY requirements.lock ./
RUN /opt/moegate/bin/python -m pip install --no-cache-dir --no-compile --require-hashes --only-binary :all: \
        ${INSTALL_ARGS} -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY backends backends
COPY policies policies
COPY migrations migrations
RUN /opt/moegate/bin/python -m pip install --no-cache-dir --no-compile --no-deps --no-build-isolation --no-index .
# Files that another version of Python is for do not compile; they are never imported either.
RUN /opt/moegate/bin/python -m compileall -q -j 0 /opt/moegate/lib || true

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --home-dir /var/lib/moegate --shell /usr/sbin/nologin moegate \
    && install -d -o moegate -g moegate -m 0700 /var/lib/moegate
COPY --from=build /opt/moegate /opt/moegate
ENV PATH=/opt/moegate/bin:$PATH PYTHONUNBUFFERED=1 MOEGATE_HOME=/var/lib/moegate MOEGATE_HOST=0.0.0.0
USER moegate
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["moegate"]
CMD ["serve"]
