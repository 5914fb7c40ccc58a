// Package chassis is what every service's main does, once: configuration with
// all its errors at once ([Load]), logs and telemetry ([Main]), an internal
// listener for metrics and profiles, health ([Health]), HTTP servers with
// timeouts ([HTTPServer]) and an ordered start and stop ([Group]).
//
// It guarantees the order of a stop: not ready → no new work → wait for the
// work in hand, bounded → cancel with a named cause → release → flush
// telemetry → exit code. A second signal ends the process at once; a panic is
// logged and exits 2. Nothing else is decided in a main: load config, open the
// platform, build the service, hand it to Main.
//
// The mains of all services call it, and so does codexgw up. It is the one
// package besides a main that touches the process: environment, signals,
// standard error.
package chassis
