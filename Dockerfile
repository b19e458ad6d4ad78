# docker build -t botd . && docker run -d --name botd -v botd:/var/lib/botd botd && docker exec botd botctl ls
FROM python:3.11-slim
RUN useradd --system --create-home --home-dir /var/lib/botd botd
COPY pyproject.toml setup.cfg README.md LICENSE /src/
COPY botctl /src/botctl
COPY botd /src/botd
COPY strategies /src/strategies
COPY man /src/man
RUN pip install --no-cache-dir /src && rm -rf /src
USER botd
ENV BOTD_STATE_DIR=/var/lib/botd/state PYTHONUNBUFFERED=1
VOLUME /var/lib/botd
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["botctl", "-q", "daemon", "ping"]
CMD ["botd"]
