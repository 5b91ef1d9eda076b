# The authorization server and the API of the example; which one is said by the command.
FROM node:24-bookworm-slim
WORKDIR /servers
RUN npm install --ignore-scripts --no-audit --no-fund oidc-provider@9.13.3
COPY authorization-server.mjs api.mjs ./
USER 65532:65532
ENTRYPOINT ["node"]
