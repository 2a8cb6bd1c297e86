# syntax=docker/dockerfile:1
# case-orders and exactly the dependencies of uv.lock, Redis' client too, run by a user without rights.
FROM python:3.13-slim AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/case-orders UV_PYTHON_DOWNLOADS=never
WORKDIR /source
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-default-groups --extra redis --no-install-project
COPY README.md LICENSE openapi.yaml ./
COPY handlers handlers
COPY models models
COPY case_orders case_orders
RUN uv sync --frozen --no-default-groups --extra redis --no-editable

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/case-orders --create-home case-orders
COPY --from=build /opt/case-orders /opt/case-orders
ENV PATH=/opt/case-orders/bin:$PATH CASE_ORDERS_DATA_DIR=/var/lib/case-orders CASE_ORDERS_HOST=0.0.0.0
USER 10001
VOLUME /var/lib/case-orders
EXPOSE 8080
ENTRYPOINT ["case-orders"]
CMD ["serve"]
