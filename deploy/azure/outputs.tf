output "url" {
  description = "The MCP endpoint."
  value       = "https://${azapi_resource.app.output.properties.configuration.ingress.fqdn}${var.mcp_path}"
}

output "verify" {
  description = "The commands that show whether it is as it should be."
  value = [
    "az containerapp show --name ${var.name} --resource-group ${var.resource_group_name} --query properties.configuration.ingress.stickySessions",
    "az containerapp show --name ${var.name} --resource-group ${var.resource_group_name} --query properties.configuration.activeRevisionsMode",
    "mooring doctor https://${azapi_resource.app.output.properties.configuration.ingress.fqdn}${var.mcp_path}",
  ]
}

output "identity_principal_id" {
  description = "Whom to grant AcrPull on your registry."
  value       = azurerm_user_assigned_identity.this.principal_id
}

output "status_token" {
  description = "Opens the status page, /mooring/status."
  value       = random_password.status_token.result
  sensitive   = true
}
