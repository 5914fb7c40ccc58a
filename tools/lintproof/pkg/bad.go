// Package pkg imports a service.
package pkg

// want: imports point down
import _ "codexgateway.dev/services/reconciler"
