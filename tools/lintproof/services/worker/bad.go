// Package worker imports a sibling.
package worker

// want: services never import each other
import _ "codexgateway.dev/services/reconciler"
