// Package reconciler imports a sibling.
package reconciler

// want: services never import each other
import _ "codexgateway.dev/services/worker/codexversion"
