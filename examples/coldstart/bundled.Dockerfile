# Builds one file with all packages in it, and runs only that.
ARG NODE_IMAGE=node:20-slim
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY build.js ./
COPY src src
RUN npm run build

FROM ${NODE_IMAGE}
WORKDIR /app
COPY --from=build /app/dist/bundle.js /app/dist/client.js ./
COPY package.json ./
USER 65532:65532
EXPOSE 8080
CMD ["node", "bundle.js"]
