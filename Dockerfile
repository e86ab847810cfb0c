# Mooring in a container, with nothing but Mooring: your own server goes on top of it in three lines.
#
#   FROM mooring
#   COPY server.py /app/
#   RUN pip install --no-cache-dir --target /app -r requirements.txt
#
# where the last one is only for what the server needs beyond Mooring: as root, so with `USER 0` before it and
# `USER 10001:10001` behind. deploy/compose/Dockerfile is a whole one.
#
# It runs with a read-only root file system: it writes nothing.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY src src
RUN ["pip", "wheel", "--no-cache-dir", "--no-deps", "--wheel-dir", "/wheels", "."]

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN ["sh", "-c", "pip install --no-cache-dir /wheels/*.whl && rm -r /wheels"]
WORKDIR /app
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8000
USER 10001:10001
EXPOSE 8000
# SIGTERM lets running requests finish (--stop-seconds); give it longer than that before it is killed.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=300s --retries=3 CMD ["python", "-c", "import http.client, os, sys; asked = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); asked.request('GET', os.environ.get('MOORING_HEALTH_PATH', '/healthz')); sys.exit(asked.getresponse().status != 200)"]
ENTRYPOINT ["mooring", "serve"]
CMD ["server.py:server"]
