// Package gcptest is Google Cloud on this machine, for tests, benchmarks and
// the fault campaign: the official emulators of Pub/Sub and Firestore as
// processes of their own, and servers in this process for what has no official
// emulator.
//
// It guarantees that what it starts ends with the one who started it, also when
// that one is killed (on Linux), and that nothing it serves listens beyond the
// loopback interface.
package gcptest
