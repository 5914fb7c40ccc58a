// Package localcloud is Google Cloud on this machine for whole gateways: the
// official emulators and the servers of pkg/gcp/gcptest, and projects on them in
// which services can start.
//
// The end-to-end tests, the fault campaign, the benchmarks and the cost report
// stand on it.
package localcloud
