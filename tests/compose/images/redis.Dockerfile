# Stands in for the official image where no registry can be reached: the distribution's Redis 8, the same
# user and folder. For tests only.
ARG BASE
FROM ${BASE}
RUN (userdel redis || true) && groupadd --gid 999 redis && useradd --uid 999 --gid 999 redis \
    && install -d -o 999 -g 999 /data
WORKDIR /data
