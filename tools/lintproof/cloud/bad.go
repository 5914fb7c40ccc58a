// Package cloud goes around the ports.
package cloud

// want: go through a port in pkg/
import _ "cloud.google.com/go/compute/metadata"
