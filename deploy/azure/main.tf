data "azurerm_resource_group" "this" {
  name = var.resource_group_name
}

# The cluster secret signs what nodes send each other; the status token opens the status page. Both are in Terraform's state.
resource "random_password" "secret" {
  length  = 64
  special = false
}

resource "random_password" "status_token" {
  length  = 64
  special = false
}

resource "azurerm_log_analytics_workspace" "this" {
  name                = "${var.name}-log"
  resource_group_name = data.azurerm_resource_group.this.name
  location            = var.location
  sku                 = "PerGB2018"
  retention_in_days   = var.log_retention_days
  tags                = var.tags
}

resource "azurerm_container_app_environment" "this" {
  name                       = "${var.name}-env"
  resource_group_name        = data.azurerm_resource_group.this.name
  location                   = var.location
  logs_destination           = "log-analytics"
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id
  tags                       = var.tags

  workload_profile {
    name                  = "Consumption"
    workload_profile_type = "Consumption"
    minimum_count         = 0
    maximum_count         = 0
  }
}

# It pulls the image. Its principal is an output: grant it AcrPull on your registry.
resource "azurerm_user_assigned_identity" "this" {
  name                = "${var.name}-identity"
  resource_group_name = data.azurerm_resource_group.this.name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_managed_redis" "this" {
  name                      = "${var.name}-redis"
  resource_group_name       = data.azurerm_resource_group.this.name
  location                  = var.location
  sku_name                  = var.redis_sku
  high_availability_enabled = var.redis_high_availability
  tags                      = var.tags

  default_database {
    # The defaults would be OSSCluster, for which clients have to know its nodes, and VolatileLRU, which drops the records
    # of sessions when memory is short.
    clustering_policy                  = "NoCluster"
    eviction_policy                    = "NoEviction"
    client_protocol                    = "Encrypted"
    access_keys_authentication_enabled = true
  }
}

locals {
  port = 8000

  redis_database = azurerm_managed_redis.this.default_database[0]
  redis_url      = "rediss://:${urlencode(local.redis_database.primary_access_key)}@${azurerm_managed_redis.this.hostname}:${local.redis_database.port}/0"

  # Replicas cannot reach each other on Azure Container Apps: what one has to pass on to another goes through Redis.
  settings = merge(
    {
      MOORING_MCP_PATH  = var.mcp_path
      MOORING_PEER_LINK = "redis"
    },
    var.environment,
  )

  registries = var.registry_server == "" ? [] : [
    { server = var.registry_server, identity = azurerm_user_assigned_identity.this.id },
  ]
}

# The whole app is azapi's, stickiness and all. azurerm_container_app has no argument for it and resets it with each change
# of the app, and a provisioner that runs `az` once comes too early for all changes but the first.
resource "azapi_resource" "app" {
  type      = "Microsoft.App/containerApps@2025-01-01"
  name      = var.name
  parent_id = data.azurerm_resource_group.this.id
  location  = var.location
  tags      = var.tags

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.this.id]
  }

  body = {
    properties = {
      environmentId       = azurerm_container_app_environment.this.id
      workloadProfileName = "Consumption"

      configuration = {
        activeRevisionsMode = var.revision_mode
        registries          = local.registries

        secrets = [
          { name = "mooring-secret", value = random_password.secret.result },
          { name = "mooring-status-token", value = random_password.status_token.result },
          { name = "mooring-redis-url", value = local.redis_url },
        ]

        ingress = {
          external       = var.external
          targetPort     = local.port
          transport      = var.ingress_transport
          allowInsecure  = false
          # It ends a connection on which nothing was said for 240 s: MOORING_STREAM_COMMENT_SECONDS (25) has to stay below that.
          stickySessions = { affinity = var.enable_sticky_sessions ? "sticky" : "none" }
          traffic        = [{ latestRevision = true, weight = 100 }]
        }
      }

      template = {
        # Running requests, then their peers', then the goodbye.
        terminationGracePeriodSeconds = var.stop_seconds + 30

        containers = [{
          name    = "node"
          image   = var.image
          command = ["mooring", "serve"]
          args    = [var.target, "--host", "0.0.0.0", "--port", tostring(local.port), "--stop-seconds", tostring(var.stop_seconds)]

          resources = {
            cpu    = var.cpu
            memory = var.memory
          }

          env = concat(
            [
              { name = "MOORING_SECRET", secretRef = "mooring-secret" },
              { name = "MOORING_STATUS_TOKEN", secretRef = "mooring-status-token" },
              { name = "MOORING_REDIS_URL", secretRef = "mooring-redis-url" },
            ],
            [for name, value in local.settings : { name = name, value = value }],
          )

          probes = [
            {
              type             = "Startup"
              httpGet          = { path = "/healthz", port = local.port }
              periodSeconds    = ceil(var.start_seconds / 10) # Azure lets no probe fail more often than ten times
              failureThreshold = 10
            },
            {
              type             = "Readiness"
              httpGet          = { path = "/readyz", port = local.port }
              periodSeconds    = 2
              timeoutSeconds   = 2
              failureThreshold = 2
            },
            {
              type             = "Liveness"
              httpGet          = { path = "/healthz", port = local.port }
              periodSeconds    = 10
              timeoutSeconds   = 5
              failureThreshold = 6
            },
          ]
        }]

        scale = {
          minReplicas = var.min_replicas
          maxReplicas = var.max_replicas
          rules = [{
            name = "requests"
            http = { metadata = { concurrentRequests = tostring(var.concurrent_requests) } }
          }]
        }
      }
    }
  }

  response_export_values = ["properties.configuration.ingress.fqdn"]
}
