package boot

import "log/slog"

// BootstrapOptions say what is created for services that run apart.
type BootstrapOptions struct {
	// RealProject allows more than emulators.
	RealProject bool
	// Lanes is one subscription of job commands for each lane instead of one for all.
	Lanes  bool
	Logger *slog.Logger
}
