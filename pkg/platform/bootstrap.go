package platform

import "log/slog"

// BootstrapOptions say what a bootstrap creates for services that run apart. The
// zero value is for emulators.
type BootstrapOptions struct {
	// RealProject allows to create what is missing in more than emulators.
	RealProject bool
	// Lanes creates a subscription of job commands for each lane instead of one
	// for all: a deployment reads the one or the others, and what nobody reads
	// fills up.
	Lanes bool
	// Logger hears what is being created; nil: slog.Default().
	Logger *slog.Logger
}
