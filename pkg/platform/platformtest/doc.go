// Package platformtest is the one story that every platform must be able to
// tell: the four ports opened together, used as the gateway uses them, closed
// and opened again. What a single port promises is the matter of its own suite.
package platformtest
