// Package docstoretest is the conformance suite of the document store port.
// Every platform's driver passes [Run], so that the domain, which is written
// once, means the same on all of them. The drivers' own tests and platformtest
// call it.
package docstoretest
