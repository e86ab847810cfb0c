variable "name" {
  description = "What the app is called; everything else is named after it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "The name is 2 to 20 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "resource_group_name" {
  description = "The resource group that everything goes into; it has to exist."
  type        = string
}

variable "location" {
  description = "The region, such as westeurope."
  type        = string
}

variable "image" {
  description = "The image with Mooring and your server, with its tag. The Dockerfile of the repository is what it builds on."
  type        = string

  validation {
    condition     = can(regex(".+[:@].+", var.image))
    error_message = "Give the image with its tag or digest: a deploy of `latest` cannot be told apart from the one before."
  }
}

variable "registry_server" {
  description = "The registry that the app's identity may pull from, such as example.azurecr.io; empty for a public image. Grant the output identity_principal_id the role AcrPull there."
  type        = string
  default     = ""
}

variable "target" {
  description = "What `mooring serve` serves: module:attribute or path/file.py:attribute."
  type        = string
  default     = "server.py:server"
}

variable "mcp_path" {
  description = "The path of the MCP endpoint."
  type        = string
  default     = "/mcp"

  validation {
    condition     = startswith(var.mcp_path, "/")
    error_message = "The path begins with a slash."
  }
}

variable "environment" {
  description = "More environment variables of the container, for your own server or as settings of Mooring (MOORING_...). No secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["MOORING_MCP_PATH", "MOORING_HEALTH_PATH", "MOORING_READY_PATH", "MOORING_SECRET", "MOORING_STATUS_TOKEN", "MOORING_REDIS_URL"])) == 0
    error_message = "The endpoint is mcp_path; the probes ask /healthz and /readyz; and the secrets are made by this module."
  }
}

variable "min_replicas" {
  description = "How many replicas there are at least. With one, a restart is an outage."
  type        = number
  default     = 2

  validation {
    condition     = var.min_replicas >= 1
    error_message = "At least 1: with 0 the last replica is stopped with its sessions when nobody calls for some minutes."
  }
}

variable "max_replicas" {
  description = "How many replicas there are at most."
  type        = number
  default     = 10

  validation {
    condition     = var.max_replicas >= var.min_replicas && var.max_replicas <= 1000
    error_message = "At least min_replicas, and at most 1000."
  }
}

variable "concurrent_requests" {
  description = "Another replica is started for each this many requests at once. An open stream is a request."
  type        = number
  default     = 100

  validation {
    condition     = var.concurrent_requests >= 1
    error_message = "At least 1."
  }
}

variable "cpu" {
  description = "Cores of a replica."
  type        = number
  default     = 0.5
}

variable "memory" {
  description = "Memory of a replica; on the consumption plan twice as many GiB as cores."
  type        = string
  default     = "1Gi"
}

variable "revision_mode" {
  description = "Has to be Single where stickiness is on: Azure ignores it where traffic is split between revisions."
  type        = string
  default     = "Single"

  validation {
    condition     = contains(["Single", "Multiple"], var.revision_mode)
    error_message = "Single or Multiple."
  }
  validation {
    condition     = var.revision_mode == "Single" || !var.enable_sticky_sessions
    error_message = "Sticky sessions need revision_mode = \"Single\". Set enable_sticky_sessions = false for several revisions."
  }
}

variable "ingress_transport" {
  description = "How clients come in: auto or http. Not tcp, where there is neither stickiness nor a header."
  type        = string
  default     = "auto"

  validation {
    condition     = contains(["auto", "http"], var.ingress_transport)
    error_message = "MCP over HTTP needs an HTTP ingress: auto or http."
  }
}

variable "external" {
  description = "Whether the app is reached from outside its environment."
  type        = bool
  default     = true
}

variable "enable_sticky_sessions" {
  description = "Azure's own cookie (ARRAffinity). It saves a hop for clients that keep cookies; sessions reach their node without it."
  type        = bool
  default     = true
}

variable "start_seconds" {
  description = "How long a replica may take to start, as where a server loads a model; it is looked at ten times in this time."
  type        = number
  default     = 120

  validation {
    condition     = var.start_seconds >= 1 && var.start_seconds <= 2400
    error_message = "1 to 2400: Azure looks ten times, at most every 240 seconds."
  }
}

variable "stop_seconds" {
  description = "How long running requests may go on when a replica is stopped."
  type        = number
  default     = 60

  validation {
    condition     = var.stop_seconds >= 0 && var.stop_seconds <= 570
    error_message = "0 to 570: Azure kills a replica 600 seconds after it asked it to stop, and goodbyes take some of them."
  }
}

variable "redis_sku" {
  description = "The size of Azure Managed Redis. Balanced_B0 holds the records of some hundred thousand sessions."
  type        = string
  default     = "Balanced_B0"
}

variable "redis_high_availability" {
  description = "Whether Redis has a second node. Without it a restart of Redis is an outage of some minutes for new sessions."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "How long the app's log is kept."
  type        = number
  default     = 30
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}
