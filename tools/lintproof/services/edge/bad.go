// Package edge imports a sibling.
package edge

// want: services never import each other
import _ "codexgateway.dev/services/reconciler"
