// Package jobtest opens a job store for tests: on a real SQLite file, with a
// clock that tests move, a bus that remembers what was published and a store
// that fails on demand. Tests of the domain and of the services use it.
package jobtest
