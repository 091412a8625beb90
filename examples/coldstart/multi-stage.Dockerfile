# Builds in one stage, and runs with the packages of production in another.
ARG NODE_IMAGE=node:20-slim
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY build.js ./
COPY src src
RUN npm run build

FROM ${NODE_IMAGE} AS packages
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev

FROM ${NODE_IMAGE}
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/dist/server.js /app/dist/client.js dist/
COPY package.json ./
USER 65532:65532
EXPOSE 8080
CMD ["node", "dist/server.js"]
