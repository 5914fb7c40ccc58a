// Package events imports what lies above it.
package events

// want: events-at-the-bottom
import _ "codexgateway.dev/pkg/id"
