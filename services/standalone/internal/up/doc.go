// Package up is codexgw up: the whole gateway in one process on the embedded
// platform.
//
// It owns what surrounds the services: the data directory, the admin key, the
// check that there is a model to call, the port, the line that says the gateway
// is ready, and the process's life (by package chassis: signals, drain, logs).
// The services themselves are composed in [Assemble]. It guarantees that
// nothing is started when a setting is wrong, that the admin key is shown once,
// when it is made, and on standard error only, and that "ready" is printed when
// the gateway answers, not before. The command line calls it.
package up
