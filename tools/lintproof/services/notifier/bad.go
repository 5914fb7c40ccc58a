// Package notifier imports a sibling.
package notifier

// want: services never import each other
import _ "codexgateway.dev/services/worker/codexversion"
