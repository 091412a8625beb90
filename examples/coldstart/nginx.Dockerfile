# Renders the page once, and serves it as a file: no Node.js where it runs.
ARG NODE_IMAGE=node:20-slim
ARG NGINX_IMAGE=nginx:1.28-alpine
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY build.js ./
COPY src src
RUN npm run build && node dist/static.js

FROM ${NGINX_IMAGE}
COPY --from=build /app/dist/index.html /app/dist/client.js /usr/share/nginx/html/
