# Removes what it no longer needs, but in a later layer: a node still pulls all of it.
ARG NODE_IMAGE=node:20-slim
FROM ${NODE_IMAGE}
WORKDIR /app
COPY . .
RUN npm install
RUN npm run build
RUN npm prune --omit=dev && npm cache clean --force
EXPOSE 8080
CMD ["node", "dist/server.js"]
