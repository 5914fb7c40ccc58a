// Package boot makes a process of one service on a cloud platform: what the
// mains of the services have in common.
//
// It guarantees that a configuration that is wrong is reported whole, with the
// platform's and the service's variables together; that a missing or broken
// dependency shows in /ready and is no reason to end; that a stop lets the
// service hand its work back before the connections under it close; and that a
// container can ask its own health without a shell. The defaults that are right
// in the cloud and wrong on a laptop are here, see [Defaults].
//
// The mains in services/*/cmd call [Main]; the gateway of one process
// (codexgw up) has the same parts put together by itself.
package boot
