# Two stages: wheels are put together in the first, the second holds nothing but Python and moegate.
# Base images come by argument, so that a site without a public registry can name its own.
ARG PYTHON_IMAGE=python:3.13-slim
# Where packages are put together: the same Python at the same path, and whatever a site needs to reach
# its mirror (pip.conf, certificates, a folder of wheels). Nothing of it gets into the second stage.
ARG BUILD_IMAGE=${PYTHON_IMAGE}

FROM ${BUILD_IMAGE} AS build
# Extra arguments for pip, such as `--no-index --find-links /wheels`. They stay in the build's history: no secrets.
ARG INSTALL_ARGS=""
WORKDIR /src
RUN python3 -m venv /opt/moegate
COPY requirements.lock ./
RUN /opt/moegate/bin/python -m pip install --no-cache-dir --no-compile --disable-pip-version-check \
        --require-hashes --only-binary :all: ${INSTALL_ARGS} -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY backends backends
COPY policies policies
COPY migrations migrations
RUN /opt/moegate/bin/python -m pip install --no-cache-dir --no-compile --no-deps --no-build-isolation \
        --no-index --disable-pip-version-check . \
    && /opt/moegate/bin/python -m pip uninstall --quiet --yes --root-user-action ignore pip
# The root file system will be read-only, so compiled files are made now. Some packages ship files for other
# versions of Python, which do not compile and are never imported: not an error.
RUN /opt/moegate/bin/python -m compileall -qq -j 0 /opt/moegate/lib || true

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="moegate" org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 moegate \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/moegate --shell /usr/sbin/nologin moegate \
    && install -d -o moegate -g moegate -m 0700 /var/lib/moegate
COPY --from=build /opt/moegate /opt/moegate
ENV PATH=/opt/moegate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MOEGATE_HOME=/var/lib/moegate MOEGATE_HOST=0.0.0.0
# By number, so that a cluster that asks for "not root" can see it.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["moegate"]
CMD ["serve"]
