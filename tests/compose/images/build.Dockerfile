# Where the gateway is put together without a network: Python and the locked wheels. For tests only.
ARG BASE
FROM ${BASE}
COPY . /wheels
