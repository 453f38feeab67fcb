# Stands in for the official image where no registry can be reached: the distribution's PostgreSQL 17, the
# same user, folders and variables. For tests only.
ARG BASE
FROM ${BASE}
RUN (userdel postgres || true) && groupadd --gid 999 postgres \
    && useradd --uid 999 --gid 999 --home-dir /var/lib/postgresql postgres \
    && install -d -o 999 -g 999 -m 1777 /var/lib/postgresql/data /run/postgresql
COPY postgres-entrypoint.sh /usr/local/bin/
ENV PATH=/usr/lib/postgresql/17/bin:$PATH
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "/usr/local/bin/postgres-entrypoint.sh"]
