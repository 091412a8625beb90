# How a first Dockerfile often looks. Everything that builds the program is in the image that runs it.
ARG NODE_IMAGE=node:20-slim
FROM ${NODE_IMAGE}
WORKDIR /app
COPY . .
RUN npm install
RUN npm run build
EXPOSE 8080
CMD npm start
