# Runs the program as one file on Node.js and its libraries alone: no shell, no package manager.
ARG NODE_IMAGE=node:20-slim
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY build.js ./
COPY src src
RUN npm run build

# The libraries that Node.js loads, where it looks for them.
FROM ${NODE_IMAGE} AS runtime
RUN mkdir /runtime && ldd /usr/local/bin/node | grep -o '/[^ ]*' | \
    xargs cp --parents --dereference --target-directory /runtime /usr/local/bin/node

FROM scratch
COPY --from=runtime /runtime /
WORKDIR /app
COPY --from=build /app/dist/bundle.js /app/dist/client.js /app/package.json ./
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/node"]
CMD ["bundle.js"]
