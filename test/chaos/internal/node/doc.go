// Package node is the processes of a campaign: the store host and the services
// as they are, an edge, a worker or a reconciler, each on the ports of the store
// host and with a clock of its own.
//
// It adds nothing to a service and takes nothing from it: the configuration is
// the service's own environment, and signals do what they do in production.
// The campaign starts its own program again as a node.
package node
