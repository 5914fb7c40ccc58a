// Package doctor checks whether the gateway can work on this machine and says
// what to do where it cannot.
//
// A check is a value ([Check]); [Basic] are those that need no part of the
// gateway, and the composition adds those of the worker's probe and of the
// store. It guarantees that every check runs, each within its own deadline,
// whatever the others found, that nothing is changed on the machine, and that
// no secret is shown. codexgw doctor calls it.
package doctor
