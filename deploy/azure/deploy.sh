#!/usr/bin/env bash
# The same as the Terraform module, by `az` command lines. Never run in a real subscription: each line was checked against
# the parser of azure-cli 2.91, and the names in app.yaml against the models of azure-mgmt-appcontainers.
#
#   NAME=counter GROUP=mcp LOCATION=westeurope IMAGE=example.azurecr.io/counter:1.4 ./deploy.sh
#
# Run again it changes what is there: SECRET and STATUS_TOKEN then have to be those of the first time. These are in the app:
#
#   az containerapp secret list --name NAME --resource-group GROUP --show-values
#
set -euo pipefail

: "${NAME:?what the app is called}" "${GROUP:?the resource group}" "${LOCATION:?the region}" "${IMAGE:?with its tag}"
export NAME LOCATION IMAGE

is_there() {
  az containerapp show --name "${NAME}" --resource-group "${GROUP}" --query name --output tsv
}
if [[ -z "${SECRET:-}" || -z "${STATUS_TOKEN:-}" ]] && is_there >/dev/null 2>&1; then
  echo "${NAME} is there already, with secrets of its own: give them as SECRET and STATUS_TOKEN, as the head of this file says" >&2
  exit 1
fi
export TARGET="${TARGET:-server.py:server}" MCP_PATH="${MCP_PATH:-/mcp}"
export SECRET="${SECRET:-$(openssl rand -hex 32)}" STATUS_TOKEN="${STATUS_TOKEN:-$(openssl rand -hex 32)}"
readonly REDIS="https://management.azure.com/subscriptions/{subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.Cache/redisEnterprise/${NAME}-redis"
readonly VERSION="api-version=2025-07-01"

# Waits until a resource is there.
await() {
  local state=""
  until [[ "${state}" == Succeeded ]]; do
    state="$(az rest --method get --url "$1" --query properties.provisioningState --output tsv)"
    case "${state}" in
      Succeeded) ;;
      Failed | Canceled) echo "Azure says ${state} of $1: look there, remove it, and run this again" >&2 && exit 1 ;;
      *) sleep 15 ;;
    esac
  done
}

az group create --name "${GROUP}" --location "${LOCATION}"
az containerapp env create --name "${NAME}-env" --resource-group "${GROUP}" --location "${LOCATION}"

# Azure Managed Redis. Its defaults would be OSSCluster, for which clients have to know its nodes, and VolatileLRU, which
# drops the records of sessions when memory is short.
az rest --method put --url "${REDIS}?${VERSION}" --body "{\"location\": \"${LOCATION}\", \"sku\": {\"name\": \"Balanced_B0\"}, \"properties\": {\"minimumTlsVersion\": \"1.2\", \"publicNetworkAccess\": \"Enabled\"}}"
await "${REDIS}?${VERSION}"
az rest --method put --url "${REDIS}/databases/default?${VERSION}" --body "{\"properties\": {\"clientProtocol\": \"Encrypted\", \"port\": 10000, \"clusteringPolicy\": \"NoCluster\", \"evictionPolicy\": \"NoEviction\", \"accessKeysAuthentication\": \"Enabled\"}}"
await "${REDIS}/databases/default?${VERSION}"
KEY="$(az rest --method post --url "${REDIS}/databases/default/listKeys?${VERSION}" --query primaryKey --output tsv)"
HOST="$(az rest --method get --url "${REDIS}?${VERSION}" --query properties.hostName --output tsv)"
KEY="$(python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.stdin.read().strip(), safe=""))' <<<"${KEY}")"
export REDIS_URL="rediss://:${KEY}@${HOST}:10000/0"

ENVIRONMENT_ID="$(az containerapp env show --name "${NAME}-env" --resource-group "${GROUP}" --query id --output tsv)"
export ENVIRONMENT_ID

# The whole app in one file, so that no later line undoes a part of it. It holds secrets, and is gone in the end.
APP="$(mktemp)"
trap 'rm -f "${APP}"' EXIT
python3 -c 'import os, string, sys; print(string.Template(sys.stdin.read()).substitute(os.environ))' <"$(dirname "$0")/app.yaml" >"${APP}"
az containerapp create --name "${NAME}" --resource-group "${GROUP}" --yaml "${APP}"

az containerapp show --name "${NAME}" --resource-group "${GROUP}" --query properties.configuration.ingress.stickySessions
az containerapp show --name "${NAME}" --resource-group "${GROUP}" --query properties.configuration.activeRevisionsMode
FQDN="$(az containerapp show --name "${NAME}" --resource-group "${GROUP}" --query properties.configuration.ingress.fqdn --output tsv)"
echo "verify it: mooring doctor https://${FQDN}${MCP_PATH}"
